//! What nodes say, decoded; what they are told, encoded. An edge file: generated types stop here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use burla_proto::convert::{self, InvalidMessage};
use burla_proto::v1::{
    self, calls_returned::Reason, job_unusable::Blame, node_message::Message as FromNode, run_calls::Call,
    scheduler_message::Message as ToNode,
};
use burla_proto::{BATCH_BYTES, COMPONENT_CHUNK_BYTES, WireSize, status};
use burla_types::text::truncated;
use burla_types::{Attempt, GridError, NAME_BYTES_MAX, NodeId, Resources};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{agree, refuse};
use crate::components::Components;
use crate::driver::{DriverHandle, SessionNumber, ToNode as Said};
use crate::grid::event::{CallNews, CallToRun, CallsReturned, Event, HeldCalls, NodeCommand, NodeSpec, ReturnReason};

/// Commands that are taken out of the outbox at one time, to become as few messages as may be.
const COMMANDS_TOGETHER_MAX: usize = 64;

pub(super) struct NodeService {
    driver: DriverHandle,
    components: Arc<Components>,
}

impl NodeService {
    pub(super) fn new(driver: DriverHandle, components: Arc<Components>) -> Self {
        Self { driver, components }
    }
}

type Chunks = Pin<Box<dyn Stream<Item = Result<v1::ComponentChunk, Status>> + Send>>;

#[tonic::async_trait]
impl v1::node_api_server::NodeApi for NodeService {
    type SessionStream = Commands;

    async fn session(&self, request: Request<Streaming<v1::NodeMessage>>) -> Result<Response<Commands>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.message);
        let Some(FromNode::Hello(hello)) = first else { return Err(refuse("the first message is no hello")) };
        let version = hello.node.as_ref().map(|node| node.version.clone()).unwrap_or_default();
        let protocol = agree(hello.node)?;
        let capacity: Resources = hello.capacity.ok_or_else(|| refuse("a node without capacity"))?.into();
        if hello.name.len().max(version.len()) > NAME_BYTES_MAX {
            return Err(refuse("a node whose name or version is longer than 4096 bytes"));
        }
        if !is_plausible(capacity, hello.calls_max) {
            return Err(refuse("a node with more CPUs, memory or calls than any machine has"));
        }
        let node = convert::node_id(&hello.node_id).map_err(refuse)?;
        let held = hello.held.into_iter().map(held_calls).collect::<Result<_, _>>().map_err(refuse)?;
        let (outbox, commands) = mpsc::unbounded_channel();
        let spec = NodeSpec { name: hello.name, capacity, calls_max: hello.calls_max, version };
        let session = self.driver.join(node, spec, held, outbox).await.map_err(|error| status::to_status(&error))?;
        tokio::spawn(listen(self.driver.clone(), node, session, messages));
        Ok(Response::new(Commands::new(node, protocol, commands)))
    }

    type DownloadComponentStream = Chunks;

    async fn download_component(&self, request: Request<v1::DownloadComponentRequest>) -> Result<Response<Chunks>, Status> {
        let digest = convert::digest(&request.into_inner().digest).map_err(refuse)?;
        let components = Arc::clone(&self.components);
        let read = tokio::task::spawn_blocking(move || components.download(digest)).await;
        let bytes: Bytes =
            read.map_err(|error| Status::internal(error.to_string()))?.map_err(|error| status::to_status(&error))?;
        let chunks = (0..bytes.len()).step_by(COMPONENT_CHUNK_BYTES).map(move |start| {
            let data = bytes.slice(start..bytes.len().min(start + COMPONENT_CHUNK_BYTES));
            let digest = if start == 0 { convert::digest_bytes(digest) } else { Bytes::new() };
            Ok(v1::ComponentChunk { digest, data })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}

/// Whether a machine could have so much. What all nodes have is added up, and must not overflow.
fn is_plausible(capacity: Resources, calls_max: u64) -> bool {
    const CPU_MILLIS_MAX: u64 = 1_000_000_000;
    const MEMORY_BYTES_MAX: u64 = 1 << 50;
    const CALLS_MAX: u64 = 1 << 30;
    capacity.cpu_millis <= CPU_MILLIS_MAX && capacity.memory_bytes <= MEMORY_BYTES_MAX && calls_max <= CALLS_MAX
}

/// Passes on what a node says, until its session ends.
async fn listen(driver: DriverHandle, node: NodeId, session: SessionNumber, mut messages: Streaming<v1::NodeMessage>) {
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                tracing::info!(%node, %error, "a node's session broke");
                break;
            }
        };
        let number = message.number;
        match event(node, message) {
            Ok(event) => {
                if driver.node_said(session, number, event).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%node, %error, "a node sent what nodes do not send; closing its session");
                break;
            }
        }
    }
    driver.left(node, session).await;
}

