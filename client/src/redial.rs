//! Dialling again: what a job that the grid keeps does when its connection breaks, or the scheduler goes away for a while.

use std::time::Duration;

use burla_types::GridError;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::connection::CONNECT_TIMEOUT;
use crate::progress::{self, Progress};
use crate::{Error, Result};

/// The pause before the second try; the first is made at once. A scheduler that was started again listens after about as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause between two tries: people wait for it, and a dial a few hundred clients make every other second is nothing.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long it is tried. Longer than a machine takes to start anew, and short enough that a script does not wait for the weekend.
const TRYING_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a connection has to hold for the next try to be made at once again. One that breaks as soon as it is there, because of
/// what is asked over it, would otherwise be dialled as fast as that goes, and for ever.
const STEADY_TIME: Duration = PAUSE_MAX;

/// How long it is tried before people are told, where they have no line that shows it.
const NOTICE_DELAY: Duration = Duration::from_secs(1);

/// A connection that may break, and the tries to have it back.
pub(crate) struct Redial {
    /// Whether there has been a connection. An address at which nothing has ever answered may be wrong, and is an error at once.
    was_well: bool,
    /// Since when the connection has been well; `None` where it is not.
    well_since: Option<Instant>,
    /// The tries since a connection last held for a while.
    broken: Option<Broken>,
}

struct Broken {
    /// The time that was spent in tries and pauses. No difference of two times: what a machine or a process slept through would count
    /// as if it had been used to try.
    spent: Duration,
    /// Since when it is tried.
    trying_since: Instant,
    pause: Duration,
    told: bool,
}

impl Redial {
    pub(crate) fn new() -> Self {
        Self { was_well: false, well_since: None, broken: None }
    }

    /// Somebody answers at the address.
    pub(crate) fn reached(&mut self) {
        self.was_well = true;
    }

    /// The scheduler has answered.
    pub(crate) fn well(&mut self, progress: &Progress) {
        self.was_well = true;
        if self.well_since.is_none() {
            self.well_since = Some(Instant::now());
            progress.set_waiting(None);
        }
    }

    /// Returns when it is time to try again after `error`; or gives it back, where trying again would not help or has been tried
    /// for long enough.
    pub(crate) async fn pause(&mut self, error: Error, progress: &Progress) -> Result<()> {
        if !self.may_pass(&error) {
            return Err(error);
        }
        let now = Instant::now();
        if self.well_since.take().is_some_and(|since| now - since >= STEADY_TIME) {
            self.broken = None;
        }
        progress.set_waiting(Some(waiting_for(&error)));
        let Some(broken) = &mut self.broken else {
            tracing::debug!(error = &error as &dyn std::error::Error, "dialling again");
            self.broken = Some(Broken { spent: Duration::ZERO, trying_since: now, pause: PAUSE_MIN, told: false });
            return Ok(());
        };
        // No try takes longer than to connect does.
        broken.spent += (now - broken.trying_since).min(CONNECT_TIMEOUT);
        if broken.spent >= TRYING_MAX {
            return Err(error);
        }
        if broken.spent >= NOTICE_DELAY && !progress.has_line() && !std::mem::replace(&mut broken.told, true) {
            // Stderr may be full, or stopped with Ctrl-S; the connection's own task must not wait behind it.
            tokio::task::block_in_place(|| progress::tell(&format!("waiting: {}", waiting_for(&error))));
        }
        let pause = broken.pause;
        broken.pause = PAUSE_MAX.min(pause * 2);
        tokio::time::sleep(pause).await;
        broken.spent += pause;
        broken.trying_since = Instant::now();
        Ok(())
    }

    fn may_pass(&self, error: &Error) -> bool {
        match error {
            Error::Unreachable { .. } => self.was_well,
            // What the scheduler says without a reason of its own is the connection's doing, unless it does not know the question.
            Error::ConnectionLost { source, .. } => source.downcast_ref::<Status>().is_none_or(|status| {
                !matches!(status.code(), Code::Unimplemented | Code::InvalidArgument | Code::OutOfRange | Code::PermissionDenied)
            }),
            Error::Grid(GridError::ShuttingDown) => true,
            _ => false,
        }
    }
}

fn waiting_for(error: &Error) -> String {
    match error {
        Error::Grid(GridError::ShuttingDown) => "the scheduler is shutting down, and the job goes on when it is back".to_owned(),
        Error::Unreachable { url, .. } | Error::ConnectionLost { url, .. } => {
            format!("lost the connection to the grid at {url}, dialling again")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(status: Status) -> Error {
        Error::ConnectionLost { url: "http://127.0.0.1:1".to_owned(), source: status.into() }
    }

    fn unreachable() -> Error {
        Error::Unreachable { url: "http://127.0.0.1:1".to_owned(), source: "refused".into() }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut redial = Redial::new();
        assert!(!redial.may_pass(&unreachable()), "the address may be wrong");
        redial.well(&Progress::start(Some(false)));
        assert!(redial.may_pass(&unreachable()));
        assert!(redial.may_pass(&lost(Status::unavailable("gone"))));
        assert!(redial.may_pass(&Error::Grid(GridError::ShuttingDown)));
        assert!(!redial.may_pass(&lost(Status::unimplemented("an older scheduler"))));
        assert!(!redial.may_pass(&Error::Grid(GridError::Canceled)));
    }

    #[test]
    fn it_is_tried_at_once_then_more_and_more_slowly_and_not_for_ever() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let progress = Progress::start(Some(false));
        let mut redial = Redial::new();
        redial.well(&progress);
        let started = Instant::now();
        runtime.block_on(redial.pause(unreachable(), &progress)).unwrap();
        let broken = redial.broken.as_mut().unwrap();
        assert_eq!(broken.pause, PAUSE_MIN);
        assert!(started.elapsed() < PAUSE_MIN);
        broken.pause = Duration::ZERO;
        runtime.block_on(redial.pause(unreachable(), &progress)).unwrap();
        broken_for(&mut redial, TRYING_MAX);
        assert!(matches!(runtime.block_on(redial.pause(unreachable(), &progress)), Err(Error::Unreachable { .. })));
        redial.well(&progress);
        let error = runtime.block_on(redial.pause(unreachable(), &progress));
        assert!(error.is_err(), "a connection that breaks at once is none");
        redial.well(&progress);
        redial.well_since = redial.well_since.unwrap().checked_sub(STEADY_TIME);
        runtime.block_on(redial.pause(unreachable(), &progress)).unwrap();
    }

    fn broken_for(redial: &mut Redial, time: Duration) {
        let broken = redial.broken.as_mut().unwrap();
        broken.spent += time;
        broken.told = true;
    }
}
