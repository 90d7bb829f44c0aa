//! The grid as a whole: events in, actions out, no clock and no network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use burla_proto::convert::Work;
use burla_types::{Attempt, Digest, Limits};
use bytes::Bytes;
use proptest::prelude::*;

use super::event::Progress;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn node_id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn job_id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn node(cpus: u64) -> NodeSpec {
    let capacity = Resources { cpu_millis: cpus * 1000, memory_bytes: 64 << 30 };
    NodeSpec { name: "node".into(), capacity, calls_max: 1000, version: "1.0.0".into() }
}

fn limits(memory_bytes_max: u64) -> Limits {
    let (fuel_max, wall_time_max, network) = (None, None, vec![]);
    Limits { cpu_millis_max: 1000, memory_bytes_max, fuel_max, wall_time_max, disk_bytes_max: None, network }
}

fn job(parallelism_max: u64) -> JobSpec {
    let limits = limits(4 << 30);
    let work = Work { digest: Digest::of(b"x"), function: "a::f".into(), limits, env: BTreeMap::new(), wants_output: true };
    JobSpec { name: "job".into(), work: Arc::new(work), cpu_millis: 1000, memory_bytes: None, parallelism_max }
}

fn inputs(count: usize) -> Vec<Bytes> {
    vec![Bytes::from_static(b"input"); count]
}

/// A grid, and a world that does what the grid says: nodes run calls when told to, clients take what they are told.
#[derive(Default)]
struct World {
    grid: Grid,
    /// Whether commands reach nodes only when they [`arrive`](Self::arrive).
    lag: bool,
    /// Whether calls say that they took a second.
    long_calls: bool,
    now: Duration,
    nodes: BTreeMap<NodeId, NodeWorld>,
    told: BTreeMap<JobId, Vec<CallUpdate>>,
    untaken: BTreeMap<JobId, usize>,
    waiting: BTreeMap<JobId, Option<String>>,
    progress: BTreeMap<JobId, Progress>,
    ended: BTreeMap<JobId, Result<JobSummary, GridError>>,
    inputs_paused: BTreeMap<JobId, bool>,
    output_paused: BTreeMap<JobId, bool>,
    stopped: Vec<(NodeId, JobId)>,
}

/// What a node does: starts calls in order while their job has slots.
#[derive(Default)]
struct NodeWorld {
    running: Vec<(JobId, CallToRun)>,
    waiting: Vec<(JobId, CallToRun)>,
    slots: BTreeMap<JobId, u64>,
    /// Jobs whose component it could not make ready.
    troubled: std::collections::BTreeSet<JobId>,
    /// What was said to it and has not reached it, and what it said.
    inbox: Vec<NodeCommand>,
    outbox: Vec<Event>,
}

impl NodeWorld {
    fn runs(&self, job: JobId) -> u64 {
        self.running.iter().filter(|(of, _)| *of == job).count() as u64
    }

    fn start(&mut self) {
        for (job, call) in std::mem::take(&mut self.waiting) {
            if self.runs(job) < self.slots.get(&job).copied().unwrap_or(0) && !self.troubled.contains(&job) {
                self.running.push((job, call));
            } else {
                self.waiting.push((job, call));
            }
        }
    }

    fn give_back(&mut self, job: JobId) -> CallsReturned {
        let (returned, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|(of, _)| *of == job);
        self.waiting = kept;
        let returned: Vec<(JobId, CallToRun)> = returned;
        let calls = returned.into_iter().map(|(_, call)| (call.index, call.attempt)).collect();
        CallsReturned { calls, reason: ReturnReason::GivenBack }
    }

    fn sent(&self) -> usize {
        self.running.len() + self.waiting.len()
    }
}