/// What a node says it still runs. More than any node holds is not to be believed.
fn held_calls(held: v1::HeldJob) -> Result<HeldCalls, InvalidMessage> {
    let slot: Resources = held.slot.ok_or(InvalidMessage("calls that occupy nothing"))?.into();
    if !is_plausible(slot, held.calls.len() as u64) {
        return Err(InvalidMessage("calls that occupy more than any machine has"));
    }
    let calls = held.calls.into_iter().map(|call| (call.index, Attempt(call.attempt))).collect();
    Ok(HeldCalls { job: convert::job_id(&held.job_id)?, slot, calls })
}

/// What is passed on of why a node cannot run a job: it is for people, and travels in headers.
const REASON_BYTES_MAX: usize = 2 << 10;

fn event(node: NodeId, message: v1::NodeMessage) -> Result<Event, InvalidMessage> {
    match message.message.ok_or(InvalidMessage("an empty message"))? {
        FromNode::Hello(_) => Err(InvalidMessage("a second hello")),
        FromNode::Unusable(unusable) => {
            let job = convert::job_id(&unusable.job_id)?;
            let reason = truncated(&unusable.reason, REASON_BYTES_MAX).into_owned();
            Ok(match unusable.blame() {
                Blame::Component => Event::JobFailed(job, GridError::InvalidComponent { reason }),
                Blame::Node => Event::NodeTroubled(node, job, reason),
                Blame::Policy => Event::NodeRefused(node, job, reason),
                Blame::Unspecified => return Err(InvalidMessage("a job that is unusable for no reason")),
            })
        }
        FromNode::Leaving(_) => Ok(Event::NodeLeaving(node)),
        FromNode::Returned(returned) => {
            let reason = match returned.reason() {
                Reason::GivenBack => ReturnReason::GivenBack,
                Reason::MemoryShort => ReturnReason::MemoryShort,
                Reason::Stopped => ReturnReason::Stopped,
                Reason::Unspecified => return Err(InvalidMessage("calls returned for no reason")),
            };
            let calls = returned.calls.into_iter().map(|call| (call.index, Attempt(call.attempt))).collect();
            Ok(Event::CallsReturned(node, convert::job_id(&returned.job_id)?, CallsReturned { calls, reason }))
        }
        FromNode::Events(events) => {
            let job = convert::job_id(&events.job_id)?;
            let news = events.events.into_iter().map(|event| {
                let (index, attempt) = (event.index, Attempt(event.attempt));
                Ok(CallNews { index, attempt, report: convert::call_report(event)? })
            });
            Ok(Event::CallsReported(node, job, news.collect::<Result<_, InvalidMessage>>()?))
        }
    }
}

/// What a node is told, as a stream of messages. It ends when the driver forgets the node.
pub(super) struct Commands {
    welcome: Option<v1::Welcome>,
    commands: mpsc::UnboundedReceiver<Said>,
    taken: Vec<Said>,
    /// What was taken out of the outbox last, calls of a job together.
    ready: VecDeque<Said>,
}

impl Commands {
    fn new(node: NodeId, protocol: u32, commands: mpsc::UnboundedReceiver<Said>) -> Self {
        let welcome = v1::Welcome { node_id: convert::node_id_bytes(node), protocol };
        Self { welcome: Some(welcome), commands, taken: Vec::new(), ready: VecDeque::new() }
    }
}

impl Stream for Commands {
    type Item = Result<v1::SchedulerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let message = match this.welcome.take() {
            Some(welcome) => Some(ToNode::Welcome(welcome)),
            None => {
                if this.ready.is_empty() {
                    ready!(this.commands.poll_recv_many(context, &mut this.taken, COMMANDS_TOGETHER_MAX));
                    join(&mut this.ready, this.taken.drain(..));
                }
                this.ready.pop_front().map(encode)
            }
        };
        Poll::Ready(message.map(|message| Ok(v1::SchedulerMessage { message: Some(message) })))
    }
}

