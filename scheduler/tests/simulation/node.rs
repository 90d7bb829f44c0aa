//! Nodes: they run calls in slots, say what happens to them, and go on with that while no scheduler hears of it.

use std::collections::{BTreeMap, VecDeque};

use burla_proto::convert::CallReport;
use burla_scheduler::grid::event::{CallToRun, HeldCalls, NodeCommand, NodeSpec, ReturnReason};
use burla_types::{Attempt, JobId, NodeId, Outcome, Resources, Usage};
use bytes::Bytes;

use crate::function;
use crate::messages::{Said, ToPeer, ToScheduler};
use crate::network::Peer;
use crate::world::{Happening, MILLISECOND, SECOND, Time, World};

/// The pause before a node dials again.
const DIAL_PAUSE: (Time, Time) = (50 * MILLISECOND, SECOND);

/// How long a node that leaves waits for its calls at most.
const DRAIN_TIME: Time = 5 * SECOND;

/// How long a call takes that is long.
const LONG_MAX: Time = 25 * SECOND;

pub(crate) struct Node {
    pub(crate) is_up: bool,
    pub(crate) starts: u32,
    pub(crate) id: NodeId,
    pub(crate) spec: NodeSpec,
    /// How many times as long as elsewhere its calls take.
    slowness: u64,
    pub(crate) connection: Option<u64>,
    pub(crate) frozen_until: Time,
    leaving_until: Option<Time>,
    pub(crate) jobs: BTreeMap<JobId, NodeJob>,
    said: u64,
    unacknowledged: VecDeque<(u64, Said)>,
}

#[derive(Default)]
pub(crate) struct NodeJob {
    slot: Resources,
    slots: u64,
    /// The scheduler has said in this session what the job is.
    started: bool,
    troubled: bool,
    pub(crate) running: Vec<Run>,
    waiting: VecDeque<CallToRun>,
}

/// A call that runs.
#[derive(Debug)]
pub(crate) struct Run {
    key: u64,
    pub(crate) index: u64,
    pub(crate) attempt: Attempt,
    input: Bytes,
    printed: [u64; 2],
    prints: [u64; 2],
    steps_left: u64,
    step: Time,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Failed,
    Panicked,
    Lost,
    MemoryShort,
    Kills,
}

impl Node {
    pub(crate) fn new(spec: NodeSpec, slowness: u64) -> Self {
        Self {
            is_up: false,
            starts: 0,
            id: NodeId::from_bytes([0; 16]),
            spec,
            slowness,
            connection: None,
            frozen_until: 0,
            leaving_until: None,
            jobs: BTreeMap::new(),
            said: 0,
            unacknowledged: VecDeque::new(),
        }
    }
}

impl World {
    pub(crate) fn node_starts(&mut self, node: usize) {
        let id = NodeId::from_bytes(self.rng.id());
        let it = &mut self.nodes[node];
        if it.is_up {
            return;
        }
        let mut new = Node::new(it.spec.clone(), it.slowness);
        (new.is_up, new.starts, new.id) = (true, it.starts + 1, id);
        *it = new;
        self.trace(|| format!("node {node} starts as {id}"));
        self.node_dials(node);
    }

    pub(crate) fn node_dials(&mut self, node: usize) {
        let it = &self.nodes[node];
        if !it.is_up || it.connection.is_some() {
            return;
        }
        if self.life.is_none() || it.frozen_until > self.now {
            let pause = self.rng.between(DIAL_PAUSE.0, DIAL_PAUSE.1);
            self.later(pause, Happening::NodeDials(node, self.nodes[node].starts));
            return;
        }
        let connection = self.connect(Peer::Node(node, self.nodes[node].starts));
        let it = &mut self.nodes[node];
        it.connection = Some(connection);
        let mut held = Vec::new();
        it.jobs.retain(|id, job| {
            job.waiting.clear();
            job.started = false;
            let calls: Vec<_> = job.running.iter().map(|run| (run.index, run.attempt)).collect();
            if !calls.is_empty() {
                held.push(HeldCalls { job: *id, slot: job.slot, calls });
            }
            !job.running.is_empty()
        });
        let hello = ToScheduler::Hello(it.id, it.spec.clone(), held);
        let mut said: Vec<_> = it.unacknowledged.iter().cloned().collect();
        let is_leaving = it.leaving_until.is_some();
        self.send_to_scheduler(connection, hello);
        // What was said again of a leaving that another scheduler heard is not enough.
        said.retain(|(_, said)| !matches!(said, Said::Leaving));
        self.nodes[node].unacknowledged.retain(|(_, said)| !matches!(said, Said::Leaving));
        said.into_iter().for_each(|(number, said)| self.send_to_scheduler(connection, ToScheduler::Said(number, said)));
        if is_leaving {
            self.node_says(node, Said::Leaving);
        }
    }

