//! What clients ask, decoded; what they are answered, encoded. An edge file: generated types stop here.

use std::sync::Arc;
use std::time::Duration;

use burla_proto::convert::{self, InvalidMessage, Work};
use burla_proto::v1::{self, list_nodes_response, map_request::Request as MapRequestKind};
use burla_proto::{COMPONENT_BYTES_MAX, status};
use burla_types::{
    CPU_MILLIS_MAX, CPU_MILLIS_MIN, DISK_BYTES_MAX, Digest, ENV_BYTES_MAX, GridError, JobId, MEMORY_BYTES_MAX, NAME_BYTES_MAX,
    env_bytes,
};
use bytes::BytesMut;
use tonic::{Request, Response, Status, Streaming};

use super::{agree, follow, map, refuse, submit};
use crate::components::Components;
use crate::driver::{DriverHandle, Gone};
use crate::grid::event::{Before, JobSpec, RetryPauses};
use crate::grid::overview::NodeOverview;

/// How long who cancels a job waits for the disk to have it.
const END_KEPT_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct ClientService {
    driver: DriverHandle,
    components: Arc<Components>,
    /// Whether detached jobs outlive the process.
    is_durable: bool,
}

impl ClientService {
    pub(super) fn new(driver: DriverHandle, components: Arc<Components>, is_durable: bool) -> Self {
        Self { driver, components, is_durable }
    }

    /// What a job asks for, if its component is here and has the function.
    async fn checked_spec(&self, open: &v1::OpenJob) -> Result<JobSpec, Status> {
        let spec = job_spec(open.clone()).map_err(refuse)?;
        let (digest, function) = (spec.work.digest, spec.work.function.clone());
        let checked = match self.components.check_seen_function(digest, &function) {
            Some(checked) => checked,
            None => self.with_components(move |components| components.check_function(digest, &function)).await?,
        };
        checked.map_err(|error| status::to_status(&error))?;
        Ok(spec)
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
        let needed = self.driver.components().await.map_err(|error| status::to_status(&error))?;
        let stored = self.with_components(move |components| components.put(digest, &bytes, &needed)).await?;
        stored.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::UploadComponentResponse {}))
    }

    type MapStream = map::Updates;

    async fn map(&self, request: Request<Streaming<v1::MapRequest>>) -> Result<Response<map::Updates>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|message| message.request);
        let Some(MapRequestKind::Open(open)) = first else { return Err(refuse("the first message does not open a job")) };
        agree(open.client.clone())?;
        let spec = self.checked_spec(&open).await?;
        let job = convert::job_id(&open.job_id).map_err(refuse)?;
        map::open(&self.driver, job, spec, open, requests).await.map(Response::new)
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesResponse>, Status> {
        agree(request.into_inner().client)?;
        let nodes = self.driver.nodes().await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::ListNodesResponse { nodes: nodes.into_iter().map(node).collect() }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        agree(request.client)?;
        let jobs = self.driver.jobs(request.ended).await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::ListJobsResponse { jobs }))
    }

    type SubmitJobStream = submit::Answers;

    async fn submit_job(&self, request: Request<Streaming<v1::MapRequest>>) -> Result<Response<submit::Answers>, Status> {
        if !self.is_durable {
            let reason = "this grid ends with the program that has it, and keeps nothing: use one that stays, as `cargo burla up` \
                          or `burla-scheduler` run it";
            return Err(status::to_status(&GridError::CannotKeep { reason: reason.to_owned() }));
        }
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|message| message.request);
        let Some(MapRequestKind::Open(open)) = first else { return Err(refuse("the first message does not open a job")) };
        agree(open.client.clone())?;
        let spec = self.checked_spec(&open).await?;
        let job = convert::job_id(&open.job_id).map_err(refuse)?;
        submit::open(&self.driver, job, spec, open, requests).await.map(Response::new)
    }

    type FollowJobStream = follow::Answers;

    async fn follow_job(&self, request: Request<v1::FollowJobRequest>) -> Result<Response<follow::Answers>, Status> {
        let request = request.into_inner();
        agree(request.client.clone())?;
        follow::follow(&self.driver, request).await.map(Response::new)
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let request = request.into_inner();
        agree(request.client)?;
        let job = convert::job_id(&request.job_id).map_err(refuse)?;
        let job = self.driver.job(job).await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Result<Response<v1::CancelJobResponse>, Status> {
        let request = request.into_inner();
        agree(request.client)?;
        let job = convert::job_id(&request.job_id).map_err(refuse)?;
        let why = request.abandon.map_or(Gone::Canceled, Gone::from);
        self.driver.cancel(job, why).await.map_err(|error| status::to_status(&error))?;
        self.end_is_kept(job).await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(v1::CancelJobResponse {}))
    }
}

impl ClientService {
    /// Waits until it is on the disk that a job has ended, if that is where it is kept: one that is told to be canceled must not be
    /// open again after a crash.
    async fn end_is_kept(&self, job: JobId) -> Result<(), GridError> {
        let Some(mut job) = self.driver.store.job(job) else { return Ok(()) };
        let is_kept = job.kept.wait_for(|kept| kept.ended || kept.expired);
        match tokio::time::timeout(END_KEPT_WITHIN, is_kept).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let trouble = self.driver.store.waits_for().unwrap_or_else(|| "much waits to be written".to_owned());
                let reason = format!(
                    "it has ended, and that is not on the disk yet: a scheduler that starts anew goes on with it ({trouble})"
                );
                Err(GridError::CannotKeep { reason })
            }
        }
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

/// The longest pause before a retry that a job may ask for: a call that waits holds its input in memory.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(3600);

fn pause(milliseconds: Option<u64>) -> Result<Option<Duration>, &'static str> {
    match milliseconds.map(Duration::from_millis) {
        Some(pause) if pause > RETRY_PAUSE_MAX => Err("a pause before a retry is longer than an hour"),
        pause => Ok(pause),
    }
}

/// What a job asks for, as it was opened.
pub(crate) fn job_spec(open: v1::OpenJob) -> Result<JobSpec, &'static str> {
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
        retries: open.retries,
        retries_exceeded: open.retries_exceeded,
        retry_pauses: RetryPauses::new(pause(open.retry_pause_ms)?, pause(open.retry_pause_ms_max)?),
        before: Before::default(),
    })
}
