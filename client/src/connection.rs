//! The client's line to a scheduler: dialing it, keeping it for the next job, and seeing that the grid has the component.
//!
//! A connection carries one job at a time, so that outcomes which nobody takes, or large inputs, hold back no other. When a job
//! has ended well, its connection is kept for a while: to dial takes longer than a small job.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use burla_proto::v1::client_api_client::ClientApiClient;
use burla_proto::{
    COMPONENT_CHUNK_BYTES, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MESSAGE_BYTES_MAX,
    STREAM_WINDOW_BYTES, convert, status, v1,
};
use burla_types::{GridError, JobId, Peer};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::component::Component;
use crate::{Error, Result};

/// How long a scheduler may take to accept a connection. One on another continent needs a third of a second.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a job that is given up is tried to be canceled. Whoever pressed Ctrl-C waits for it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// The threads that speak with grids. What is woken on the thread that wakes it costs no switch of threads; and where a job has
/// to wait for a slow terminal, `block_in_place` gets another thread for everything else.
const WORKER_THREADS: usize = 1;

/// Connections that are kept while no job has them: as many as a program is likely to run jobs at one time, again and again.
const KEPT_MAX: usize = 4;

/// How long one is kept. Much longer than the pauses of a program that runs job after job, and short enough for a scheduler that
/// has moved meanwhile to be a rare thing.
const KEPT_TIME: Duration = Duration::from_secs(10);

/// The text of a status begins like this where a message is no Protobuf. Another connection would carry the same message again.
const UNREADABLE: &str = "failed to decode Protobuf message";

/// The runtime that speaks with grids, whatever runtime the user has, or none. Started with the first job, and never ended: there
/// is no moment at which the last job is known to have been.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("burla-client")
            .enable_all()
            .build()
            .expect("the operating system gives this process a thread")
    })
}

/// Cancels a job that nobody wants any more, over a connection of its own; for so long at most. What becomes of it is in the log.
/// The client of an attached job says why.
pub(crate) async fn cancel(url: String, id: JobId, abandon: Option<v1::Abandon>) {
    let canceling = async {
        let mut connection = Connection::open(&url).await?;
        let request = v1::CancelJobRequest { client: Some(Peer::this().into()), job_id: convert::job_id_bytes(id), abandon };
        connection.client.cancel_job(request).await.map_err(|status| connection.error(status)).map(|_| ())
    };
    match tokio::time::timeout(CANCEL_TIMEOUT, canceling).await {
        // It may never have got there, or has ended by itself.
        Ok(Ok(()) | Err(Error::Grid(GridError::UnknownJob(_)))) => {}
        Ok(Err(error)) => tracing::warn!(job = %id, error = &error as &dyn std::error::Error, "cannot cancel a job"),
        Err(_) => tracing::warn!(job = %id, "cannot cancel a job: the grid does not answer"),
    }
}

/// A dialed scheduler.
pub(crate) struct Connection {
    pub(crate) client: ClientApiClient<Channel>,
    url: String,
}

impl Connection {
    /// Dials the scheduler at `url`.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let unreachable = |source: tonic::transport::Error| Error::Unreachable { url: url.to_owned(), source: source.into() };
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(unreachable)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(HEARTBEAT_INTERVAL)
            .keep_alive_timeout(HEARTBEAT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let client = ClientApiClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, url: url.to_owned() })
    }

    /// A connection to the scheduler at `url` that an earlier job is done with, if one is kept. It may have broken since.
    pub(crate) fn kept(url: &str) -> Option<Self> {
        let mut kept = kept();
        // The one that was used last is the likeliest to be well.
        let position = kept.connections.iter().rposition(|(_, connection)| connection.url == url)?;
        Some(kept.connections.remove(position).1)
    }

    /// Keeps the connection for another job. Only one that carries nothing any more may be kept. Must be called on the
    /// client's runtime.
    pub(crate) fn keep(self) {
        let mut kept = kept();
        if kept.connections.len() == KEPT_MAX {
            kept.connections.remove(0);
        }
        kept.connections.push((Instant::now(), self));
        if !std::mem::replace(&mut kept.are_watched, true) {
            tokio::spawn(close_unused());
        }
    }

    /// Opens a job.
    pub(crate) async fn map(
        &mut self,
        requests: impl Stream<Item = v1::MapRequest> + Send + 'static,
    ) -> Result<Streaming<v1::MapResponse>> {
        let responses = self.client.map(requests).await.map_err(|status| self.error(status))?;
        Ok(responses.into_inner())
    }

    /// Makes sure that the grid has the component: offers its digest, and uploads the bytes only when they are missing.
    /// Says the number of bytes to `uploading` before it does.
    pub(crate) async fn provide(&mut self, component: &Component, uploading: impl FnOnce(usize)) -> Result<()> {
        let offer =
            v1::OfferComponentRequest { client: Some(Peer::this().into()), digest: convert::digest_bytes(component.digest) };
        let answer = self.client.offer_component(offer).await.map_err(|status| self.error(status))?;
        if answer.into_inner().known {
            return Ok(());
        }
        uploading(component.bytes.len());
        let chunks = chunks(component);
        self.client.upload_component(tokio_stream::iter(chunks)).await.map_err(|status| self.error(status))?;
        Ok(())
    }

    /// What a status of this connection means to the user.
    pub(crate) fn error(&self, status: Status) -> Error {
        match status::from_status(&status) {
            Some(error) => Error::Grid(error),
            // tonic gives no type for it.
            None if status.code() == Code::Internal && status.message().starts_with(UNREADABLE) => {
                Error::Protocol { reason: status.message().to_owned() }
            }
            None => Error::ConnectionLost { url: self.url.clone(), source: status.into() },
        }
    }
}

/// Connections that no job has.
struct Kept {
    /// Since when each has been kept, oldest first.
    connections: Vec<(Instant, Connection)>,
    /// Whether a task closes those that are kept for too long.
    are_watched: bool,
}

fn kept() -> MutexGuard<'static, Kept> {
    static KEPT: Mutex<Kept> = Mutex::new(Kept { connections: Vec::new(), are_watched: false });
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes what nobody has used for [`KEPT_TIME`], until nothing is kept.
async fn close_unused() {
    while let Some(due) = next_due() {
        tokio::time::sleep_until(due).await;
        let now = Instant::now();
        kept().connections.retain(|(since, _)| *since + KEPT_TIME > now);
    }
}

/// When the first is due; with none, nobody watches any more.
fn next_due() -> Option<Instant> {
    let mut kept = kept();
    let due = kept.connections.first().map(|(since, _)| *since + KEPT_TIME);
    kept.are_watched = due.is_some();
    due
}

fn chunks(component: &Component) -> impl Iterator<Item = v1::ComponentChunk> + Send + 'static {
    let Component { digest, bytes, .. } = component.clone();
    (0..bytes.len()).step_by(COMPONENT_CHUNK_BYTES).map(move |start| v1::ComponentChunk {
        digest: if start == 0 { convert::digest_bytes(digest) } else { Bytes::new() },
        data: bytes.slice(start..bytes.len().min(start + COMPONENT_CHUNK_BYTES)),
    })
}
