//! The node's memory, as calls have it: what is reserved for each, and what some take beyond that.
//!
//! A call whose user gave no `func_ram` may use 4 GiB, and a fraction of that is reserved for it, since hardly any call needs so
//! much. Those that do take what nobody has reserved. When there is none left, the node admits no more calls, and one that wants
//! more than was reserved for it is stopped, to be run again with all that it may have; one that stays within its reservation
//! never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// All memory that calls may have together.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    capacity_bytes: u64,
    held_bytes: AtomicU64,
    freed: Notify,
}

impl NodeMemory {
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(Self { capacity_bytes, held_bytes: AtomicU64::new(0), freed: Notify::new() })
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
                return Reservation { memory: Arc::clone(self), reserved_bytes: bytes, held_bytes: bytes };
            }
            freed.await;
        }
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
            self.held_bytes = total_bytes;
            return Ok(());
        }
        let has_all = self.reserved_bytes >= self.memory.capacity_bytes;
        Err(if has_all { NoMemory::TooLittle } else { NoMemory::Short })
    }

    /// All memory of the node.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.memory.capacity_bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
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

    #[test]
    fn a_call_may_take_what_nobody_has_reserved_and_no_more() {
        let memory = NodeMemory::new(100);
        let mut greedy = now(memory.reserve(10)).unwrap();
        let modest = now(memory.reserve(30)).unwrap();
        assert_eq!(greedy.grow(70), Ok(()));
        assert_eq!(greedy.grow(71), Err(NoMemory::Short));
        assert!(now(memory.reserve(1)).is_none(), "no more are admitted");
        drop(modest);
        assert_eq!(greedy.grow(100), Ok(()));
        drop(greedy);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn what_the_whole_node_does_not_have_is_not_waited_for() {
        let memory = NodeMemory::new(100);
        let mut all = now(memory.reserve(u64::MAX)).unwrap();
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
