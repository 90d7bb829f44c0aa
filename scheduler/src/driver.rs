//! Owns the grid, the time, and the ends of everyone's streams: takes in one event after another, and carries out what the grid
//! says.
//!
//! Reports of short calls, which come by the ten thousands each second, are gathered for a millisecond when they follow each
//! other closely: each would otherwise be a message to the node and one to the client. Their slots have more to do meanwhile.
//! Anything else is taken in at once, with all that was gathered before it. And a node learns that a job is over, where nothing
//! of it runs any more, along with what it is told next.
//!
//! It never waits for anyone. What it has for a node or a client goes into that one's outbox; the grid itself bounds what can be
//! in them, by the calls it sends to a lease and by the bytes it lets a client leave untaken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burla_proto::convert::CallReport;
use burla_types::{GridError, JobId, NodeId, Outcome, Resources};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::grid::Grid;
use crate::grid::event::{
    Action, CallNews, CallUpdate, ClientUpdate, Event, JobSpec, JobSummary, NodeCommand, NodeSpec, TICK, Timestamp,
};
use crate::grid::overview::{JobOverview, NodeOverview};
use crate::metrics::{CallEnd, JobEnd, Metrics, RequeueReason};

/// Events that may wait for the driver, of all streams together. A stream that finds it full waits, and HTTP/2 passes that on to
/// its sender.
const EVENTS_MAX: usize = 1024;

/// Messages that are taken in together.
const MESSAGES_TOGETHER_MAX: usize = 256;

/// How far back in what is taken in together a message looks for one that it can be added to. As many nodes as report at the same
/// time; with more, there is more to do anyway.
const LOOK_BACK_MAX: usize = 16;

/// How long reports of short calls are gathered, and how long ago the last must have been taken in for the next to be so at once.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// Calls that are so short have others waiting for their slot that last longer than reports are gathered (`grid/lease.rs`).
const SHORT_CALL_TIME: Duration = Duration::from_millis(1);

/// Calls that must be open for a job not to miss its reports for a while: its client waits for the last of them, and who waits
/// for a few wants each at once.
const OPEN_CALLS_MIN: u64 = 256;

/// How long a node may go on keeping a job that is over everywhere, so that being told costs it no message of its own: what is
/// said next to the node takes it along.
const KEEP_TIME: Duration = Duration::from_millis(5);

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

    /// The same, if there is room for it at once; else gives it back. One that would reach nobody is dropped.
    pub(crate) fn try_tell(&self, event: Event) -> Option<Event> {
        match self.0.try_send(Message::Event(event)) {
            Err(TrySendError::Full(Message::Event(event))) => Some(event),
            _ => None,
        }
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
    clients: HashMap<JobId, ClientEnd>,
    /// When messages were last taken in.
    taken_in: Instant,
    /// What is logged once everything about it is on its way: to write a line takes as long as to decide about a call.
    log_lines: Vec<LogLine>,
    /// Since when a node has not been told that a job is over.
    finished_since: Option<Instant>,
    /// Who waits for the last job to end; from then on, none is opened.
    draining: Option<oneshot::Sender<()>>,
    metrics: Arc<Metrics>,
}

/// The scheduler's end of a node's session.
struct NodeEnd {
    name: String,
    capacity: Resources,
    outbox: NodeOutbox,
    /// Jobs in which nothing runs any more, of which it has not been told.
    finished: Vec<JobId>,
}

impl NodeEnd {
    /// A receiver that is gone has told of it, or is about to.
    fn send(&mut self, command: NodeCommand) {
        self.tell_finished();
        let _ = self.outbox.send(command);
    }

    fn tell_finished(&mut self) {
        for job in self.finished.drain(..) {
            let _ = self.outbox.send(NodeCommand::StopJob(job));
        }
    }
}

type LogLine = Box<dyn FnOnce() + Send>;

/// The scheduler's end of a job's stream.
struct ClientEnd {
    name: String,
    handles: ClientHandles,
    /// Inputs that arrived, less the calls that ended.
    calls_open: u64,
}

