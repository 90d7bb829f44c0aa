//! The scheduler's core: a state, the time and an event give actions. No clock, no I/O, no tasks, no randomness; all of that is
//! the driver's.
//!
//! Invariants:
//!
//! - an input is in exactly one place: it waits in its job, or was sent to one node, or has ended;
//! - a call ends once: only the attempt that was sent to a node can end there, and only while it is sent;
//! - what a node has given to leases is the sum of their slots, and slots are only held where there are calls for them.

pub mod event;
mod job;
mod lease;
mod node;
mod placement;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use burla_proto::WireSize;
use burla_proto::convert::CallReport;
use burla_types::{Attempt, GridError, JobId, NodeId, Outcome, Resources};

use event::{
    Action, CallNews, CallToRun, CallUpdate, ClientUpdate, Event, JobSpec, JobSummary, NodeCommand, NodeSpec, Timestamp,
};
use job::Job;
use node::Node;
use placement::{Wish, place};

/// How many times a call may lose its node before it counts as lost itself: it may well be what kills them.
const ATTEMPTS_MAX: Attempt = Attempt(3);

/// All nodes and all open jobs.
#[derive(Debug, Default)]
pub struct Grid {
    nodes: BTreeMap<NodeId, Node>,
    jobs: BTreeMap<JobId, Job>,
    actions: Vec<Action>,
}

