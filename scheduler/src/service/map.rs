//! Attached jobs: a client's stream of requests, decoded and passed on, and the stream of what it is told. An edge file: generated
//! types stop here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_proto::convert;
use burla_proto::v1::{self, map_request::Request as MapRequestKind, map_response::Response as MapResponseKind};
use burla_proto::{WireSize, status};
use burla_types::{GridError, JobId, LIMIT_PAYLOAD_BYTES_MAX};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, Streaming};

use crate::driver::{ClientHandles, DriverHandle, Gone, Opened, Resume, SessionNumber};
use crate::grid::event::{CallUpdate, ClientUpdate, Event, JobSpec, NodeLost, Progress, ResentInput};

/// Updates that are taken out of the outbox at one time, to become as few messages as may be.
const UPDATES_TOGETHER_MAX: usize = 64;

/// How long the answer to a job that came with all its inputs waits for the first thing that there is to tell. A small job on an
/// idle grid is over sooner, and all of it is one message.
const ANSWER_DELAY: Duration = Duration::from_millis(2);

/// Opens a job, or goes on with it.
pub(super) async fn open(
    driver: &DriverHandle,
    job: JobId,
    spec: JobSpec,
    mut options: v1::OpenJob,
    requests: Streaming<v1::MapRequest>,
) -> Result<Updates, Status> {
    let resume = options.resume.take();
    let resume = resume.map(|v1::open_job::Resume { events_taken, openings }| Resume { events_taken, openings });
    let (outbox, updates) = mpsc::unbounded_channel();
    let (inputs_paused, paused) = watch::channel(false);
    let stream = driver.next_number();
    // Whether a job is new its client knows, and the answer need not be waited for.
    let (opened, answer) = resume.map(|_| oneshot::channel()).unzip();
    let client = ClientHandles { stream, outbox, inputs_paused, opened };
    let is_reopened = resume.is_some();
    let asked = driver.open(job, spec, Arc::new(options), resume, client).await;
    asked.map_err(|error| status::to_status(&error))?;
    let opened = match answer {
        // It says why it is not answered on the way to the client.
        Some(answer) => answer.await.unwrap_or_default(),
        None => Opened::default(),
    };
    let gone = CancellationToken::new();
    let mut updates = Updates::new(job, opened, updates, driver.clone(), gone.clone().drop_guard());
    let requests =
        Requests { driver: driver.clone(), job, stream, requests, paused, gone, next_index: opened.next_index, is_reopened };
    // A small job's inputs came with it.
    let (closing, closed) = oneshot::channel();
    let mut taking = Box::pin(requests.take(closing));
    let _ = std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready())).await;
    let has_all = !closed.is_empty();
    tokio::spawn(taking);
    if has_all {
        // Its client has nothing more to send, so the bare answer would be a message for nothing.
        let _ = tokio::time::timeout(ANSWER_DELAY, updates.arrived()).await;
    }
    Ok(updates)
}

/// What a client says of its job.
struct Requests {
    driver: DriverHandle,
    job: JobId,
    stream: SessionNumber,
    requests: Streaming<v1::MapRequest>,
    /// Whether the grid has no room for inputs.
    paused: watch::Receiver<bool>,
    /// Nobody receives what the client is told.
    gone: CancellationToken,
    next_index: u64,
    /// Inputs may be missing, of calls that have ended.
    is_reopened: bool,
}

/// What a request comes to.
enum Said {
    Event(Event),
    Taken(u64),
    Abandoned(Gone),
}