impl Driver {
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, DriverHandle) {
        let (sender, messages) = mpsc::channel(EVENTS_MAX);
        let driver = Self {
            messages,
            started: Instant::now(),
            taken_in: Instant::now(),
            log_lines: Vec::new(),
            finished_since: None,
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
        let mut messages = Vec::with_capacity(MESSAGES_TOGETHER_MAX);
        loop {
            let finished_since = self.finished_since;
            tokio::select! {
                count = self.messages.recv_many(&mut messages, MESSAGES_TOGETHER_MAX) => if count == 0 { return },
                () = after(finished_since, KEEP_TIME) => self.tell_finished(),
                // A grid without jobs has no use for the time.
                _ = ticks.tick(), if !self.clients.is_empty() => messages.push(Message::Event(Event::Tick)),
            }
            self.gather(&mut messages).await;
            for message in together(messages.drain(..)) {
                if let Some(event) = self.take_in(message) {
                    self.handle(event);
                }
            }
            self.taken_in = Instant::now();
            if !self.log_lines.is_empty() {
                tokio::task::yield_now().await;
                self.log_lines.drain(..).for_each(|log| log());
            }
            if self.clients.is_empty()
                && let Some(drained) = self.draining.take()
            {
                let _ = drained.send(());
            }
        }
    }

    /// Adds to what is about to be taken in what follows within a moment, if all of it can wait so long.
    async fn gather(&mut self, messages: &mut Vec<Message>) {
        let deadline = self.taken_in + GATHER_TIME;
        if deadline <= Instant::now() {
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

    /// Whether nobody misses it for a moment.
    fn can_wait(&self, message: &Message) -> bool {
        let is_of_short_call = |news: &CallNews| match &news.report {
            CallReport::Ended { outcome: Outcome::Done(_), usage, .. } => usage.wall_time <= SHORT_CALL_TIME,
            _ => false,
        };
        match message {
            Message::Event(Event::CallsReported(_, job, news)) => {
                let has_many = self.clients.get(job).is_some_and(|client| client.calls_open >= OPEN_CALLS_MIN);
                has_many && news.iter().all(is_of_short_call)
            }
            Message::Event(Event::ClientTook(..)) => true,
            _ => false,
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
                self.nodes.insert(id, NodeEnd { name: spec.name.clone(), capacity: spec.capacity, outbox, finished: Vec::new() });
                Some(Event::NodeJoined(id, spec))
            }
            Message::Open { client, .. } if self.draining.is_some() => {
                let _ = client.outbox.send(ClientUpdate::Ended(Err(GridError::ShuttingDown)));
                None
            }
            Message::Open { id, spec, client } => {
                let (name, digest) = (spec.name.clone(), spec.work.digest);
                self.log_lines.push(Box::new(move || tracing::info!(job = %id, %name, %digest, "job opened")));
                self.metrics.jobs.inc();
                self.clients.insert(id, ClientEnd { name: spec.name.clone(), handles: client, calls_open: 0 });
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
                if let Some(ClientEnd { name, .. }) = self.clients.remove(id) {
                    tracing::info!(job = %id, %name, "job abandoned by its client");
                    self.job_ended(JobEnd::Abandoned);
                }
            }
            Event::InputsArrived(id, inputs) => {
                self.metrics.inputs.inc_by(inputs.len() as u64);
                if let Some(client) = self.clients.get_mut(id) {
                    client.calls_open += inputs.len() as u64;
                }
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
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.send(command);
                }
            }
            Action::ToClient(id, ClientUpdate::Ended(result)) => {
                if let Some(ClientEnd { name, handles, .. }) = self.clients.remove(&id) {
                    self.job_ended(match &result {
                        Ok(_) => JobEnd::Finished,
                        Err(GridError::Canceled) => JobEnd::Canceled,
                        Err(_) => JobEnd::Failed,
                    });
                    let ended = result.clone();
                    self.log_lines.push(Box::new(move || log_end(id, &name, &ended)));
                    let _ = handles.outbox.send(ClientUpdate::Ended(result));
                }
            }
            Action::ToClient(id, update) => {
                let ended = if let ClientUpdate::Calls(calls) = &update { self.calls_ended(calls) } else { 0 };
                if let Some(client) = self.clients.get_mut(&id) {
                    client.calls_open = client.calls_open.saturating_sub(ended);
                    let _ = client.handles.outbox.send(update);
                }
            }
            Action::SetInputsPaused(id, paused) => {
                if let Some(client) = self.clients.get(&id) {
                    client.handles.inputs_paused.send_replace(paused);
                }
            }
        }
    }

    fn job_ended(&self, end: JobEnd) {
        self.metrics.jobs.dec();
        self.metrics.jobs_ended.get_or_create(&end).inc();
    }

    /// Counts the calls that ended, and returns how many did.
    fn calls_ended(&self, updates: &[CallUpdate]) -> u64 {
        let ended = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { .. });
        let done = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
        let (ended, done) = (updates.iter().filter(ended).count() as u64, updates.iter().filter(done).count() as u64);
        self.metrics.calls_ended.get_or_create(&CallEnd::Done).inc_by(done);
        self.metrics.calls_ended.get_or_create(&CallEnd::Failed).inc_by(ended - done);
        ended
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
}

