//! Nodes and clients that do what the core says, in rounds: what happens in a round is made ready, the core takes it in while a
//! clock runs, and what it says is done afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burla_proto::WireSize;
use burla_proto::convert::{CallReport, Work};
use burla_scheduler::grid::Grid;
use burla_scheduler::grid::event::{
    Action, Before, CallNews, CallsReturned, ClientUpdate, Event, JobSpec, NodeCommand, NodeSpec, RetryPauses, ReturnReason,
    TICK, Timestamp,
};
use burla_types::{Attempt, Digest, JobId, Limits, NodeId, Outcome, Resources, Usage};
use bytes::Bytes;

/// Inputs that a client sends in one message.
const INPUTS_PER_MESSAGE: u64 = 1000;

/// Inputs that a client is ahead.
const INPUTS_AHEAD: u64 = 100_000;

/// Messages to the client that it takes at once.
const UPDATES_PER_TAKE: u64 = 10;

const INPUT_BYTES: usize = 8;

/// Something that events go into and actions come out of.
pub(crate) trait Core: Default {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action>;
}

impl Core for Grid {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        Grid::handle(self, now, event)
    }
}

/// What a grid is like.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) nodes: usize,
    pub(crate) cpus: u64,
    pub(crate) jobs: usize,
    /// Outcomes that a node has gathered when it sends them.
    pub(crate) per_message: usize,
    pub(crate) call_us: u64,
    /// Of the whole grid; how much time goes by.
    pub(crate) calls_per_second: u64,
}

impl Setting {
    /// Calls that end in a round, about.
    pub(crate) fn calls_per_round(&self) -> u64 {
        (self.nodes * self.per_message * self.jobs.min(self.cpus as usize)) as u64
    }
}

/// What a node has of a job.
#[derive(Default)]
struct Queue {
    calls: VecDeque<(u64, Attempt)>,
    running: usize,
    slots: usize,
}

impl Queue {
    fn start(&mut self) {
        self.running = self.running.max(self.slots.min(self.calls.len()));
    }
}

#[derive(Default)]
struct Client {
    sent: u64,
    ended: u64,
    updates: u64,
    untaken_bytes: usize,
    paused: bool,
}

pub(crate) struct World<C> {
    core: C,
    setting: Setting,
    now: Duration,
    next_tick: Duration,
    /// By node and job.
    queues: Vec<Vec<Queue>>,
    clients: Vec<Client>,
    answers: Vec<Event>,
    /// Whether clients send more inputs as calls end.
    feeds: bool,
}

impl<C: Core> World<C> {
    /// Nodes that joined, and jobs without inputs.
    pub(crate) fn idle(setting: Setting) -> Self {
        let (queues, clients) = (Vec::new(), Vec::new());
        let (core, answers, feeds) = (C::default(), Vec::new(), false);
        let mut world = Self { core, setting, now: TICK, next_tick: TICK * 2, queues, clients, answers, feeds };
        for number in 0..setting.jobs {
            world.clients.push(Client::default());
            world.happens(vec![Event::JobOpened(job_id(number), job())]);
        }
        for number in 0..setting.nodes {
            world.queues.push((0..setting.jobs).map(|_| Queue::default()).collect());
            let capacity = Resources { cpu_millis: setting.cpus * 1000, memory_bytes: (setting.cpus * 4) << 30 };
            let (name, version) = (format!("worker-{number:04}.example"), "0.1.0".to_owned());
            world.happens(vec![Event::NodeJoined(
                node_id(number),
                NodeSpec { name, capacity, calls_max: 1000, version },
                vec![],
            )]);
        }
        world
    }

    /// Jobs that want all they can get, and have got it.
    pub(crate) fn busy(setting: Setting) -> Self {
        let mut world = Self::idle(setting);
        for number in 0..setting.jobs {
            let messages = INPUTS_AHEAD / setting.jobs as u64 / INPUTS_PER_MESSAGE;
            (0..messages.max(1)).for_each(|_| world.sends(number, INPUTS_PER_MESSAGE));
        }
        world.feeds = true;
        world.now = world.next_tick;
        world.happens(vec![Event::Tick]);
        for _ in 0..20 {
            world.round();
        }
        world
    }

    fn sends(&mut self, job: usize, count: u64) {
        let event = self.inputs(job, count);
        self.happens(vec![event]);
    }

    fn inputs(&mut self, job: usize, count: u64) -> Event {
        self.clients[job].sent += count;
        let message = Bytes::from(vec![7; INPUT_BYTES * count as usize]);
        let inputs = (0..count as usize).map(|at| message.slice(at * INPUT_BYTES..(at + 1) * INPUT_BYTES));
        Event::InputsArrived(job_id(job), inputs.collect())
    }

    /// Every node tells what has ended since it last did. Returns how many calls that were, and how long the core took.
    pub(crate) fn round(&mut self) -> (u64, Duration) {
        let mut events: Vec<(Timestamp, Event)> = Vec::new();
        let mut calls = 0;
        for answer in std::mem::take(&mut self.answers) {
            events.push((Timestamp(self.now), answer));
        }
        for node in 0..self.setting.nodes {
            for job in 0..self.setting.jobs {
                let Some((count, event)) = self.report(node, job) else { continue };
                calls += count;
                self.now += Duration::from_secs(1) * count as u32 / self.setting.calls_per_second as u32;
                if self.now >= self.next_tick {
                    self.next_tick = self.now + TICK;
                    events.push((Timestamp(self.now), Event::Tick));
                }
                events.push((Timestamp(self.now), event));
                let client = &mut self.clients[job];
                client.ended += count;
                client.updates += 1;
                if client.updates.is_multiple_of(UPDATES_PER_TAKE) {
                    let bytes = std::mem::take(&mut client.untaken_bytes);
                    events.push((Timestamp(self.now), Event::ClientTook(job_id(job), bytes)));
                }
                let ahead = client.sent - client.ended;
                if self.feeds && !client.paused && ahead + INPUTS_PER_MESSAGE <= INPUTS_AHEAD / self.setting.jobs as u64 {
                    let inputs = self.inputs(job, INPUTS_PER_MESSAGE);
                    events.push((Timestamp(self.now), inputs));
                }
            }
        }
        (calls, self.take_in(events))
    }

