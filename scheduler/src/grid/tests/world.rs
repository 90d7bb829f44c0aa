//! A world around a grid, and what jobs and nodes in it are like.

use std::sync::Arc;

use burla_proto::convert::Work;
use burla_types::{Digest, Limits};

use super::*;

pub(super) fn node_id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

pub(super) fn job_id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

pub(super) fn node(cpus: u64) -> NodeSpec {
    let capacity = Resources { cpu_millis: cpus * 1000, memory_bytes: 64 << 30 };
    NodeSpec { name: "node".into(), capacity, calls_max: 1000, version: "1.0.0".into() }
}

pub(super) fn limits(memory_bytes_max: u64) -> Limits {
    let (fuel_max, wall_time_max, network) = (None, None, vec![]);
    Limits { cpu_millis_max: 1000, memory_bytes_max, fuel_max, wall_time_max, disk_bytes_max: None, network }
}

pub(super) fn job(parallelism_max: u64) -> JobSpec {
    let limits = limits(4 << 30);
    let work = Work { digest: Digest::of(b"x"), function: "a::f".into(), limits, env: BTreeMap::new(), wants_output: true };
    JobSpec {
        name: "job".into(),
        work: Arc::new(work),
        cpu_millis: 1000,
        memory_bytes: None,
        parallelism_max,
        retries: 0,
        retries_exceeded: false,
        retry_pauses: event::RetryPauses::default(),
        before: Before::default(),
    }
}

pub(super) fn inputs(count: usize) -> Vec<Bytes> {
    vec![Bytes::from_static(b"input"); count]
}

/// A grid, and a world that does what the grid says: nodes run calls when told to, clients take what they are told.
#[derive(Default)]
pub(super) struct World {
    pub(super) grid: Grid,
    /// Whether commands reach nodes only when they [`arrive`](Self::arrive).
    pub(super) lag: bool,
    /// Whether calls say that they took a second.
    pub(super) long_calls: bool,
    pub(super) now: Duration,
    pub(super) nodes: BTreeMap<NodeId, NodeWorld>,
    pub(super) told: BTreeMap<JobId, Vec<CallUpdate>>,
    pub(super) untaken: BTreeMap<JobId, usize>,
    pub(super) lost: Vec<(JobId, NodeLost)>,
    pub(super) tries: BTreeMap<JobId, Tries>,
    pub(super) waiting: BTreeMap<JobId, Option<String>>,
    pub(super) progress: BTreeMap<JobId, Progress>,
    pub(super) ended: BTreeMap<JobId, Result<JobSummary, GridError>>,
    pub(super) inputs_paused: BTreeMap<JobId, bool>,
    pub(super) output_paused: BTreeMap<JobId, bool>,
    pub(super) stopped: Vec<(NodeId, JobId)>,
}

/// What a node does: starts calls in order while their job has slots.
#[derive(Default)]
pub(super) struct NodeWorld {
    pub(super) running: Vec<(JobId, CallToRun)>,
    pub(super) waiting: Vec<(JobId, CallToRun)>,
    pub(super) slots: BTreeMap<JobId, u64>,
    /// Jobs whose component it could not make ready.
    pub(super) troubled: std::collections::BTreeSet<JobId>,
    /// What was said to it and has not reached it, and what it said.
    pub(super) inbox: Vec<NodeCommand>,
    pub(super) outbox: Vec<Event>,
}

impl NodeWorld {
    pub(super) fn runs(&self, job: JobId) -> u64 {
        self.running.iter().filter(|(of, _)| *of == job).count() as u64
    }

    pub(super) fn start(&mut self) {
        for (job, call) in std::mem::take(&mut self.waiting) {
            if self.runs(job) < self.slots.get(&job).copied().unwrap_or(0) && !self.troubled.contains(&job) {
                self.running.push((job, call));
            } else {
                self.waiting.push((job, call));
            }
        }
    }

    pub(super) fn give_back(&mut self, job: JobId) -> CallsReturned {
        let (returned, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|(of, _)| *of == job);
        self.waiting = kept;
        let returned: Vec<(JobId, CallToRun)> = returned;
        let calls = returned.into_iter().map(|(_, call)| (call.index, call.attempt)).collect();
        CallsReturned { calls, reason: ReturnReason::GivenBack }
    }

