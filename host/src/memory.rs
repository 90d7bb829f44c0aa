//! The node's memory, as calls have it: what is reserved for each, and what some take beyond that.
//!
//! A call whose user gave no `func_ram` may use 4 GiB, and a fraction of that is reserved for it, since hardly any call needs so
//! much. Those that do take what nobody has reserved. When there is none left, a call that wants more than was reserved for it is
//! stopped, to be run again with all that it may have; and when another waits to have its own reserved, the one that is furthest
//! above its reservation is. One that stays within its reservation never is stopped.
//!
//! None of that is given beyond what the machine really has: what this process has taken of it, and what is left.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a call waits for what is to be reserved for it before another is stopped. Most calls that are above their reservation
/// are about to end.
const RESERVE_PATIENCE: Duration = Duration::from_millis(100);

/// How long what the machine has left is believed. Asking takes some 30 µs, more than a small call.
const MACHINE_ASKED_EVERY: Duration = Duration::from_millis(20);

/// How long it is believed while calls have no more of it than one part in [`PLENTY_SHARE`]: so much they may take of what other processes
/// have taken since.
const PLENTY_ASKED_EVERY: Duration = Duration::from_secs(2);

/// The part of what the machine has for calls, below which there is more than enough.
const PLENTY_SHARE: u64 = 16;

/// What calls leave of what the machine has left: for the node itself, and for what changes until it is asked again.
const MACHINE_MARGIN_BYTES: u64 = 64 << 20;

/// How long a call waits for the machine to have what it needs, with nothing that it could be taken from. By then it is better off
/// elsewhere.
const MACHINE_PATIENCE: Duration = Duration::from_secs(5);

/// All memory that calls may have together.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    capacity_bytes: u64,
    /// Reserved or used, whichever is more, of each call.
    held_bytes: AtomicU64,
    machine: Machine,
    /// Whoever waits to have memory reserved, in turn: else a call that needs much would never find so much free at one time.
    turn: tokio::sync::Mutex<()>,
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

/// What the machine has for calls: what they have of it, and what is left, which others take from, too.
struct Machine {
    bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    /// [`MACHINE_PATIENCE`]; less in tests.
    patience: Duration,
    last: Mutex<Option<(Instant, u64)>>,
}

impl Machine {
    /// What the machine has for calls, of which they would hold so much.
    fn bytes(&self, held: u64) -> u64 {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((asked, bytes)) if asked.elapsed() < MACHINE_ASKED_EVERY => bytes,
            Some((asked, bytes)) if asked.elapsed() < PLENTY_ASKED_EVERY && held <= bytes / PLENTY_SHARE => bytes,
            _ => self.ask(),
        }
    }

    fn ask(&self) -> u64 {
        let bytes = (self.bytes)().saturating_sub(MACHINE_MARGIN_BYTES);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), bytes));
        bytes
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("last", &self.last).finish_non_exhaustive()
    }
}

/// The machine does not have what a call needs, and it is not this node's calls that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has only {} MiB of memory for calls, of which they have {}, and this one needs {}", .machine_bytes >> 20, .held_bytes >> 20, .needed_bytes >> 20)]
pub(crate) struct MachineIsShort {
    machine_bytes: u64,
    held_bytes: u64,
    needed_bytes: u64,
}

/// Whose memory does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    /// What this node gives to calls.
    Node,
    /// What the machine really has.
    Machine,
}