impl World {
    fn happens(&mut self, event: Event) {
        if let Event::NodeLeft(node) = &event {
            self.nodes.remove(node);
        }
        let mut answers = Vec::new();
        for action in self.grid.handle(Timestamp(self.now), event) {
            match action {
                Action::ToNode(node, command) if self.lag => self.nodes.entry(node).or_default().inbox.push(command),
                Action::ToNode(node, command) => answers.extend(self.at_node(node, command)),
                Action::ToClient(job, ClientUpdate::Calls(calls)) => {
                    *self.untaken.entry(job).or_default() += calls.iter().map(WireSize::wire_bytes).sum::<usize>();
                    self.told.entry(job).or_default().extend(calls);
                }
                Action::ToClient(job, ClientUpdate::Waiting(reason)) => {
                    self.waiting.insert(job, reason);
                }
                Action::ToClient(job, ClientUpdate::Progress(progress)) => {
                    self.progress.insert(job, progress);
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

    fn at_node(&mut self, id: NodeId, command: NodeCommand) -> Option<Event> {
        let node = self.nodes.entry(id).or_default();
        match command {
            NodeCommand::StartJob(..) => {}
            NodeCommand::SetSlots(job, slots, _) => {
                node.slots.insert(job, slots);
            }
            NodeCommand::RunCalls(job, calls) => node.waiting.extend(calls.into_iter().map(|call| (job, call))),
            NodeCommand::RecallCalls(job) => return Some(Event::CallsReturned(id, job, node.give_back(job))),
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
    fn arrive(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for command in std::mem::take(&mut node.inbox) {
            let answer = self.at_node(id, command);
            self.nodes.entry(id).or_default().outbox.extend(answer);
        }
    }

    /// What a node said reaches the grid.
    fn hear(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for event in std::mem::take(&mut node.outbox) {
            self.happens(event);
        }
    }

    fn says(&mut self, node: NodeId, event: Event) {
        match self.nodes.get_mut(&node) {
            Some(world) if self.lag => world.outbox.push(event),
            _ => self.happens(event),
        }
    }

    /// What must be so at any moment: nodes have given what leases hold, and nothing waits for a slot that is free.
    fn check(&self) {
        for (id, node) in &self.grid.nodes {
            let held = self.grid.jobs.values().filter_map(|job| Some((job.slot(), job.leases.get(id)?.held)));
            let held = held.fold(Resources::default(), |sum, (slot, held)| sum.plus(slot, held));
            assert_eq!(node.taken(), held, "what the node has given is what is held");
        }
        for job in self.grid.jobs.values() {
            for lease in job.leases.values() {
                let sent = lease.sent.len() as u64;
                assert!(lease.held == lease.slots.max(lease.held.min(sent)), "slots are held for nothing: {lease:?}");
                let is_open = lease.held == lease.slots && !lease.recalling && !job.output_paused && job.has_pending();
                assert!(!is_open || sent >= lease.slots, "a slot is empty while calls wait: {lease:?}");
            }
        }
    }

    /// Time goes by, tick by tick.
    fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += event::TICK;
            self.happens(Event::Tick);
        }
    }

    fn joins(&mut self, number: u8, cpus: u64) {
        self.happens(Event::NodeJoined(node_id(number), node(cpus)));
    }

    fn opens(&mut self, number: u8, spec: JobSpec, count: usize) {
        self.happens(Event::JobOpened(job_id(number), spec));
        self.happens(Event::InputsArrived(job_id(number), inputs(count)));
        self.happens(Event::InputsClosed(job_id(number)));
    }

    /// How many calls of a job run on a node at this moment.
    fn runs_now(&self, node: NodeId, job: JobId) -> u64 {
        self.nodes.get(&node).map_or(0, |node| node.runs(job))
    }

    fn runs_now_everywhere(&self, job: JobId) -> u64 {
        self.nodes.values().map(|node| node.runs(job)).sum()
    }

    /// The call of a node that has run longest, without ending it.
    fn first(&self, number: u8) -> (JobId, CallToRun) {
        self.nodes[&node_id(number)].running[0].clone()
    }

    /// The same, and it runs no more.
    fn take_first(&mut self, number: u8) -> (JobId, CallToRun) {
        self.nodes.get_mut(&node_id(number)).unwrap().running.remove(0)
    }

    /// The oldest call of a node ends.
    fn one_ends(&mut self, node: NodeId) -> bool {
        let Some(world) = self.nodes.get_mut(&node).filter(|world| !world.running.is_empty()) else { return false };
        let (job, call) = world.running.remove(0);
        world.start();
        self.reports(node, job, call, ended(Outcome::Done(Bytes::new())));
        true
    }

    fn reports(&mut self, node: NodeId, job: JobId, call: CallToRun, report: CallReport) {
        let wall_time = if self.long_calls { SECOND } else { Duration::from_micros(20) };
        let news = took(&call, report, wall_time, 2 << 20);
        self.says(node, Event::CallsReported(node, job, vec![news]));
    }

    fn all_end(&mut self) {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        while nodes.iter().any(|node| self.one_ends(*node)) {}
    }

    fn indices_told(&self, job: JobId) -> Vec<u64> {
        let ends = self.told.get(&job).into_iter().flatten();
        let mut indices: Vec<_> =
            ends.filter(|update| matches!(update.report, CallReport::Ended { .. })).map(|update| update.index).collect();
        indices.sort_unstable();
        indices
    }
}

fn ended(outcome: Outcome) -> CallReport {
    CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() }
}

/// News of a call, which took this much if it has ended.
fn took(call: &CallToRun, mut report: CallReport, wall_time: Duration, memory_bytes_peak: u64) -> CallNews {
    if let CallReport::Ended { usage, .. } = &mut report {
        *usage = Usage { fuel: 1000, wall_time, memory_bytes_peak, disk_bytes_written: 0 };
    }
    CallNews { index: call.index, attempt: call.attempt, report }
}

#[test]
fn a_job_runs_to_its_end() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 5);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 2);
    world.now = SECOND;
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1, 2, 3, 4]);
    let usage = Usage { fuel: 5000, wall_time: 5 * Duration::from_micros(20), memory_bytes_peak: 2 << 20, disk_bytes_written: 0 };
    assert_eq!(world.ended[&job_id(1)], Ok(JobSummary { calls: 5, calls_failed: 0, elapsed: SECOND, usage }));
    assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
}

