//! One connection to a scheduler, from dialing to its end. This is an edge file: generated types stop here.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::Duration;

use burla_proto::convert::{self, InvalidMessage, Work};
use burla_proto::v1::node_api_client::NodeApiClient;
use burla_proto::v1::{self, NodeMessage, SchedulerMessage, node_message, scheduler_message::Message};
use burla_proto::{
    COMPONENT_BYTES_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MESSAGE_BYTES_MAX,
    STREAM_WINDOW_BYTES, status,
};
use burla_types::{Attempt, Digest, GridError, JobId, NodeId, PROTOCOL_MAX, PROTOCOL_MIN, Peer};
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::jobs::{HeldJob, Jobs, WaitingCall};
use crate::node::NodeConfig;
use crate::outbound::{Batch, Blame, Outbound, ReturnReason};

/// How long the scheduler may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that may wait for the connection. One: what waits behind it gathers into larger batches.
const MESSAGES_MAX: usize = 1;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("cannot reach the scheduler")]
    Unreachable(#[source] tonic::transport::Error),
    #[error("the connection to the scheduler broke")]
    Broken(#[source] Box<Status>),
    #[error("the scheduler closed the connection")]
    Closed,
    #[error("the scheduler sent what a scheduler does not send")]
    Malformed(#[from] InvalidMessage),
    #[error(transparent)]
    Refused(GridError),
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        match status::from_status(&status) {
            Some(error) => Self::Refused(error),
            None => Self::Broken(Box::new(status)),
        }
    }
}

/// Joins the grid and works for it until the connection ends. Calls that run are none of its business: they outlive it.
pub(crate) async fn run(
    config: &NodeConfig,
    node: NodeId,
    jobs: &Jobs,
    outbound: &Outbound,
    joined: &watch::Sender<bool>,
) -> Result<Infallible, SessionError> {
    let mut client = connect(&config.scheduler_url).await?;
    let (messages, receiver) = mpsc::channel(MESSAGES_MAX);
    // There is room for the first.
    let _ = messages.send(hello(config, node, jobs.calls_max(), jobs.begin_session())).await;
    let mut answers = client.session(ReceiverStream::new(receiver)).await?.into_inner();
    let welcome = next(&mut answers).await?;
    let Message::Welcome(welcome) = welcome else { return Err(InvalidMessage("something before its welcome").into()) };
    let node = convert::node_id(&welcome.node_id)?;
    let protocol = welcome.protocol;
    if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&protocol) {
        return Err(InvalidMessage("a protocol that this node does not speak").into());
    }
    tracing::info!(%node, url = %config.scheduler_url, protocol, "joined the grid");
    joined.send_replace(true);

    let talking = async {
        while let Some(batch) = outbound.next_batch().await {
            if messages.send(message(batch)).await.is_err() {
                break;
            }
        }
        // The stream is over, or ends with its sender: then the scheduler ends its own when it has read everything. Either way,
        // the other half says how.
        drop(messages);
        std::future::pending::<Infallible>().await
    };
    let listening = async {
        loop {
            let message = next(&mut answers).await?;
            handle(message, jobs, outbound, &client)?;
        }
    };
    tokio::select! {
        ended = listening => ended,
        never = talking => match never {},
    }
}

