//! The way to the driver: what can be told to it and asked of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burla_proto::v1;
use burla_types::text::truncated;
use burla_types::{Digest, GridError, JobId, NodeId};
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::NodeOutbox;
use crate::grid::event::{ClientUpdate, Event, HeldCalls, JobSpec, NodeSpec};
use crate::grid::overview::NodeOverview;
use crate::store::{Store, StoreError, Ticket};

/// Events that may wait for the driver, of all streams together. A stream that finds it full waits, and HTTP/2 passes that on to
/// its sender.
const EVENTS_MAX: usize = 1024;

/// Bytes of a text that says how a job ended: some lines for people, of which there is one for each job in the history.
pub(super) const ERROR_BYTES_MAX: usize = 1 << 10;

/// Which session of a node, or stream of a client, something belongs to: of one that another has taken the place of, nobody wants
/// to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionNumber(pub(crate) u64);

/// Something for the driver to take in.
#[derive(Debug)]
pub(super) enum Message {
    Join { id: NodeId, session: SessionNumber, spec: NodeSpec, held: Vec<HeldCalls>, outbox: NodeOutbox },
    NodeSaid { session: SessionNumber, number: u64, event: Event },
    Left { node: NodeId, session: SessionNumber },
    Open { id: JobId, spec: Box<JobSpec>, options: Arc<v1::OpenJob>, resume: Option<Resume>, client: ClientHandles },
    ClientSaid { job: JobId, stream: SessionNumber, event: Event },
    Taken { job: JobId, stream: SessionNumber, events: u64 },
    ClientGone { job: JobId, stream: SessionNumber, why: Gone },
    ClientLost { job: JobId, stream: SessionNumber, is_broken: bool },
    Submit { id: JobId, stream: SessionNumber, spec: Box<JobSpec>, options: Arc<v1::OpenJob>, answer: SubmitAnswer },
    SubmitterGone { job: JobId, stream: SessionNumber },
    KeepInputs { job: JobId, first_index: u64, inputs: Vec<Bytes> },
    CloseInputs(JobId),
    Read { job: JobId, written: Ticket, inputs: Result<Vec<(u64, Bytes)>, StoreError> },
    Event(Event),
    Nodes(oneshot::Sender<Vec<NodeOverview>>),
    Jobs { ended: bool, answer: oneshot::Sender<Vec<v1::Job>> },
    Job(JobId, oneshot::Sender<Option<v1::Job>>),
    Components(oneshot::Sender<HashSet<Digest>>),
    Cancel { job: JobId, why: Gone, answer: oneshot::Sender<bool> },
    Drain(oneshot::Sender<()>),
}

/// Why nobody wants any more of a job that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Its program has all it wanted, or is told to stop.
    Stopped,
    /// Someone canceled it.
    Canceled,
    /// It failed at its client, and this is why.
    Failed(String),
    /// Its program went away without a word.
    Vanished,
}

impl From<v1::Abandon> for Gone {
    fn from(abandon: v1::Abandon) -> Self {
        match abandon {
            v1::Abandon { canceled: true, .. } => Self::Canceled,
            v1::Abandon { error, .. } if !error.is_empty() => Self::Failed(truncated(&error, ERROR_BYTES_MAX).into_owned()),
            v1::Abandon { .. } => Self::Stopped,
        }
    }
}

/// Where a client that hands a job over is told how far the grid has it.
pub(super) type SubmitAnswer = oneshot::Sender<Result<Opened, GridError>>;

/// What the driver has for a client.
#[derive(Debug)]
pub(crate) struct ClientHandles {
    pub(crate) stream: SessionNumber,
    pub(crate) outbox: mpsc::UnboundedSender<ClientUpdate>,
    pub(crate) inputs_paused: watch::Sender<bool>,
    /// Where a client that opens a job again is told whether it is still there.
    pub(crate) opened: Option<oneshot::Sender<Opened>>,
}

/// What a client has of a job that it opened before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    pub(crate) events_taken: u64,
    pub(crate) openings: u32,
}

/// What a client is told of a job that it opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// It was open before.
    pub(crate) resumed: bool,
    /// The index after the last input that the scheduler has.
    pub(crate) next_index: u64,
}

/// The way to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DriverHandle {
    messages: mpsc::Sender<Message>,
    numbers: Arc<AtomicU64>,
    pub(crate) store: Arc<Store>,
}