#[test]
fn a_job_without_inputs_ends_at_once_even_without_nodes() {
    let mut world = World::default();
    world.opens(1, job(u64::MAX), 0);
    assert_eq!(
        world.ended[&job_id(1)],
        Ok(JobSummary { calls: 0, calls_failed: 0, elapsed: Duration::ZERO, usage: Usage::default() })
    );
}

#[test]
fn a_job_that_waits_says_for_what() {
    let mut world = World::default();
    world.opens(1, job(u64::MAX), 1);
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("no node has joined"));
    world.joins(1, 1);
    assert_eq!(world.waiting[&job_id(1)], None);
    world.opens(2, job(u64::MAX), 1);
    assert!(world.waiting[&job_id(2)].as_ref().unwrap().contains("1 CPUs"));
    world.all_end();
    assert_eq!(world.waiting[&job_id(2)], None);
}

#[test]
fn what_no_node_could_ever_run_is_refused() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 4);
    world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 1);
    let Err(GridError::NoNodeFits { wanted, largest }) = &world.ended[&job_id(1)] else { panic!("{:?}", world.ended) };
    assert_eq!((wanted.cpu_millis, largest.cpu_millis), (8000, 4000));
    // Also when the first node comes after the job.
    let mut world = World::default();
    world.opens(1, JobSpec { memory_bytes: Some(65 << 30), ..job(u64::MAX) }, 1);
    world.joins(1, 2);
    assert!(matches!(world.ended[&job_id(1)], Err(GridError::NoNodeFits { .. })));
}

#[test]
fn memory_binds_as_cpus_do() {
    let mut world = World::default();
    world.joins(1, 100);
    world.opens(1, JobSpec { memory_bytes: Some(16 << 30), ..job(u64::MAX) }, 100);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
}

#[test]
fn a_lost_node_loses_no_call() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    world.happens(Event::NodeLeft(node_id(1)));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_call_that_loses_three_nodes_is_lost() {
    let mut world = World::default();
    for number in 1..=3 {
        if number == 1 {
            world.joins(1, 1);
            world.opens(1, job(u64::MAX), 1);
        } else {
            world.joins(number, 1);
        }
        assert_eq!(world.first(number).1.attempt, Attempt(u32::from(number)));
        world.happens(Event::NodeLeft(node_id(number)));
    }
    let CallReport::Ended { outcome: Outcome::Lost { reason }, .. } = &world.told[&job_id(1)][0].report else { panic!() };
    assert!(reason.contains("3 times"), "{reason}");
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().calls_failed, 1);
}

#[test]
fn calls_that_had_not_begun_lose_no_attempt_with_their_node() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 50);
    // Once their length is known, many wait at the node.
    world.one_ends(node_id(1));
    assert!(world.nodes[&node_id(1)].sent() > 10);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 50);
    let losses: Vec<_> = world.nodes[&node_id(2)].running.iter().map(|(_, call)| call.losses).collect();
    assert_eq!((losses[0], losses[1..].iter().max()), (1, Some(&0)));
}

