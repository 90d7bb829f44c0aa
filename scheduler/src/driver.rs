//! Owns the grid, the time, and the ends of everyone's streams: takes in one event after another, and carries out what the grid
//! says.
//!
//! It never waits for anyone. What it has for a node or a client goes into that one's outbox; the grid itself bounds what can be
//! in them, by the calls it sends to a lease and by the bytes it lets a client leave untaken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use burla_proto::convert::CallReport;
use burla_types::{GridError, JobId, NodeId, Outcome, Resources};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::grid::Grid;
use crate::grid::event::{Action, CallUpdate, ClientUpdate, Event, JobSpec, JobSummary, NodeCommand, NodeSpec, TICK, Timestamp};
use crate::grid::overview::{JobOverview, NodeOverview};
use crate::metrics::{CallEnd, JobEnd, Metrics, RequeueReason};

/// Events that may wait for the driver, of all streams together. A stream that finds it full waits, and HTTP/2 passes that on to
/// its sender.
const EVENTS_MAX: usize = 1024;

/// Something for the driver to take in.
#[derive(Debug)]
enum Message {
    Join { id: NodeId, spec: NodeSpec, outbox: NodeOutbox },
    Open { id: JobId, spec: JobSpec, client: ClientHandles },
    Event(Event),
    Nodes(oneshot::Sender<Vec<NodeOverview>>),
    Jobs(oneshot::Sender<Vec<JobOverview>>),
    Cancel(JobId, oneshot::Sender<bool>),
    Drain(oneshot::Sender<()>),
}

/// What the driver has for a node.
pub(crate) type NodeOutbox = mpsc::UnboundedSender<NodeCommand>;

/// What the driver has for a client.
#[derive(Debug)]
pub(crate) struct ClientHandles {
    pub(crate) outbox: mpsc::UnboundedSender<ClientUpdate>,
    pub(crate) inputs_paused: watch::Sender<bool>,
}

/// The way to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DriverHandle(mpsc::Sender<Message>);

impl DriverHandle {
    /// A node joins. What the grid has for it comes out of the other end of `outbox`.
    pub(crate) async fn join(&self, spec: NodeSpec, outbox: NodeOutbox) -> Result<NodeId, GridError> {
        let id = NodeId::from_uuid(Uuid::now_v7());
        self.send(Message::Join { id, spec, outbox }).await?;
        Ok(id)
    }

    /// A client opens a job.
    pub(crate) async fn open(&self, spec: JobSpec, client: ClientHandles) -> Result<JobId, GridError> {
        let id = JobId::from_uuid(Uuid::now_v7());
        self.send(Message::Open { id, spec, client }).await?;
        Ok(id)
    }

    /// Something else happened.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), GridError> {
        self.send(Message::Event(event)).await
    }

    /// The nodes of the grid.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeOverview>, GridError> {
        self.ask(Message::Nodes).await
    }

    /// The open jobs.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobOverview>, GridError> {
        self.ask(Message::Jobs).await
    }

    /// Ends a job, if it is open.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<(), GridError> {
        let was_open = self.ask(|answer| Message::Cancel(id, answer)).await?;
        if was_open { Ok(()) } else { Err(GridError::UnknownJob(id)) }
    }

    /// Takes no more jobs from now on, and waits until those that are open have ended.
    pub(crate) async fn drain(&self) {
        // A driver that is gone has nothing open.
        let _ = self.ask(Message::Drain).await;
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, GridError> {
        let (sender, answer) = oneshot::channel();
        self.send(message(sender)).await?;
        answer.await.map_err(|_| GridError::ShuttingDown)
    }

    async fn send(&self, message: Message) -> Result<(), GridError> {
        self.0.send(message).await.map_err(|_| GridError::ShuttingDown)
    }
}

/// The grid and everyone's ends.
pub(crate) struct Driver {
    messages: mpsc::Receiver<Message>,
    started: Instant,
    grid: Grid,
    nodes: HashMap<NodeId, NodeEnd>,
    clients: HashMap<JobId, (String, ClientHandles)>,
    /// Who waits for the last job to end; from then on, none is opened.
    draining: Option<oneshot::Sender<()>>,
    metrics: Arc<Metrics>,
}

/// The scheduler's end of a node's session.
struct NodeEnd {
    name: String,
    capacity: Resources,
    outbox: NodeOutbox,
}

