//! A running job as messages: opens it, passes inputs on, shows what calls print, and passes outcomes back. Knows no user types.
//!
//! This is an edge file: generated types stop here.

use std::time::Duration;

use burla_proto::convert::{self, CallReport, Work};
use burla_proto::v1::{self, MapRequest, map_request::Request, map_response::Response};
use burla_types::{Outcome, VERSION};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::component::Component;
use crate::connection::Connection;
use crate::input_buffer::InputReceiver;
use crate::options::CheckedOptions;
use crate::{Error, Result, Stdout};

/// Messages that may wait for the connection. HTTP/2 holds back the sender; this only keeps it from waiting for each.
const REQUESTS_MAX: usize = 2;

/// How long a job waits before it says what for. Shorter waits are not worth a line.
const WAITING_NOTICE_DELAY: Duration = Duration::from_secs(1);

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
    pub(crate) stderr_tail: String,
}

/// What to run, and how.
pub(crate) struct Job {
    pub(crate) function: &'static str,
    pub(crate) component: Component,
    pub(crate) options: CheckedOptions,
}

impl Job {
    /// Runs the job to its end. Ends early when nobody receives outcomes any more.
    pub(crate) async fn run(self, inputs: InputReceiver, outcomes: mpsc::Sender<Vec<Ended>>) -> Result<()> {
        let mut connection = Connection::open(self.options.url.clone()).await?;
        connection.provide(&self.component).await?;

        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let open = MapRequest { request: Some(Request::Open(self.open())) };
        if requests.send(open).await.is_err() {
            return Ok(());
        }
        let responses = connection.client.map(ReceiverStream::new(receiver)).await;
        let responses = responses.map_err(|status| connection.error(status))?.into_inner();

        let mut responses = Responses { responses, stdout: self.options.stdout, notice: Notice::default() };
        // Both directions at once: a grid that has no room for more inputs may have outcomes to get rid of first. Inputs end when
        // the iterator does; the job ends when the scheduler says so, and only then.
        let sending = send_inputs(inputs, requests);
        let receiving = responses.receive(&connection, &outcomes);
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
            function: self.function.to_owned(),
            limits: options.limits.clone(),
            env: options.env.clone(),
            wants_output: options.stdout.wants_output(),
        };
        v1::OpenJob {
            version: VERSION.to_owned(),
            work: Some(work.into()),
            cpu_millis: options.cpu_millis,
            memory_bytes: options.memory_bytes,
            max_parallelism: options.max_parallelism,
            name: options.name.clone().unwrap_or_else(|| self.function.to_owned()),
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
    notice: Notice,
}

impl Responses {
    async fn receive(&mut self, connection: &Connection, outcomes: &mpsc::Sender<Vec<Ended>>) -> Result<()> {
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
                    let ended = self.handle(events)?;
                    if !ended.is_empty() && outcomes.send(ended).await.is_err() {
                        return Ok(());
                    }
                }
                Some(Response::Waiting(waiting)) => self.notice.set(waiting.reason),
                Some(Response::Opened(opened)) => tracing::debug!(job = ?opened.job_id, "job opened"),
                None => {}
            }
        }
    }

    /// Shows what was printed, in order, and keeps what ended.
    fn handle(&mut self, events: v1::CallEvents) -> Result<Vec<Ended>> {
        let mut ended = Vec::with_capacity(events.events.len());
        for event in events.events {
            let report = convert::call_report(event.event)
                .map_err(|invalid| burla_types::GridError::InvalidRequest { reason: invalid.to_string() })?;
            match report {
                CallReport::Printed(stream, lines) => {
                    // A terminal may be slow, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    tokio::task::block_in_place(|| self.stdout.show(event.index, stream, &lines)).map_err(Error::Print)?;
                }
                CallReport::Ended { outcome, stderr_tail } => ended.push(Ended { index: event.index, outcome, stderr_tail }),
            }
        }
        Ok(ended)
    }
}

/// What the job waits for, and when to say so.
#[derive(Default)]
struct Notice {
    waiting: Option<(tokio::time::Instant, String)>,
}

impl Notice {
    fn set(&mut self, reason: String) {
        self.waiting = (!reason.is_empty()).then(|| (tokio::time::Instant::now() + WAITING_NOTICE_DELAY, reason));
    }

    async fn due(&self) {
        match &self.waiting {
            Some((due, _)) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    #[expect(clippy::print_stderr, reason = "a job that waits must not be silent, and stderr is where people are told")]
    fn show(&mut self) {
        if let Some((_, reason)) = self.waiting.take() {
            eprintln!("burla: the job waits: {reason}");
        }
    }
}
