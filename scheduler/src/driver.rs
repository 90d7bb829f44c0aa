//! Owns the grid, the time, the store, and the ends of everyone's streams: takes in one event after another, and carries out what
//! the grid says.
//!
//! It never waits for anyone. What it has for a node or a client goes into that one's outbox; the grid itself bounds what can be
//! in them, by the calls it sends to a lease and by the bytes it lets a client leave untaken.
//!
//! Streams break, and jobs do not end with them. What an attached client may not have is kept until it says that it has
//! (`driver/attached.rs`), for a grace time when it is gone. What becomes of a detached job goes to the store, and from there to
//! whoever asks (`driver/detached.rs`). A node is told what of its news has been taken in, and says the rest again in its next
//! session (`driver/nodes.rs`).
//!
//! Reports of short calls are gathered for a millisecond when they follow each other closely (`driver/gather.rs`). And a node
//! learns that a job is over, where nothing of it runs any more, along with what it is told next.

mod attached;
mod detached;
mod gather;
mod handle;
mod jobs;
mod nodes;
mod notes;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burla_types::{GridError, JobId, NodeId, Resources};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use self::handle::Message;
pub(crate) use self::handle::{ClientHandles, DriverHandle, Gone, Opened, Resume, SessionNumber};
use self::jobs::JobEndpoint;
use self::nodes::NodeEnd;
pub(crate) use self::nodes::{NodeOutbox, ToNode};
use crate::grid::Grid;
use crate::grid::event::{Action, ClientUpdate, Event, JobSummary, NodeCommand, TICK, Timestamp};
use crate::metrics::{Metrics, RequeueReason};
use crate::store::{RestoredJob, Store, Ticket};

/// Messages that are taken in together.
const MESSAGES_TOGETHER_MAX: usize = 256;

/// How long reports of short calls are gathered, and how long ago the last must have been taken in for the next to be so at once.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// How long a node may go on keeping a job that is over everywhere, so that being told costs it no message of its own: what is
/// said next to the node takes it along.
const KEEP_TIME: Duration = Duration::from_millis(5);

/// The grid and everyone's ends.
pub(crate) struct Driver {
    messages: mpsc::Receiver<Message>,
    /// The way to itself, for what it has others read. It does not keep the driver running.
    myself: mpsc::WeakSender<Message>,
    started: Instant,
    grid: Grid,
    store: Arc<Store>,
    /// How long the job of a client that is gone goes on.
    client_grace: Duration,
    nodes: HashMap<NodeId, NodeEnd>,
    /// Nodes that said something which is not acknowledged.
    unacknowledged: BTreeSet<NodeId>,
    jobs: HashMap<JobId, JobEndpoint>,
    /// Detached jobs whose next inputs are to be read, if there is room for them.
    hungry: BTreeSet<JobId>,
    /// Those whose next inputs were not on the disk when it was looked.
    starved: BTreeSet<JobId>,
    /// How much was on the disk when that was last taken in.
    reached: Ticket,
    /// What of detached jobs is on its way to the disk: bytes that count as untaken until then.
    on_their_way: VecDeque<(Ticket, JobId, usize)>,
    /// The node whose news is being taken in.
    speaking: Option<(NodeId, Arc<str>)>,
    /// When messages were last taken in.
    taken_in: Instant,
    /// What is logged once everything about it is on its way: to write a line takes as long as to decide about a call.
    log_lines: Vec<LogLine>,
    /// Since when a node has not been told that a job is over.
    finished_since: Option<Instant>,
    /// Who waits for the last attached job to end; from then on, none is opened.
    draining: Option<oneshot::Sender<()>>,
    is_draining: bool,
    metrics: Arc<Metrics>,
}

type LogLine = Box<dyn FnOnce() + Send>;

impl Driver {
    /// A driver that goes on with the jobs that earlier ones kept, of which there were so many with this one.
    pub(crate) fn new(
        store: Arc<Store>,
        restored: Vec<RestoredJob>,
        openings: u32,
        client_grace: Duration,
        metrics: Arc<Metrics>,
    ) -> (Self, DriverHandle) {
        let (handle, messages) = DriverHandle::new(Arc::clone(&store));
        let mut driver = Self {
            messages,
            myself: handle.downgrade(),
            started: Instant::now(),
            taken_in: Instant::now(),
            log_lines: Vec::new(),
            finished_since: None,
            grid: Grid::default(),
            store,
            client_grace,
            nodes: HashMap::new(),
            unacknowledged: BTreeSet::new(),
            jobs: HashMap::new(),
            hungry: BTreeSet::new(),
            starved: BTreeSet::new(),
            reached: Ticket::default(),
            on_their_way: VecDeque::new(),
            speaking: None,
            draining: None,
            is_draining: false,
            metrics,
        };
        restored.into_iter().for_each(|job| driver.restore(job, openings));
        (driver, handle)
    }

