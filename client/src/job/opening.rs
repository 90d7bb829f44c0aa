//! Opening a job at the scheduler: the first time, and again when the connection broke.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_proto::v1::{self, MapRequest, map_request::Request, map_response::Response, open_job::Resume};
use burla_types::GridError;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use crate::component::Component;
use crate::connection::{CONNECT_TIMEOUT, Connection};
use crate::input_buffer::{InputReceiver, RequestStream};
use crate::progress::Progress;
use crate::{Error, Result};

/// For how long a connection that broke is tried to be replaced: a scheduler that is restarted is back in seconds, one that is
/// moved to another machine in minutes, and after that someone should know.
pub(crate) const RECONNECT_TIME_MAX: Duration = Duration::from_secs(600);

/// The same for a job of which no scheduler has said anything: enough for one that is killed to be started again, and not much where
/// what listens there is no scheduler.
const FIRST_TIME_MAX: Duration = Duration::from_secs(30);

/// The pause before the second try, the first being made at once, and the longest. Each is twice the one before: short, because
/// calls wait for us; and no shorter, because so may a thousand clients of a scheduler that has just come back.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a connection has to hold for the next try to be made at once again.
const STEADY_TIME: Duration = PAUSE_MAX;

/// A connection on which the job is open.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) responses: Streaming<v1::MapResponse>,
    since: Instant,
}

/// What the scheduler made of a job that was opened again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Again {
    /// It still had it.
    Resumed,
    /// It knew nothing of it.
    Anew,
}

/// What it takes to open the job, as often as it has to be.
pub(super) struct Opening<'a> {
    url: String,
    open: v1::OpenJob,
    component: Component,
    inputs: &'a InputReceiver,
    progress: Arc<Progress>,
    /// Whether there is a connection on which the scheduler can be told that the job is not wanted any more.
    is_connected: &'a AtomicBool,
    /// How often the job was opened, whether an answer came or not.
    openings: u32,
    backoff: Backoff,
}

impl<'a> Opening<'a> {
    pub(super) fn new(
        url: String,
        open: v1::OpenJob,
        component: Component,
        inputs: &'a InputReceiver,
        progress: Arc<Progress>,
        is_connected: &'a AtomicBool,
        reconnect_time_max: Duration,
    ) -> Self {
        let backoff = Backoff { tries: 0, spent: Duration::ZERO, spent_max: reconnect_time_max };
        Self { url, open, component, inputs, progress, is_connected, openings: 0, backoff }
    }

    /// Opens the job, and has its first inputs follow at once. A connection that was kept may have broken since, or lead to a
    /// scheduler that is gone: then the job is opened again on a new one. Where that breaks as well, before anything was answered,
    /// the scheduler may just have been killed, and is tried for a while.
    pub(super) async fn first(&mut self) -> Result<Line> {
        if let Some(connection) = Connection::kept(&self.url) {
            match self.on(connection, 0).await {
                Err(error) if is_break(&error) => self.is_connected.store(false, Ordering::Relaxed),
                opened => return Ok(opened?.0),
            }
        }
        let connection = Connection::open(&self.url).await?;
        let broke = match self.on(connection, 0).await {
            Err(error) if is_break(&error) => error,
            opened => return Ok(opened?.0),
        };
        let spent_max = self.backoff.spent_max;
        self.backoff.spent_max = FIRST_TIME_MAX.min(spent_max);
        let opened = self.again(broke, 0).await;
        self.backoff.spent_max = spent_max;
        Ok(opened?.0)
    }

    /// Opens the job again on a new connection, and tries to for as long as it is worth it. `events_taken` is what the client has
    /// of it.
    pub(super) async fn again(&mut self, broke: Error, events_taken: u64) -> Result<(Line, Again)> {
        let mut failed = broke;
        loop {
            self.is_connected.store(false, Ordering::Relaxed);
            let Some(pause) = self.backoff.next() else { return Err(self.lost(failed)) };
            let (broke, tries) = (self.broke_text(&failed), self.backoff.tries);
            tracing::debug!(%broke, tries, "reconnecting");
            self.progress.set_waiting(Some(format!("{broke} (try {tries})")));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let started = Instant::now();
            failed = match self.once_again(events_taken).await {
                Err(error) if is_break(&error) || matches!(error, Error::Unreachable { .. }) => error,
                opened => return opened,
            };
            self.backoff.tried(started.elapsed());
            // Of one whose calls have all ended meanwhile, nothing is missing.
            if self.inputs.is_abandoned() || self.inputs.all_ended() {
                return Err(failed);
            }
        }
    }

    async fn once_again(&mut self, events_taken: u64) -> Result<(Line, Again)> {
        let connection = Connection::open(&self.url).await?;
        self.on(connection, events_taken).await
    }

    /// The scheduler tells of the job. A connection that has held for a while is worth to be replaced at once if it breaks; one that
    /// breaks as soon as it is there, because of what is said over it, is not.
    pub(super) fn went_on(&mut self, line: &Line) {
        if self.backoff.tries > 0 && line.since.elapsed() >= STEADY_TIME {
            self.backoff.reset();
        }
    }

    /// What people are told while there is no connection.
    pub(super) fn broke_text(&self, broke: &Error) -> String {
        format!("the connection to the grid at {} broke; reconnecting: {}", self.url, cause(broke))
    }

