//! What clients ask, decoded; what they are answered, encoded. An edge file: generated types stop here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_proto::convert::{self, InvalidMessage, Work};
use burla_proto::v1::{
    self, list_jobs_response, list_nodes_response, map_request::Request as MapRequestKind,
    map_response::Response as MapResponseKind,
};
use burla_proto::{COMPONENT_BYTES_MAX, WireSize, status};
use burla_types::{
    CPU_MILLIS_MAX, CPU_MILLIS_MIN, DISK_BYTES_MAX, Digest, ENV_BYTES_MAX, GridError, JobId, LIMIT_PAYLOAD_BYTES_MAX,
    MEMORY_BYTES_MAX, NAME_BYTES_MAX, env_bytes,
};
use bytes::BytesMut;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{agree, refuse};
use crate::components::Components;
use crate::driver::{ClientHandles, DriverHandle};
use crate::grid::event::{CallUpdate, ClientUpdate, Event, JobSpec, Progress};
use crate::grid::overview::{JobOverview, NodeOverview};

/// Updates that are taken out of the outbox at one time, to become as few messages as may be.
const UPDATES_TOGETHER_MAX: usize = 64;

/// How long the answer to a job that came with all its inputs waits for the first thing that there is to tell. A small job on an
/// idle grid is over sooner, and all of it is one message.
const ANSWER_DELAY: Duration = Duration::from_millis(2);

pub(super) struct ClientService {
    driver: DriverHandle,
    components: Arc<Components>,
}

impl ClientService {
    pub(super) fn new(driver: DriverHandle, components: Arc<Components>) -> Self {
        Self { driver, components }
    }

    /// Reads and hashes a component, which takes milliseconds, where that may be done.
    async fn with_components<T: Send + 'static>(&self, act: impl FnOnce(&Components) -> T + Send + 'static) -> Result<T, Status> {
        let components = Arc::clone(&self.components);
        tokio::task::spawn_blocking(move || act(&components)).await.map_err(|error| Status::internal(error.to_string()))
    }
}

#[tonic::async_trait]
impl v1::client_api_server::ClientApi for ClientService {
    async fn offer_component(
        &self,
        request: Request<v1::OfferComponentRequest>,
    ) -> Result<Response<v1::OfferComponentResponse>, Status> {
        let offer = request.into_inner();
        agree(offer.client)?;
        let digest = convert::digest(&offer.digest).map_err(refuse)?;
        let known = self.with_components(move |components| components.has(digest)).await?;
        Ok(Response::new(v1::OfferComponentResponse { known }))
    }

