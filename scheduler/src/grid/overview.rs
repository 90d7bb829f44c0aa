//! What there is on a grid at a moment, for people and scripts to look at.

use std::time::Duration;

use burla_types::{JobId, NodeId, Resources, Usage};

use super::Grid;
use super::event::Timestamp;
use super::job::Job;
use super::lease::Lease;

/// A node at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOverview {
    /// Which one.
    pub id: NodeId,
    /// For people to recognize it by.
    pub name: String,
    /// Its version of Burla.
    pub version: String,
    /// What its calls may have together.
    pub capacity: Resources,
    /// What jobs have of it.
    pub taken: Resources,
    /// Calls that run there.
    pub running: u64,
    /// It takes no more calls, and goes when those it has have ended.
    pub leaving: bool,
    /// Since when it has been part of the grid.
    pub joined_ago: Duration,
}

/// An open job at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOverview {
    /// Which one.
    pub id: JobId,
    /// For people to recognize it by.
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
    /// Since when it has been open.
    pub opened_ago: Duration,
    /// What one of its calls occupies.
    pub slot: Resources,
    /// What its calls that have ended took together.
    pub usage: Usage,
    /// Tries that were made again because one failed.
    pub retried: u64,
    /// Tries that were made again because one was lost.
    pub requeued: u64,
}

impl Grid {
    /// All nodes, in the order in which they joined.
    pub fn nodes(&self, now: Timestamp) -> Vec<NodeOverview> {
        let running = |id: &NodeId| self.jobs.values().filter_map(|job| job.leases.get(*id)).map(Lease::running).sum();
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(id, node)| (node.joined.0, **id));
        let nodes = nodes.into_iter().map(|(id, node)| NodeOverview {
            id: *id,
            name: node.spec.name.clone(),
            version: node.spec.version.clone(),
            capacity: node.spec.capacity,
            taken: node.taken(),
            running: running(id),
            leaving: node.leaving,
            joined_ago: now.0.saturating_sub(node.joined.0),
        });
        nodes.collect()
    }

    /// All open jobs, in the order in which they were opened.
    pub fn jobs(&self, now: Timestamp) -> Vec<JobOverview> {
        self.jobs.values().map(|job| overview(now, job)).collect()
    }

    /// One of them.
    pub fn job(&self, now: Timestamp, id: JobId) -> Option<JobOverview> {
        self.jobs.get(&id).map(|job| overview(now, job))
    }
}

fn overview(now: Timestamp, job: &Job) -> JobOverview {
    JobOverview {
        id: job.id,
        name: job.spec.name.clone(),
        function: job.spec.work.function.clone(),
        calls_ended: job.calls_ended,
        calls_failed: job.calls_failed,
        running: job.progress().running,
        inputs: job.inputs(),
        inputs_closed: job.inputs_closed,
        waiting: job.waiting_told.clone(),
        opened_ago: now.0.saturating_sub(job.opened.0),
        slot: job.slot(),
        usage: job.usage,
        retried: job.retried,
        requeued: job.requeued,
    }
}
