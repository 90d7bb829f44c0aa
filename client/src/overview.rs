//! What there is on a grid: its nodes and its open jobs. An edge file: generated types stop here.

use std::time::Duration;

use burla_proto::convert::{self, InvalidMessage};
use burla_proto::v1::{self, list_jobs_response, list_nodes_response};
use burla_types::{GridError, JobId, NodeId, Peer, Resources, Usage};
use serde::{Serialize, Serializer};

use crate::block_on::block_on;
use crate::connection::{self, Connection};
use crate::{Error, Grid, Result};

/// A node of a grid at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id: one for as long as it is connected.
    #[serde(serialize_with = "as_text")]
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its version of Burla.
    pub version: String,
    /// CPUs that calls may have together.
    pub cpus: f64,
    /// Of those, the ones that jobs have.
    pub cpus_taken: f64,
    /// Bytes of memory that calls may have together.
    pub memory_bytes: u64,
    /// Of those, the ones that jobs have reserved.
    pub memory_bytes_taken: u64,
    /// Calls that run there.
    pub running: u64,
    /// It takes no more calls, and goes when those it has have ended.
    pub leaving: bool,
    /// Seconds since it joined.
    pub joined_seconds_ago: f64,
}

/// An open job of a grid at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// `crate::path::name`.
    pub function: String,
    /// Calls that have ended.
    pub calls_ended: u64,
    /// Of those, the ones that are not done.
    pub calls_failed: u64,
    /// Calls that run.
    pub running: u64,
    /// Inputs that the scheduler has been given.
    pub inputs: u64,
    /// Whether those are all.
    pub inputs_closed: bool,
    /// What it waits for, if it does.
    pub waiting: Option<String>,
    /// Seconds since it was opened.
    pub opened_seconds_ago: f64,
    /// CPUs that each call occupies.
    pub cpus: f64,
    /// Bytes of memory that are reserved for each call.
    pub memory_bytes: u64,
    /// Instructions that its calls which have ended ran, in wasmtime's units of fuel.
    pub fuel: u64,
    /// Seconds that they took together.
    pub call_seconds: f64,
    /// The most memory that one of them had, in bytes.
    pub memory_bytes_peak: u64,
    /// Bytes that they wrote to files.
    pub disk_bytes_written: u64,
}

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
        self.ask(async |connection| {
            let request = v1::ListJobsRequest { client: Some(Peer::this().into()) };
            let answer = connection.client.list_jobs(request).await.map_err(|status| connection.error(status))?;
            answer.into_inner().jobs.into_iter().map(job).collect()
        })
    }

    /// Ends the open job of this id: its calls stop, and its client gets [`Error::JobCanceled`](crate::Error::JobCanceled).
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Grid`](crate::Error::Grid) where no such job is open; others where the scheduler cannot be reached or speaks
    /// another protocol.
    pub fn cancel(&self, job: JobId) -> Result<()> {
        self.ask(async |connection| {
            let request = v1::CancelJobRequest { client: Some(Peer::this().into()), job_id: convert::job_id_bytes(job) };
            connection.client.cancel_job(request).await.map_err(|status| connection.error(status))?;
            Ok(())
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

fn job(it: list_jobs_response::Job) -> Result<JobInfo> {
    let slot = resources(it.slot);
    let usage: Usage = it.usage.unwrap_or_default().into();
    Ok(JobInfo {
        id: convert::job_id(&it.job_id).map_err(malformed)?,
        name: it.name,
        function: it.function,
        calls_ended: it.calls_ended,
        calls_failed: it.calls_failed,
        running: it.running,
        inputs: it.inputs,
        inputs_closed: it.inputs_closed,
        waiting: (!it.waiting.is_empty()).then_some(it.waiting),
        opened_seconds_ago: Duration::from_millis(it.opened_ms_ago).as_secs_f64(),
        cpus: cpus(slot),
        memory_bytes: slot.memory_bytes,
        fuel: usage.fuel,
        call_seconds: usage.wall_time.as_secs_f64(),
        memory_bytes_peak: usage.memory_bytes_peak,
        disk_bytes_written: usage.disk_bytes_written,
    })
}

fn malformed(invalid: InvalidMessage) -> Error {
    Error::Grid(GridError::InvalidRequest { reason: invalid.to_string() })
}

fn as_text<S: Serializer>(id: &impl ToString, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_string())
}

fn resources(it: Option<v1::Resources>) -> Resources {
    it.unwrap_or_default().into()
}

fn cpus(resources: Resources) -> f64 {
    resources.cpu_millis as f64 / 1000.0
}
