//! What a job has on a node: slots, and the calls that were sent there and have not ended.

use std::collections::hash_map::Entry;
use std::time::Duration;

use burla_types::Attempt;
use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::event::{CallToRun, Timestamp};

/// How much work a slot should have waiting: what it takes for an outcome to travel to the scheduler and the next call back, on a
/// busy network. A slot with less would idle; with more, calls would wait behind each other while another node is free.
const QUEUE_TIME: Duration = Duration::from_millis(10);

/// Calls that may wait for one slot, however short they are: measured lengths say nothing certain about the next ones, and this
/// many that turn out to be long is all that is held up.
const QUEUED_PER_SLOT_MAX: u64 = 128;

/// Bytes of inputs that may wait at a node for one job beyond a call for every slot.
const QUEUED_BYTES_MAX: usize = 8 << 20;

/// How long no call of a lease may end, while others wait behind them, before those count as stuck. Five times what a slot is
/// meant to have waiting.
const STUCK_AFTER: Duration = Duration::from_millis(50);

/// Calls that a lease without any keeps room for. A job may have held slots on every node, so this is memory per idle node; a few
/// are kept so that a lease that is used now and then does not allocate each time.
const ROOM_KEPT: usize = 8;

/// A job's part of a node.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Calls of the job that may run there at one time.
    pub(crate) slots: u64,
    /// Slots that it occupies there: those, and the ones it has lost but whose calls have not ended yet.
    pub(crate) held: u64,
    /// What the node was last told of that; `None` before it was told of the job at all.
    pub(crate) slots_told: Option<u64>,
    /// Memory that was reserved for a slot when the node was last told.
    pub(crate) memory_bytes_told: u64,
    /// Calls that were sent and have not ended, by index. The scheduler itself numbers calls, so nobody can make them collide.
    pub(crate) sent: FxHashMap<u64, SentCall>,
    /// Bytes of their inputs.
    pub(crate) sent_bytes: usize,
    /// Since when it has had slots.
    pub(crate) since: Timestamp,
    /// When a call last ended there, or was sent to a lease that had none.
    last_moved: Timestamp,
    /// Calls that were sent so far.
    sent_total: u64,
    /// Calls were asked back, and the answer is not here.
    pub(crate) recalling: bool,
    /// Its calls turned out to be stuck: until one ends, no more are sent than can run.
    stuck: bool,
}

/// A call at a node. Its input is kept, in case the node is lost.
#[derive(Debug)]
pub(crate) struct SentCall {
    pub(crate) attempt: Attempt,
    pub(crate) losses: u32,
    pub(crate) failures: u32,
    /// When it was sent.
    pub(crate) since: Timestamp,
    /// Calls begin in the order in which they were sent.
    pub(crate) order: u64,
    /// `None` when the call has ended elsewhere. What the node will say of it means nothing, but it occupies a slot until then.
    pub(crate) input: Option<Bytes>,
}

impl Lease {
    /// Adds slots.
    pub(crate) fn grant(&mut self, now: Timestamp, slots: u64) {
        if self.slots == 0 {
            self.since = now;
        }
        self.slots += slots;
        self.held += slots;
    }

    /// Takes slots away. They stay occupied until [`settle`](Self::settle) says otherwise.
    pub(crate) fn revoke(&mut self, slots: u64) {
        self.slots = self.slots.saturating_sub(slots);
    }

    /// Gives up the slots that no call can be in any more, and returns how many those are. As long as slots have been taken away
    /// and their calls not ended, nothing is sent there, so the calls that are there are all that can run.
    pub(crate) fn settle(&mut self) -> u64 {
        let before = self.held;
        self.held = self.slots.max(before.min(self.sent.len() as u64));
        if self.held == 0 && self.sent.is_empty() && self.sent.capacity() > ROOM_KEPT {
            self.sent = FxHashMap::default();
        }
        before - self.held
    }

    /// How many more calls may be sent there now, when calls take `call_time`; `None` before any has ended.
    pub(crate) fn calls_wanted(&self, call_time: Option<Duration>) -> u64 {
        if self.held > self.slots || self.recalling {
            return 0;
        }
        let sent = self.sent.len() as u64;
        let per_slot = match call_time {
            Some(call_time) if !self.stuck => {
                1 + (nanoseconds(QUEUE_TIME) / nanoseconds(call_time).max(1)).min(QUEUED_PER_SLOT_MAX)
            }
            // The first tells how long they are.
            _ => 1,
        };
        self.slots.saturating_mul(per_slot).saturating_sub(sent)
    }

    /// Whether so many bytes wait there that only a slot without a call is worth another.
    pub(crate) fn is_full(&self) -> bool {
        self.sent_bytes > QUEUED_BYTES_MAX && self.sent.len() as u64 >= self.slots
    }

    /// Adds a call that is being sent.
    pub(crate) fn send(&mut self, now: Timestamp, call: &CallToRun) {
        if self.sent.is_empty() {
            self.last_moved = now;
        }
        self.sent_bytes += call.input.len();
        let CallToRun { index, attempt, losses, failures, ref input } = *call;
        let (order, input) = (self.sent_total, Some(input.clone()));
        self.sent.insert(index, SentCall { attempt, losses, failures, since: now, order, input });
        self.sent_total += 1;
    }