/// Adds reports of a node about a job, and bytes that a client took, to those before them: the grid takes in a hundred together
/// for little more than one. What each of the others says does not depend on which of the two comes first.
fn together(messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let mut together: Vec<Message> = Vec::with_capacity(messages.size_hint().0);
    for message in messages {
        let mut before = together.iter_mut().rev().take(LOOK_BACK_MAX).map_while(|message| match message {
            Message::Event(event @ (Event::CallsReported(..) | Event::ClientTook(..))) => Some(event),
            _ => None,
        });
        match message {
            Message::Event(Event::CallsReported(node, job, news)) => {
                let add_to = before.find_map(|event| match event {
                    Event::CallsReported(its_node, its_job, its_news) if (*its_node, *its_job) == (node, job) => Some(its_news),
                    _ => None,
                });
                match add_to {
                    Some(its_news) => its_news.extend(news),
                    None => together.push(Message::Event(Event::CallsReported(node, job, news))),
                }
            }
            Message::Event(Event::ClientTook(job, bytes)) => {
                let add_to = before.find_map(|event| match event {
                    Event::ClientTook(its_job, its_bytes) if *its_job == job => Some(its_bytes),
                    _ => None,
                });
                match add_to {
                    Some(its_bytes) => *its_bytes += bytes,
                    None => together.push(Message::Event(Event::ClientTook(job, bytes))),
                }
            }
            message => together.push(message),
        }
    }
    together
}

fn cpus(capacity: Resources) -> f64 {
    capacity.cpu_millis as f64 / 1000.0
}