async fn connect(url: &str) -> Result<NodeApiClient<Channel>, SessionError> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(SessionError::Unreachable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(HEARTBEAT_INTERVAL)
        .keep_alive_timeout(HEARTBEAT_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX);
    let channel = endpoint.connect().await.map_err(SessionError::Unreachable)?;
    Ok(NodeApiClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

fn hello(config: &NodeConfig, node: NodeId, calls_max: u32, held: Vec<HeldJob>) -> NodeMessage {
    let held = held.into_iter().map(|held| v1::HeldJob {
        job_id: convert::job_id_bytes(held.job),
        slot: Some(held.slot.into()),
        calls: attempts(held.calls),
    });
    let hello = v1::Hello {
        node: Some(Peer::this().into()),
        name: config.name.clone(),
        capacity: Some(config.capacity.into()),
        calls_max: u64::from(calls_max),
        node_id: convert::node_id_bytes(node),
        held: held.collect(),
    };
    NodeMessage { number: 0, message: Some(node_message::Message::Hello(hello)) }
}

fn attempts(calls: Vec<(u64, Attempt)>) -> Vec<v1::Attempt> {
    calls.into_iter().map(|(index, attempt)| v1::Attempt { index, attempt: attempt.0 }).collect()
}

async fn next(answers: &mut Streaming<SchedulerMessage>) -> Result<Message, SessionError> {
    let message = answers.message().await?.ok_or(SessionError::Closed)?;
    Ok(message.message.ok_or(InvalidMessage("an empty message"))?)
}

fn handle(message: Message, jobs: &Jobs, outbound: &Outbound, client: &NodeApiClient<Channel>) -> Result<(), SessionError> {
    match message {
        Message::Welcome(_) => return Err(InvalidMessage("a second welcome").into()),
        Message::StartJob(start) => {
            let work = Work::try_from(start.work.ok_or(InvalidMessage("a job without work"))?)?;
            let (client, digest) = (client.clone(), work.digest);
            let fetch = move || fetch(client.clone(), digest);
            jobs.start(convert::job_id(&start.job_id)?, work, start.cpu_millis, fetch);
        }
        Message::SetSlots(set) => jobs.set_slots(convert::job_id(&set.job_id)?, set.slots, set.memory_bytes_reserved),
        Message::RecallCalls(recall) => jobs.recall(convert::job_id(&recall.job_id)?),
        Message::RunCalls(run) => {
            let calls = run.calls.into_iter().map(|call| WaitingCall {
                index: call.index,
                attempt: Attempt(call.attempt),
                input: call.input,
            });
            jobs.run(convert::job_id(&run.job_id)?, calls);
        }
        Message::SetOutputPaused(set) => jobs.set_output_paused(convert::job_id(&set.job_id)?, set.paused),
        Message::Acknowledged(acknowledged) => {
            if !outbound.acknowledge(acknowledged.number) {
                return Err(InvalidMessage("an acknowledgement of what was not sent").into());
            }
        }
        Message::StopCalls(stop) => {
            let calls = stop.calls.into_iter().map(|call| (call.index, Attempt(call.attempt)));
            jobs.stop_calls(convert::job_id(&stop.job_id)?, calls);
        }
        Message::StopJob(stop) => jobs.stop(convert::job_id(&stop.job_id)?),
    }
    Ok(())
}

/// Downloads a component from the scheduler. Its bytes are checked against its digest by who compiles it.
async fn fetch(mut client: NodeApiClient<Channel>, digest: Digest) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let request = v1::DownloadComponentRequest { digest: convert::digest_bytes(digest) };
    let mut chunks = client.download_component(request).await?.into_inner();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.message().await? {
        if bytes.len() + chunk.data.len() > COMPONENT_BYTES_MAX {
            return Err("the scheduler sends more than the largest component has".into());
        }
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes.freeze())
}

/// A batch as a message. One about calls is copied, since it may have to be sent again; its payloads are shared.
fn message(batch: Batch) -> NodeMessage {
    let job_bytes = |job: JobId| convert::job_id_bytes(job);
    let mut number = 0;
    let message = match batch {
        Batch::Unusable { job, reason, blame } => {
            let blame = match blame {
                Blame::Component => v1::job_unusable::Blame::Component,
                Blame::Node => v1::job_unusable::Blame::Node,
                Blame::Policy => v1::job_unusable::Blame::Policy,
            };
            node_message::Message::Unusable(v1::JobUnusable { job_id: job_bytes(job), reason, blame: blame.into() })
        }
        Batch::Leaving => node_message::Message::Leaving(v1::Leaving {}),
        Batch::Returned(job, calls, reason) => {
            let reason = match reason {
                ReturnReason::GivenBack => v1::calls_returned::Reason::GivenBack,
                ReturnReason::MemoryShort => v1::calls_returned::Reason::MemoryShort,
                ReturnReason::Stopped => v1::calls_returned::Reason::Stopped,
            };
            let (job_id, calls) = (job_bytes(job), attempts(calls));
            node_message::Message::Returned(v1::CallsReturned { job_id, calls, reason: reason.into() })
        }
        Batch::Calls { number: its_number, job, calls } => {
            number = its_number;
            let events = calls.iter().map(|news| convert::call_event(news.index, news.attempt.0, news.report.clone()));
            node_message::Message::Events(v1::JobEvents { job_id: job_bytes(job), events: events.collect() })
        }
    };
    NodeMessage { number, message: Some(message) }
}
