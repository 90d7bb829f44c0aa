//! Dialing again: what a job that the grid keeps does when its connection breaks, or the scheduler goes away for a while.

use std::time::Duration;

use burla_types::GridError;
use tokio::time::Instant;

use crate::backoff::{Backoff, RECONNECT_TIME_MAX, STEADY_TIME, is_break};
use crate::progress::{self, Progress};
use crate::{Error, Result};

/// How long it is tried before people are told, where they have no line that shows it.
const NOTICE_DELAY: Duration = Duration::from_secs(1);

/// A connection that may break, and the tries to have it back.
pub(crate) struct Redial {
    /// Whether there has been a connection. An address at which nothing has ever answered may be wrong, and is an error at once.
    was_well: bool,
    /// Since when the connection has been well; `None` where it is not.
    well_since: Option<Instant>,
    backoff: Backoff,
    /// Since when the last try has lasted.
    trying_since: Option<Instant>,
    /// People were told of the break.
    told: bool,
}

impl Redial {
    pub(crate) fn new() -> Self {
        let backoff = Backoff::new(RECONNECT_TIME_MAX);
        Self { was_well: false, well_since: None, backoff, trying_since: None, told: false }
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
            self.backoff.reset();
            self.told = false;
        } else if let Some(since) = self.trying_since {
            self.backoff.tried(now - since);
        }
        progress.set_waiting(Some(waiting_for(&error)));
        let is_long = self.backoff.spent() >= NOTICE_DELAY;
        let Some(pause) = self.backoff.next() else { return Err(error) };
        tracing::debug!(error = &error as &dyn std::error::Error, tries = self.backoff.tries(), "dialing again");
        if is_long && !progress.has_line() && !std::mem::replace(&mut self.told, true) {
            // Stderr may be full, or stopped with Ctrl-S; the connection's own task must not wait behind it.
            tokio::task::block_in_place(|| progress::tell(&format!("waiting: {}", waiting_for(&error))));
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.trying_since = Some(Instant::now());
        Ok(())
    }

    fn may_pass(&self, error: &Error) -> bool {
        match error {
            Error::Unreachable { .. } => self.was_well,
            other => is_break(other),
        }
    }
}

fn waiting_for(error: &Error) -> String {
    match error {
        Error::Grid(GridError::ShuttingDown) => "the scheduler is shutting down, and the job goes on when it is back".to_owned(),
        Error::Unreachable { url, .. } | Error::ConnectionLost { url, .. } => {
            format!("lost the connection to the grid at {url}, dialing again")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

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
    fn it_is_tried_at_once_and_not_for_ever_but_anew_after_a_connection_that_held() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let progress = Progress::start(Some(false));
        let mut redial = Redial::new();
        redial.well(&progress);
        runtime.block_on(redial.pause(unreachable(), &progress)).unwrap();
        assert_eq!((redial.backoff.tries(), redial.backoff.spent()), (1, Duration::ZERO), "the first is made at once");
        redial.told = true;
        while redial.backoff.next().is_some() {}
        assert!(matches!(runtime.block_on(redial.pause(unreachable(), &progress)), Err(Error::Unreachable { .. })));
        redial.well(&progress);
        let error = runtime.block_on(redial.pause(unreachable(), &progress));
        assert!(error.is_err(), "a connection that breaks at once is none");
        redial.well(&progress);
        redial.well_since = redial.well_since.unwrap().checked_sub(STEADY_TIME);
        runtime.block_on(redial.pause(unreachable(), &progress)).unwrap();
        assert_eq!((redial.backoff.tries(), redial.told), (1, false), "the next break is another");
    }
}