#[test]
fn a_nodes_own_trouble_is_not_the_end_of_a_call() {
    let lost = || ended(Outcome::Lost { reason: "no space left".into() });
    // Where there is another node, that one runs it, and all the others, too.
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 20);
    let (job, call) = world.take_first(1);
    world.reports(node_id(1), job, call, lost());
    assert_eq!(world.runs_now(node_id(1), job), 0, "it keeps off that node");
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job), (0..20).collect::<Vec<_>>());

    // Where there is none, it is tried again after a while.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, super::tests::job(u64::MAX), 1);
    for attempt in 1..=3 {
        let (job, call) = world.take_first(1);
        assert_eq!(call.attempt, Attempt(attempt));
        assert!(world.told.is_empty());
        world.reports(node_id(1), job, call, lost());
        if attempt < 3 {
            assert!(world.waiting[&job].as_ref().unwrap().contains("no space left"));
            world.passes(AVOID_TIME);
        }
    }
    assert_eq!(world.indices_told(job), [0]);
}

#[test]
fn a_node_that_cannot_make_a_component_ready_is_not_the_only_one() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    world.happens(Event::NodeTroubled(node_id(1), job_id(1), "no memory to compile".into()));
    assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());

    // When nobody can, the job fails.
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 10);
    for _ in 0..TROUBLES_MAX {
        assert!(world.ended.is_empty());
        world.happens(Event::NodeTroubled(node_id(1), job_id(1), "no memory to compile".into()));
        world.passes(AVOID_TIME);
    }
    assert!(matches!(world.ended[&job_id(1)], Err(GridError::InvalidComponent { .. })));
}

#[test]
fn slots_that_are_given_while_others_are_taken_away_are_used() {
    let mut world = World { long_calls: true, ..World::default() };
    world.joins(1, 4);
    world.opens(1, job(u64::MAX), 100);
    // Calls that do not end. Another job comes, is promised slots, and goes.
    world.opens(2, job(u64::MAX), 100);
    world.passes(Duration::from_millis(100));
    world.happens(Event::JobAbandoned(job_id(2)));
    world.passes(Duration::from_millis(100));
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
    // Two of them end, and all four slots work again.
    (0..2).for_each(|_| assert!(world.one_ends(node_id(1))));
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
}

#[test]
fn calls_that_have_not_begun_come_back_from_a_client_that_is_behind() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 100);
    world.one_ends(node_id(1));
    assert!(world.nodes[&node_id(1)].sent() > 50);
    let (job, call) = world.first(1);
    world.reports(
        node_id(1),
        job,
        call,
        CallReport::Printed(burla_types::OutputStream::Stdout, Bytes::from(vec![b'x'; 40 << 20])),
    );
    assert!(world.output_paused[&job]);
    assert_eq!(world.nodes[&node_id(1)].sent(), 1);
}

#[test]
fn slots_that_are_added_are_told_even_when_nothing_is_sent() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 1);
    world.opens(2, job(u64::MAX), 500);
    // Job 2 has one slot, and sends many while its calls are short; then they turn long, and job 1 ends.
    for wall_time in [Duration::from_micros(20), 10 * SECOND] {
        let running = &mut world.nodes.get_mut(&node_id(1)).unwrap().running;
        let position = running.iter().position(|(of, _)| *of == job_id(2)).unwrap();
        let (job, call) = running.remove(position);
        let report = ended(Outcome::Done(Bytes::new()));
        let news = took(&call, report, wall_time, 0);
        world.nodes.get_mut(&node_id(1)).unwrap().start();
        world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    }
    let sent = world.nodes[&node_id(1)].sent();
    assert_eq!(world.runs_now(node_id(1), job_id(2)), 1);
    world.one_ends(node_id(1));
    assert_eq!(world.nodes[&node_id(1)].sent(), sent - 1, "nothing more was sent");
    assert_eq!(world.runs_now(node_id(1), job_id(2)), 2);
}

#[test]
fn calls_that_need_more_memory_than_any_node_has_still_run() {
    let mut world = World::default();
    world.joins(1, 4);
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    world.happens(Event::InputsArrived(job_id(1), inputs(1)));
    let (job, call) = world.take_first(1);
    let news = took(&call, ended(Outcome::Done(Bytes::new())), SECOND, 100 << 30);
    world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    world.happens(Event::InputsArrived(job, inputs(2)));
    assert_eq!(world.runs_now_everywhere(job), 1);
    world.joins(2, 1);
    assert!(world.ended.is_empty());
}

