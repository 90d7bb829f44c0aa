//! What goes over the network, as in `proto/burla/v1`, without the encoding.

use burla_proto::convert::CallReport;
use burla_scheduler::grid::event::{HeldCalls, JobSpec, NodeCommand, NodeSpec, ResentInput, ReturnReason};
use burla_types::{Attempt, GridError, JobId, NodeId};
use bytes::Bytes;

/// Something that happened to a call, and what is said of it.
pub(crate) type Told = (u64, CallReport);

/// To the scheduler.
#[derive(Clone, Debug)]
pub(crate) enum ToScheduler {
    Hello(NodeId, NodeSpec, Vec<HeldCalls>),
    /// A node's message of this number.
    Said(u64, Said),
    Open(JobId, JobSpec, Opening),
    Inputs(u64, Vec<Bytes>),
    /// What is left of a job that is opened again.
    Resent(Vec<ResentInput>),
    InputsClosed,
    Taken(u64),
    Abandon,
    Cancel(JobId),
    /// From these outcomes and these events of lines on.
    Follow(JobId, u64, u64),
}

/// How a job is opened.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// With the events taken and how often it was opened before.
    Attached(u64, u32),
    Detached,
}

/// What nodes say of calls.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    News(JobId, Vec<(u64, Attempt, CallReport)>),
    Returned(JobId, Vec<(u64, Attempt)>, ReturnReason),
    Troubled(JobId),
    Leaving,
}

/// From the scheduler.
#[derive(Debug)]
pub(crate) enum ToPeer {
    Command(NodeCommand),
    Acknowledged(u64),
    /// Whether it was resumed, and the index of the next input.
    Opened(bool, u64),
    /// With the number of the first, which the client does not see: it is there to check that none is missing.
    Calls(u64, Vec<Told>),
    Ended(Result<u64, GridError>),
    /// All inputs before this are on the disk.
    Kept(u64),
    Submitted,
    Outcomes(u64, Vec<Told>),
    Lines(u64, Vec<Told>),
    /// There is no such job.
    Unknown,
}