/// Adds calls to those of the same job before them, as long as a message has room.
fn join(ready: &mut VecDeque<Said>, commands: impl Iterator<Item = Said>) {
    let bytes_of = |calls: &[CallToRun]| calls.iter().map(|call| call.input.wire_bytes()).sum::<usize>();
    // Of the calls in the last one.
    let mut bytes = 0;
    for command in commands {
        match (ready.back_mut(), command) {
            (Some(Said::Command(NodeCommand::RunCalls(last, calls))), Said::Command(NodeCommand::RunCalls(job, more)))
                if *last == job && bytes + bytes_of(&more) <= BATCH_BYTES =>
            {
                bytes += bytes_of(&more);
                calls.extend(more);
            }
            (_, command) => {
                bytes = if let Said::Command(NodeCommand::RunCalls(_, calls)) = &command { bytes_of(calls) } else { 0 };
                ready.push_back(command);
            }
        }
    }
}

fn encode(said: Said) -> ToNode {
    let command = match said {
        Said::Command(command) => command,
        Said::Acknowledged(number) => return ToNode::Acknowledged(v1::Acknowledged { number }),
    };
    match command {
        NodeCommand::StartJob(job, work, cpu_millis) => {
            let work = Some(Arc::unwrap_or_clone(work).into());
            ToNode::StartJob(v1::StartJob { job_id: convert::job_id_bytes(job), work, cpu_millis })
        }
        NodeCommand::StopCalls(job, calls) => {
            let calls = calls.into_iter().map(|(index, attempt)| v1::Attempt { index, attempt: attempt.0 });
            ToNode::StopCalls(v1::StopCalls { job_id: convert::job_id_bytes(job), calls: calls.collect() })
        }
        NodeCommand::SetSlots(job, slots, memory_bytes_reserved) => {
            ToNode::SetSlots(v1::SetSlots { job_id: convert::job_id_bytes(job), slots, memory_bytes_reserved })
        }
        NodeCommand::RecallCalls(job) => ToNode::RecallCalls(v1::RecallCalls { job_id: convert::job_id_bytes(job) }),
        NodeCommand::RunCalls(job, calls) => {
            let calls = calls.into_iter().map(|call| Call { index: call.index, attempt: call.attempt.0, input: call.input });
            ToNode::RunCalls(v1::RunCalls { job_id: convert::job_id_bytes(job), calls: calls.collect() })
        }
        NodeCommand::SetOutputPaused(job, paused) => {
            ToNode::SetOutputPaused(v1::SetOutputPaused { job_id: convert::job_id_bytes(job), paused })
        }
        NodeCommand::StopJob(job) => ToNode::StopJob(v1::StopJob { job_id: convert::job_id_bytes(job) }),
    }
}

#[cfg(test)]
mod tests {
    use burla_types::JobId;

    use super::*;

    fn job(byte: u8) -> JobId {
        JobId::from_bytes([byte; 16])
    }

    fn run(of: u8, index: u64, input_bytes: usize) -> Said {
        let input = Bytes::from(vec![0; input_bytes]);
        Said::Command(NodeCommand::RunCalls(
            job(of),
            vec![CallToRun { index, attempt: Attempt::FIRST, losses: 0, failures: 0, input }],
        ))
    }

    fn indices(commands: Vec<Said>) -> Vec<Vec<u64>> {
        let mut ready = VecDeque::new();
        join(&mut ready, commands.into_iter());
        let indices = ready.into_iter().map(|command| match command {
            Said::Command(NodeCommand::RunCalls(_, calls)) => calls.iter().map(|call| call.index).collect(),
            _ => vec![],
        });
        indices.collect()
    }

    #[test]
    fn calls_of_a_job_that_wait_for_the_connection_leave_together() {
        let commands = vec![run(1, 0, 1), run(1, 1, 1), run(2, 2, 1), run(1, 3, 1)];
        assert_eq!(indices(commands), [vec![0, 1], vec![2], vec![3]]);
        let commands = vec![run(1, 0, 1), Said::Command(NodeCommand::SetSlots(job(1), 1, 0)), run(1, 1, 1)];
        assert_eq!(indices(commands), [vec![0], vec![], vec![1]], "nothing overtakes what else is said");
    }

    #[test]
    fn a_message_that_has_much_in_it_gets_no_more() {
        let commands = vec![run(1, 0, BATCH_BYTES), run(1, 1, 1), run(1, 2, BATCH_BYTES / 2), run(1, 3, BATCH_BYTES)];
        assert_eq!(indices(commands), [vec![0], vec![1, 2], vec![3]]);
    }
}