    /// Runs until nobody has a handle any more.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        // A tick that comes late says the same as those it missed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = self.store.written();
        let mut messages = Vec::with_capacity(MESSAGES_TOGETHER_MAX);
        let restored: Vec<_> = self.jobs.keys().copied().collect();
        restored.into_iter().for_each(|job| self.feed(job));
        loop {
            let finished_since = self.finished_since;
            tokio::select! {
                count = self.messages.recv_many(&mut messages, MESSAGES_TOGETHER_MAX) => if count == 0 { return },
                () = after(finished_since, KEEP_TIME) => self.tell_finished(),
                Ok(()) = written.changed() => {}
                // A grid without jobs has no use for the time.
                _ = ticks.tick(), if self.needs_time() => self.time_went_by(&mut messages),
            }
            self.gather(&mut messages).await;
            for message in gather::together(messages.drain(..)) {
                if let Some(event) = self.take_in(message) {
                    self.handle(event);
                }
                self.speaking = None;
            }
            self.taken_in = Instant::now();
            let reached = *written.borrow_and_update();
            self.reached(reached);
            if !self.log_lines.is_empty() {
                tokio::task::yield_now().await;
                self.log_lines.drain(..).for_each(|log| log());
            }
            if self.is_draining && !self.jobs.values().any(|job| job.keeps_scheduler()) {
                self.draining.take().map(|drained| drained.send(()));
            }
        }
    }

    /// Whether something waits for the time to go by.
    fn needs_time(&self) -> bool {
        !self.jobs.is_empty() || !self.unacknowledged.is_empty() || self.grid.has_claims()
    }

    fn time_went_by(&mut self, messages: &mut Vec<Message>) {
        messages.push(Message::Event(Event::Tick));
        self.acknowledge();
        self.end_grace(messages);
    }

    /// Adds to what is about to be taken in what follows within a moment, if all of it can wait so long.
    async fn gather(&mut self, messages: &mut Vec<Message>) {
        let deadline = self.taken_in + GATHER_TIME;
        if messages.is_empty() || deadline <= Instant::now() {
            return;
        }
        let over = tokio::time::sleep_until(deadline.into());
        tokio::pin!(over);
        let mut seen = 0;
        while messages.len() < MESSAGES_TOGETHER_MAX && messages[seen..].iter().all(|message| self.can_wait(message)) {
            seen = messages.len();
            tokio::select! {
                biased;
                () = &mut over => return,
                count = self.messages.recv_many(messages, MESSAGES_TOGETHER_MAX - seen) => if count == 0 { return },
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let started = Instant::now();
        let actions = self.grid.handle(Timestamp(started - self.started), event);
        let actions = self.keep_finished(actions);
        actions.into_iter().for_each(|action| self.carry_out(action));
        self.metrics.events.inc();
        self.metrics.event_seconds.observe(started.elapsed().as_secs_f64());
        self.metrics.calls_requeued.get_or_create(&RequeueReason::NodeLost).inc_by(self.grid.take_requeued());
    }

    /// Sets aside what nodes are told of jobs that ended because all their calls had. Of others, they are told at once.
    fn keep_finished(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        let finished = |action: &Action| match action {
            Action::ToClient(id, ClientUpdate::Ended(Ok(_))) => Some(*id),
            _ => None,
        };
        let Some(job) = actions.iter().find_map(finished) else { return actions };
        actions.retain(|action| match action {
            Action::ToNode(id, NodeCommand::StopJob(stopped)) if *stopped == job => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.finished.push(job);
                }
                self.finished_since.get_or_insert_with(Instant::now);
                false
            }
            _ => true,
        });
        actions
    }

    fn tell_finished(&mut self) {
        self.finished_since = None;
        self.nodes.values_mut().for_each(NodeEnd::tell_finished);
    }

    fn acknowledge(&mut self) {
        let written = *self.store.written().borrow();
        let nodes = &mut self.nodes;
        self.unacknowledged.retain(|id| nodes.get_mut(id).is_some_and(|node| node.acknowledge(written)));
    }

    /// Everything up to this ticket is on the disk.
    fn reached(&mut self, written: Ticket) {
        if written > self.reached {
            self.reached = written;
            self.hungry.append(&mut self.starved);
        }
        while let Some((_, job, bytes)) = self.on_their_way.pop_front_if(|(ticket, ..)| *ticket <= written) {
            self.handle(Event::ClientTook(job, bytes));
        }
        let hungry = std::mem::take(&mut self.hungry);
        hungry.into_iter().for_each(|job| self.feed(job));
    }

    /// What this means to the grid, if anything.
    fn take_in(&mut self, message: Message) -> Option<Event> {
        // Who asked and did not wait for the answer does not miss it.
        let now = Timestamp(self.started.elapsed());
        match message {
            Message::Join { id, session, spec, held, outbox } => {
                let calls: usize = held.iter().map(|held| held.calls.len()).sum();
                let (name, version) = (&spec.name, &spec.version);
                tracing::info!(node = %id, %name, capacity = ?spec.capacity, %version, calls, "node joined");
                if let Some(before) = self.nodes.insert(id, NodeEnd::new(session, &spec.name, spec.capacity, outbox)) {
                    self.node_left(id, &before);
                }
                self.metrics.nodes.inc();
                self.metrics.cpus.inc_by(cpus(spec.capacity));
                self.metrics.memory_bytes.inc_by(memory_bytes(spec.capacity));
                Some(Event::NodeJoined(id, spec, held))
            }
            Message::Left { node, session } => {
                // Of a session that another has taken the place of, nobody wants to know.
                if self.nodes.get(&node).is_none_or(|end| end.session != session) {
                    return None;
                }
                let end = self.nodes.remove(&node)?;
                self.node_left(node, &end);
                Some(Event::NodeLeft(node))
            }
            Message::NodeSaid { session, number, event } => self.node_said(session, number, event),
            Message::Nodes(answer) => {
                let _ = answer.send(self.grid.nodes(now));
                None
            }
            Message::Drain(drained) => {
                let jobs = self.jobs.values().filter(|job| job.keeps_scheduler()).count();
                tracing::info!(jobs, "no more jobs are taken; waiting for attached ones that are open");
                (self.draining, self.is_draining) = (Some(drained), true);
                None
            }
            Message::Event(event) => Some(event),
            about_job => self.take_in_about_job(now, about_job),
        }
    }

    fn node_said(&mut self, session: SessionNumber, number: u64, event: Event) -> Option<Event> {
        let (Event::CallsReported(id, job, ..) | Event::CallsReturned(id, job, ..)) = &event else {
            // Anything else is about a session, and nothing to one that came after it.
            if let Event::NodeLeaving(id) | Event::NodeTroubled(id, ..) | Event::NodeRefused(id, ..) = &event {
                let node = self.nodes.get(id).filter(|node| node.session == session)?;
                if matches!(event, Event::NodeLeaving(_)) {
                    tracing::info!(node = %id, name = %node.name, "node is leaving");
                }
            }
            return Some(event);
        };
        if let Some(node) = self.nodes.get_mut(id) {
            if number > 0 && node.session == session && node.heard(number) {
                self.unacknowledged.insert(*id);
            }
            self.speaking = Some((*id, Arc::clone(&node.name)));
            if let Some(job) = self.jobs.get_mut(job) {
                job.notes.ran_on(&node.name);
            }
        }
        if let Event::CallsReturned(_, _, returned) = &event {
            self.metrics.calls_requeued.get_or_create(&RequeueReason::Returned).inc_by(returned.calls.len() as u64);
        }
        Some(event)
    }

    fn node_left(&self, id: NodeId, node: &NodeEnd) {
        tracing::info!(node = %id, name = %node.name, "node left");
        self.metrics.nodes.dec();
        self.metrics.cpus.dec_by(cpus(node.capacity));
        self.metrics.memory_bytes.dec_by(memory_bytes(node.capacity));
    }

    /// A receiver that is gone has told of it, or is about to; what it would have got is kept, or of no use to anyone.
    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ToNode(id, command) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.send(command);
                }
            }
            Action::ToClient(id, update) => self.tell_client(id, update),
            Action::SetInputsPaused(id, paused) => self.set_inputs_paused(id, paused),
        }
    }
}

/// Completes so long after `since`; never where there is none.
async fn after(since: Option<Instant>, time: Duration) {
    match since {
        Some(since) => tokio::time::sleep_until((since + time).into()).await,
        None => std::future::pending().await,
    }
}

fn log_end(id: JobId, name: &str, end: &Result<JobSummary, GridError>) {
    match end {
        Ok(JobSummary { calls, calls_failed, elapsed, usage, retried, requeued }) => {
            let (call_time, fuel, written) = (usage.wall_time, usage.fuel, usage.disk_bytes_written);
            let memory_peak = usage.memory_bytes_peak;
            tracing::info!(
                job = %id, %name, calls, calls_failed, ?elapsed, ?call_time, fuel, memory_peak, written, retried, requeued,
                "job finished"
            );
        }
        Err(error) => tracing::info!(job = %id, %name, %error, "job failed"),
    }
}

fn cpus(capacity: Resources) -> f64 {
    capacity.cpu_millis as f64 / 1000.0
}

fn memory_bytes(capacity: Resources) -> i64 {
    i64::try_from(capacity.memory_bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