    pub(crate) fn node_lost_session(&mut self, node: usize, connection: u64) {
        if self.nodes[node].connection != Some(connection) {
            return;
        }
        self.nodes[node].connection = None;
        // What has not begun is run elsewhere.
        self.nodes[node].jobs.values_mut().for_each(|job| job.waiting.clear());
        let pause = self.rng.between(DIAL_PAUSE.0, DIAL_PAUSE.1);
        self.later(pause, Happening::NodeDials(node, self.nodes[node].starts));
    }

    fn node_says(&mut self, node: usize, said: Said) {
        let it = &mut self.nodes[node];
        it.said += 1;
        let number = it.said;
        it.unacknowledged.push_back((number, said.clone()));
        if let Some(connection) = it.connection {
            self.send_to_scheduler(connection, ToScheduler::Said(number, said));
        }
    }

    pub(crate) fn node_hears(&mut self, node: usize, connection: u64, message: ToPeer) {
        if self.nodes[node].connection != Some(connection) {
            return;
        }
        match message {
            ToPeer::Acknowledged(number) => {
                let it = &mut self.nodes[node];
                while it.unacknowledged.front().is_some_and(|(said, _)| *said <= number) {
                    it.unacknowledged.pop_front();
                }
                self.node_may_go(node);
            }
            ToPeer::Command(command) => self.node_obeys(node, command),
            other => self.violated(|| format!("node {node} was told {other:?}")),
        }
    }

    fn node_obeys(&mut self, node: usize, command: NodeCommand) {
        let now_leaving = self.nodes[node].leaving_until.is_some();
        match command {
            NodeCommand::StartJob(id, work, cpu_millis) => {
                let trouble = !self.is_quiet() && self.rng.chance(self.faults.trouble);
                let job = self.nodes[node].jobs.entry(id).or_default();
                job.started = true;
                job.slot.cpu_millis = cpu_millis;
                let _ = work;
                // One that runs calls of it has its component.
                if trouble && job.running.is_empty() {
                    job.troubled = true;
                    let (time, starts) = (self.rng.below(500 * MILLISECOND), self.nodes[node].starts);
                    self.later(time, Happening::Trouble(node, starts, id));
                }
            }
            NodeCommand::SetSlots(id, slots, memory_bytes) => {
                let Some(job) = self.started_job(node, id) else { return };
                (job.slots, job.slot.memory_bytes) = (slots, memory_bytes);
                self.start_calls(node, id);
            }
            NodeCommand::RunCalls(id, calls) => {
                if now_leaving {
                    let calls = calls.iter().map(|call| (call.index, call.attempt)).collect();
                    self.node_says(node, Said::Returned(id, calls, ReturnReason::GivenBack));
                    return;
                }
                let Some(job) = self.started_job(node, id) else { return };
                job.waiting.extend(calls);
                self.start_calls(node, id);
            }
            NodeCommand::RecallCalls(id) => {
                let waiting = self.nodes[node].jobs.get_mut(&id).map(|job| std::mem::take(&mut job.waiting));
                let calls = waiting.unwrap_or_default().iter().map(|call| (call.index, call.attempt)).collect();
                self.node_says(node, Said::Returned(id, calls, ReturnReason::GivenBack));
            }
            NodeCommand::StopCalls(id, calls) => {
                let Some(job) = self.nodes[node].jobs.get_mut(&id) else { return };
                let is_one = |index: u64, attempt: Attempt| calls.contains(&(index, attempt));
                let running = job.running.iter().map(|run| (run.index, run.attempt));
                let waiting = job.waiting.iter().map(|call| (call.index, call.attempt));
                let stopped: Vec<_> = running.chain(waiting).filter(|(index, attempt)| is_one(*index, *attempt)).collect();
                job.running.retain(|run| !is_one(run.index, run.attempt));
                job.waiting.retain(|call| !is_one(call.index, call.attempt));
                self.node_says(node, Said::Returned(id, stopped, ReturnReason::Stopped));
                self.start_calls(node, id);
            }
            NodeCommand::SetOutputPaused(..) => {}
            NodeCommand::StopJob(id) => {
                self.nodes[node].jobs.remove(&id);
                self.node_may_go(node);
            }
        }
    }