fn memory_bytes(capacity: Resources) -> i64 {
    i64::try_from(capacity.memory_bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use burla_types::{Attempt, Usage};
    use bytes::Bytes;

    use super::*;

    fn jobs() -> [JobId; 2] {
        [1, 2].map(|byte| JobId::from_bytes([byte; 16]))
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 16])
    }

    fn reported(node_byte: u8, job: JobId, index: u64, wall_time: Duration) -> Message {
        let usage = Usage { wall_time, ..Usage::default() };
        let report = CallReport::Ended { outcome: Outcome::Done(Bytes::new()), stderr_tail: String::new(), usage };
        let news = CallNews { index, attempt: Attempt::FIRST, report };
        Message::Event(Event::CallsReported(node(node_byte), job, vec![news]))
    }

    fn took(job: JobId, bytes: usize) -> Message {
        Message::Event(Event::ClientTook(job, bytes))
    }

    /// What is in a message, in short.
    fn shown(message: &Message) -> String {
        match message {
            Message::Event(Event::CallsReported(node, job, news)) => {
                let indices: Vec<_> = news.iter().map(|news| news.index).collect();
                format!("node {} job {} {indices:?}", node.as_bytes()[0], job.as_bytes()[0])
            }
            Message::Event(Event::ClientTook(job, bytes)) => format!("job {} took {bytes}", job.as_bytes()[0]),
            _ => "other".to_owned(),
        }
    }

    #[test]
    fn what_belongs_together_is_taken_in_together_and_nothing_overtakes_the_rest() {
        let [one, two] = jobs();
        let short = Duration::ZERO;
        let messages = vec![
            reported(1, one, 0, short),
            reported(2, one, 1, short),
            took(one, 5),
            reported(1, one, 2, short),
            reported(1, two, 3, short),
            took(two, 1),
            took(one, 6),
            Message::Event(Event::NodeLeft(node(1))),
            reported(1, one, 4, short),
            took(one, 7),
        ];
        let together: Vec<_> = together(messages.into_iter()).iter().map(shown).collect();
        let expected = [
            "node 1 job 1 [0, 2]",
            "node 2 job 1 [1]",
            "job 1 took 11",
            "node 1 job 2 [3]",
            "job 2 took 1",
            "other",
            "node 1 job 1 [4]",
            "job 1 took 7",
        ];
        assert_eq!(together, expected);
    }

    #[test]
    fn only_reports_of_short_calls_of_large_jobs_can_wait() {
        let (mut driver, _handle) = Driver::new(Arc::default());
        for (job, calls_open) in jobs().into_iter().zip([OPEN_CALLS_MIN, OPEN_CALLS_MIN - 1]) {
            let (outbox, inputs_paused) = (mpsc::unbounded_channel().0, watch::Sender::new(false));
            let handles = ClientHandles { outbox, inputs_paused };
            driver.clients.insert(job, ClientEnd { name: String::new(), handles, calls_open });
        }
        let [large, small] = jobs();
        assert!(driver.can_wait(&reported(1, large, 0, SHORT_CALL_TIME)));
        assert!(driver.can_wait(&took(small, 1)));
        assert!(!driver.can_wait(&reported(1, large, 0, SHORT_CALL_TIME * 2)), "its slot may have nothing else to do");
        assert!(!driver.can_wait(&reported(1, small, 0, SHORT_CALL_TIME)), "it may be one of the last");
        assert!(!driver.can_wait(&Message::Event(Event::InputsClosed(large))));
    }
    #[test]
    fn a_node_is_told_that_a_job_is_over_with_what_it_is_told_next() {
        let (mut driver, _handle) = Driver::new(Arc::default());
        let (outbox, mut commands) = mpsc::unbounded_channel();
        let capacity = Resources { cpu_millis: 1000, memory_bytes: 1 << 30 };
        driver.nodes.insert(node(1), NodeEnd { name: String::new(), capacity, outbox, finished: Vec::new() });
        let [done, failed] = jobs();
        let ended = |job, result| {
            vec![Action::ToNode(node(1), NodeCommand::StopJob(job)), Action::ToClient(job, ClientUpdate::Ended(result))]
        };
        let summary = JobSummary { calls: 1, calls_failed: 0, elapsed: Duration::ZERO, usage: Usage::default() };
        let mut carry_out = |driver: &mut Driver, actions| {
            driver.keep_finished(actions).into_iter().for_each(|action| driver.carry_out(action));
            std::iter::from_fn(|| commands.try_recv().ok()).map(|command| format!("{command:?}")).collect::<Vec<_>>()
        };
        let stop = |job| format!("{:?}", NodeCommand::StopJob(job));

        assert!(carry_out(&mut driver, ended(done, Ok(summary))).is_empty());
        assert!(driver.finished_since.is_some());
        assert_eq!(carry_out(&mut driver, ended(failed, Err(GridError::Canceled))), [stop(done), stop(failed)]);
        assert!(carry_out(&mut driver, ended(done, Ok(summary))).is_empty());
        driver.tell_finished();
        assert_eq!(carry_out(&mut driver, vec![]), [stop(done)]);
        assert!(driver.finished_since.is_none());
    }
}