    pub(super) fn sent(&self) -> usize {
        self.running.len() + self.waiting.len()
    }
}

impl World {
    pub(super) fn happens(&mut self, event: Event) {
        if let Event::NodeLeft(node) = &event {
            self.nodes.remove(node);
        }
        let mut answers = Vec::new();
        for action in self.grid.handle(Timestamp(self.now), event) {
            match action {
                Action::ToNode(node, command) if self.lag => self.nodes.entry(node).or_default().inbox.push(command),
                Action::ToNode(node, command) => answers.extend(self.at_node(node, command)),
                Action::ToClient(job, ClientUpdate::Calls(calls)) => {
                    *self.untaken.entry(job).or_default() += calls.iter().map(WireSize::held_bytes).sum::<usize>();
                    self.told.entry(job).or_default().extend(calls);
                }
                Action::ToClient(job, ClientUpdate::Waiting(reason)) => {
                    self.waiting.insert(job, reason);
                }
                Action::ToClient(job, ClientUpdate::Progress(progress)) => {
                    self.progress.insert(job, progress);
                }
                Action::ToClient(job, ClientUpdate::NodeLost(lost)) => self.lost.push((job, lost)),
                Action::ToClient(job, ClientUpdate::Tries(tries)) => {
                    self.tries.insert(job, tries);
                }
                Action::ToClient(job, ClientUpdate::Ended(result)) => {
                    assert!(self.ended.insert(job, result).is_none(), "a job ends once");
                }
                Action::SetInputsPaused(job, paused) => {
                    self.inputs_paused.insert(job, paused);
                }
            }
        }
        answers.into_iter().for_each(|answer| self.happens(answer));
    }

    pub(super) fn at_node(&mut self, id: NodeId, command: NodeCommand) -> Option<Event> {
        let node = self.nodes.entry(id).or_default();
        match command {
            NodeCommand::StartJob(..) => {}
            NodeCommand::SetSlots(job, slots, _) => {
                node.slots.insert(job, slots);
            }
            NodeCommand::RunCalls(job, calls) => node.waiting.extend(calls.into_iter().map(|call| (job, call))),
            NodeCommand::RecallCalls(job) => return Some(Event::CallsReturned(id, job, node.give_back(job))),
            NodeCommand::StopCalls(job, calls) => {
                let is_one = |(of, call): &(JobId, CallToRun)| *of == job && calls.contains(&(call.index, call.attempt));
                let found = node.running.iter().chain(&node.waiting).filter(|one| is_one(one));
                let returned: Vec<_> = found.map(|(_, call)| (call.index, call.attempt)).collect();
                node.running.retain(|one| !is_one(one));
                node.waiting.retain(|one| !is_one(one));
                node.start();
                return Some(Event::CallsReturned(id, job, CallsReturned { calls: returned, reason: ReturnReason::Stopped }));
            }
            NodeCommand::SetOutputPaused(job, paused) => {
                self.output_paused.insert(job, paused);
            }
            NodeCommand::StopJob(job) => {
                node.running.retain(|(of, _)| *of != job);
                node.waiting.retain(|(of, _)| *of != job);
                node.slots.remove(&job);
                node.troubled.remove(&job);
                self.stopped.push((id, job));
            }
        }
        node.start();
        None
    }

    /// What was said to a node reaches it.
    pub(super) fn arrive(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for command in std::mem::take(&mut node.inbox) {
            let answer = self.at_node(id, command);
            self.nodes.entry(id).or_default().outbox.extend(answer);
        }
    }

    /// What a node said reaches the grid.
    pub(super) fn hear(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for event in std::mem::take(&mut node.outbox) {
            self.happens(event);
        }
    }

    pub(super) fn says(&mut self, node: NodeId, event: Event) {
        match self.nodes.get_mut(&node) {
            Some(world) if self.lag => world.outbox.push(event),
            _ => self.happens(event),
        }
    }