impl Grid {
    /// Takes in what happened at `now`, and says what is to be done about it. Events about jobs and nodes that are gone mean
    /// nothing: they crossed the news of that.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::NodeJoined(id, spec) => self.node_joined(id, spec),
            Event::NodeLeft(id) => self.node_left(now, id),
            Event::JobOpened(id, spec) => self.job_opened(now, id, spec),
            Event::InputsArrived(id, inputs) => {
                self.with_job(now, id, |grid, job| {
                    job.add_inputs(inputs);
                    grid.fill_all(job);
                });
            }
            Event::InputsClosed(id) => self.with_job(now, id, |_, job| job.inputs_closed = true),
            Event::CallsReported(node, id, news) => self.with_job(now, id, |grid, job| grid.calls_reported(job, node, news)),
            Event::JobFailed(id, error) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.end_job(job, Err(error));
                }
            }
            Event::ClientTook(id, bytes) => {
                self.with_job(now, id, |grid, job| {
                    job.untaken_bytes = job.untaken_bytes.saturating_sub(bytes);
                    grid.fill_all(job);
                });
            }
            Event::JobAbandoned(id) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.stop_job(job);
                }
            }
        }
        self.place();
        self.tell_who_waits();
        std::mem::take(&mut self.actions)
    }

    /// The largest node by CPUs, then memory; nothing when there are none.
    fn largest_node(&self) -> Option<Resources> {
        let capacities = self.nodes.values().map(|node| node.spec.capacity);
        capacities.max_by_key(|capacity| (capacity.cpu_millis, capacity.memory_bytes))
    }

    fn node_joined(&mut self, id: NodeId, spec: NodeSpec) {
        self.nodes.insert(id, Node::new(spec));
        self.adjust_ceilings();
        // Jobs that were opened before there was any node are checked now, as others were when they were opened. One that ran
        // before waits instead: the node that it ran on may come back.
        let waiting = self.jobs.values().filter(|job| !job.was_placed);
        let unfit: Vec<_> = waiting.filter_map(|job| Some((job.id, self.refusal(job.slot())?))).collect();
        for (id, error) in unfit {
            if let Some(job) = self.jobs.remove(&id) {
                self.end_job(job, Err(error));
            }
        }
    }

    fn node_left(&mut self, now: Timestamp, id: NodeId) {
        self.nodes.remove(&id);
        self.adjust_ceilings();
        let concerned: Vec<_> = self.jobs.values().filter(|job| job.leases.contains_key(&id)).map(|job| job.id).collect();
        for job in concerned {
            self.with_job(now, job, |grid, job| grid.lease_lost(job, id));
        }
    }

    fn job_opened(&mut self, now: Timestamp, id: JobId, spec: JobSpec) {
        let job = Job::new(id, spec, now, self.memory_ceiling());
        match self.refusal(job.slot()) {
            Some(error) => self.end_job(job, Err(error)),
            None => {
                self.jobs.insert(id, job);
            }
        }
    }

    /// Why no node could ever run a slot like this. While there is no node at all, one may still come.
    fn refusal(&self, slot: Resources) -> Option<GridError> {
        let largest = self.largest_node()?;
        let fits = self.nodes.values().any(|node| node.could_fit(slot));
        (!fits).then_some(GridError::NoNodeFits { wanted: slot, largest })
    }

    /// Lets `act` work on a job, sees to its flow control, and ends it when it is finished.
    fn with_job(&mut self, now: Timestamp, id: JobId, act: impl FnOnce(&mut Self, &mut Job)) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        act(self, &mut job);
        self.release_idle_slots(&mut job);
        self.control_flow(&mut job);
        if job.is_finished() {
            let elapsed = now.0.saturating_sub(job.opened.0);
            let summary = JobSummary { calls: job.calls_ended, calls_failed: job.calls_failed, elapsed };
            self.end_job(job, Ok(summary));
        } else {
            self.jobs.insert(id, job);
        }
    }

    fn calls_reported(&mut self, job: &mut Job, node: NodeId, news: Vec<CallNews>) {
        let mut updates = Vec::with_capacity(news.len());
        for news in news {
            let Some(lease) = job.leases.get_mut(&node) else { continue };
            if matches!(news.report, CallReport::Printed(..)) {
                if lease.sent.get(&news.index).is_some_and(|sent| sent.attempt == news.attempt) {
                    updates.push(CallUpdate { index: news.index, report: news.report });
                }
                continue;
            }
            let Some(ended) = lease.end(news.index, news.attempt) else { continue };
            if is_lost(&news) && news.attempt < ATTEMPTS_MAX {
                // The node's own trouble; another, or the same a moment later, may do better.
                job.requeue(CallToRun { index: news.index, attempt: news.attempt.next(), input: ended.input });
                continue;
            }
            let failed = !matches!(news.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
            let slot_before = job.slot();
            if job.learn(&news) {
                self.adjust_reservations(job, slot_before);
            }
            job.call_ended(ended.input.len(), failed);
            updates.push(CallUpdate { index: news.index, report: news.report });
        }
        self.tell_client(job, updates);
        self.fill(job, node);
    }

    /// A node is gone, and with it what it was doing: the calls are run elsewhere, unless it was not the first time.
    fn lease_lost(&mut self, job: &mut Job, node: NodeId) {
        let Some(lease) = job.leases.remove(&node) else { return };
        let mut lost: Vec<_> = lease.sent.into_iter().collect();
        lost.sort_by_key(|(index, _)| *index);
        // A node runs calls in the order it gets them, so those beyond its slots had not begun, and have lost nothing.
        let slots = lease.slots_told.unwrap_or(0);
        let mut updates = Vec::new();
        // From the back, so that the queue ends up in order.
        for (position, (index, sent)) in lost.into_iter().enumerate().rev() {
            let attempt = if (position as u64) < slots { sent.attempt.next() } else { sent.attempt };
            if attempt <= ATTEMPTS_MAX {
                job.requeue(CallToRun { index, attempt, input: sent.input });
                continue;
            }
            job.call_ended(sent.input.len(), true);
            let reason = format!("its node went away while it ran, {} times in a row", ATTEMPTS_MAX.0);
            let report = CallReport::Ended { outcome: Outcome::Lost { reason }, stderr_tail: String::new() };
            updates.push(CallUpdate { index, report });
        }
        self.tell_client(job, updates);
        self.fill_all(job);
    }

    fn tell_client(&mut self, job: &mut Job, updates: Vec<CallUpdate>) {
        if !updates.is_empty() {
            job.untaken_bytes += updates.iter().map(WireSize::wire_bytes).sum::<usize>();
            self.actions.push(Action::ToClient(job.id, ClientUpdate::Calls(updates)));
        }
    }

    fn fill_all(&mut self, job: &mut Job) {
        let nodes: Vec<_> = job.leases.keys().copied().collect();
        for node in nodes {
            if !job.has_pending() {
                return;
            }
            self.fill(job, node);
        }
    }

    fn fill(&mut self, job: &mut Job, node: NodeId) {
        let commands = job.fill(node);
        self.actions.extend(commands.into_iter().map(|command| Action::ToNode(node, command)));
    }

    /// Slots are held only for calls that are there. A job whose inputs come slowly shares the grid by that alone.
    fn release_idle_slots(&mut self, job: &mut Job) {
        if job.has_pending() && !job.output_paused {
            return;
        }
        let slot = job.slot();
        for (node, lease) in &mut job.leases {
            let idle = lease.slots_idle();
            if idle > 0 {
                lease.slots -= idle;
                if let Some(node) = self.nodes.get_mut(node) {
                    node.give_back(slot, idle);
                }
            }
        }
    }

    /// The job's slots are known to need more than before.
    fn adjust_reservations(&mut self, job: &Job, before: Resources) {
        let after = job.slot();
        for (node, lease) in &job.leases {
            if let Some(node) = self.nodes.get_mut(node) {
                node.give_back(before, lease.slots);
                node.take(after, lease.slots);
            }
        }
    }

    fn memory_ceiling(&self) -> u64 {
        self.nodes.values().map(|node| node.spec.capacity.memory_bytes).max().unwrap_or(u64::MAX)
    }

    /// The nodes are others than before, and with them what a slot can reserve at most.
    fn adjust_ceilings(&mut self) {
        let ceiling = self.memory_ceiling();
        let mut jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values_mut() {
            let before = job.slot();
            job.memory_bytes_ceiling = ceiling;
            self.adjust_reservations(job, before);
        }
        self.jobs = jobs;
    }

    fn control_flow(&mut self, job: &mut Job) {
        let pause = job.inputs_must_pause();
        if pause != job.inputs_paused {
            job.inputs_paused = pause;
            self.actions.push(Action::SetInputsPaused(job.id, pause));
        }
        let pause = job.output_must_pause();
        if pause != job.output_paused {
            job.output_paused = pause;
            for (node, _) in job.leases.iter().filter(|(_, lease)| lease.slots_told.is_some()) {
                self.actions.push(Action::ToNode(*node, NodeCommand::SetOutputPaused(job.id, pause)));
            }
            if !pause {
                self.fill_all(job);
            }
        }
    }

    /// Gives free slots to jobs that want them, and calls to the slots.
    fn place(&mut self) {
        let wishing: Vec<JobId> = self.jobs.values().filter(|job| job.slots_wanted() > 0).map(|job| job.id).collect();
        if wishing.is_empty() {
            return;
        }
        let wish = |job: &Job| Wish { slot: job.slot(), held: job.slots_held(), wanted: job.slots_wanted() };
        let wishes = wishing.iter().filter_map(|id| self.jobs.get(id)).map(wish).collect();
        let rooms = self.nodes.iter().map(|(id, node)| node.room(*id)).collect();
        let total = self.nodes.values().fold(Resources::default(), |sum, node| sum.plus(node.spec.capacity, 1));
        for grant in place(wishes, rooms, total) {
            let Some(mut job) = self.jobs.remove(&wishing[grant.wish]) else { continue };
            if let Some(node) = self.nodes.get_mut(&grant.node) {
                node.take(job.slot(), grant.slots);
                job.was_placed = true;
                job.leases.entry(grant.node).or_default().slots += grant.slots;
                self.fill(&mut job, grant.node);
            }
            self.jobs.insert(job.id, job);
        }
    }

    fn tell_who_waits(&mut self) {
        let no_nodes = self.nodes.is_empty();
        for job in self.jobs.values_mut() {
            let waits = job.has_pending() && job.slots_held() == 0 && !job.output_paused;
            let fits = self.nodes.values().any(|node| node.could_fit(job.slot()));
            let reason = waits.then(|| waiting_reason(no_nodes, fits, job.slot()));
            if reason != job.waiting_told {
                job.waiting_told.clone_from(&reason);
                self.actions.push(Action::ToClient(job.id, ClientUpdate::Waiting(reason)));
            }
        }
    }

    fn end_job(&mut self, job: Job, result: Result<JobSummary, GridError>) {
        let id = job.id;
        self.stop_job(job);
        self.actions.push(Action::ToClient(id, ClientUpdate::Ended(result)));
    }

    /// Gives everything back that the job has, and tells its nodes.
    fn stop_job(&mut self, job: Job) {
        let slot = job.slot();
        for (id, lease) in job.leases {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.give_back(slot, lease.slots);
                if lease.slots_told.is_some() {
                    self.actions.push(Action::ToNode(id, NodeCommand::StopJob(job.id)));
                }
            }
        }
    }
}

impl WireSize for CallUpdate {
    fn payload_bytes(&self) -> usize {
        self.report.payload_bytes()
    }
}

fn is_lost(news: &CallNews) -> bool {
    matches!(news.report, CallReport::Ended { outcome: Outcome::Lost { .. }, .. })
}

fn waiting_reason(no_nodes: bool, fits: bool, slot: Resources) -> String {
    if no_nodes {
        return "no node has joined the grid; start one with `burla-node --scheduler URL`".to_owned();
    }
    let (cpus, mib) = (slot.cpu_millis as f64 / 1000.0, slot.memory_bytes >> 20);
    if !fits {
        return format!("no node is large enough any more for a call with {cpus} CPUs and {mib} MiB");
    }
    format!("no node has {cpus} CPUs and {mib} MiB free; other jobs have them")
}