    async fn upload_component(
        &self,
        request: Request<Streaming<v1::ComponentChunk>>,
    ) -> Result<Response<v1::UploadComponentResponse>, Status> {
        let mut chunks = request.into_inner();
        let mut digest: Option<Digest> = None;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = chunks.message().await? {
            if digest.is_none() {
                digest = Some(convert::digest(&chunk.digest).map_err(refuse)?);
            }
            if bytes.len() + chunk.data.len() > COMPONENT_BYTES_MAX {
                return Err(refuse(format!("the component is larger than {} MiB", COMPONENT_BYTES_MAX >> 20)));
            }
            bytes.extend_from_slice(&chunk.data);
        }
        let digest = digest.ok_or_else(|| refuse("an upload without a component"))?;
        let stored = self.with_components(move |components| components.put(digest, &bytes)).await?;
        stored.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::UploadComponentResponse {}))
    }

    type MapStream = Updates;

    async fn map(&self, request: Request<Streaming<v1::MapRequest>>) -> Result<Response<Updates>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|message| message.request);
        let Some(MapRequestKind::Open(open)) = first else { return Err(refuse("the first message does not open a job")) };
        agree(open.client.clone())?;
        let spec = job_spec(open).map_err(refuse)?;
        let (digest, function) = (spec.work.digest, spec.work.function.clone());
        let checked = match self.components.check_seen_function(digest, &function) {
            Some(checked) => checked,
            None => self.with_components(move |components| components.check_function(digest, &function)).await?,
        };
        checked.map_err(|error| status::to_status(&error))?;

        let (outbox, updates) = mpsc::unbounded_channel();
        let (inputs_paused, paused) = watch::channel(false);
        let job = self.driver.open(spec, ClientHandles { outbox, inputs_paused }).await;
        let job = job.map_err(|error| status::to_status(&error))?;
        let mut updates = Updates::new(job, updates, self.driver.clone());
        // A small job's inputs came with it.
        let mut taking = Box::pin(take_inputs(self.driver.clone(), job, requests, paused));
        let has_all = std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready())).await;
        if has_all {
            // Its client has nothing more to send, so the bare answer would be a message for nothing.
            let _ = tokio::time::timeout(ANSWER_DELAY, updates.arrived()).await;
        } else {
            tokio::spawn(taking);
        }
        Ok(Response::new(updates))
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesResponse>, Status> {
        agree(request.into_inner().client)?;
        let nodes = self.driver.nodes().await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::ListNodesResponse { nodes: nodes.into_iter().map(node).collect() }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        agree(request.into_inner().client)?;
        let jobs = self.driver.jobs().await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::ListJobsResponse { jobs: jobs.into_iter().map(job).collect() }))
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Result<Response<v1::CancelJobResponse>, Status> {
        let request = request.into_inner();
        agree(request.client)?;
        let job = convert::job_id(&request.job_id).map_err(refuse)?;
        self.driver.cancel(job).await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::CancelJobResponse {}))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn node(it: NodeOverview) -> list_nodes_response::Node {
    list_nodes_response::Node {
        node_id: convert::node_id_bytes(it.id),
        name: it.name,
        version: it.version,
        capacity: Some(it.capacity.into()),
        taken: Some(it.taken.into()),
        running: it.running,
        leaving: it.leaving,
        joined_ms_ago: milliseconds(it.joined_ago),
    }
}

fn job(it: JobOverview) -> list_jobs_response::Job {
    list_jobs_response::Job {
        job_id: convert::job_id_bytes(it.id),
        name: it.name,
        function: it.function,
        calls_ended: it.calls_ended,
        calls_failed: it.calls_failed,
        running: it.running,
        inputs: it.inputs,
        inputs_closed: it.inputs_closed,
        waiting: it.waiting.unwrap_or_default(),
        opened_ms_ago: milliseconds(it.opened_ago),
        slot: Some(it.slot.into()),
        usage: Some(it.usage.into()),
    }
}

fn job_spec(open: v1::OpenJob) -> Result<JobSpec, &'static str> {
    let malformed = |InvalidMessage(reason)| reason;
    let work = open.work.ok_or("a job without work")?;
    let work = Work::try_from(work).map_err(malformed)?;
    // The client checks these with better words; this is for clients that are not ours.
    if !(u64::from(CPU_MILLIS_MIN)..=u64::from(CPU_MILLIS_MAX)).contains(&open.cpu_millis) {
        return Err("func_cpu is not within 0.01 and 32");
    }
    if open.memory_bytes.is_some_and(|bytes| bytes == 0 || bytes > MEMORY_BYTES_MAX) {
        return Err("func_ram is not above 0 and up to 128 GiB");
    }
    let limit = work.limits.memory_bytes_max;
    if limit == 0 || limit > open.memory_bytes.unwrap_or(MEMORY_BYTES_MAX).min(MEMORY_BYTES_MAX) {
        return Err("the limit of a call's memory is not above 0 and up to what is reserved for it, or 128 GiB");
    }
    if env_bytes(&work.env) > ENV_BYTES_MAX {
        return Err("the environment is larger than 1 MiB");
    }
    if open.name.len().max(work.function.len()) > NAME_BYTES_MAX {
        return Err("a name is longer than 4096 bytes");
    }
    if work.limits.disk_bytes_max.is_some_and(|bytes| bytes == 0 || bytes > DISK_BYTES_MAX) {
        return Err("disk is not above 0 and up to 1024 GiB");
    }
    if !(u64::from(CPU_MILLIS_MIN)..=open.cpu_millis).contains(&work.limits.cpu_millis_max) {
        return Err("a call may use less than 0.01 CPUs, or more than are reserved for it");
    }
    if open.max_parallelism == Some(0) {
        return Err("max_parallelism is 0");
    }
    Ok(JobSpec {
        name: open.name,
        work: Arc::new(work),
        cpu_millis: open.cpu_millis,
        memory_bytes: open.memory_bytes,
        parallelism_max: open.max_parallelism.unwrap_or(u64::MAX),
    })
}