impl Driver {
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, DriverHandle) {
        let (sender, messages) = mpsc::channel(EVENTS_MAX);
        let driver = Self {
            messages,
            started: Instant::now(),
            grid: Grid::default(),
            nodes: HashMap::new(),
            clients: HashMap::new(),
            draining: None,
            metrics,
        };
        (driver, DriverHandle(sender))
    }

    /// Runs until nobody has a handle any more.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        // A tick that comes late says the same as those it missed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = self.messages.recv() => message,
                // A grid without jobs has no use for the time.
                _ = ticks.tick(), if !self.clients.is_empty() => Some(Message::Event(Event::Tick)),
            };
            let Some(message) = message else { return };
            if let Some(event) = self.take_in(message) {
                let started = Instant::now();
                let actions = self.grid.handle(Timestamp(started - self.started), event);
                actions.into_iter().for_each(|action| self.carry_out(action));
                self.metrics.events.inc();
                self.metrics.event_seconds.observe(started.elapsed().as_secs_f64());
                self.metrics.calls_requeued.get_or_create(&RequeueReason::NodeLost).inc_by(self.grid.take_requeued());
            }
            if self.clients.is_empty()
                && let Some(drained) = self.draining.take()
            {
                let _ = drained.send(());
            }
        }
    }

    /// What this means to the grid, if anything.
    fn take_in(&mut self, message: Message) -> Option<Event> {
        // Who asked and did not wait for the answer does not miss it.
        let now = Timestamp(self.started.elapsed());
        match message {
            Message::Join { id, spec, outbox } => {
                tracing::info!(node = %id, name = %spec.name, capacity = ?spec.capacity, version = %spec.version, "node joined");
                self.metrics.nodes.inc();
                self.metrics.cpus.inc_by(cpus(spec.capacity));
                self.metrics.memory_bytes.inc_by(memory_bytes(spec.capacity));
                self.nodes.insert(id, NodeEnd { name: spec.name.clone(), capacity: spec.capacity, outbox });
                Some(Event::NodeJoined(id, spec))
            }
            Message::Open { client, .. } if self.draining.is_some() => {
                let _ = client.outbox.send(ClientUpdate::Ended(Err(GridError::ShuttingDown)));
                None
            }
            Message::Open { id, spec, client } => {
                tracing::info!(job = %id, name = %spec.name, digest = %spec.work.digest, "job opened");
                self.metrics.jobs.inc();
                self.clients.insert(id, (spec.name.clone(), client));
                Some(Event::JobOpened(id, spec))
            }
            Message::Nodes(answer) => {
                let _ = answer.send(self.grid.nodes(now));
                None
            }
            Message::Jobs(answer) => {
                let _ = answer.send(self.grid.jobs(now));
                None
            }
            Message::Cancel(id, answer) => {
                let is_open = self.clients.contains_key(&id);
                let _ = answer.send(is_open);
                is_open.then_some(Event::JobFailed(id, GridError::Canceled))
            }
            Message::Drain(drained) => {
                tracing::info!(jobs = self.clients.len(), "no more jobs are taken; waiting for those that are open");
                self.draining = Some(drained);
                None
            }
            Message::Event(event) => {
                self.note(&event);
                Some(event)
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::NodeLeaving(id) => {
                if let Some(node) = self.nodes.get(id) {
                    tracing::info!(node = %id, name = %node.name, "node is leaving");
                }
            }
            Event::NodeLeft(id) => {
                if let Some(node) = self.nodes.remove(id) {
                    tracing::info!(node = %id, name = %node.name, "node left");
                    self.metrics.nodes.dec();
                    self.metrics.cpus.dec_by(cpus(node.capacity));
                    self.metrics.memory_bytes.dec_by(memory_bytes(node.capacity));
                }
            }
            Event::JobAbandoned(id) => {
                if let Some((name, _)) = self.clients.remove(id) {
                    tracing::info!(job = %id, %name, "job abandoned by its client");
                    self.job_ended(JobEnd::Abandoned);
                }
            }
            Event::InputsArrived(_, inputs) => {
                self.metrics.inputs.inc_by(inputs.len() as u64);
            }
            Event::CallsReturned(_, _, returned) => {
                self.metrics.calls_requeued.get_or_create(&RequeueReason::Returned).inc_by(returned.calls.len() as u64);
            }
            _ => {}
        }
    }

    /// A receiver that is gone has told of it, or is about to; what it would have got is of no use to anyone.
    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ToNode(id, command) => {
                if let Some(node) = self.nodes.get(&id) {
                    let _ = node.outbox.send(command);
                }
            }
            Action::ToClient(id, ClientUpdate::Ended(result)) => {
                if let Some((name, client)) = self.clients.remove(&id) {
                    self.job_ended(match &result {
                        Ok(_) => JobEnd::Finished,
                        Err(GridError::Canceled) => JobEnd::Canceled,
                        Err(_) => JobEnd::Failed,
                    });
                    match &result {
                        Ok(JobSummary { calls, calls_failed, elapsed, usage }) => {
                            let (call_time, fuel, written) = (usage.wall_time, usage.fuel, usage.disk_bytes_written);
                            let memory_peak = usage.memory_bytes_peak;
                            tracing::info!(
                                job = %id, %name, calls, calls_failed, ?elapsed, ?call_time, fuel, memory_peak, written,
                                "job finished"
                            );
                        }
                        Err(error) => tracing::info!(job = %id, %name, %error, "job failed"),
                    }
                    let _ = client.outbox.send(ClientUpdate::Ended(result));
                }
            }
            Action::ToClient(id, update) => {
                if let ClientUpdate::Calls(calls) = &update {
                    self.calls_ended(calls);
                }
                if let Some((_, client)) = self.clients.get(&id) {
                    let _ = client.outbox.send(update);
                }
            }
            Action::SetInputsPaused(id, paused) => {
                if let Some((_, client)) = self.clients.get(&id) {
                    client.inputs_paused.send_replace(paused);
                }
            }
        }
    }

    fn job_ended(&self, end: JobEnd) {
        self.metrics.jobs.dec();
        self.metrics.jobs_ended.get_or_create(&end).inc();
    }

    fn calls_ended(&self, updates: &[CallUpdate]) {
        let ended = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { .. });
        let done = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
        let (ended, done) = (updates.iter().filter(ended).count() as u64, updates.iter().filter(done).count() as u64);
        self.metrics.calls_ended.get_or_create(&CallEnd::Done).inc_by(done);
        self.metrics.calls_ended.get_or_create(&CallEnd::Failed).inc_by(ended - done);
    }
}

fn cpus(capacity: Resources) -> f64 {
    capacity.cpu_millis as f64 / 1000.0
}

fn memory_bytes(capacity: Resources) -> i64 {
    i64::try_from(capacity.memory_bytes).unwrap_or(i64::MAX)
}
