//! Owns the grid, the time, and the ends of everyone's streams: takes in one event after another, and carries out what the grid
//! says.
//!
//! It never waits for anyone. What it has for a node or a client goes into that one's outbox; the grid itself bounds what can be
//! in them, by the calls it sends to a lease and by the bytes it lets a client leave untaken.

use std::collections::HashMap;
use std::time::Instant;

use burla_types::{GridError, JobId, NodeId};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::grid::Grid;
use crate::grid::event::{Action, ClientUpdate, Event, JobSpec, JobSummary, NodeCommand, NodeSpec, Timestamp};

/// Events that may wait for the driver, of all streams together. A stream that finds it full waits, and HTTP/2 passes that on to
/// its sender.
const EVENTS_MAX: usize = 1024;

/// Something for the driver to take in.
#[derive(Debug)]
enum Message {
    Join { id: NodeId, spec: NodeSpec, outbox: NodeOutbox },
    Open { id: JobId, spec: JobSpec, client: ClientHandles },
    Event(Event),
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

    async fn send(&self, message: Message) -> Result<(), GridError> {
        self.0.send(message).await.map_err(|_| GridError::ShuttingDown)
    }
}

/// The grid and everyone's ends.
pub(crate) struct Driver {
    messages: mpsc::Receiver<Message>,
    started: Instant,
    grid: Grid,
    nodes: HashMap<NodeId, (String, NodeOutbox)>,
    clients: HashMap<JobId, (String, ClientHandles)>,
}

impl Driver {
    pub(crate) fn new() -> (Self, DriverHandle) {
        let (sender, messages) = mpsc::channel(EVENTS_MAX);
        let driver =
            Self { messages, started: Instant::now(), grid: Grid::default(), nodes: HashMap::new(), clients: HashMap::new() };
        (driver, DriverHandle(sender))
    }

    /// Runs until nobody has a handle any more.
    pub(crate) async fn run(mut self) {
        while let Some(message) = self.messages.recv().await {
            let event = self.take_in(message);
            let now = Timestamp(self.started.elapsed());
            for action in self.grid.handle(now, event) {
                self.carry_out(action);
            }
        }
    }

    fn take_in(&mut self, message: Message) -> Event {
        match message {
            Message::Join { id, spec, outbox } => {
                tracing::info!(node = %id, name = %spec.name, capacity = ?spec.capacity, "node joined");
                self.nodes.insert(id, (spec.name.clone(), outbox));
                Event::NodeJoined(id, spec)
            }
            Message::Open { id, spec, client } => {
                tracing::info!(job = %id, name = %spec.name, digest = %spec.work.digest, "job opened");
                self.clients.insert(id, (spec.name.clone(), client));
                Event::JobOpened(id, spec)
            }
            Message::Event(event) => {
                match &event {
                    Event::NodeLeft(id) => {
                        if let Some((name, _)) = self.nodes.remove(id) {
                            tracing::info!(node = %id, %name, "node left");
                        }
                    }
                    Event::JobAbandoned(id) => {
                        if let Some((name, _)) = self.clients.remove(id) {
                            tracing::info!(job = %id, %name, "job abandoned by its client");
                        }
                    }
                    _ => {}
                }
                event
            }
        }
    }

    /// A receiver that is gone has told of it, or is about to; what it would have got is of no use to anyone.
    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ToNode(id, command) => {
                if let Some((_, outbox)) = self.nodes.get(&id) {
                    let _ = outbox.send(command);
                }
            }
            Action::ToClient(id, ClientUpdate::Ended(result)) => {
                if let Some((name, client)) = self.clients.remove(&id) {
                    match &result {
                        Ok(JobSummary { calls, calls_failed, elapsed }) => {
                            tracing::info!(job = %id, %name, calls, calls_failed, ?elapsed, "job finished");
                        }
                        Err(error) => tracing::info!(job = %id, %name, %error, "job failed"),
                    }
                    let _ = client.outbox.send(ClientUpdate::Ended(result));
                }
            }
            Action::ToClient(id, update) => {
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
}
