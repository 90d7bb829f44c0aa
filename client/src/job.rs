//! A running job as messages: opens it, passes inputs on, shows what calls print, and passes outcomes back. Knows no user types.
//!
//! This is an edge file: generated types stop here.

use std::sync::Arc;
use std::time::Duration;

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport, Work};
use burla_proto::v1::{self, MapRequest, map_request::Request, map_response::Response};
use burla_types::{GridError, Outcome, Peer, Usage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::component::Component;
use crate::connection::Connection;
use crate::input_buffer::InputReceiver;
use crate::interrupt::Interrupt;
use crate::options::CheckedOptions;
use crate::progress::{self, Progress};
use crate::{CanceledBy, Error, Result, Stdout};

/// Messages that may wait for the connection. HTTP/2 holds back the sender; this only keeps it from waiting for each.
const REQUESTS_MAX: usize = 2;

/// How long a job waits before it says what for. Shorter waits are not worth a line.
const WAITING_NOTICE_DELAY: Duration = Duration::from_secs(1);

/// Bytes of outcomes that may wait for the user to take them. A single one may be larger, and then waits alone.
const OUTCOME_BYTES_MAX: usize = 16 << 20;

/// Bytes that a permit of the semaphore over them stands for, since it counts in 32 bits.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// Calls that ended, and the room they take.
pub(crate) struct EndedBatch {
    pub(crate) ended: Vec<Ended>,
    _room: OwnedSemaphorePermit,
}

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
    pub(crate) stderr_tail: String,
    pub(crate) usage: Usage,
}

/// What to run, and how.
pub(crate) struct Job {
    pub(crate) function: String,
    pub(crate) component: Component,
    pub(crate) options: CheckedOptions,
    pub(crate) progress: Arc<Progress>,
}

impl Job {
    /// Runs the job to its end. Ends early when nobody receives outcomes any more, or with a Ctrl-C.
    pub(crate) async fn run(self, inputs: InputReceiver, outcomes: mpsc::Sender<EndedBatch>, interrupt: Interrupt) -> Result<()> {
        let progress = Arc::clone(&self.progress);
        let canceled = |by| Err(Error::JobCanceled { by, calls_ended: progress.calls_ended() });
        tokio::select! {
            ended = self.run_uninterrupted(inputs, outcomes) => match ended {
                Err(Error::Grid(GridError::Canceled)) => canceled(CanceledBy::Operator),
                ended => ended,
            },
            () = interrupt.pressed() => canceled(CanceledBy::CtrlC),
        }
    }

    async fn run_uninterrupted(self, inputs: InputReceiver, outcomes: mpsc::Sender<EndedBatch>) -> Result<()> {
        let mut connection = Connection::open(self.options.url.clone()).await?;
        connection.provide(&self.component, |bytes| self.progress.uploading(bytes)).await?;
        self.progress.running();

        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let open = MapRequest { request: Some(Request::Open(self.open())) };
        if requests.send(open).await.is_err() {
            return Ok(());
        }
        let responses = connection.client.map(ReceiverStream::new(receiver)).await;
        let responses = responses.map_err(|status| connection.error(status))?.into_inner();

        let (progress, stdout) = (self.progress, self.options.stdout);
        let room = Arc::new(Semaphore::new(OUTCOME_BYTES_MAX / BYTES_PER_PERMIT));
        let mut responses = Responses { responses, stdout, progress, notice: Notice::default(), outcomes, room };
        // Both directions at once: a grid that has no room for more inputs may have outcomes to get rid of first. Inputs end when
        // the iterator does; the job ends when the scheduler says so, and only then.
        let sending = send_inputs(inputs, requests);
        let receiving = responses.receive(&connection);
        tokio::pin!(sending, receiving);
        tokio::select! {
            ended = &mut receiving => return ended,
            () = &mut sending => {}
        }
        receiving.await
    }

    fn open(&self) -> v1::OpenJob {
        let options = &self.options;
        let work = Work {
            digest: self.component.digest,
            function: self.function.clone(),
            limits: options.limits.clone(),
            env: options.env.clone(),
            wants_output: options.stdout.wants_output(),
        };
        v1::OpenJob {
            client: Some(Peer::this().into()),
            work: Some(work.into()),
            cpu_millis: options.cpu_millis,
            memory_bytes: options.memory_bytes,
            max_parallelism: options.max_parallelism,
            name: options.name.clone().unwrap_or_else(|| self.function.clone()),
        }
    }
}

