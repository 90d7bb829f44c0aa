//! What a job has on a node: slots, and the calls that were sent there and have not ended.

use std::collections::HashMap;
use std::time::Duration;

use burla_types::Attempt;
use bytes::Bytes;

/// How much work a slot should have waiting: what it takes for an outcome to travel to the scheduler and the next call back, on a
/// busy network. A slot with less would idle; with more, calls would wait behind each other while another node is free.
const QUEUE_TIME: Duration = Duration::from_millis(10);

/// Calls that may wait for one slot, however short they are: measured lengths say nothing certain about the next ones, and this
/// many that turn out to be long is all that is held up.
const QUEUED_PER_SLOT_MAX: u64 = 128;

/// Bytes of inputs that may wait at a node for one job beyond a call for every slot.
const QUEUED_BYTES_MAX: usize = 8 << 20;

/// A job's part of a node.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Calls of the job that may run there at one time.
    pub(crate) slots: u64,
    /// What the node was last told of that; `None` before it was told of the job at all.
    pub(crate) slots_told: Option<u64>,
    /// Calls that were sent and have not ended, by index.
    pub(crate) sent: HashMap<u64, SentCall>,
    /// Bytes of their inputs.
    pub(crate) sent_bytes: usize,
}

/// A call at a node. Its input is kept, in case the node is lost.
#[derive(Debug)]
pub(crate) struct SentCall {
    pub(crate) attempt: Attempt,
    pub(crate) input: Bytes,
}

impl Lease {
    /// How many more calls may be sent there now, when calls take `call_time`; `None` before any has ended.
    pub(crate) fn calls_wanted(&self, call_time: Option<Duration>) -> u64 {
        let sent = self.sent.len() as u64;
        let per_slot = match call_time {
            // The first tells how long they are.
            None => 1,
            Some(call_time) => {
                let waiting = QUEUE_TIME.as_nanos() / call_time.as_nanos().max(1);
                1 + u64::try_from(waiting).unwrap_or(u64::MAX).min(QUEUED_PER_SLOT_MAX)
            }
        };
        self.slots.saturating_mul(per_slot).saturating_sub(sent)
    }

    /// Whether so many bytes wait there that only a slot without a call is worth another.
    pub(crate) fn is_full(&self) -> bool {
        self.sent_bytes > QUEUED_BYTES_MAX && self.sent.len() as u64 >= self.slots
    }

    /// Adds a call that is being sent.
    pub(crate) fn send(&mut self, index: u64, attempt: Attempt, input: Bytes) {
        self.sent_bytes += input.len();
        self.sent.insert(index, SentCall { attempt, input });
    }

    /// Removes a call that ended; `None` when this attempt at it is not here.
    pub(crate) fn end(&mut self, index: u64, attempt: Attempt) -> Option<SentCall> {
        if self.sent.get(&index)?.attempt != attempt {
            return None;
        }
        let ended = self.sent.remove(&index)?;
        self.sent_bytes -= ended.input.len();
        Some(ended)
    }

    /// Slots that no call needs any more, when there are no more to send.
    pub(crate) fn slots_idle(&self) -> u64 {
        self.slots.saturating_sub(self.sent.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(slots: u64, sent: u64) -> Lease {
        let mut lease = Lease { slots, ..Lease::default() };
        for index in 0..sent {
            lease.send(index, Attempt::FIRST, Bytes::new());
        }
        lease
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
        lease.send(0, Attempt::FIRST, Bytes::from(vec![0; QUEUED_BYTES_MAX + 1]));
        assert!(!lease.is_full(), "a slot is without a call");
        lease.send(1, Attempt::FIRST, Bytes::new());
        assert!(lease.is_full());
    }

    #[test]
    fn only_the_attempt_that_was_sent_can_end() {
        let mut lease = lease(1, 1);
        assert!(lease.end(0, Attempt(2)).is_none());
        assert!(lease.end(0, Attempt::FIRST).is_some());
        assert!(lease.end(0, Attempt::FIRST).is_none());
    }
}