impl DriverHandle {
    pub(super) fn new(store: Arc<Store>) -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(EVENTS_MAX);
        (Self { messages, numbers: Arc::default(), store }, receiver)
    }

    pub(super) fn downgrade(&self) -> mpsc::WeakSender<Message> {
        self.messages.downgrade()
    }

    /// A number for a session or a stream that nobody else has.
    pub(crate) fn next_number(&self) -> SessionNumber {
        SessionNumber(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// A node joins, and still runs `held`. What the grid has for it comes out of the other end of `outbox`.
    pub(crate) async fn join(
        &self,
        id: NodeId,
        spec: NodeSpec,
        held: Vec<HeldCalls>,
        outbox: NodeOutbox,
    ) -> Result<SessionNumber, GridError> {
        let session = self.next_number();
        self.send(Message::Join { id, session, spec, held, outbox }).await?;
        Ok(session)
    }

    /// A node said something, in the message of this number, if it has one.
    pub(crate) async fn node_said(&self, session: SessionNumber, number: u64, event: Event) -> Result<(), GridError> {
        self.send(Message::NodeSaid { session, number, event }).await
    }

    /// A node's session ended.
    pub(crate) async fn left(&self, node: NodeId, session: SessionNumber) {
        // A driver that is gone knows no nodes.
        let _ = self.send(Message::Left { node, session }).await;
    }

    /// A client opens a job, or opens it again.
    pub(crate) async fn open(
        &self,
        id: JobId,
        spec: JobSpec,
        options: Arc<v1::OpenJob>,
        resume: Option<Resume>,
        client: ClientHandles,
    ) -> Result<(), GridError> {
        self.send(Message::Open { id, spec: Box::new(spec), options, resume, client }).await
    }

    /// The client of a job said something.
    pub(crate) async fn client_said(&self, job: JobId, stream: SessionNumber, event: Event) -> Result<(), GridError> {
        self.send(Message::ClientSaid { job, stream, event }).await
    }

    /// The client of a job has all call events before this number.
    pub(crate) async fn taken(&self, job: JobId, stream: SessionNumber, events: u64) -> Result<(), GridError> {
        self.send(Message::Taken { job, stream, events }).await
    }

    /// The client of a job wants no more of it: it is over for it, in whatever way.
    pub(crate) async fn client_gone(&self, job: JobId, stream: SessionNumber, why: Gone) {
        let _ = self.send(Message::ClientGone { job, stream, why }).await;
    }

    /// The stream of a job's client ended without a word. It may be back; where the connection is not known to be broken, only if
    /// the job is not over.
    pub(crate) async fn client_lost(&self, job: JobId, stream: SessionNumber, is_broken: bool) {
        let _ = self.send(Message::ClientLost { job, stream, is_broken }).await;
    }

    /// A client hands a job over to the grid, or goes on doing so, by this stream.
    pub(crate) async fn submit(
        &self,
        id: JobId,
        stream: SessionNumber,
        spec: JobSpec,
        options: Arc<v1::OpenJob>,
    ) -> Result<Opened, GridError> {
        self.ask(|answer| Message::Submit { id, stream, spec: Box::new(spec), options, answer }).await?
    }

    /// Nothing more comes by this stream, whether or not it was all.
    pub(crate) async fn submitter_gone(&self, job: JobId, stream: SessionNumber) {
        let _ = self.send(Message::SubmitterGone { job, stream }).await;
    }

    /// Inputs of a detached job arrived.
    pub(crate) async fn keep_inputs(&self, job: JobId, first_index: u64, inputs: Vec<Bytes>) -> Result<(), GridError> {
        self.send(Message::KeepInputs { job, first_index, inputs }).await
    }

    /// A detached job has all its inputs.
    pub(crate) async fn close_inputs(&self, job: JobId) -> Result<(), GridError> {
        self.send(Message::CloseInputs(job)).await
    }

    /// Something else happened; if there is room for it at once. Else gives it back. One that would reach nobody is dropped.
    pub(crate) fn try_tell(&self, event: Event) -> Option<Event> {
        match self.messages.try_send(Message::Event(event)) {
            Err(TrySendError::Full(Message::Event(event))) => Some(event),
            _ => None,
        }
    }

    /// The same, waiting for room.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), GridError> {
        self.send(Message::Event(event)).await
    }

    /// The nodes of the grid.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeOverview>, GridError> {
        self.ask(Message::Nodes).await
    }

    /// The open jobs, and those that have ended where they are asked for.
    pub(crate) async fn jobs(&self, ended: bool) -> Result<Vec<v1::Job>, GridError> {
        self.ask(|answer| Message::Jobs { ended, answer }).await
    }

    /// A job, open or not.
    pub(crate) async fn job(&self, id: JobId) -> Result<v1::Job, GridError> {
        self.ask(|answer| Message::Job(id, answer)).await?.ok_or(GridError::UnknownJob(id))
    }

    /// The components of open jobs.
    pub(crate) async fn components(&self) -> Result<HashSet<Digest>, GridError> {
        self.ask(Message::Components).await
    }

    /// Ends a job, if it is open.
    pub(crate) async fn cancel(&self, id: JobId, why: Gone) -> Result<(), GridError> {
        let was_open = self.ask(|answer| Message::Cancel { job: id, why, answer }).await?;
        if was_open { Ok(()) } else { Err(GridError::UnknownJob(id)) }
    }

    /// Takes no more jobs from now on, and waits until attached ones that are open have ended. The others are kept.
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
        self.messages.send(message).await.map_err(|_| GridError::ShuttingDown)
    }
}
