//! The scheduler on the network: one gRPC server for clients and nodes.

mod client_api;
mod node_api;

use std::future::Future;
use std::sync::Arc;

use burla_proto::v1::client_api_server::ClientApiServer;
use burla_proto::v1::node_api_server::NodeApiServer;
use burla_proto::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES, status,
};
use burla_types::{GridError, VERSION};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::components::Components;
use crate::driver::Driver;
use client_api::ClientService;
use node_api::NodeService;

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler's server failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves a grid on `listener` until `shutdown`. Open jobs end with the streams of their clients.
pub async fn serve(listener: TcpListener, components: Components, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let components = Arc::new(components);
    let (driver, handle) = Driver::new();
    let driver = tokio::spawn(driver.run());
    let clients = ClientApiServer::new(ClientService::new(handle.clone(), Arc::clone(&components)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let nodes = NodeApiServer::new(NodeService::new(handle, components))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(clients)
        .add_service(nodes)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    // A graceful shutdown would wait for streams, and those of nodes never end by themselves.
    let served = tokio::select! {
        served = server => served,
        () = shutdown => Ok(()),
    };
    driver.abort();
    Ok(served?)
}

fn check_version(peer: &str) -> Result<(), Status> {
    if peer == VERSION {
        return Ok(());
    }
    let mismatch = GridError::VersionMismatch { scheduler: VERSION.to_owned(), peer: peer.to_owned() };
    Err(status::to_status(&mismatch))
}

fn refuse(reason: impl ToString) -> Status {
    status::to_status(&GridError::InvalidRequest { reason: reason.to_string() })
}