    /// Sends so many inputs at a time and waits until their calls have ended. Returns how many calls that were, and how long the
    /// core took.
    pub(crate) fn waves(&mut self, wave: usize, waves: usize) -> (u64, Duration) {
        let (mut calls, mut time) = (0, Duration::ZERO);
        for _ in 0..waves {
            for job in 0..self.setting.jobs {
                let inputs = self.inputs(job, wave as u64);
                time += self.take_in(vec![(Timestamp(self.now), inputs)]);
            }
            loop {
                let round = self.round();
                calls += round.0;
                time += round.1;
                if round.0 == 0 && self.answers.is_empty() {
                    break;
                }
            }
        }
        (calls, time)
    }

    fn report(&mut self, node: usize, job: usize) -> Option<(u64, Event)> {
        let queue = &mut self.queues[node][job];
        let count = self.setting.per_message.min(queue.calls.len());
        if count == 0 || queue.slots == 0 && queue.running == 0 {
            return None;
        }
        let message = Bytes::from(vec![7; INPUT_BYTES * count]);
        let wall_time = Duration::from_micros(self.setting.call_us);
        let usage = Usage { fuel: 1000, wall_time, memory_bytes_peak: 2 << 20, disk_bytes_written: 0 };
        let news = queue.calls.drain(..count).enumerate().map(|(at, (index, attempt))| {
            let outcome = Outcome::Done(message.slice(at * INPUT_BYTES..(at + 1) * INPUT_BYTES));
            CallNews { index, attempt, report: CallReport::Ended { outcome, stderr_tail: String::new(), usage } }
        });
        let news = news.collect();
        queue.running = queue.running.saturating_sub(count);
        queue.start();
        Some((count as u64, Event::CallsReported(node_id(node), job_id(job), news)))
    }

    fn happens(&mut self, events: Vec<Event>) {
        let now = Timestamp(self.now);
        self.take_in(events.into_iter().map(|event| (now, event)).collect());
    }

    fn take_in(&mut self, events: Vec<(Timestamp, Event)>) -> Duration {
        let mut actions = Vec::with_capacity(events.len() * 4);
        let started = Instant::now();
        for (now, event) in events {
            actions.extend(self.core.handle(now, event));
        }
        let took = started.elapsed();
        actions.into_iter().for_each(|action| self.carry_out(action));
        took
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ToNode(node, NodeCommand::SetSlots(job, slots, _)) => {
                let queue = &mut self.queues[number(node.as_bytes())][number(job.as_bytes())];
                queue.slots = slots as usize;
                queue.start();
            }
            Action::ToNode(node, NodeCommand::RunCalls(job, calls)) => {
                let queue = &mut self.queues[number(node.as_bytes())][number(job.as_bytes())];
                queue.calls.extend(calls.into_iter().map(|call| (call.index, call.attempt)));
                queue.slots = queue.slots.max(1);
                queue.start();
            }
            Action::ToNode(node, NodeCommand::RecallCalls(job)) => {
                let queue = &mut self.queues[number(node.as_bytes())][number(job.as_bytes())];
                let calls = queue.calls.drain(queue.running.min(queue.calls.len())..).collect();
                let returned = CallsReturned { calls, reason: ReturnReason::GivenBack };
                self.answers.push(Event::CallsReturned(node, job, returned));
            }
            Action::ToClient(job, ClientUpdate::Calls(updates)) => {
                let bytes: usize = updates.iter().map(WireSize::held_bytes).sum();
                self.clients[number(job.as_bytes())].untaken_bytes += bytes;
            }
            Action::SetInputsPaused(job, paused) => self.clients[number(job.as_bytes())].paused = paused,
            _ => {}
        }
    }

    /// Forgets what stands for nodes and clients; the core remains.
    pub(crate) fn drop_nodes(&mut self) {
        (self.queues, self.clients, self.answers) = (Vec::new(), Vec::new(), Vec::new());
    }
}

fn job() -> JobSpec {
    let limits = Limits {
        cpu_millis_max: 1000,
        memory_bytes_max: 4 << 30,
        fuel_max: None,
        wall_time_max: None,
        disk_bytes_max: None,
        network: vec![],
    };
    let (digest, function, env) = (Digest::of(b"x"), "bench::f".to_owned(), BTreeMap::new());
    let work = Arc::new(Work { digest, function, limits, env, wants_output: false });
    JobSpec {
        name: "bench".to_owned(),
        work,
        cpu_millis: 1000,
        memory_bytes: None,
        parallelism_max: u64::MAX,
        retries: 0,
        retries_exceeded: false,
        retry_pauses: RetryPauses::default(),
        before: Before::default(),
    }
}

fn node_id(number: usize) -> NodeId {
    NodeId::from_bytes(id(number))
}

fn job_id(number: usize) -> JobId {
    JobId::from_bytes(id(number))
}

/// Like a UUID of version 7: a time first, then what looks random.
fn id(number: usize) -> [u8; 16] {
    let time = (0x0192_0000_0000 + number as u128) << 80;
    let random = u128::from((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (time | random).to_be_bytes()
}

fn number(id: &[u8; 16]) -> usize {
    let time = u128::from_be_bytes(*id) >> 80;
    (time - 0x0192_0000_0000) as usize
}
