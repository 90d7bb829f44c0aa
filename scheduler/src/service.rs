//! The scheduler on the network: one gRPC server for clients and nodes.

mod client_api;
mod node_api;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use burla_proto::v1::client_api_server::ClientApiServer;
use burla_proto::v1::node_api_server::NodeApiServer;
use burla_proto::{
    CONNECTION_WINDOW_BYTES, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES, status, v1,
};
use burla_types::{GridError, Peer};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::components::Components;
use crate::driver::Driver;
use crate::metrics::Metrics;
use client_api::ClientService;
use node_api::NodeService;

/// How long the last words of a shutdown may take to reach everyone. They are a few bytes; who does not get them sees the connection
/// close.
const FAREWELL_TIME: Duration = Duration::from_millis(100);

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler's server failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// How a scheduler behaves.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// How long jobs that are open may go on after the shutdown was asked for.
    pub drain_time: Duration,
}

/// Serves a grid on `listener` until `shutdown`. From then on no job is opened, and those that are may go on for the drain time;
/// what is left then ends with [`GridError::ShuttingDown`].
pub async fn serve(
    listener: TcpListener,
    components: Components,
    config: ServeConfig,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let components = Arc::new(components);
    let (driver, handle) = Driver::new(metrics);
    let driver = tokio::spawn(driver.run());
    let clients = ClientApiServer::new(ClientService::new(handle.clone(), Arc::clone(&components)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let nodes = NodeApiServer::new(NodeService::new(handle.clone(), components))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .http2_keepalive_interval(Some(HEARTBEAT_INTERVAL))
        .http2_keepalive_timeout(Some(HEARTBEAT_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(clients)
        .add_service(nodes)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    let drained = async {
        shutdown.await;
        if tokio::time::timeout(config.drain_time, handle.drain()).await.is_err() {
            tracing::warn!(drain_time = ?config.drain_time, "jobs are still open; ending them");
            // With the driver, everyone's streams end, and say why.
            driver.abort();
            tokio::time::sleep(FAREWELL_TIME).await;
        }
    };
    // A graceful shutdown would wait for connections, and those of nodes never end by themselves.
    tokio::select! {
        served = server => Ok(served?),
        () = drained => Ok(()),
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