    /// Adds a call that runs there and is of no use: it occupies a slot until the node says that it has stopped.
    pub(crate) fn add_useless(&mut self, now: Timestamp, index: u64, attempt: Attempt) {
        let order = self.sent_total;
        self.sent.insert(index, SentCall { attempt, losses: 0, failures: 0, since: now, order, input: None });
        self.sent_total += 1;
    }

    /// Removes a call that ended or came back; `None` when this attempt at it is not here.
    pub(crate) fn remove(&mut self, index: u64, attempt: Attempt) -> Option<SentCall> {
        let removed = match self.sent.entry(index) {
            Entry::Occupied(sent) if sent.get().attempt == attempt => sent.remove(),
            _ => return None,
        };
        self.sent_bytes -= removed.input.as_ref().map_or(0, Bytes::len);
        Some(removed)
    }

    /// Removes a call that ended.
    pub(crate) fn end(&mut self, now: Timestamp, index: u64, attempt: Attempt) -> Option<SentCall> {
        let ended = self.remove(index, attempt)?;
        self.last_moved = now;
        self.stuck = false;
        Some(ended)
    }

    /// The call has ended elsewhere, or is going to. Returns it if it was open here.
    pub(crate) fn supersede(&mut self, index: u64) -> Option<CallToRun> {
        let sent = self.sent.get_mut(&index)?;
        let input = sent.input.take()?;
        self.sent_bytes -= input.len();
        Some(CallToRun { index, attempt: sent.attempt, losses: sent.losses, failures: sent.failures, input })
    }

    /// Calls that can be running.
    pub(crate) fn running(&self) -> u64 {
        self.held.min(self.sent.len() as u64)
    }

    /// Calls that wait behind those.
    pub(crate) fn waiting(&self) -> u64 {
        self.sent.len() as u64 - self.running()
    }

    /// Slots that no call needs any more, when there are no more to send.
    pub(crate) fn slots_idle(&self) -> u64 {
        self.slots.saturating_sub(self.sent.len() as u64)
    }

    /// Whether calls wait here while none has ended for so long that they had better go elsewhere.
    pub(crate) fn is_stuck(&self, now: Timestamp) -> bool {
        self.waiting() > 0 && !self.recalling && now.0.saturating_sub(self.last_moved.0) >= STUCK_AFTER
    }

    /// Its waiting calls are taken back because they are stuck.
    pub(crate) fn mark_stuck(&mut self) {
        self.stuck = true;
    }
}

/// Five hundred years and more are all the same.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(Duration::ZERO);

    fn lease(slots: u64, sent: u64) -> Lease {
        let mut lease = Lease::default();
        lease.grant(NOW, slots);
        for index in 0..sent {
            lease.send(NOW, &call(index, 0));
        }
        lease
    }

    fn call(index: u64, input_bytes: usize) -> CallToRun {
        CallToRun { index, attempt: Attempt::FIRST, losses: 0, failures: 0, input: Bytes::from(vec![0; input_bytes]) }
    }

    #[test]
    fn long_calls_wait_nowhere_and_short_ones_keep_slots_busy() {
        for (call_time, wanted) in [
            (None, 4),
            (Some(Duration::from_secs(1)), 4),
            (Some(Duration::from_millis(5)), 4 * 3),
            (Some(Duration::from_micros(20)), 4 * (1 + QUEUED_PER_SLOT_MAX)),
            (Some(Duration::ZERO), 4 * (1 + QUEUED_PER_SLOT_MAX)),
        ] {
            assert_eq!(lease(4, 0).calls_wanted(call_time), wanted, "{call_time:?}");
        }
        assert_eq!(lease(4, 4).calls_wanted(None), 0);
    }

    #[test]
    fn large_inputs_do_not_pile_up() {
        let mut lease = lease(2, 0);
        lease.send(NOW, &call(0, QUEUED_BYTES_MAX + 1));
        assert!(!lease.is_full(), "a slot is without a call");
        lease.send(NOW, &call(1, 0));
        assert!(lease.is_full());
    }

    #[test]
    fn only_the_attempt_that_was_sent_can_end() {
        let mut lease = lease(1, 1);
        assert!(lease.end(NOW, 0, Attempt(2)).is_none());
        assert!(lease.end(NOW, 0, Attempt::FIRST).is_some());
        assert!(lease.end(NOW, 0, Attempt::FIRST).is_none());
    }

    #[test]
    fn slots_that_were_taken_away_are_occupied_until_their_calls_have_ended() {
        let mut lease = lease(4, 6);
        lease.revoke(3);
        assert_eq!((lease.settle(), lease.held, lease.running()), (0, 4, 4));
        assert_eq!(lease.calls_wanted(Some(Duration::ZERO)), 0, "nothing is sent behind calls that are to end");
        for (index, freed) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 0)] {
            lease.end(NOW, index, Attempt::FIRST);
            assert_eq!(lease.settle(), freed, "after call {index}");
        }
        assert_eq!((lease.slots, lease.held), (1, 1));
    }

    #[test]
    fn calls_behind_one_that_does_not_end_are_stuck() {
        let after = |time| Timestamp(time);
        let mut lease = lease(1, 3);
        assert!(!lease.is_stuck(after(STUCK_AFTER / 2)));
        assert!(lease.is_stuck(after(STUCK_AFTER)));
        lease.mark_stuck();
        assert_eq!(lease.calls_wanted(Some(Duration::ZERO)), 0, "they would only be stuck again");
        lease.end(after(STUCK_AFTER), 0, Attempt::FIRST);
        assert!(lease.calls_wanted(Some(Duration::ZERO)) > 100);
    }
}