#[test]
fn a_job_waits_for_a_large_node_to_come_back() {
    let mut world = World::default();
    world.joins(1, 8);
    world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 2);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 2);
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("large enough"));
    world.joins(3, 8);
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1]);
}

#[test]
fn late_news_counts_while_the_call_is_open_and_only_then() {
    let done = || ended(Outcome::Done(Bytes::new()));
    // Open, and waiting for another node.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let (job, first) = world.first(1);
    world.happens(Event::NodeLeft(node_id(1)));
    world.reports(node_id(1), job, first.clone(), ended(Outcome::Lost { reason: "no space left".into() }));
    assert!(world.indices_told(job).is_empty(), "that is no outcome");
    world.joins(2, 0);
    world.reports(node_id(2), job, first.clone(), done());
    assert_eq!(world.indices_told(job), [0]);
    assert!(world.ended[&job].is_ok());

    // Open, and running elsewhere: the slower one is not heard any more, and its slot is its own until it ends.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, super::tests::job(u64::MAX), 2);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    world.reports(node_id(1), job, first, done());
    assert_eq!((world.indices_told(job), world.runs_now_everywhere(job)), (vec![0], 1));
    let (_, slower) = world.take_first(2);
    assert_eq!(slower.index, 0);
    world.reports(
        node_id(2),
        job,
        slower.clone(),
        CallReport::Printed(burla_types::OutputStream::Stdout, Bytes::from_static(b"x")),
    );
    world.reports(node_id(2), job, slower, done());
    assert_eq!(world.told[&job].len(), 1);
    assert_eq!(world.first(2).1.index, 1);
    world.all_end();
    assert_eq!(world.indices_told(job), [0, 1]);
    assert_eq!(world.ended[&job].as_ref().unwrap().calls, 2);
}

#[test]
fn a_small_job_gets_its_share_of_a_busy_grid_at_once() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 1000);
    // Short calls, of which many wait at the nodes.
    (1..=2).for_each(|number| assert!(world.one_ends(node_id(number))));
    world.opens(2, job(u64::MAX), 10);
    assert_eq!(world.runs_now_everywhere(job_id(2)), 0, "what runs is not stopped");
    for _ in 0..2 {
        (1..=2).for_each(|number| assert!(world.one_ends(node_id(number))));
    }
    assert_eq!((world.runs_now_everywhere(job_id(1)), world.runs_now_everywhere(job_id(2))), (2, 2));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..1000).collect::<Vec<_>>());
    assert_eq!(world.indices_told(job_id(2)), (0..10).collect::<Vec<_>>());
}

#[test]
fn jobs_take_turns_where_there_are_fewer_slots_than_jobs() {
    let mut world = World::default();
    world.joins(1, 1);
    (1..4).for_each(|number| world.opens(number, job(u64::MAX), 1000));
    for _ in 0..20 {
        // Calls of a tenth of a turn.
        (0..10).for_each(|_| assert!(world.one_ends(node_id(1))));
        world.passes(Duration::from_millis(100));
    }
    for number in 1..4 {
        let ended = world.indices_told(job_id(number)).len();
        assert!((40..=120).contains(&ended), "job {number} got {ended} of 200 calls");
    }
}

#[test]
fn calls_that_are_stuck_behind_a_long_one_go_elsewhere() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 30);
    world.one_ends(node_id(1));
    assert_eq!(world.nodes[&node_id(1)].sent(), 29, "they are short, so all were sent");
    world.joins(2, 2);
    assert_eq!(world.runs_now(node_id(2), job_id(1)), 0, "it may be about to end");
    world.passes(Duration::from_millis(100));
    assert_eq!((world.nodes[&node_id(1)].sent(), world.runs_now(node_id(2), job_id(1))), (1, 2));
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job_id(1)).len(), 29);
    world.all_end();
    assert!(world.ended[&job_id(1)].is_ok());
}

