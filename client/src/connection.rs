//! The client's line to a scheduler: dialling it, and seeing that it has the component.

use std::sync::OnceLock;
use std::time::Duration;

use burla_proto::v1::client_api_client::ClientApiClient;
use burla_proto::{
    COMPONENT_CHUNK_BYTES, CONNECTION_WINDOW_BYTES, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MESSAGE_BYTES_MAX,
    STREAM_WINDOW_BYTES, convert, status, v1,
};
use burla_types::Peer;
use bytes::Bytes;
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::component::Component;
use crate::{Error, Result};

/// How long a scheduler may take to accept a connection. One on another continent needs a third of a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The threads that speak with grids. One would do for one job; the second keeps the connection alive while lines are printed to
/// a slow terminal.
const WORKER_THREADS: usize = 2;

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
            .expect("the operating system gives this process two threads")
    })
}

/// A dialled scheduler.
pub(crate) struct Connection {
    pub(crate) client: ClientApiClient<Channel>,
    url: String,
}

impl Connection {
    /// Dials the scheduler at `url`.
    pub(crate) async fn open(url: String) -> Result<Self> {
        let unreachable = |source: tonic::transport::Error| Error::Unreachable { url: url.clone(), source: source.into() };
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(unreachable)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(HEARTBEAT_INTERVAL)
            .keep_alive_timeout(HEARTBEAT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let client = ClientApiClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, url })
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
            None => Error::ConnectionLost { url: self.url.clone(), source: status.into() },
        }
    }
}

fn chunks(component: &Component) -> impl Iterator<Item = v1::ComponentChunk> + Send + 'static {
    let Component { digest, bytes, .. } = component.clone();
    (0..bytes.len()).step_by(COMPONENT_CHUNK_BYTES).map(move |start| v1::ComponentChunk {
        digest: if start == 0 { convert::digest_bytes(digest) } else { Bytes::new() },
        data: bytes.slice(start..bytes.len().min(start + COMPONENT_CHUNK_BYTES)),
    })
}
