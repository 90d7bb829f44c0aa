//! The cheapest core that could be thought of: inputs wait in a queue, are in a map while they run, and a call that ends is
//! replaced by another at its node. It knows one job, shares nothing out, and forgets what happens otherwise.

use std::collections::{HashMap, VecDeque};

use burla_proto::WireSize;
use burla_scheduler::grid::event::{Action, CallToRun, CallUpdate, ClientUpdate, Event, NodeCommand, Timestamp};
use burla_types::{Attempt, JobId, NodeId};

use crate::world::Core;

/// One job of the cheapest core.
#[derive(Default)]
struct BareJob {
    pending: VecDeque<CallToRun>,
    sent: HashMap<u64, CallToRun>,
    next_index: u64,
    untaken_bytes: usize,
}

#[derive(Default)]
pub(crate) struct Bare {
    jobs: HashMap<JobId, BareJob>,
    /// Nodes that have not been sent anything, and how much each is to have.
    idle: Vec<(NodeId, u64)>,
}

impl Core for Bare {
    fn handle(&mut self, _: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::JobOpened(id, _) => {
                self.jobs.insert(id, BareJob::default());
            }
            Event::NodeJoined(id, spec, _) => {
                // As much as the grid sends of calls of 1 ms.
                let depth = spec.capacity.cpu_millis / 1000 * 11 / self.jobs.len().max(1) as u64;
                self.idle.push((id, depth.max(2)));
            }
            Event::InputsArrived(id, inputs) => {
                let Some(job) = self.jobs.get_mut(&id) else { return Vec::new() };
                for input in inputs {
                    let (attempt, losses) = (Attempt::FIRST, 0);
                    job.pending.push_back(CallToRun { index: job.next_index, attempt, losses, failures: 0, input });
                    job.next_index += 1;
                }
            }
            Event::CallsReported(node, id, news) => {
                let Some(job) = self.jobs.get_mut(&id) else { return Vec::new() };
                let mut updates = Vec::with_capacity(news.len());
                for news in news {
                    if job.sent.remove(&news.index).is_some() {
                        updates.push(CallUpdate { index: news.index, report: news.report });
                    }
                }
                job.untaken_bytes += updates.iter().map(WireSize::held_bytes).sum::<usize>();
                let calls = job.take(updates.len() as u64);
                return vec![
                    Action::ToClient(id, ClientUpdate::Calls(updates)),
                    Action::ToNode(node, NodeCommand::RunCalls(id, calls)),
                ];
            }
            Event::ClientTook(id, bytes) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.untaken_bytes = job.untaken_bytes.saturating_sub(bytes);
                }
            }
            Event::Tick => {
                let mut actions = Vec::new();
                for (node, depth) in std::mem::take(&mut self.idle) {
                    for (id, job) in &mut self.jobs {
                        actions.push(Action::ToNode(node, NodeCommand::RunCalls(*id, job.take(depth))));
                    }
                }
                return actions;
            }
            _ => {}
        }
        Vec::new()
    }
}

impl BareJob {
    fn take(&mut self, count: u64) -> Vec<CallToRun> {
        let mut calls = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let Some(call) = self.pending.pop_front() else { break };
            self.sent.insert(call.index, call.clone());
            calls.push(call);
        }
        calls
    }
}
