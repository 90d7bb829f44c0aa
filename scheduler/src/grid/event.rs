//! What happens to a grid, and what a grid does about it. Read this file first: it is all that `Grid` and the world say to each
//! other.

use std::sync::Arc;
use std::time::Duration;

use burla_proto::convert::{CallReport, Work};
use burla_types::{Attempt, GridError, JobId, NodeId, Resources, Usage};
use bytes::Bytes;

/// A moment, as the time since the scheduler started. The grid has no clock; its driver tells it the time with every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Duration);

/// How often the driver tells the grid that time went by.
pub const TICK: Duration = Duration::from_millis(50);

/// What a job asks for.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// For people to recognize it by.
    pub name: String,
    /// What every call runs.
    pub work: Arc<Work>,
    /// CPUs that each slot occupies.
    pub cpu_millis: u64,
    /// Memory that each slot reserves; `None` where the user gave none, and the grid goes by what it sees.
    pub memory_bytes: Option<u64>,
    /// Calls that may run at one time, over all nodes.
    pub parallelism_max: u64,
    /// How often a call is run again that failed, panicked or trapped.
    pub retries: u32,
    /// Whether one that exceeded a limit is, too.
    pub retries_exceeded: bool,
    /// The pauses before a call is run again.
    pub retry_pauses: RetryPauses,
    /// What became of it under a scheduler that is gone.
    pub before: Before,
}

/// The pauses before a call that failed is run again: the first, then each twice as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPauses {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
}

impl RetryPauses {
    /// The first pause where the user gave none: enough for a peer that refused one call too many.
    const FIRST_DEFAULT: Duration = Duration::from_millis(100);

    /// The longest pause where the user gave none: a peer that is not well after it is not going to be by waiting.
    const MAX_DEFAULT: Duration = Duration::from_secs(10);

    /// The pauses of which the user gave these.
    pub fn new(first: Option<Duration>, max: Option<Duration>) -> Self {
        let first = first.unwrap_or_else(|| max.map_or(Self::FIRST_DEFAULT, |max| max.min(Self::FIRST_DEFAULT)));
        Self { first, max: max.unwrap_or(Self::MAX_DEFAULT).max(first) }
    }

    /// The pause after this many failures of a call, at most.
    pub fn after(&self, failures: u32) -> Duration {
        // Doubled 32 times, a millisecond is 50 days.
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(31)).min(self.max)
    }
}

impl Default for RetryPauses {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// What became of a job before this scheduler had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// How often it was opened. Where it was, nodes may still run calls of it.
    pub openings: u32,
    /// Calls that ended.
    pub calls_ended: u64,
    /// Of those, the ones that are not done.
    pub calls_failed: u64,
    /// What they took together.
    pub usage: Usage,
    /// Tries at its calls that were made again.
    pub tries: Tries,
}

/// Tries at calls of a job that were made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Because one failed.
    pub retried: u64,
    /// Because one was lost, or late.
    pub requeued: u64,
}

/// A node, as it introduced itself.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// For people to recognize it by.
    pub name: String,
    /// What its calls may have together.
    pub capacity: Resources,
    /// Calls it can hold at one time, whatever their size.
    pub calls_max: u64,
    /// Its version of Burla.
    pub version: String,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A node joined the grid. It may still run calls, of the session before.
    NodeJoined(NodeId, NodeSpec, Vec<HeldCalls>),
    /// A node is about to leave: it takes no more calls, and goes when those that it runs have ended.
    NodeLeaving(NodeId),
    /// A node's session ended, for whatever reason.
    NodeLeft(NodeId),
    /// A client opened a job.
    JobOpened(JobId, JobSpec),
    /// The next inputs of a job arrived, in order.
    InputsArrived(JobId, Vec<Bytes>),
    /// What is left of the inputs before this index, of a job that an earlier scheduler had: ascending, and after all that
    /// arrived.
    InputsResent(JobId, Vec<ResentInput>, u64),
    /// A job has all its inputs.
    InputsClosed(JobId),
    /// A node told what happened to calls of a job.
    CallsReported(NodeId, JobId, Vec<CallNews>),
    /// A node gave calls of a job back without an outcome.
    CallsReturned(NodeId, JobId, CallsReturned),
    /// A node could not make the job's component ready, and has given up what it had of the job. Another may do better.
    NodeTroubled(NodeId, JobId, String),
    /// A node's operator does not allow what the job asks for, and it has given up what it had of the job. Another may.
    NodeRefused(NodeId, JobId, String),
    /// The job cannot go on: no node can run its component, or its client sent what clients do not send.
    JobFailed(JobId, GridError),
    /// The client took this much of what it was told off the scheduler's hands, as [`CallUpdate`]s count it.
    ClientTook(JobId, usize),
    /// The client went away.
    JobAbandoned(JobId),
    /// Time went by. The driver says so every [`TICK`] while anything is open.
    Tick,
}