    /// The error with which a job ends that could not be opened again.
    fn lost(&self, failed: Error) -> Error {
        match failed {
            lost @ Error::ConnectionLost { .. } => lost,
            other => Error::ConnectionLost { url: self.url.clone(), source: Box::new(other) },
        }
    }

    /// Opens the job on `connection`. A scheduler that does not have the component is given it.
    async fn on(&mut self, mut connection: Connection, events_taken: u64) -> Result<(Line, Again)> {
        self.is_connected.store(true, Ordering::Relaxed);
        let mut provided = false;
        loop {
            let (resume, rest) = match self.openings {
                0 => (None, self.inputs.open_first()),
                openings => (Some(Resume { events_taken, openings }), self.inputs.open_again()),
            };
            let open = v1::OpenJob { resume, ..self.open.clone() };
            match self.answer(&mut connection, Requests { open: Some(open), rest }).await {
                // It has not opened the job.
                Err(Error::Grid(GridError::UnknownComponent(_))) if !provided => {
                    connection.provide(&self.component, |bytes| self.progress.uploading(bytes)).await?;
                    provided = true;
                }
                answer => {
                    self.openings += 1;
                    let (responses, again) = answer?;
                    return Ok((Line { connection, responses, since: Instant::now() }, again));
                }
            }
        }
    }

    /// Sends what opens the job, and has what follows go on as the scheduler answers. To the first opening, that it answers at
    /// all is enough.
    async fn answer(&self, connection: &mut Connection, requests: Requests) -> Result<(Streaming<v1::MapResponse>, Again)> {
        let mut responses = connection.map(requests).await?;
        if self.openings == 0 {
            self.inputs.answered();
            return Ok((responses, Again::Anew));
        }
        let message = responses.message().await.map_err(|status| connection.error(status))?;
        let Some(message) = message else {
            return Err(connection.error(Status::unavailable("the stream ended before the job did")));
        };
        let Some(Response::Opened(opened)) = message.response else {
            let reason = "the scheduler did not say first whether it has the job".to_owned();
            return Err(GridError::InvalidRequest { reason }.into());
        };
        tracing::debug!(resumed = opened.resumed, next_index = opened.next_index, "job opened again");
        if opened.resumed {
            self.inputs.resumed(opened.next_index);
            Ok((responses, Again::Resumed))
        } else {
            self.inputs.forgotten();
            Ok((responses, Again::Anew))
        }
    }
}

/// Whether the connection broke, and not the scheduler has answered: then the job may go on, on another one.
pub(super) fn is_break(error: &Error) -> bool {
    match error {
        Error::Grid(GridError::ShuttingDown) => true,
        // These are answers, of a peer that is no scheduler, and would come again.
        Error::ConnectionLost { source, .. } => !source.downcast_ref::<Status>().is_some_and(|status| {
            matches!(status.code(), Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::OutOfRange)
        }),
        _ => false,
    }
}

/// What lies at the bottom of it.
fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}

/// When to try again.
struct Backoff {
    tries: u32,
    /// The time that was spent in pauses and in tries since the scheduler last told of the job. No difference of two times: what a
    /// machine or a process slept through would count as if it had been used to try.
    spent: Duration,
    spent_max: Duration,
}

impl Backoff {
    /// How long to pause before the next try; `None` when there is to be none.
    fn next(&mut self) -> Option<Duration> {
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
    fn tried(&mut self, took: Duration) {
        self.spent += took.min(CONNECT_TIMEOUT);
    }

    fn reset(&mut self) {
        (self.tries, self.spent) = (0, Duration::ZERO);
    }
}

/// Between a half and 1, so that clients which lost the same scheduler do not all come back in the same moment.
fn jitter() -> f64 {
    // Its keys are random, and others each time.
    let random = RandomState::new().hash_one(());
    0.5 + (random >> 11) as f64 / (1u64 << 54) as f64
}

/// What goes to the scheduler: the job, and what follows. The stream stays open until the job is over, since there is always more
/// to say: what of the answer has come, or that the job is not wanted any more.
///
/// The connection takes from it what it has room for, and puts messages that are ready together into one write.
struct Requests {
    open: Option<v1::OpenJob>,
    rest: RequestStream,
}

impl Stream for Requests {
    type Item = MapRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<MapRequest>> {
        let request = match self.open.take() {
            Some(open) => Some(Request::Open(open)),
            None => ready!(self.rest.poll_next(context)),
        };
        Poll::Ready(request.map(|request| MapRequest { request: Some(request) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_after_what_they_may_take() {
        let mut backoff = Backoff { tries: 0, spent: Duration::ZERO, spent_max: RECONNECT_TIME_MAX };
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
        let mut backoff = Backoff { tries: 0, spent: Duration::ZERO, spent_max: RECONNECT_TIME_MAX };
        assert!(backoff.next().is_some());
        backoff.tried(Duration::from_secs(3600));
        assert!(backoff.spent <= CONNECT_TIMEOUT);
        assert!(backoff.next().is_some());
    }

    #[test]
    fn what_a_peer_that_is_no_scheduler_answers_is_no_break() {
        let lost = |code| Error::ConnectionLost { url: String::new(), source: Status::new(code, "x").into() };
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled] {
            assert!(is_break(&lost(code)), "{code:?}");
        }
        assert!(is_break(&Error::Grid(GridError::ShuttingDown)));
        assert!(!is_break(&lost(Code::Unimplemented)));
        assert!(!is_break(&Error::Grid(GridError::Canceled)));
    }
}