/// Passes inputs on until there are none. When the user has dropped the job, the stream ends without `InputsClosed`, which the
/// scheduler takes for what it is: nobody waits for the outcomes any more.
async fn send_inputs(mut inputs: InputReceiver, requests: mpsc::Sender<MapRequest>) {
    while let Some(batch) = inputs.next_batch().await {
        let request = Request::Inputs(v1::InputBatch { first_index: batch.first_index, inputs: batch.inputs });
        if requests.send(MapRequest { request: Some(request) }).await.is_err() {
            // The stream is over, and the other half of the job says how.
            return;
        }
    }
    if inputs.finished() {
        let closed = Request::InputsClosed(v1::InputsClosed {});
        let _ = requests.send(MapRequest { request: Some(closed) }).await;
    }
}

/// What comes back from the scheduler.
struct Responses {
    responses: Streaming<v1::MapResponse>,
    stdout: Stdout,
    progress: Arc<Progress>,
    notice: Notice,
    outcomes: mpsc::Sender<EndedBatch>,
    room: Arc<Semaphore>,
}

impl Responses {
    async fn receive(&mut self, connection: &Connection) -> Result<()> {
        loop {
            let message = tokio::select! {
                message = self.responses.message() => message,
                () = self.notice.due() => {
                    self.notice.show();
                    continue;
                }
            };
            let Some(message) = message.map_err(|status| connection.error(status))? else { return Ok(()) };
            match message.response {
                Some(Response::Events(events)) => {
                    let (ended, bytes) = self.handle(events)?;
                    if ended.is_empty() {
                        continue;
                    }
                    // Not taking them off the connection is what holds the grid back.
                    let permits = bytes.min(OUTCOME_BYTES_MAX) / BYTES_PER_PERMIT;
                    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
                    // Nobody closes the semaphore.
                    let Ok(room) = Arc::clone(&self.room).acquire_many_owned(permits).await else { return Ok(()) };
                    if self.outcomes.send(EndedBatch { ended, _room: room }).await.is_err() {
                        return Ok(());
                    }
                }
                Some(Response::Waiting(waiting)) => {
                    let reason = (!waiting.reason.is_empty()).then_some(waiting.reason);
                    self.progress.set_waiting(reason.clone());
                    if !self.progress.has_line() {
                        self.notice.set(reason);
                    }
                }
                Some(Response::Progress(progress)) => self.progress.set_running(progress.running, progress.nodes),
                Some(Response::Opened(opened)) => tracing::debug!(job = ?opened.job_id, "job opened"),
                None => {}
            }
        }
    }

    /// Shows what was printed, in order, and keeps what ended, with the bytes of that.
    fn handle(&mut self, events: v1::CallEvents) -> Result<(Vec<Ended>, usize)> {
        let (mut ended, mut bytes) = (Vec::with_capacity(events.events.len()), 0);
        for event in events.events {
            let index = event.index;
            let report =
                convert::call_report(event).map_err(|invalid| GridError::InvalidRequest { reason: invalid.to_string() })?;
            let report_bytes = report.wire_bytes();
            match report {
                CallReport::Printed(stream, lines) => {
                    // A terminal may be slow, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    let stdout = &mut self.stdout;
                    let show = || stdout.show(index, stream, &lines);
                    tokio::task::block_in_place(|| self.progress.instead(show)).map_err(Error::Print)?;
                }
                CallReport::Ended { outcome, stderr_tail, usage } => {
                    bytes += report_bytes;
                    self.progress.call_ended(matches!(outcome, Outcome::Done(_)));
                    ended.push(Ended { index, outcome, stderr_tail, usage });
                }
            }
        }
        Ok((ended, bytes))
    }
}

/// What the job waits for, and when to say so.
#[derive(Default)]
struct Notice {
    waiting: Option<(tokio::time::Instant, String)>,
}

impl Notice {
    fn set(&mut self, reason: Option<String>) {
        let due = || tokio::time::Instant::now() + WAITING_NOTICE_DELAY;
        self.waiting = reason.map(|reason| (due(), progress::shown_reason(&reason)));
    }

    async fn due(&self) {
        match &self.waiting {
            Some((due, _)) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    fn show(&mut self) {
        if let Some((_, reason)) = self.waiting.take() {
            progress::tell(&format!("the job waits: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_line_without_commands() {
        let mut notice = Notice::default();
        notice.set(Some("no\nnode\x1b[2J".to_owned()));
        assert_eq!(notice.waiting.map(|(_, reason)| reason).as_deref(), Some("no node␛[2J"));
    }
}
