//! A world of one scheduler, some nodes and some clients, and its time: what happens next, and when.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use burla_proto::convert::Work;
use burla_scheduler::grid::event::{Before, JobSpec, NodeSpec, RetryPauses};
use burla_types::{Digest, JobId, Limits, NodeId, Resources};

use crate::client::Client;
use crate::faults::{Faults, Planted};
use crate::kept::Record;
use crate::messages::Told;
use crate::network::Connection;
use crate::node::Node;
use crate::rng::Rng;
use crate::scheduler::Life;

/// Microseconds since the world began.
pub(crate) type Time = u64;
pub(crate) const MILLISECOND: Time = 1000;
pub(crate) const SECOND: Time = 1_000_000;

/// How long after the last fault all jobs must have ended: the grace time of clients that are gone, the time of claims that nobody
/// comes for, the longest call, and the work that is left.
const JOBS_END_WITHIN: Time = 300 * SECOND;

/// How long after that nothing may be left of any job on any node: the grace time and the time of claims, one after the other.
const ALL_IS_CLEAN_WITHIN: Time = 150 * SECOND;

/// Steps that a run may take: many times what any has taken.
const STEPS_MAX: u64 = 3_000_000;

/// Steps of which the trace tells.
const TRACE_MAX: usize = 200;

/// What the largest nodes have, which is enough for any job.
const CPU_MILLIS_MAX: u64 = 4000;

/// The last steps of a run, shared with whoever catches its panic.
pub(crate) type Trace = Rc<RefCell<VecDeque<String>>>;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    ReachesScheduler(u64),
    ReachesPeer(u64),
    Noticed(u64, usize),
    NodeStarts(usize),
    NodeDials(usize, u32),
    RunGoesOn(usize, u32, JobId, u64),
    Trouble(usize, u32, JobId),
    Drained(usize, u32),
    ClientDials(usize),
    ClientSends(usize, u64),
    ClientTakes(usize, u64),
    SchedulerStarts,
    Tick(u32),
    Acknowledge(u32),
    Committed(u32, usize),
    Faults,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) planted: Planted,
    queue: BTreeMap<(Time, u64), Happening>,
    queued: u64,
    pub(crate) steps: u64,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) connections_made: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    typical: BTreeMap<JobId, Time>,
    /// The longest pause between two messages of inputs.
    pub(crate) pace: Time,
    pub(crate) life: Option<Life>,
    /// How many times the scheduler has started.
    pub(crate) lives: u32,
    pub(crate) log: Vec<Record>,
    /// How much of it is on the disk.
    pub(crate) committed: usize,
    pub(crate) committing: bool,
    /// Up to where in the log nodes were told that all is taken in, in this life.
    pub(crate) acknowledged: BTreeMap<NodeId, usize>,
    pub(crate) runs_started: u64,
    /// Jobs that nodes gave up: what crosses that is no mistake.
    pub(crate) gave_up: BTreeSet<(usize, u32, JobId)>,
    pub(crate) troubles: BTreeSet<JobId>,
    pub(crate) ran: BTreeSet<JobId>,
    pub(crate) seen: BTreeMap<(JobId, usize), Vec<Told>>,
    pub(crate) violation: Option<String>,
    trace: Option<Trace>,
}