/// Calls of a job that a node went on with while its session was broken.
#[derive(Clone, Debug)]
pub struct HeldCalls {
    /// Which job.
    pub job: JobId,
    /// What each of them occupies, as the node was told.
    pub slot: Resources,
    /// Which ones, by index and attempt.
    pub calls: Vec<(u64, Attempt)>,
}

/// An input of a job that an earlier scheduler had.
#[derive(Clone, Debug)]
pub struct ResentInput {
    /// Its position.
    pub index: u64,
    /// Encoded.
    pub input: Bytes,
    /// Lines of the call that were shown, of stdout and stderr.
    pub shown: [u64; 2],
}

/// Calls that a node gives back.
#[derive(Debug)]
pub struct CallsReturned {
    /// Which ones, by index and attempt.
    pub calls: Vec<(u64, Attempt)>,
    /// Why.
    pub reason: ReturnReason,
}

/// Why a node gives calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnReason {
    /// They had not begun, or the node leaves before they end.
    GivenBack,
    /// They had more memory than was reserved for them when the node ran short of it.
    MemoryShort,
    /// They were to be stopped.
    Stopped,
}

/// What happened to one attempt at a call.
#[derive(Debug)]
pub struct CallNews {
    /// Which call.
    pub index: u64,
    /// Which attempt at it.
    pub attempt: Attempt,
    /// What happened.
    pub report: CallReport,
}

/// What a client is told about a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallUpdate {
    /// Which call.
    pub index: u64,
    /// What happened.
    pub report: CallReport,
}

/// A call for a node to run.
#[derive(Clone, Debug, PartialEq)]
pub struct CallToRun {
    /// Which call.
    pub index: u64,
    /// Which attempt at it. Each time it is sent is another.
    pub attempt: Attempt,
    /// How often it has lost its node while it may have been running there.
    pub losses: u32,
    /// How often it has failed and is run again.
    pub failures: u32,
    /// Its encoded input.
    pub input: Bytes,
}

/// Something to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Say this to a node.
    ToNode(NodeId, NodeCommand),
    /// Say this to a job's client.
    ToClient(JobId, ClientUpdate),
    /// Stop taking inputs of the job from its client, or go on.
    SetInputsPaused(JobId, bool),
}

/// What a node is told.
#[derive(Debug)]
pub enum NodeCommand {
    /// Before anything else about a job, with the CPUs that each call of it occupies.
    StartJob(JobId, Arc<Work>, u64),
    /// How many calls of the job may run there at one time from now on, and the memory reserved for each.
    SetSlots(JobId, u64, u64),
    /// Run these as slots come free, in this order.
    RunCalls(JobId, Vec<CallToRun>),
    /// Give back the calls of the job that have not begun.
    RecallCalls(JobId),
    /// Stop these, and give them back.
    StopCalls(JobId, Vec<(u64, Attempt)>),
    /// What the job's calls print must wait, or may go on.
    SetOutputPaused(JobId, bool),
    /// The job is over.
    StopJob(JobId),
}

/// What a client is told.
#[derive(Debug)]
pub enum ClientUpdate {
    /// What happened to calls, in order.
    Calls(Vec<CallUpdate>),
    /// The job has inputs and no slot, and this is why; `None` once that is over.
    Waiting(Option<String>),
    /// How much of the job runs.
    Progress(Progress),
    /// A node was lost that had calls of the job.
    NodeLost(NodeLost),
    /// How many tries at calls of the job were made again until now.
    Tries(Tries),
    /// Nothing more will be said: every call has ended, or the job cannot be run.
    Ended(Result<JobSummary, GridError>),
}

/// How much of a job runs at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Calls that run.
    pub running: u64,
    /// Nodes that run them.
    pub nodes: u64,
}

/// A node that was lost, as a job sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLost {
    /// For people to recognize it by.
    pub name: String,
    /// Calls of the job that it had and that run again.
    pub calls: u64,
}

/// A finished job in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobSummary {
    /// Calls that ended.
    pub calls: u64,
    /// Of those, the ones that are not done.
    pub calls_failed: u64,
    /// From opening to end.
    pub elapsed: Duration,
    /// What the calls took together.
    pub usage: Usage,
    /// Tries that were made again because one failed.
    pub retried: u64,
    /// Tries that were made again because one was lost.
    pub requeued: u64,
}