    fn started_job(&mut self, node: usize, id: JobId) -> Option<&mut NodeJob> {
        if !self.nodes[node].jobs.get(&id).is_some_and(|job| job.started) {
            // It gave the job up, and that crossed this.
            let gave_up = self.gave_up.contains(&(node, self.nodes[node].starts, id));
            if !gave_up {
                self.violated(|| format!("node {node} was told of job {id} before what it is"));
            }
            return None;
        }
        self.nodes[node].jobs.get_mut(&id)
    }

    /// Lets calls that wait run in slots that are free.
    fn start_calls(&mut self, node: usize, id: JobId) {
        loop {
            let Some(job) = self.nodes[node].jobs.get_mut(&id).filter(|job| !job.troubled) else { return };
            if job.running.len() as u64 >= job.slots {
                return;
            }
            let Some(call) = job.waiting.pop_front() else { return };
            self.start_call(node, id, call);
        }
    }

    fn start_call(&mut self, node: usize, id: JobId, call: CallToRun) {
        self.check_start(node, id, &call);
        let end = self.draw_end(id, call.index);
        let all = function::lines(id, call.index);
        let prints = match end {
            End::Done => all,
            _ => [self.rng.between(0, all[0]), self.rng.between(0, all[1])],
        };
        let typical = self.typical_time(id);
        let slowness = if self.is_quiet() { 1 } else { self.nodes[node].slowness };
        let mut time = self.rng.between(typical / 4, typical * 2) * slowness;
        if !self.is_quiet() && self.rng.chance(self.faults.call_is_long) {
            time = self.rng.between(SECOND, LONG_MAX);
        }
        let steps_left = self.rng.between(1, 3);
        self.runs_started += 1;
        let key = self.runs_started;
        let step = (time / steps_left).max(1);
        let run = Run {
            key,
            index: call.index,
            attempt: call.attempt,
            input: call.input,
            printed: [0; 2],
            prints,
            steps_left,
            step,
            end,
        };
        self.trace(|| format!("node {node} begins {id} {} {:?}: {end:?} in {time}", call.index, call.attempt));
        if let Some(job) = self.nodes[node].jobs.get_mut(&id) {
            job.running.push(run);
        }
        self.later(step, Happening::RunGoesOn(node, self.nodes[node].starts, id, key));
        self.check_room(node);
    }

    fn draw_end(&mut self, id: JobId, index: u64) -> End {
        let quiet = self.is_quiet();
        let kills = (crate::rng::mix(index ^ u64::from(id.as_bytes()[0])) >> 11) as f64 / (1u64 << 53) as f64;
        if !quiet && kills < self.faults.call_kills {
            End::Kills
        } else if self.rng.chance(self.faults.call_fails) {
            self.rng.pick(&[End::Failed, End::Failed, End::Panicked])
        } else if !quiet && self.rng.chance(self.faults.call_lost) {
            End::Lost
        } else if !quiet && self.rng.chance(self.faults.memory_short) {
            End::MemoryShort
        } else {
            End::Done
        }
    }

    /// A call prints, or ends.
    pub(crate) fn run_goes_on(&mut self, node: usize, starts: u32, id: JobId, key: u64) {
        let it = &mut self.nodes[node];
        if !it.is_up || it.starts != starts {
            return;
        }
        if it.frozen_until > self.now {
            let until = it.frozen_until;
            self.at(until, Happening::RunGoesOn(node, starts, id, key));
            return;
        }
        let Some(job) = it.jobs.get_mut(&id) else { return };
        let Some(place) = job.running.iter().position(|run| run.key == key) else { return };
        let run = &mut job.running[place];
        run.steps_left -= 1;
        let (index, attempt, ends) = (run.index, run.attempt, run.steps_left == 0);
        let mut news = Vec::new();
        for stream in 0..2 {
            let left = run.prints[stream] - run.printed[stream];
            let now = if ends { left } else { self.rng.between(0, left) };
            if now > 0 {
                let first_line = run.printed[stream];
                let lines: String = (first_line..first_line + now).map(|line| function::line(index, stream, line)).collect();
                run.printed[stream] += now;
                let report = CallReport::Printed { stream: function::stream(stream), first_line, lines: lines.into() };
                news.push((index, attempt, report));
            }
        }
        if !ends {
            let step = run.step;
            self.later(step, Happening::RunGoesOn(node, starts, id, key));
            if !news.is_empty() {
                self.node_says(node, Said::News(id, news));
            }
            return;
        }
        let run = job.running.remove(place);
        let printed = format!("{} {}", run.printed[0], run.printed[1]);
        let outcome = match run.end {
            End::Done => Outcome::Done(function::output(&run.input)),
            End::Failed => Outcome::Failed { message: printed, causes: vec![] },
            End::Panicked => Outcome::Panicked { message: printed, location: None, backtrace: burla_types::Backtrace::default() },
            End::Lost => Outcome::Lost { reason: "the node's own trouble".into() },
            End::MemoryShort => {
                if !news.is_empty() {
                    self.node_says(node, Said::News(id, news));
                }
                self.node_says(node, Said::Returned(id, vec![(index, attempt)], ReturnReason::MemoryShort));
                self.start_calls(node, id);
                return;
            }
            End::Kills => return self.node_crashes(node),
        };
        let usage = Usage {
            fuel: 1 + index,
            wall_time: std::time::Duration::from_micros(run.step),
            memory_bytes_peak: 2 << 20,
            disk_bytes_written: 0,
        };
        news.push((index, attempt, CallReport::Ended { outcome, stderr_tail: String::new(), usage }));
        self.node_says(node, Said::News(id, news));
        self.start_calls(node, id);
        self.node_may_go(node);
    }