impl World {
    pub(crate) fn new(seed: u64, planted: Planted, trace: Option<Trace>) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw(&mut rng);
        let mut nodes: Vec<_> = (0..rng.between(1, 5)).map(|_| Node::new(node_spec(&mut rng), rng.pick(&[1, 1, 1, 8]))).collect();
        // One of them is large enough for any job.
        nodes[0].spec.capacity.cpu_millis = CPU_MILLIS_MAX;
        let mut typical = BTreeMap::new();
        let clients = (1..=rng.between(1, 4)).map(|number| {
            let job = JobId::from_bytes([number as u8; 16]);
            typical.insert(job, rng.pick(&[200, 5 * MILLISECOND, 100 * MILLISECOND, SECOND]));
            let inputs = rng.pick(&[0, 1, 10, 60]);
            let inputs = rng.between(inputs / 2, inputs);
            Client::new(job, job_spec(&mut rng), inputs, rng.chance(0.5))
        });
        let clients = clients.collect();
        let pace = rng.pick(&[MILLISECOND, 100 * MILLISECOND, SECOND]);
        Self {
            now: 0,
            rng,
            faults,
            planted,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            connections: BTreeMap::new(),
            connections_made: 0,
            nodes,
            clients,
            typical,
            pace,
            life: None,
            lives: 0,
            log: Vec::new(),
            committed: 0,
            committing: false,
            acknowledged: BTreeMap::new(),
            runs_started: 0,
            gave_up: BTreeSet::new(),
            troubles: BTreeSet::new(),
            ran: BTreeSet::new(),
            seen: BTreeMap::new(),
            violation: None,
            trace,
        }
    }

    /// Runs until all is over. Says what is wrong, if anything is.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.begin();
        let last = self.faults.until + JOBS_END_WITHIN;
        while !self.clients.iter().all(Client::is_through) || !self.is_quiet() {
            self.step()?;
            if self.now > last {
                let open: Vec<_> = self.clients.iter().filter(|client| !client.is_through()).map(|client| client.job).collect();
                return Err(format!("these jobs do not end: {open:?}"));
            }
        }
        let last = self.now + ALL_IS_CLEAN_WITHIN;
        while !self.is_clean() {
            self.step()?;
            if self.now > last {
                return Err("something of a job that is over is left".to_owned());
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.scheduler_starts();
        for node in 0..self.nodes.len() {
            let time = self.rng.below(2 * SECOND);
            self.later(time, Happening::NodeStarts(node));
        }
        for client in 0..self.clients.len() {
            let time = self.rng.below(3 * SECOND);
            self.later(time, Happening::ClientDials(client));
        }
        self.later(SECOND, Happening::Faults);
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(((now, _), happening)) = self.queue.pop_first() else { return Err("nothing happens any more".to_owned()) };
        self.now = now;
        self.steps += 1;
        self.happens(happening);
        match self.violation.take() {
            Some(violation) => Err(violation),
            None if self.steps > STEPS_MAX => Err("this takes too many steps".to_owned()),
            None => Ok(()),
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::ReachesScheduler(connection) => self.reaches_scheduler(connection),
            Happening::ReachesPeer(connection) => self.reaches_peer(connection),
            Happening::Noticed(connection, end) => self.noticed(connection, end),
            Happening::NodeStarts(node) => self.node_starts(node),
            Happening::NodeDials(node, starts) if self.nodes[node].starts == starts => self.node_dials(node),
            Happening::NodeDials(..) => {}
            Happening::RunGoesOn(node, starts, job, key) => self.run_goes_on(node, starts, job, key),
            Happening::Trouble(node, starts, job) => self.trouble(node, starts, job),
            Happening::Drained(node, starts) => self.drained(node, starts),
            Happening::ClientDials(client) => self.client_dials(client),
            Happening::ClientSends(client, connection) => self.client_sends(client, connection),
            Happening::ClientTakes(client, connection) => self.client_takes(client, connection),
            Happening::SchedulerStarts => self.scheduler_starts(),
            Happening::Tick(life) => self.tick(life),
            Happening::Acknowledge(life) => self.acknowledge(life),
            Happening::Committed(life, until) => self.committed(life, until),
            Happening::Faults => self.draw_faults(),
        }
    }

    /// The faults are over.
    pub(crate) fn calm_down(&mut self) {
        self.trace(|| "from here on, nothing goes wrong".to_owned());
        self.calm_clients();
    }

    pub(crate) fn at(&mut self, time: Time, happening: Happening) {
        self.queued += 1;
        self.queue.insert((time, self.queued), happening);
    }

    pub(crate) fn later(&mut self, time: Time, happening: Happening) {
        self.at(self.now + time, happening);
    }

    /// How long a call of the job takes on most nodes.
    pub(crate) fn typical_time(&self, job: JobId) -> Time {
        self.typical.get(&job).copied().unwrap_or(MILLISECOND)
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        let Some(trace) = &self.trace else { return };
        let mut trace = trace.borrow_mut();
        if trace.len() == TRACE_MAX && std::env::var_os("SEED").is_none() {
            trace.pop_front();
        }
        trace.push_back(format!("{:>12.6} {}", self.now as f64 / SECOND as f64, line()));
    }
}

fn node_spec(rng: &mut Rng) -> NodeSpec {
    let capacity = Resources { cpu_millis: rng.pick(&[1000, 2000, CPU_MILLIS_MAX]), memory_bytes: 16 << 30 };
    NodeSpec { name: "node".into(), capacity, calls_max: rng.pick(&[2, 1000]), version: "1.0.0".into() }
}

fn job_spec(rng: &mut Rng) -> JobSpec {
    let cpu_millis = rng.pick(&[500, 1000, 1000, 3000]);
    let limits = Limits {
        cpu_millis_max: cpu_millis,
        memory_bytes_max: 4 << 30,
        fuel_max: None,
        wall_time_max: None,
        disk_bytes_max: None,
        network: vec![],
    };
    let work = Work { digest: Digest::of(b"x"), function: "a::f".into(), limits, env: BTreeMap::new(), wants_output: true };
    JobSpec {
        name: "job".into(),
        work: Arc::new(work),
        cpu_millis,
        memory_bytes: rng.pick(&[None, Some(64 << 20)]),
        parallelism_max: rng.pick(&[1, 2, 5, u64::MAX]),
        retries: rng.pick(&[0, 0, 2, 5]),
        retries_exceeded: false,
        retry_pauses: RetryPauses::default(),
        before: Before::default(),
    }
}
