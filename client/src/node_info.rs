//! The facts that a grid knows of a node. Plain values, also in a component, which has no grid to ask.

use burla_types::NodeId;
use serde::Serialize;

use crate::job_info::as_text;

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