impl NodeMemory {
    /// Memory of which calls may have so much together, and no more than `machine_bytes` says that the machine has for them: what
    /// this process has taken, and what is left.
    pub(crate) fn new(capacity_bytes: u64, machine_bytes: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            capacity_bytes,
            held_bytes: AtomicU64::new(0),
            machine: Machine { bytes: Box::new(machine_bytes), patience: MACHINE_PATIENCE, last: Mutex::default() },
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            overdrawn: Mutex::default(),
        })
    }

    /// Looks at what the machine has left, so that the next call need not.
    pub(crate) fn ask_machine(&self) {
        self.machine.ask();
    }

    /// What calls hold, reserved or used, whichever is more.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Waits until this much is free, and reserves it. More than there is at all is the same as all. Waits for the machine only
    /// so long: what other processes have, nobody here can give back.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, MachineIsShort> {
        let bytes = bytes.min(self.capacity_bytes);
        // Where nobody waits and there is enough, as is usual, nothing else is looked at.
        if let Ok(_turn) = self.turn.try_lock()
            && self.take(bytes).is_ok()
        {
            return Ok(Reservation::new(Arc::clone(self), bytes));
        }
        let _turn = self.turn.lock().await;
        let mut machine_short_since = None;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that what changes in between is not missed.
            freed.as_mut().enable();
            match self.take(bytes) {
                Ok(()) => return Ok(Reservation::new(Arc::clone(self), bytes)),
                Err(Short::Node) => machine_short_since = None,
                Err(Short::Machine) => {
                    let since = *machine_short_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.machine.patience {
                        let held_bytes = self.held_bytes();
                        let machine_bytes = self.machine.bytes(held_bytes);
                        return Err(MachineIsShort { machine_bytes, held_bytes, needed_bytes: bytes });
                    }
                }
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

    fn take(&self, bytes: u64) -> Result<(), Short> {
        // What is promised to calls and not used yet is still to come out of what the machine has left.
        let machine_bytes = self.machine.bytes(self.held_bytes().saturating_add(bytes));
        let mut short = Short::Node;
        let taken = self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let held = held.saturating_add(bytes);
            short = if held > self.capacity_bytes { Short::Node } else { Short::Machine };
            (held <= self.capacity_bytes.min(machine_bytes)).then_some(held)
        });
        taken.map(|_| ()).map_err(|_| short)
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
    fn new(memory: Arc<NodeMemory>, bytes: u64) -> Self {
        Self { memory, reserved_bytes: bytes, held_bytes: bytes, overdraft: Arc::default() }
    }

    /// Sees that the call can have this much in total.
    pub(crate) fn grow(&mut self, total_bytes: u64) -> Result<(), NoMemory> {
        if total_bytes <= self.held_bytes {
            return Ok(());
        }
        if self.memory.take(total_bytes - self.held_bytes).is_ok() {
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

    /// On a machine where there always is enough.
    fn memory(capacity_bytes: u64) -> Arc<NodeMemory> {
        NodeMemory::new(capacity_bytes, || u64::MAX)
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_reserved_is_had_from_who_has_most_beyond_its_own() {
        let memory = memory(100);
        let (mut modest, mut greedy) = (memory.reserve(10).await.unwrap(), memory.reserve(10).await.unwrap());
        assert_eq!((modest.grow(20), greedy.grow(60)), (Ok(()), Ok(())));
        let (modest_is_stopped, greedy_is_stopped) = (modest.overdraft(), greedy.overdraft());
        let waiting = memory.reserve(50);
        let called_in = async {
            greedy_is_stopped.called_in().await;
            drop(greedy);
        };
        let (reserved, ()) = tokio::join!(waiting, called_in);
        assert_eq!(reserved.unwrap().held_bytes, 50);
        assert!(now(modest_is_stopped.called_in()).is_none());
        assert_eq!(memory.overdrawn().len(), 1);
    }

    #[tokio::test]
    async fn a_call_may_take_what_nobody_has_reserved_and_no_more() {
        let memory = memory(100);
        let mut greedy = memory.reserve(10).await.unwrap();
        let modest = memory.reserve(30).await.unwrap();
        assert_eq!(greedy.grow(70), Ok(()));
        assert_eq!(greedy.grow(71), Err(NoMemory::Short));
        drop(modest);
        assert_eq!(greedy.grow(100), Ok(()));
        drop(greedy);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn what_the_whole_node_does_not_have_is_not_waited_for() {
        let memory = memory(100);
        let mut all = memory.reserve(u64::MAX).await.unwrap();
        assert_eq!(all.grow(100), Ok(()));
        assert_eq!(all.grow(101), Err(NoMemory::TooLittle));
    }

    #[tokio::test]
    async fn who_waits_is_admitted_when_memory_is_free() {
        let memory = memory(100);
        let first = memory.reserve(80).await.unwrap();
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.reserve(50).await.unwrap().held_bytes }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 50);
    }

    #[tokio::test]
    async fn what_the_machine_does_not_have_is_not_given() {
        const MIB: u64 = 1 << 20;
        let left = Arc::new(AtomicU64::new(MACHINE_MARGIN_BYTES + 100 * MIB));
        let bytes = Arc::clone(&left);
        let mut memory = NodeMemory::new(1000 * MIB, move || bytes.load(Ordering::Relaxed));
        Arc::get_mut(&mut memory).unwrap().machine.patience = Duration::ZERO;
        let mut first = memory.reserve(60 * MIB).await.unwrap();
        // 60 are promised, though the machine still has them.
        let short = memory.reserve(50 * MIB).await.unwrap_err();
        assert_eq!((short.held_bytes, short.needed_bytes), (60 * MIB, 50 * MIB));
        assert_eq!(first.grow(110 * MIB), Err(NoMemory::Short));
        assert_eq!(first.grow(60 * MIB), Ok(()));
        assert!(memory.reserve(40 * MIB).await.is_ok());
        drop(first);
        assert!(memory.reserve(100 * MIB).await.is_ok());
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_call_that_has_waited_long_for_others_is_admitted_when_they_end() {
        let mut memory = memory(100);
        Arc::get_mut(&mut memory).unwrap().machine.patience = Duration::ZERO;
        let first = memory.reserve(100).await.unwrap();
        let waiting = memory.reserve(50);
        tokio::pin!(waiting);
        // Past the first look, and into the wait.
        assert!(now(waiting.as_mut()).is_none());
        drop(first);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_first_is_admitted_first() {
        let memory = memory(100);
        let (first, second) = (memory.reserve(60).await.unwrap(), memory.reserve(40).await.unwrap());
        let large = memory.reserve(100);
        let small = memory.reserve(10);
        tokio::pin!(large, small);
        assert!(now(large.as_mut()).is_none());
        // It would fit; then the large one never would.
        drop(second);
        assert!(now(small.as_mut()).is_none());
        drop(first);
        let large = large.await.unwrap();
        assert!(now(small.as_mut()).is_none());
        drop(large);
        assert!(small.await.is_ok());
    }
}