    pub(crate) fn trouble(&mut self, node: usize, starts: u32, id: JobId) {
        let it = &mut self.nodes[node];
        if it.starts != starts || !it.jobs.get(&id).is_some_and(|job| job.troubled) {
            return;
        }
        it.jobs.remove(&id);
        self.gave_up.insert((node, starts, id));
        self.node_says(node, Said::Troubled(id));
    }

    /// The process is gone, and all it knew.
    pub(crate) fn node_crashes(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            return;
        }
        self.trace(|| format!("node {node} crashes"));
        self.node_ends(node);
        let gone = self.rng.between(10 * MILLISECOND, 5 * SECOND);
        self.later(gone, Happening::NodeStarts(node));
    }

    fn node_ends(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.nodes[node].jobs.clear();
        if let Some(connection) = self.nodes[node].connection.take() {
            self.cut(connection);
        }
    }

    /// The node does nothing for a while; the scheduler may give it up meanwhile.
    pub(crate) fn node_freezes(&mut self, node: usize, time: Time) {
        let until = self.now + time;
        self.nodes[node].frozen_until = until.max(self.nodes[node].frozen_until);
        self.trace(|| format!("node {node} freezes for {time}"));
        if let Some(connection) = self.nodes[node].connection
            && time > 2 * SECOND
            && self.rng.chance(0.5)
        {
            self.cut(connection);
        }
    }

    pub(crate) fn node_leaves(&mut self, node: usize) {
        if !self.nodes[node].is_up || self.nodes[node].leaving_until.is_some() {
            return;
        }
        self.trace(|| format!("node {node} wants to leave"));
        self.nodes[node].leaving_until = Some(self.now + DRAIN_TIME);
        self.later(DRAIN_TIME, Happening::Drained(node, self.nodes[node].starts));
        self.node_says(node, Said::Leaving);
        self.node_may_go(node);
    }

    /// A node that leaves has waited long enough: it gives back what it still runs.
    pub(crate) fn drained(&mut self, node: usize, starts: u32) {
        if !self.nodes[node].is_up || self.nodes[node].starts != starts {
            return;
        }
        let ids: Vec<_> = self.nodes[node].jobs.keys().copied().collect();
        for id in ids {
            let Some(job) = self.nodes[node].jobs.remove(&id) else { continue };
            let running = job.running.iter().map(|run| (run.index, run.attempt));
            let calls: Vec<_> = running.chain(job.waiting.iter().map(|call| (call.index, call.attempt))).collect();
            self.gave_up.insert((node, starts, id));
            if !calls.is_empty() {
                self.node_says(node, Said::Returned(id, calls, ReturnReason::GivenBack));
            }
        }
        self.node_may_go(node);
    }

    /// A node that leaves goes when nothing runs there and all it said was taken in.
    fn node_may_go(&mut self, node: usize) {
        let it = &self.nodes[node];
        let is_idle = it.jobs.values().all(|job| job.running.is_empty() && job.waiting.is_empty());
        if it.is_up && it.leaving_until.is_some() && is_idle && it.unacknowledged.is_empty() {
            self.trace(|| format!("node {node} goes"));
            if let Some(connection) = self.nodes[node].connection.take() {
                self.hang_up(connection);
            }
            self.node_ends(node);
            let gone = self.rng.between(10 * MILLISECOND, 5 * SECOND);
            self.later(gone, Happening::NodeStarts(node));
        }
    }
}