#[test]
fn a_node_that_leaves_ends_what_it_runs_and_gives_back_the_rest() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 50);
    world.one_ends(node_id(1));
    world.happens(Event::NodeLeaving(node_id(1)));
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.nodes[&node_id(1)].sent()), (2, 2));
    world.joins(2, 2);
    while world.one_ends(node_id(1)) {}
    assert_eq!(world.indices_told(job_id(1)).len(), 3);
    world.happens(Event::NodeLeft(node_id(1)));
    assert!(world.nodes[&node_id(2)].running.iter().all(|(_, call)| call.losses == 0), "nothing was lost");
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_call_that_was_stopped_for_lack_of_memory_runs_again_with_all_it_may_have() {
    let mut world = World::default();
    let capacity = Resources { cpu_millis: 8000, memory_bytes: 9 << 30 };
    world.happens(Event::NodeJoined(node_id(1), NodeSpec { capacity, ..node(8) }));
    world.opens(1, job(u64::MAX), 100);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 8, "little is reserved at first");
    let (job, stopped) = world.take_first(1);
    let returned = CallsReturned { calls: vec![(stopped.index, stopped.attempt)], reason: ReturnReason::MemoryShort };
    world.happens(Event::CallsReturned(node_id(1), job, returned));
    while world.indices_told(job).len() < 20 {
        assert!(world.one_ends(node_id(1)));
    }
    assert_eq!(world.runs_now_everywhere(job), 2, "4 GiB for each, of 9");
    world.all_end();
    assert_eq!(world.indices_told(job), (0..100).collect::<Vec<_>>());
}

#[test]
fn progress_is_told_when_it_changes() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 4);
    world.passes(event::TICK);
    assert_eq!(world.progress[&job_id(1)], Progress { running: 4, nodes: 2 });
    world.progress.clear();
    world.passes(event::TICK);
    assert!(world.progress.is_empty());
}

#[test]
fn a_job_that_is_abandoned_or_fails_gives_everything_back() {
    for event in
        [Event::JobAbandoned(job_id(1)), Event::JobFailed(job_id(1), GridError::InvalidComponent { reason: "bad".into() })]
    {
        let mut world = World::default();
        world.joins(1, 2);
        world.opens(1, job(u64::MAX), 10);
        world.opens(2, job(u64::MAX), 10);
        assert_eq!(world.runs_now_everywhere(job_id(2)), 0);
        world.happens(event);
        assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
        assert_eq!(world.runs_now_everywhere(job_id(2)), 2);
    }
}

#[test]
fn a_client_that_does_not_take_what_it_is_told_is_told_no_more() {
    let mut world = World::default();
    world.joins(1, 1);
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    world.happens(Event::InputsArrived(job_id(1), inputs(10)));
    let (job, call) = world.first(1);
    let lines = CallReport::Printed(burla_types::OutputStream::Stdout, Bytes::from(vec![b'x'; 40 << 20]));
    world.reports(node_id(1), job, call, lines);
    assert!(world.output_paused[&job]);
    world.all_end();
    assert_eq!(world.indices_told(job), [0], "no call was started while the client was behind");
    let untaken = world.untaken[&job];
    world.happens(Event::ClientTook(job, untaken));
    assert!(!world.output_paused[&job]);
    world.all_end();
    assert_eq!(world.indices_told(job).len(), 10);
}

#[test]
fn inputs_are_held_back_when_too_many_wait() {
    let mut world = World::default();
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    let large = || vec![Bytes::from(vec![0; 50 << 20])];
    for _ in 0..4 {
        assert!(!world.inputs_paused.contains_key(&job_id(1)));
        world.happens(Event::InputsArrived(job_id(1), large()));
    }
    assert!(world.inputs_paused[&job_id(1)]);
    world.joins(1, 8);
    world.one_ends(node_id(1));
    assert!(world.inputs_paused[&job_id(1)], "not before half of it is gone");
    world.all_end();
    assert!(!world.inputs_paused[&job_id(1)]);
}

#[test]
fn calls_that_need_more_memory_than_guessed_reserve_it() {
    let mut world = World::default();
    world.joins(1, 100);
    world.opens(1, job(u64::MAX), 1000);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 100);
    let (job, call) = world.take_first(1);
    let news = took(&call, ended(Outcome::Done(Bytes::new())), SECOND, 4 << 30);
    world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    // What runs goes on; nobody else gets what is not there any more.
    world.opens(2, super::tests::job(u64::MAX), 10);
    assert_eq!(world.runs_now_everywhere(job_id(2)), 0);
}

