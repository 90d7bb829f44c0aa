//! What a grid knows of a job. Plain values, also where there is no grid to ask, as in a component.

use std::collections::BTreeMap;
use std::fmt;

use burla_types::JobId;
use serde::{Serialize, Serializer};

/// A job of a grid at a moment, or as it was when it ended.
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
    /// Whether it is over, and how it ended.
    pub state: JobState,
    /// Why, where it did not run to its end: for one that failed with a call, which call, and its message.
    pub error: Option<String>,
    /// The grid keeps it, whether a client is there or not.
    pub detached: bool,
    /// How its calls ended and what they printed is not kept any more.
    pub expired: bool,
    /// Calls that have ended.
    pub calls_ended: u64,
    /// Of those, the ones that are not done.
    pub calls_failed: u64,
    /// How many of those ended in which way: `failed`, `panicked`, `trapped`, `exceeded`, `refused`, `lost`.
    pub failures: BTreeMap<String, u64>,
    /// Tries that were made again of calls that failed, as its `retries` allow.
    pub retried: u64,
    /// Tries that were made again because a node was lost or could not carry the call through, or on a second node because they were
    /// late.
    pub requeued: u64,
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
    /// Seconds since it has been over.
    pub ended_seconds_ago: Option<f64>,
    /// Names of nodes that told how calls of it ended, at most 64.
    pub nodes: Vec<String>,
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
    /// What it was opened with, where the scheduler tells.
    pub options: Option<JobOptions>,
}

impl JobInfo {
    /// A job of which nothing is known but its id, for tests of what shows jobs.
    #[doc(hidden)]
    pub fn example(id: JobId) -> Self {
        Self {
            id,
            name: String::new(),
            function: String::new(),
            state: JobState::Open,
            error: None,
            detached: false,
            expired: false,
            calls_ended: 0,
            calls_failed: 0,
            failures: BTreeMap::new(),
            retried: 0,
            requeued: 0,
            running: 0,
            inputs: 0,
            inputs_closed: false,
            waiting: None,
            opened_seconds_ago: 0.0,
            ended_seconds_ago: None,
            nodes: Vec::new(),
            cpus: 1.0,
            memory_bytes: 0,
            fuel: 0,
            call_seconds: 0.0,
            memory_bytes_peak: 0,
            disk_bytes_written: 0,
            options: None,
        }
    }
}

/// Whether a job is over, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// It is not over.
    Open,
    /// All its calls have ended.
    Finished,
    /// Someone canceled it.
    Canceled,
    /// The grid could not carry it through, or a call failed and its program waited for no other.
    Failed,
    /// Its program stopped it before all calls had ended.
    Stopped,
    /// Its client went away.
    Abandoned,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
        })
    }
}

/// The options that a job was opened with, under the names of [`RemoteParallelMap`](crate::RemoteParallelMap)'s methods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobOptions {
    /// The SHA-256 of its component.
    pub component: Option<String>,
    /// CPUs per call.
    pub func_cpu: f64,
    /// GiB of memory per call, where it was given.
    pub func_ram: Option<f64>,
    /// Calls that run at one time, where it was given.
    pub max_parallelism: Option<u64>,
    /// How often a call that failed is run again.
    pub retries: u32,
    /// Whether one that exceeded a limit is, too.
    pub retry_exceeded: bool,
    /// Seconds before the first retry of a call, where that was given.
    pub retry_pause_seconds: Option<f64>,
    /// Seconds before a retry at most, where that was given.
    pub retry_pause_max_seconds: Option<f64>,
    /// Seconds that one call may take, where it was given.
    pub timeout_seconds: Option<f64>,
    /// Instructions that one call may run, where it was given.
    pub fuel: Option<u64>,
    /// GiB of a call's directory, where it was given.
    pub disk: Option<f64>,
    /// Names of the variables in the environment of its calls. The grid does not tell their values.
    pub env: Vec<String>,
    /// What its calls may reach over the network.
    pub allow_network: Vec<String>,
    /// Whether what its calls print is kept, or shown to its client.
    pub wants_output: bool,
}

/// Writes an id as people read it.
pub(crate) fn as_text<S: Serializer>(id: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_string())
}