    /// What must be so at any moment: nodes have given what leases hold, and nothing waits for a slot that is free.
    pub(super) fn check(&self) {
        for (id, node) in &self.grid.nodes {
            let held = self.grid.jobs.values().filter_map(|job| Some((job.slot(), job.leases.get(*id)?.held)));
            let held = held.fold(Resources::default(), |sum, (slot, held)| sum.plus(slot, held));
            let claimed = self.grid.claimed_on(*id);
            assert_eq!(node.taken(), held.plus(claimed, 1), "what the node has given is what is held");
        }
        for job in self.grid.jobs.values() {
            for (_, lease) in job.leases.iter() {
                let sent = lease.sent.len() as u64;
                assert!(lease.held == lease.slots.max(lease.held.min(sent)), "slots are held for nothing: {lease:?}");
                let is_open = lease.held == lease.slots && !lease.recalling && !job.output_paused && job.has_pending();
                assert!(!is_open || sent >= lease.slots, "a slot is empty while calls wait: {lease:?}");
            }
        }
        self.grid.check_consistency();
    }

    /// Time goes by, tick by tick.
    pub(super) fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += event::TICK;
            self.happens(Event::Tick);
        }
    }

    pub(super) fn joins(&mut self, number: u8, cpus: u64) {
        self.happens(Event::NodeJoined(node_id(number), node(cpus), vec![]));
    }

    pub(super) fn opens(&mut self, number: u8, spec: JobSpec, count: usize) {
        self.happens(Event::JobOpened(job_id(number), spec));
        self.happens(Event::InputsArrived(job_id(number), inputs(count)));
        self.happens(Event::InputsClosed(job_id(number)));
    }

    /// How many calls of a job run on a node at this moment.
    pub(super) fn runs_now(&self, node: NodeId, job: JobId) -> u64 {
        self.nodes.get(&node).map_or(0, |node| node.runs(job))
    }

    pub(super) fn runs_now_everywhere(&self, job: JobId) -> u64 {
        self.nodes.values().map(|node| node.runs(job)).sum()
    }

    /// The call of a node that has run longest, without ending it.
    pub(super) fn first(&self, number: u8) -> (JobId, CallToRun) {
        self.nodes[&node_id(number)].running[0].clone()
    }

    /// The same, and it runs no more.
    pub(super) fn take_first(&mut self, number: u8) -> (JobId, CallToRun) {
        self.nodes.get_mut(&node_id(number)).unwrap().running.remove(0)
    }

    /// The oldest call of a node ends.
    pub(super) fn one_ends(&mut self, node: NodeId) -> bool {
        let Some(world) = self.nodes.get_mut(&node).filter(|world| !world.running.is_empty()) else { return false };
        let (job, call) = world.running.remove(0);
        world.start();
        self.reports(node, job, call, ended(Outcome::Done(Bytes::new())));
        true
    }

    pub(super) fn reports(&mut self, node: NodeId, job: JobId, call: CallToRun, report: CallReport) {
        let wall_time = if self.long_calls { SECOND } else { Duration::from_micros(20) };
        let news = took(&call, report, wall_time, 2 << 20);
        self.says(node, Event::CallsReported(node, job, vec![news]));
    }

    pub(super) fn all_end(&mut self) {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        while nodes.iter().any(|node| self.one_ends(*node)) {}
    }

    pub(super) fn indices_told(&self, job: JobId) -> Vec<u64> {
        let ends = self.told.get(&job).into_iter().flatten();
        let mut indices: Vec<_> =
            ends.filter(|update| matches!(update.report, CallReport::Ended { .. })).map(|update| update.index).collect();
        indices.sort_unstable();
        indices
    }
}

pub(super) fn ended(outcome: Outcome) -> CallReport {
    CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() }
}

/// News of a call, which took this much if it has ended.
pub(super) fn took(call: &CallToRun, mut report: CallReport, wall_time: Duration, memory_bytes_peak: u64) -> CallNews {
    if let CallReport::Ended { usage, .. } = &mut report {
        *usage = Usage { fuel: 1000, wall_time, memory_bytes_peak, disk_bytes_written: 0 };
    }
    CallNews { index: call.index, attempt: call.attempt, report }
}
