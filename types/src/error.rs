//! How the grid itself can fail a request. A guest's fault is never one of these: it is an [`Outcome`](crate::Outcome).

use crate::{Digest, DigestMismatch, JobId, Peer, Resources};

/// What a scheduler answers to a request it will not carry out. The same value reaches the client or node that asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Client or node and scheduler have no protocol in common.
    #[error("this is {peer}, but the scheduler is {scheduler}: install the same version on both sides")]
    VersionMismatch {
        /// The scheduler.
        scheduler: Peer,
        /// Who asked.
        peer: Peer,
    },
    /// A job names a component that was not uploaded, or was evicted since.
    #[error("the grid does not have component {0}: upload it first")]
    UnknownComponent(Digest),
    /// The bytes are no component of functions that a node could run.
    #[error("the component cannot be used: {reason}")]
    InvalidComponent {
        /// Why not, and what to do.
        reason: String,
    },
    /// The component has no function of that name.
    #[error("the component has no function `{name}`: it has {}", list(.available))]
    UnknownFunction {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        available: Vec<String>,
    },
    /// No node of the grid is large enough for one call, even when idle.
    #[error(
        "no node can run a call with {}: the largest has {}; ask for less with func_cpu and func_ram, or add a larger node",
        show(.wanted), show(.largest)
    )]
    NoNodeFits {
        /// What one call needs.
        wanted: Resources,
        /// What the largest node has.
        largest: Resources,
    },
    /// The request itself makes no sense.
    #[error("the scheduler refused the request: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// No node of the grid runs the job, because of what its operator allows.
    #[error("no node runs the job: {reason}")]
    RefusedByPolicy {
        /// What the node that was asked last said: its name, and the setting.
        reason: String,
    },
    /// Someone canceled the job, as with `cargo burla cancel`.
    #[error("the job was canceled by an operator of the grid")]
    Canceled,
    /// No such job is open or kept.
    #[error("there is no job {0}, or it has ended: `cargo burla jobs --ended` lists those that are known")]
    UnknownJob(JobId),
    /// The scheduler cannot keep a job on its disk.
    #[error("the grid cannot keep the job: {reason}")]
    CannotKeep {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The scheduler is going away.
    #[error("the scheduler is shutting down: try again when it is back")]
    ShuttingDown,
}

/// An error and what caused it, on one line: for logs, and for where it goes on as a text.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<DigestMismatch> for GridError {
    fn from(mismatch: DigestMismatch) -> Self {
        Self::InvalidComponent { reason: mismatch.to_string() }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn show(resources: &Resources) -> String {
    let cpus = resources.cpu_millis as f64 / 1000.0;
    let gib = resources.memory_bytes as f64 / f64::from(1 << 30);
    format!("{cpus} CPUs and {} GiB", (gib * 100.0).round() / 100.0)
}
