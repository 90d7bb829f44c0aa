//! When to dial again, after a connection to a scheduler broke.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use burla_types::GridError;
use tonic::{Code, Status};

use crate::Error;
use crate::connection::CONNECT_TIMEOUT;

/// For how long a connection that broke is tried to be replaced: a scheduler that is restarted is back in seconds, one that is
/// moved to another machine in minutes, and after that someone should know.
pub(crate) const RECONNECT_TIME_MAX: Duration = Duration::from_secs(600);

/// How long a connection has to hold for the next try to be made at once again. One that breaks as soon as it is there, because of
/// what is said over it, would otherwise be dialed as fast as that goes, and for ever.
pub(crate) const STEADY_TIME: Duration = PAUSE_MAX;

/// Whether the connection broke, as opposed to an answer of the scheduler: then a job, attached or detached, may go on over another
/// connection. An address at which nothing answers is neither, and may be wrong; the caller knows whether it was ever right.
pub(crate) fn is_break(error: &Error) -> bool {
    match error {
        Error::Grid(GridError::ShuttingDown) => true,
        // A status without a reason of Burla's own is the connection's doing. The codes below are answers, of a peer that is no
        // scheduler or does not know the question, and would come again.
        Error::ConnectionLost { source, .. } => source.downcast_ref::<Status>().is_none_or(|status| {
            !matches!(
                status.code(),
                Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::OutOfRange
            )
        }),
        _ => false,
    }
}

/// The pause before the second try, the first being made at once, and the longest. Each is twice the one before: short, because
/// someone waits for us; and no shorter, because so may a thousand clients of a scheduler that has just come back.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The tries since a connection last held for a while.
pub(crate) struct Backoff {
    tries: u32,
    /// The time that was spent in pauses and in tries. No difference of two times: what a machine or a process slept through would
    /// count as if it had been used to try.
    spent: Duration,
    spent_max: Duration,
}

impl Backoff {
    pub(crate) fn new(spent_max: Duration) -> Self {
        Self { tries: 0, spent: Duration::ZERO, spent_max }
    }

    /// How long to pause before the next try; `None` when there is to be none.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if self.spent >= self.spent_max {
            return None;
        }
        let pause = match self.tries {
            0 => Duration::ZERO,
            // Doubled five times, it is longer than the longest.
            tries => (PAUSE_MIN * (1 << (tries - 1).min(5))).min(PAUSE_MAX).mul_f64(jitter()),
        };
        self.tries += 1;
        self.spent += pause;
        Some(pause)
    }

    /// A try took this long, as the clock has it; no try takes longer than to connect does.
    pub(crate) fn tried(&mut self, took: Duration) {
        self.spent += took.min(CONNECT_TIMEOUT);
    }

    /// A connection has held for a while: the next that breaks is another.
    pub(crate) fn reset(&mut self) {
        (self.tries, self.spent) = (0, Duration::ZERO);
    }

    /// From now on, so much time may be spent in all.
    pub(crate) fn allow(&mut self, spent_max: Duration) {
        self.spent_max = spent_max;
    }

    /// The tries that were made, or are about to be.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// The time that was spent in them, and between them.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }
}

/// Between a half and 1, so that clients which lost the same scheduler do not all come back in the same moment.
fn jitter() -> f64 {
    // Its keys are random, and others each time.
    let random = RandomState::new().hash_one(());
    0.5 + (random >> 11) as f64 / (1u64 << 54) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_peer_that_is_no_scheduler_is_no_break() {
        let lost = |code| Error::ConnectionLost { url: String::new(), source: Status::new(code, "x").into() };
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled] {
            assert!(is_break(&lost(code)), "{code:?}");
        }
        for code in [Code::Unimplemented, Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument, Code::OutOfRange]
        {
            assert!(!is_break(&lost(code)), "{code:?}");
        }
        let lost = Error::ConnectionLost { url: String::new(), source: "reset".into() };
        assert!(is_break(&lost) && is_break(&Error::Grid(GridError::ShuttingDown)));
        assert!(!is_break(&Error::Grid(GridError::Canceled)));
        assert!(!is_break(&Error::Protocol { reason: String::new() }), "it would come again");
    }

    #[test]
    fn pauses_grow_to_a_bound_and_end_after_what_they_may_take() {
        let mut backoff = Backoff::new(RECONNECT_TIME_MAX);
        let pauses: Vec<_> = std::iter::from_fn(|| backoff.next()).collect();
        assert_eq!(pauses[0], Duration::ZERO);
        for (pause, full_ms) in pauses[1..].iter().zip([100, 200, 400, 800, 1600, 2000, 2000, 2000]) {
            let full = Duration::from_millis(full_ms);
            assert!((full / 2..=full).contains(pause), "{pause:?}");
        }
        let total: Duration = pauses.iter().sum();
        assert!((RECONNECT_TIME_MAX..RECONNECT_TIME_MAX + PAUSE_MAX).contains(&total), "{total:?}");
        backoff.reset();
        assert_eq!(backoff.next(), Some(Duration::ZERO), "the next break is another");
    }

    #[test]
    fn a_machine_that_slept_during_a_try_has_all_its_time_left() {
        let mut backoff = Backoff::new(RECONNECT_TIME_MAX);
        assert!(backoff.next().is_some());
        backoff.tried(Duration::from_secs(3600));
        assert!(backoff.spent <= CONNECT_TIMEOUT);
        assert!(backoff.next().is_some());
    }
}
