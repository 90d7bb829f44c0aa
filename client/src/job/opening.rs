//! Opening a job at the scheduler: the first time, and again when the connection broke.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_proto::v1::{self, MapRequest, map_request::Request, map_response::Response, open_job::Resume};
use burla_types::GridError;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::backoff::{Backoff, STEADY_TIME, is_break};
use crate::component::Component;
use crate::connection::Connection;
use crate::input_buffer::{InputReceiver, RequestStream};
use crate::progress::Progress;
use crate::{Error, Result};

/// How long it is tried to open a job of which no scheduler has said anything: enough for one that is killed to be started again,
/// and not much where what listens there is no scheduler.
const FIRST_TIME_MAX: Duration = Duration::from_secs(30);

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
    reconnect_time_max: Duration,
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
        let backoff = Backoff::new(reconnect_time_max);
        Self { url, open, component, inputs, progress, is_connected, openings: 0, reconnect_time_max, backoff }
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
        self.backoff.allow(FIRST_TIME_MAX.min(self.reconnect_time_max));
        let opened = self.again(broke, 0).await;
        self.backoff.allow(self.reconnect_time_max);
        Ok(opened?.0)
    }

    /// Opens the job again on a new connection, and tries to for as long as it is worth it. `events_taken` is what the client has
    /// of it.
    pub(super) async fn again(&mut self, broke: Error, events_taken: u64) -> Result<(Line, Again)> {
        let mut failed = broke;
        loop {
            self.is_connected.store(false, Ordering::Relaxed);
            let Some(pause) = self.backoff.next() else { return Err(self.lost(failed)) };
            let (broke, tries) = (self.broke_text(&failed), self.backoff.tries());
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
        if self.backoff.tries() > 0 && line.since.elapsed() >= STEADY_TIME {
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
            let reason = "it did not say first whether it has the job".to_owned();
            return Err(Error::Protocol { reason });
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