/// Passes a job's inputs on, for as long as there are any and the grid has room. A stream that breaks, or ends without closing
/// the inputs, is a client that is gone.
async fn take_inputs(
    driver: DriverHandle,
    job: JobId,
    mut requests: Streaming<v1::MapRequest>,
    mut paused: watch::Receiver<bool>,
) {
    let mut next_index = 0;
    loop {
        // Not reading is what holds the client back. The sender goes when the job ends.
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        let event = match requests.message().await.map(|message| message.map(|message| message.request)) {
            Err(status) if is_malformed(&status) => {
                Event::JobFailed(job, GridError::InvalidRequest { reason: status.message().to_owned() })
            }
            Ok(Some(None)) => Event::JobFailed(job, GridError::InvalidRequest { reason: "an empty request".to_owned() }),
            Ok(Some(Some(MapRequestKind::Inputs(batch)))) => match check_batch(&batch, next_index) {
                Ok(()) => {
                    next_index += batch.inputs.len() as u64;
                    Event::InputsArrived(job, batch.inputs)
                }
                Err(reason) => Event::JobFailed(job, GridError::InvalidRequest { reason }),
            },
            Ok(Some(Some(MapRequestKind::InputsClosed(_)))) => Event::InputsClosed(job),
            Ok(Some(Some(MapRequestKind::Open(_)))) => {
                Event::JobFailed(job, GridError::InvalidRequest { reason: "the job is open already".to_owned() })
            }
            Ok(None) | Err(_) => Event::JobAbandoned(job),
        };
        let is_last = !matches!(event, Event::InputsArrived(..));
        if driver.tell(event).await.is_err() || is_last {
            return;
        }
    }
}

/// Whether the client sent what clients do not send; else the connection broke.
fn is_malformed(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument)
}

fn check_batch(batch: &v1::InputBatch, next_index: u64) -> Result<(), String> {
    if batch.first_index != next_index {
        return Err(format!("inputs from index {} on, where {next_index} is next", batch.first_index));
    }
    match batch.inputs.iter().zip(next_index..).find(|(input, _)| input.len() > LIMIT_PAYLOAD_BYTES_MAX) {
        Some((input, index)) => {
            Err(format!("input {index} has {} bytes, and the limit is {LIMIT_PAYLOAD_BYTES_MAX}", input.len()))
        }
        None => Ok(()),
    }
}

/// What a job's client is told, as a stream of messages. Dropping it, which tonic does when the client goes away, abandons the
/// job.
pub(super) struct Updates {
    job: JobId,
    updates: mpsc::UnboundedReceiver<ClientUpdate>,
    taken: Vec<ClientUpdate>,
    /// Messages made of what was taken out of the outbox last.
    ready: VecDeque<Result<v1::MapResponse, Status>>,
    driver: DriverHandle,
    ended: bool,
}

impl Updates {
    fn new(job: JobId, updates: mpsc::UnboundedReceiver<ClientUpdate>, driver: DriverHandle) -> Self {
        let opened = v1::JobOpened { job_id: convert::job_id_bytes(job) };
        let ready = VecDeque::from([Ok(v1::MapResponse { response: Some(MapResponseKind::Opened(opened)) })]);
        Self { job, updates, taken: Vec::new(), ready, driver, ended: false }
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
                        bytes_taken += call.wire_bytes();
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

impl Drop for Updates {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Event::JobAbandoned(self.job));
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
