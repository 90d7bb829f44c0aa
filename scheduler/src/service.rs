//! The scheduler on the network: one gRPC server for clients and nodes.

mod client_api;
mod follow;
mod map;
mod node_api;
mod submit;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use burla_proto::v1::client_api_server::ClientApiServer;
use burla_proto::v1::node_api_server::NodeApiServer;
use burla_proto::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES,
    status, v1,
};
use burla_types::{GridError, Peer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::components::Components;
use crate::driver::Driver;
use crate::metrics::Metrics;
use crate::storage::Storage;
use crate::store::StoreError;
use client_api::ClientService;
pub(crate) use client_api::job_spec;
use node_api::NodeService;
pub(crate) use submit::no_room;

/// How long the last words of a shutdown may take to reach everyone, where the drain time is less: a client that reads slowly may
/// have much to take yet. Who does not get them sees the connection close.
const FAREWELL_TIME_MIN: Duration = Duration::from_secs(2);

/// The scheduler could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its server failed.
    #[error("the scheduler's server failed")]
    Server(#[from] tonic::transport::Error),
    /// What jobs it keeps cannot be kept any more.
    #[error("the scheduler cannot keep jobs any more")]
    Store(#[from] StoreError),
    /// A bug. Without its driver a scheduler only looks alive.
    #[error("the scheduler's driver panicked")]
    DriverPanicked,
}

/// How a scheduler behaves.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// How long jobs that are open may go on after the shutdown was asked for.
    pub drain_time: Duration,
    /// How long an attached job goes on without its client.
    pub client_grace: Duration,
}

/// Serves a grid on `listener` until `shutdown`. From then on no job is opened, and those that are may go on for the drain time;
/// what is left then ends with [`GridError::ShuttingDown`].
pub async fn serve(
    listener: TcpListener,
    components: Components,
    storage: Storage,
    config: ServeConfig,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let components = Arc::new(components);
    let Storage { store, writer, restored, is_durable } = storage;
    let openings = u32::try_from(writer.epoch).unwrap_or(u32::MAX);
    let (driver, handle) = Driver::new(Arc::clone(&store), restored, openings, config.client_grace, metrics);
    let mut writer = tokio::spawn(writer.run());
    let driver = tokio::spawn(driver.run());
    let stop_driver = driver.abort_handle();
    let clients = ClientApiServer::new(ClientService::new(handle.clone(), Arc::clone(&components), is_durable))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let nodes = NodeApiServer::new(NodeService::new(handle.clone(), components))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (ending, ended) = oneshot::channel::<()>();
    let server = Server::builder()
        .http2_keepalive_interval(Some(HEARTBEAT_INTERVAL))
        .http2_keepalive_timeout(Some(HEARTBEAT_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .add_service(clients)
        .add_service(nodes)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            let _ = ended.await;
        });
    let drained = async {
        shutdown.await;
        let deadline = Instant::now() + config.drain_time;
        if tokio::time::timeout_at(deadline, handle.drain()).await.is_err() {
            tracing::warn!(drain_time = ?config.drain_time, "jobs are still open; ending them");
        }
        // With the driver, everyone's streams end, and say why; the server waits for the last words to be taken.
        stop_driver.abort();
        drop(ending);
        tokio::time::sleep_until(deadline.max(Instant::now() + FAREWELL_TIME_MIN)).await;
    };
    let driver_ended = async {
        match driver.await {
            Err(error) if error.is_panic() => {}
            // It was stopped, and the others say when it is over.
            _ => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        served = server => served.map_err(ServeError::from),
        () = drained => Ok(()),
        () = driver_ended => Err(ServeError::DriverPanicked),
        // Before it was told to: what is done from here on would not be kept.
        written = &mut writer => return written_to_end(written),
    };
    store.close();
    ended.and(written_to_end(writer.await))
}

/// How the store's writer ended. One that was cut off by the runtime's end has nobody to tell.
fn written_to_end(written: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), ServeError> {
    match written {
        Ok(written) => Ok(written?),
        Err(error) if error.is_panic() => Err(ServeError::DriverPanicked),
        Err(_) => Ok(()),
    }
}

/// Finds a protocol that both sides speak.
fn agree(peer: Option<v1::Peer>) -> Result<u32, Status> {
    let (scheduler, peer) = (Peer::this(), Peer::from(peer.unwrap_or_default()));
    let common = scheduler.common_protocol(&peer);
    common.ok_or_else(|| status::to_status(&GridError::VersionMismatch { scheduler, peer }))
}

fn refuse(reason: impl ToString) -> Status {
    status::to_status(&GridError::InvalidRequest { reason: reason.to_string() })
}