/// What a random history is made of.
#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leaving(u8),
    Leave(u8),
    Inputs(u8, usize),
    Close(u8),
    End(u8, u8),
    Late(u8),
    MemoryShort(u8),
    Abandon(u8),
    Take(u8),
    Pass(u64),
    Arrive(u8),
    Hear(u8),
    Trouble(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5u8).prop_map(Step::Join),
        1 => (1..5u8).prop_map(Step::Leaving),
        2 => (1..5u8).prop_map(Step::Leave),
        8 => (1..4u8, 1..30usize).prop_map(|(job, count)| Step::Inputs(job, count)),
        1 => (1..4u8).prop_map(Step::Close),
        24 => (1..5u8, 1..20u8).prop_map(|(node, count)| Step::End(node, count)),
        2 => (1..4u8).prop_map(Step::Late),
        1 => (1..5u8).prop_map(Step::MemoryShort),
        1 => (1..4u8).prop_map(Step::Abandon),
        4 => (1..4u8).prop_map(Step::Take),
        8 => (1..200u64).prop_map(Step::Pass),
        16 => (1..5u8).prop_map(Step::Arrive),
        16 => (1..5u8).prop_map(Step::Hear),
        1 => (1..5u8, 1..4u8).prop_map(|(node, job)| Step::Trouble(node, job)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever happens in whatever order, and however late nodes hear of it: a job's calls end once each; no node runs more than
    /// it has, no job more than it may, at any moment; and when nodes stay and inputs end, so do jobs.
    #[test]
    fn any_history_keeps_the_invariants(steps in prop::collection::vec(step(), 0..160), parallelism in 1..6u64) {
        let mut world = World { lag: true, ..World::default() };
        let mut given: BTreeMap<u8, usize> = BTreeMap::new();
        let mut abandoned = Vec::new();
        let mut lost: Vec<(NodeId, JobId, CallToRun)> = Vec::new();
        // With the memory reserved that they may have, one of them fits a node of these.
        let limits = limits(50 << 30);
        for number in 1..4u8 {
            let spec = job(if number == 1 { parallelism } else { u64::MAX });
            let work = Work { limits: limits.clone(), ..Work::clone(&spec.work) };
            world.happens(Event::JobOpened(job_id(number), JobSpec { work: Arc::new(work), ..spec }));
        }
        let mut closed = Vec::new();
        for step in steps {
            match step {
                Step::Join(number) if !world.grid.nodes.contains_key(&node_id(number)) => world.joins(number, 3),
                Step::Join(_) => {}
                Step::Leaving(number) => world.happens(Event::NodeLeaving(node_id(number))),
                Step::Leave(number) => {
                    let calls = world.nodes.get(&node_id(number)).map(|node| node.running.clone()).unwrap_or_default();
                    lost.extend(calls.into_iter().map(|(job, call)| (node_id(number), job, call)));
                    world.happens(Event::NodeLeft(node_id(number)));
                }
                Step::Inputs(number, count) if !closed.contains(&number) => {
                    *given.entry(number).or_default() += count;
                    world.happens(Event::InputsArrived(job_id(number), inputs(count)));
                }
                Step::Inputs(..) => {}
                Step::Close(number) => {
                    closed.push(number);
                    world.happens(Event::InputsClosed(job_id(number)));
                }
                Step::End(number, count) => {
                    for _ in 0..count {
                        world.one_ends(node_id(number));
                    }
                }
                Step::Late(number) => {
                    if let Some(position) = lost.iter().position(|(_, job, _)| *job == job_id(number)) {
                        let (node, job, call) = lost.remove(position);
                        world.reports(node, job, call, ended(Outcome::Done(Bytes::new())));
                    }
                }
                Step::MemoryShort(number) => {
                    if let Some(node) = world.nodes.get_mut(&node_id(number)).filter(|node| !node.running.is_empty()) {
                        let (job, call) = node.running.remove(0);
                        node.start();
                        let calls = vec![(call.index, call.attempt)];
                        let returned = CallsReturned { calls, reason: ReturnReason::MemoryShort };
                        world.says(node_id(number), Event::CallsReturned(node_id(number), job, returned));
                    }
                }
                Step::Trouble(number, job) => {
                    // Before any call of it could run.
                    let knows = |node: &&mut NodeWorld| node.slots.contains_key(&job_id(job)) && node.runs(job_id(job)) == 0;
                    if let Some(node) = world.nodes.get_mut(&node_id(number)).filter(knows) {
                        node.troubled.insert(job_id(job));
                        world.says(node_id(number), Event::NodeTroubled(node_id(number), job_id(job), "trouble".into()));
                    }
                }
                Step::Abandon(number) => {
                    abandoned.push(number);
                    world.happens(Event::JobAbandoned(job_id(number)));
                }
                Step::Take(number) => {
                    let untaken = world.untaken.insert(job_id(number), 0).unwrap_or(0);
                    world.happens(Event::ClientTook(job_id(number), untaken));
                }
                Step::Pass(milliseconds) => world.passes(Duration::from_millis(milliseconds)),
                Step::Arrive(number) => world.arrive(node_id(number)),
                Step::Hear(number) => world.hear(node_id(number)),
            }
            world.check();
            // Of a job that is over, nodes may not have heard yet.
            let is_open = |number: &u8| world.grid.jobs.contains_key(&job_id(*number));
            prop_assert!(!is_open(&1) || world.runs_now_everywhere(job_id(1)) <= parallelism);
            for node in world.nodes.keys() {
                let at_once: u64 = (1..4).filter(is_open).map(|number| world.runs_now(*node, job_id(number))).sum();
                prop_assert!(at_once <= 3, "{at_once} calls of one CPU each on a node of three");
            }
        }
        world.joins(9, 3);
        for number in 1..4u8 {
            world.happens(Event::InputsClosed(job_id(number)));
        }
        for _ in 0..1000 {
            let nodes: Vec<_> = world.nodes.keys().copied().collect();
            nodes.iter().for_each(|node| world.arrive(*node));
            world.all_end();
            nodes.iter().for_each(|node| world.hear(*node));
            world.passes(event::TICK);
            let open = (1..4u8).any(|number| !abandoned.contains(&number) && !world.ended.contains_key(&job_id(number)));
            if !open {
                break;
            }
        }
        // One that had nothing but trouble has failed.
        let failed = |number: &u8| world.ended.get(&job_id(*number)).is_some_and(Result::is_err);
        for number in (1..4u8).filter(|number| !abandoned.contains(number) && !failed(number)) {
            let told = world.indices_told(job_id(number));
            prop_assert_eq!(told, (0..given.get(&number).copied().unwrap_or(0) as u64).collect::<Vec<_>>());
            prop_assert!(world.ended.contains_key(&job_id(number)));
        }
    }
}