impl Requests {
    /// Passes on what the client says until it says no more, and that it does not: it has ended the job, or the connection broke,
    /// and then it may be back. `closing` goes off when there are no more inputs.
    async fn take(mut self, closing: oneshot::Sender<()>) {
        let (driver, job, stream) = (self.driver.clone(), self.job, self.stream);
        let mut closing = Some(closing);
        loop {
            // Not reading is what holds the client back. The sender goes when the job is over.
            tokio::select! {
                may_read = self.paused.wait_for(|paused| !paused) => drop(may_read),
                () = self.gone.cancelled() => {}
            }
            let event = match self.next().await {
                Ok(Some(Said::Event(event))) => event,
                Ok(Some(Said::Taken(events))) => {
                    if driver.taken(job, stream, events).await.is_err() {
                        return;
                    }
                    continue;
                }
                Ok(Some(Said::Abandoned(why))) => return driver.client_gone(job, stream, why).await,
                // It has said all there is and hears the rest, or its connection is gone: one that does not answer looks the same.
                Ok(None) => {
                    self.gone.cancelled().await;
                    return driver.client_lost(job, stream, false).await;
                }
                Err(status) if is_malformed(&status) => malformed(job, status.message()),
                Err(_) => return driver.client_lost(job, stream, true).await,
            };
            let are_all = matches!(event, Event::InputsClosed(_));
            let is_last = matches!(event, Event::JobFailed(..));
            if driver.client_said(job, stream, event).await.is_err() {
                return;
            }
            if are_all {
                closing.take().map(|closing| closing.send(()));
            }
            if is_last {
                // It is told on the way back, and has nothing more to say that would matter.
                return driver.client_lost(job, stream, true).await;
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Said>, Status> {
        let job = self.job;
        let Some(request) = self.requests.message().await? else { return Ok(None) };
        Ok(Some(match request.request {
            None => Said::Event(malformed(job, "an empty request")),
            Some(MapRequestKind::Inputs(batch)) => match self.inputs(batch) {
                Ok(event) => Said::Event(event),
                Err(reason) => Said::Event(malformed(job, &reason)),
            },
            Some(MapRequestKind::InputsClosed(_)) => Said::Event(Event::InputsClosed(job)),
            Some(MapRequestKind::Taken(taken)) => Said::Taken(taken.events),
            Some(MapRequestKind::Abandon(abandon)) => Said::Abandoned(abandon.into()),
            Some(MapRequestKind::Open(_)) => Said::Event(malformed(job, "the job is open already")),
        }))
    }

    fn inputs(&mut self, batch: v1::InputBatch) -> Result<Event, String> {
        let v1::InputBatch { first_index, inputs, indices, shown } = batch;
        if indices.is_empty() {
            check_inputs(first_index, &inputs)?;
            let is_next = first_index == self.next_index;
            let is_later = self.is_reopened && first_index > self.next_index;
            if !is_next && !is_later {
                return Err(format!("inputs from index {first_index} on, where {} is next", self.next_index));
            }
            self.next_index = first_index + inputs.len() as u64;
            if is_next {
                return Ok(Event::InputsArrived(self.job, inputs));
            }
            let resent = |(index, input)| ResentInput { index, input, shown: [0; 2] };
            return Ok(Event::InputsResent(self.job, (first_index..).zip(inputs).map(resent).collect(), self.next_index));
        }
        if !self.is_reopened || indices.len() != inputs.len() {
            return Err("inputs with indices, where there is no reason for any or not one for each".to_owned());
        }
        if indices.first().is_some_and(|first| *first < self.next_index) || !indices.is_sorted_by(|a, b| a < b) {
            return Err("inputs that are sent again and are not in order".to_owned());
        }
        let mut shown = shown.into_iter().peekable();
        let mut resent = Vec::with_capacity(inputs.len());
        for (index, input) in indices.into_iter().zip(inputs) {
            check_inputs(index, std::slice::from_ref(&input))?;
            let shown = shown.next_if(|shown| shown.index == index).map_or([0; 2], |shown| [shown.stdout, shown.stderr]);
            resent.push(ResentInput { index, input, shown });
            self.next_index = index + 1;
        }
        Ok(Event::InputsResent(self.job, resent, self.next_index))
    }
}

fn malformed(job: JobId, reason: &str) -> Event {
    Event::JobFailed(job, GridError::InvalidRequest { reason: reason.to_owned() })
}

/// Whether the client sent what clients do not send; else the connection broke.
fn is_malformed(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument)
}

pub(super) fn check_inputs(first_index: u64, inputs: &[Bytes]) -> Result<(), String> {
    match inputs.iter().zip(first_index..).find(|(input, _)| input.len() > LIMIT_PAYLOAD_BYTES_MAX) {
        Some((input, index)) => {
            Err(format!("input {index} has {} bytes, and the limit is {LIMIT_PAYLOAD_BYTES_MAX}", input.len()))
        }
        None => Ok(()),
    }
}

/// What a job's client is told, as a stream of messages. Dropping it, which tonic does when the client goes away, is noticed where
/// its requests are read.
pub(super) struct Updates {
    job: JobId,
    updates: mpsc::UnboundedReceiver<ClientUpdate>,
    taken: Vec<ClientUpdate>,
    /// Messages made of what was taken out of the outbox last.
    ready: VecDeque<Result<v1::MapResponse, Status>>,
    driver: DriverHandle,
    ended: bool,
    _gone: DropGuard,
}

impl Updates {
    fn new(
        job: JobId,
        Opened { resumed, next_index }: Opened,
        updates: mpsc::UnboundedReceiver<ClientUpdate>,
        driver: DriverHandle,
        gone: DropGuard,
    ) -> Self {
        let opened = v1::JobOpened { job_id: convert::job_id_bytes(job), resumed, next_index };
        let ready = VecDeque::from([Ok(v1::MapResponse { response: Some(MapResponseKind::Opened(opened)) })]);
        Self { job, updates, taken: Vec::new(), ready, driver, ended: false, _gone: gone }
    }

    /// Waits until there is something to tell, and makes messages of it.
    async fn arrived(&mut self) {
        std::future::poll_fn(|context| self.poll_arrived(context)).await;
    }

    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if ready!(self.updates.poll_recv_many(context, &mut self.taken, UPDATES_TOGETHER_MAX)) == 0 {
            // The driver is gone, and with it the scheduler.
            self.taken.push(ClientUpdate::Ended(Err(GridError::ShuttingDown)));
        }
        self.encode_taken();
        Poll::Ready(())
    }

    fn tell(&self, event: Event) {
        let Some(event) = self.driver.try_tell(event) else { return };
        // A stream that is dropped with its runtime has nobody to tell any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let driver = self.driver.clone();
        runtime.spawn(async move {
            let _ = driver.tell(event).await;
        });
    }

    /// Makes messages of what was taken. Calls that ended one by one leave together.
    fn encode_taken(&mut self) {
        let messages = &mut self.ready;
        let mut events: Vec<v1::CallEvent> = Vec::new();
        let (mut bytes, mut bytes_taken) = (0, 0);
        for update in self.taken.drain(..) {
            let message = match update {
                ClientUpdate::Calls(calls) => {
                    for call in calls {
                        if burla_proto::batch_is_full(bytes, &call) {
                            messages.push_back(Ok(calls_message(&mut events)));
                            bytes = 0;
                        }
                        bytes += call.wire_bytes();
                        bytes_taken += call.held_bytes();
                        events.push(call_event(call));
                    }
                    continue;
                }
                ClientUpdate::Waiting(reason) => {
                    let waiting = v1::Waiting { reason: reason.unwrap_or_default() };
                    Some(Ok(v1::MapResponse { response: Some(MapResponseKind::Waiting(waiting)) }))
                }
                ClientUpdate::Progress(Progress { running, nodes }) => {
                    let progress = v1::Progress { running, nodes };
                    Some(Ok(v1::MapResponse { response: Some(MapResponseKind::Progress(progress)) }))
                }
                ClientUpdate::NodeLost(NodeLost { name, calls }) => {
                    let lost = v1::NodeLost { name, calls };
                    Some(Ok(v1::MapResponse { response: Some(MapResponseKind::NodeLost(lost)) }))
                }
                // Clients that ask are told.
                ClientUpdate::Tries(_) => None,
                ClientUpdate::Ended(result) => {
                    self.ended = true;
                    result.err().map(|error: GridError| Err(status::to_status(&error)))
                }
            };
            if !events.is_empty() {
                messages.push_back(Ok(calls_message(&mut events)));
                bytes = 0;
            }
            messages.extend(message);
        }
        if !events.is_empty() {
            messages.push_back(Ok(calls_message(&mut events)));
        }
        if bytes_taken > 0 && !self.ended {
            self.tell(Event::ClientTook(self.job, bytes_taken));
        }
    }
}

impl Stream for Updates {
    type Item = Result<v1::MapResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(message) = this.ready.pop_front() {
                return Poll::Ready(Some(message));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            ready!(this.poll_arrived(context));
        }
    }
}

fn calls_message(events: &mut Vec<v1::CallEvent>) -> v1::MapResponse {
    let events = v1::CallEvents { events: std::mem::take(events) };
    v1::MapResponse { response: Some(MapResponseKind::Events(events)) }
}

fn call_event(CallUpdate { index, report }: CallUpdate) -> v1::CallEvent {
    // Which attempt it was is between scheduler and node.
    convert::call_event(index, 0, report)
}
