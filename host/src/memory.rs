//! The node's memory, as calls have it: what is reserved for each, and what some take beyond that.
//!
//! A call whose user gave no `func_ram` may use 4 GiB, and a fraction of that is reserved for it, since hardly any call needs so
//! much. Those that do take what nobody has reserved. When there is none left, a call that wants more than was reserved for it is
//! stopped, to be run again with all that it may have; and when another waits to have its own reserved, the one that is furthest
//! above its reservation is. One that stays within its reservation never is stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a call waits for what is to be reserved for it before another is stopped. Most calls that are above their reservation
/// are about to end.
const RESERVE_PATIENCE: Duration = Duration::from_millis(100);

/// All memory that calls may have together.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    capacity_bytes: u64,
    held_bytes: AtomicU64,
    freed: Notify,
    /// Calls that have more than was reserved for them.
    overdrawn: Mutex<Vec<Weak<Overdraft>>>,
}

/// What a call has beyond its reservation.
#[derive(Debug, Default)]
pub(crate) struct Overdraft {
    bytes: AtomicU64,
    stop: Notify,
}

impl Overdraft {
    /// Completes when the call has to end, because another needs what is its own.
    pub(crate) async fn called_in(&self) {
        // A permit is kept for who asks later.
        self.stop.notified().await;
    }
}

impl NodeMemory {
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(Self { capacity_bytes, held_bytes: AtomicU64::new(0), freed: Notify::new(), overdrawn: Mutex::default() })
    }

    /// What calls hold, reserved or used, whichever is more.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Waits until this much is free, and reserves it. More than there is at all is the same as all.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Reservation {
        let bytes = bytes.min(self.capacity_bytes);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that what changes in between is not missed.
            freed.as_mut().enable();
            if self.take(bytes) {
                let overdraft = Arc::default();
                return Reservation { memory: Arc::clone(self), reserved_bytes: bytes, held_bytes: bytes, overdraft };
            }
            if tokio::time::timeout(RESERVE_PATIENCE, freed).await.is_err() {
                self.call_in();
            }
        }
    }

    /// Stops the call that is furthest above its reservation.
    fn call_in(&self) {
        let mut overdrawn = self.overdrawn();
        overdrawn.retain(|overdraft| overdraft.strong_count() > 0);
        let furthest = overdrawn.iter().filter_map(Weak::upgrade).max_by_key(|overdraft| overdraft.bytes.load(Ordering::Relaxed));
        if let Some(furthest) = furthest {
            furthest.stop.notify_one();
        }
    }

    fn overdrawn(&self) -> MutexGuard<'_, Vec<Weak<Overdraft>>> {
        self.overdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.capacity_bytes);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// What one call has of it.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<NodeMemory>,
    reserved_bytes: u64,
    held_bytes: u64,
    overdraft: Arc<Overdraft>,
}

/// Why a call cannot have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMemory {
    /// Others have it: with more reserved, it could.
    Short,
    /// The whole node does not have so much.
    TooLittle,
}

impl Reservation {
    /// Sees that the call can have this much in total.
    pub(crate) fn grow(&mut self, total_bytes: u64) -> Result<(), NoMemory> {
        if total_bytes <= self.held_bytes {
            return Ok(());
        }
        if self.memory.take(total_bytes - self.held_bytes) {
            if self.held_bytes <= self.reserved_bytes {
                self.memory.overdrawn().push(Arc::downgrade(&self.overdraft));
            }
            self.held_bytes = total_bytes;
            self.overdraft.bytes.store(total_bytes - self.reserved_bytes, Ordering::Relaxed);
            return Ok(());
        }
        let has_all = self.reserved_bytes >= self.memory.capacity_bytes;
        Err(if has_all { NoMemory::TooLittle } else { NoMemory::Short })
    }

    /// All memory of the node.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.memory.capacity_bytes
    }

    /// What the call has beyond this.
    pub(crate) fn overdraft(&self) -> Arc<Overdraft> {
        Arc::clone(&self.overdraft)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held_bytes > self.reserved_bytes {
            let mut overdrawn = self.memory.overdrawn();
            overdrawn.retain(|overdraft| !std::ptr::eq(overdraft.as_ptr(), Arc::as_ptr(&self.overdraft)));
        }
        self.memory.held_bytes.fetch_sub(self.held_bytes, Ordering::Relaxed);
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_reserved_is_had_from_who_has_most_beyond_its_own() {
        let memory = NodeMemory::new(100);
        let (mut modest, mut greedy) = (memory.reserve(10).await, memory.reserve(10).await);
        assert_eq!((modest.grow(20), greedy.grow(60)), (Ok(()), Ok(())));
        let (modest_is_stopped, greedy_is_stopped) = (modest.overdraft(), greedy.overdraft());
        let waiting = memory.reserve(50);
        let called_in = async {
            greedy_is_stopped.called_in().await;
            drop(greedy);
        };
        let (reserved, ()) = tokio::join!(waiting, called_in);
        assert_eq!(reserved.held_bytes, 50);
        assert!(now(modest_is_stopped.called_in()).is_none());
        assert_eq!(memory.overdrawn().len(), 1);
    }

    #[tokio::test]
    async fn a_call_may_take_what_nobody_has_reserved_and_no_more() {
        let memory = NodeMemory::new(100);
        let mut greedy = memory.reserve(10).await;
        let modest = memory.reserve(30).await;
        assert_eq!(greedy.grow(70), Ok(()));
        assert_eq!(greedy.grow(71), Err(NoMemory::Short));
        drop(modest);
        assert_eq!(greedy.grow(100), Ok(()));
        drop(greedy);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn what_the_whole_node_does_not_have_is_not_waited_for() {
        let memory = NodeMemory::new(100);
        let mut all = memory.reserve(u64::MAX).await;
        assert_eq!(all.grow(100), Ok(()));
        assert_eq!(all.grow(101), Err(NoMemory::TooLittle));
    }

    #[tokio::test]
    async fn who_waits_is_admitted_when_memory_is_free() {
        let memory = NodeMemory::new(100);
        let first = memory.reserve(80).await;
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.reserve(50).await.held_bytes }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 50);
    }
}