fn refuses(world: &mut World, node: u8) {
    world.happens(Event::NodeRefused(node_id(node), job_id(1), format!("node {node} refuses it")));
}

fn refused(reason: &str) -> Result<JobSummary, GridError> {
    Err(GridError::RefusedByPolicy { reason: reason.to_owned() })
}

#[test]
fn a_job_that_one_node_refuses_runs_on_another_and_fails_when_all_refuse() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    refuses(&mut world, 1);
    // Not after a while, either, and not after it had trouble as well.
    world.happens(Event::NodeTroubled(node_id(1), job_id(1), "late news".into()));
    world.now = 10 * SECOND;
    world.happens(Event::Tick);
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.runs_now(node_id(2), job_id(1))), (0, 2));
    refuses(&mut world, 2);
    assert_eq!(world.ended[&job_id(1)], refused("node 2 refuses it"));
}

#[test]
fn a_node_that_is_too_small_or_about_to_leave_is_no_reason_to_wait() {
    for leaves in [false, true] {
        let mut world = World::default();
        world.joins(1, 8);
        world.joins(2, if leaves { 8 } else { 1 });
        world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 1);
        refuses(&mut world, 1);
        if leaves {
            assert!(!world.ended.contains_key(&job_id(1)));
            world.happens(Event::NodeLeaving(node_id(2)));
        }
        assert_eq!(world.ended[&job_id(1)], refused("node 1 refuses it"), "leaves: {leaves}");
    }
}

#[test]
fn a_job_that_a_node_has_taken_on_waits_for_it_to_come_back() {
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 10);
    refuses(&mut world, 1);
    assert!(world.one_ends(node_id(2)));
    world.happens(Event::NodeLeft(node_id(2)));
    assert!(!world.ended.contains_key(&job_id(1)));
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("node 1 refuses it"));
    world.joins(3, 1);
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_lost_calls_say_they_took_is_not_counted() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    while !world.ended.contains_key(&job_id(1)) {
        world.now += SECOND;
        world.happens(Event::Tick);
        if world.runs_now_everywhere(job_id(1)) > 0 {
            let (job, call) = world.take_first(1);
            world.reports(node_id(1), job, call, ended(Outcome::Lost { reason: "full".into() }));
        }
    }
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().usage, Usage::default());
}
