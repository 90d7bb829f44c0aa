//! What there is on a grid: its nodes and its jobs. An edge file: generated types stop here.

use std::time::Duration;

use burla_proto::convert::{self, InvalidMessage};
use burla_proto::v1::{self, list_nodes_response};
use burla_types::{GridError, JobId, Peer, Resources, Usage};

use crate::block_on::block_on;
use crate::connection::{self, Connection};
use crate::{Error, Grid, JobInfo, JobOptions, JobState, NodeInfo, Result};

impl Grid {
    /// The nodes of the grid. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) where the scheduler cannot be reached or speaks another protocol.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        self.ask(async |connection| {
            let request = v1::ListNodesRequest { client: Some(Peer::this().into()) };
            let answer = connection.client.list_nodes(request).await.map_err(|status| connection.error(status))?;
            answer.into_inner().nodes.into_iter().map(node).collect()
        })
    }

    /// The open jobs of the grid. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) where the scheduler cannot be reached or speaks another protocol.
    pub fn jobs(&self) -> Result<Vec<JobInfo>> {
        self.list_jobs(false)
    }

    /// The jobs of the grid, with those that have ended, as far as the grid remembers them. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) where the scheduler cannot be reached or speaks another protocol.
    pub fn jobs_with_ended(&self) -> Result<Vec<JobInfo>> {
        self.list_jobs(true)
    }

    fn list_jobs(&self, ended: bool) -> Result<Vec<JobInfo>> {
        self.ask(async |connection| {
            let request = v1::ListJobsRequest { client: Some(Peer::this().into()), ended };
            let answer = connection.client.list_jobs(request).await.map_err(|status| connection.error(status))?;
            answer.into_inner().jobs.into_iter().map(job_info).collect()
        })
    }

    /// All that the grid knows of one job, open or ended. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Grid`](crate::Error::Grid) where the grid knows no such job; others where the scheduler cannot be reached or
    /// speaks another protocol.
    pub fn job_info(&self, job: JobId) -> Result<JobInfo> {
        self.ask(async |connection| ask_about(connection, job).await)
    }

    /// Ends the open job of this id: its calls stop, and its client gets [`Error::JobCanceled`](crate::Error::JobCanceled).
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::JobOver`](crate::Error::JobOver) where it has ended; [`Error::Grid`](crate::Error::Grid) where the grid knows no such
    /// job; others where the scheduler cannot be reached or speaks another protocol.
    pub fn cancel(&self, job: JobId) -> Result<()> {
        self.ask(async |connection| {
            let job_id = convert::job_id_bytes(job);
            let request = v1::CancelJobRequest { client: Some(Peer::this().into()), job_id, abandon: None };
            let refused = match connection.client.cancel_job(request).await {
                Ok(_) => return Ok(()),
                Err(status) => connection.error(status),
            };
            // That no such job is open may mean that it has ended, which is something else to whoever asks.
            if matches!(refused, Error::Grid(GridError::UnknownJob(_)))
                && let Ok(JobInfo { state, .. }) = ask_about(connection, job).await
                && state != JobState::Open
            {
                return Err(Error::JobOver { job, state });
            }
            Err(refused)
        })
    }

    fn ask<T>(&self, ask: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        // The question is asked on this thread, which may well be one of another runtime's; the connection lives on the client's.
        let _entered = connection::runtime().enter();
        block_on(async {
            let mut connection = Connection::open(self.url()).await?;
            ask(&mut connection).await
        })
    }
}

async fn ask_about(connection: &mut Connection, job: JobId) -> Result<JobInfo> {
    let request = v1::GetJobRequest { client: Some(Peer::this().into()), job_id: convert::job_id_bytes(job) };
    let answer = connection.client.get_job(request).await.map_err(|status| connection.error(status))?;
    let told = answer.into_inner().job.ok_or(GridError::UnknownJob(job))?;
    job_info(told)
}

fn node(it: list_nodes_response::Node) -> Result<NodeInfo> {
    let (capacity, taken) = (resources(it.capacity), resources(it.taken));
    Ok(NodeInfo {
        id: convert::node_id(&it.node_id).map_err(malformed)?,
        name: it.name,
        version: it.version,
        cpus: cpus(capacity),
        cpus_taken: cpus(taken),
        memory_bytes: capacity.memory_bytes,
        memory_bytes_taken: taken.memory_bytes,
        running: it.running,
        leaving: it.leaving,
        joined_seconds_ago: Duration::from_millis(it.joined_ms_ago).as_secs_f64(),
    })
}

/// Reads what the scheduler tells of a job.
pub(crate) fn job_info(it: v1::Job) -> Result<JobInfo> {
    let slot = resources(it.slot);
    let abandoned = || "the program that ran it stopped it, or went away".to_owned();
    let error = some_text(it.error.clone()).or_else(|| (it.state() == v1::job::State::Abandoned).then(abandoned));
    let usage: Usage = it.usage.unwrap_or_default().into();
    Ok(JobInfo {
        id: convert::job_id(&it.job_id).map_err(malformed)?,
        state: state(it.state(), it.stopped),
        name: it.name,
        function: it.function,
        error,
        detached: it.detached,
        expired: it.expired,
        calls_ended: it.calls_ended,
        calls_failed: it.calls_failed,
        failures: it.failures.into_iter().collect(),
        retried: it.retried,
        requeued: it.requeued,
        running: it.running,
        inputs: it.inputs,
        inputs_closed: it.inputs_closed,
        waiting: some_text(it.waiting),
        opened_seconds_ago: Duration::from_millis(it.opened_ms_ago).as_secs_f64(),
        ended_seconds_ago: it.ended_ms_ago.map(|ago| Duration::from_millis(ago).as_secs_f64()),
        nodes: it.nodes,
        cpus: cpus(slot),
        memory_bytes: slot.memory_bytes,
        fuel: usage.fuel,
        call_seconds: usage.wall_time.as_secs_f64(),
        memory_bytes_peak: usage.memory_bytes_peak,
        disk_bytes_written: usage.disk_bytes_written,
        options: it.options.map(job_options),
    })
}

fn state(it: v1::job::State, stopped: bool) -> JobState {
    match it {
        v1::job::State::Unspecified | v1::job::State::Open => JobState::Open,
        v1::job::State::Finished => JobState::Finished,
        v1::job::State::Canceled => JobState::Canceled,
        v1::job::State::Failed => JobState::Failed,
        v1::job::State::Abandoned if stopped => JobState::Stopped,
        v1::job::State::Abandoned => JobState::Abandoned,
    }
}

/// Nothing in it is relied on, so what is missing or cannot be read is left out.
fn job_options(it: v1::OpenJob) -> JobOptions {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let seconds = |milliseconds| Duration::from_millis(milliseconds).as_secs_f64();
    let work = it.work.unwrap_or_default();
    let limits = work.limits.unwrap_or_default();
    let mut env: Vec<_> = work.env.into_keys().collect();
    env.sort();
    JobOptions {
        component: convert::digest(&work.digest).ok().map(|digest| digest.to_string()),
        func_cpu: it.cpu_millis as f64 / 1000.0,
        func_ram: it.memory_bytes.map(gib),
        max_parallelism: it.max_parallelism,
        retries: it.retries,
        retry_exceeded: it.retries_exceeded,
        retry_pause_seconds: it.retry_pause_ms.map(seconds),
        retry_pause_max_seconds: it.retry_pause_ms_max.map(seconds),
        timeout_seconds: limits.wall_time_max_ms.map(seconds),
        fuel: limits.fuel_max,
        disk: limits.disk_bytes_max.map(gib),
        env,
        allow_network: limits.network,
        wants_output: work.wants_output,
    }
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The scheduler sent a message that cannot be read.
pub(crate) fn malformed(invalid: InvalidMessage) -> Error {
    Error::Protocol { reason: invalid.to_string() }
}

fn resources(it: Option<v1::Resources>) -> Resources {
    it.unwrap_or_default().into()
}

fn cpus(resources: Resources) -> f64 {
    resources.cpu_millis as f64 / 1000.0
}
