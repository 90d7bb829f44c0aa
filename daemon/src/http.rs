//! What a daemon tells its operators over HTTP: whether it lives, whether it is ready, and its metrics.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz` | 200 for as long as the process answers at all |
//! | `GET /readyz` | 200 when it can do its work, else 503 and why not |
//! | `GET /metrics` | everything it counts, in the OpenMetrics text format that Prometheus reads |
//!
//! It only reads, and takes no bodies, so whoever reaches it can learn the figures of a daemon and change nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

use crate::listen::Listen;

/// Connections at one time; more wait in the kernel. A daemon is watched by a handful of programs, and the descriptors of
/// others are needed for its work.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last, so that peers that have gone silent do not use up [`CONNECTIONS_MAX`]. Whoever scrapes opens
/// another when one was closed.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The media type of what `prometheus_client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a daemon can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, and this is why.
    NotReady(String),
}

/// Opens the port for [`serve`].
pub async fn bind(address: &Listen) -> anyhow::Result<TcpListener> {
    address.bind().await.with_context(|| format!("cannot listen on {address} for health checks and metrics"))
}

/// Answers operators until `shutdown`. Answers are made from memory in one go, so none is waited for in the end.
pub fn serve(
    listener: TcpListener,
    readiness: watch::Receiver<Readiness>,
    registry: Arc<Registry>,
    shutdown: impl Future<Output = ()> + Send,
) -> impl Future<Output = ()> + Send {
    if let Ok(address) = listener.local_addr() {
        tracing::info!("health and metrics on http://{address}");
    }
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Known { readiness, registry });
    let connections = Connections::new(listener, CONNECTIONS_MAX, CONNECTION_TIME_MAX);
    async move {
        tokio::select! {
            // Errors of single connections do not end it, and it has no others.
            _ = async { axum::serve(connections, router).await } => {}
            () = shutdown => {}
        }
    }
}

/// What answers are made from.
#[derive(Clone)]
struct Known {
    readiness: watch::Receiver<Readiness>,
    registry: Arc<Registry>,
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(known): State<Known>) -> (StatusCode, String) {
    match known.readiness.borrow().clone() {
        Readiness::Ready => (StatusCode::OK, "ready".to_owned()),
        Readiness::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn metrics(State(known): State<Known>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &known.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A listener with few connections at a time, each for a limited time.
struct Connections {
    listener: TcpListener,
    free: Arc<Semaphore>,
    time_max: Duration,
}

impl Connections {
    fn new(listener: TcpListener, connections_max: usize, time_max: Duration) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections_max)), time_max }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        // The one of axum, which also lives through errors such as a want of descriptors.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, expired: Box::pin(tokio::time::sleep(self.time_max)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over, and holds its place among the others until then.
struct Connection {
    stream: TcpStream,
    expired: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn check_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.expired.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    /// How long anything may take before a test fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn loopback() -> (TcpListener, SocketAddr) {
        let listener = bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_told() {
        let (listener, address) = loopback().await;
        let (readiness, is_ready) = watch::channel(Readiness::NotReady("still waking up".to_owned()));
        let mut registry = Registry::default();
        let cups = Counter::<u64>::default();
        registry.register("cups", "Cups of coffee", cups.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, is_ready, Arc::new(registry), async {
            let _ = stopped.await;
        }));

        let health = ask(address, "GET /healthz").await;
        assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nok"), "{health}");

        let early = ask(address, "GET /readyz").await;
        assert!(early.starts_with("HTTP/1.1 503 ") && early.ends_with("still waking up"), "{early}");
        readiness.send_replace(Readiness::Ready);
        let ready = ask(address, "GET /readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("ready"), "{ready}");

        cups.inc();
        let metrics = ask(address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 ") && metrics.contains(OPENMETRICS), "{metrics}");
        assert!(metrics.contains("cups_total 1\n") && metrics.ends_with("# EOF\n"), "{metrics}");

        assert!(ask(address, "POST /healthz").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(address, "GET /secrets").await.starts_with("HTTP/1.1 404 "));

        drop(stop);
        tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_silent_peer_gives_up_its_place_in_time() {
        let (listener, address) = loopback().await;
        let one = Connections::new(listener, 1, Duration::from_millis(50));
        let server = tokio::spawn(async { axum::serve(one, Router::new().route("/healthz", get(healthz))).await });
        let _silent = TcpStream::connect(address).await.unwrap();
        let health = ask(address, "GET /healthz").await;
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        server.abort();
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let (_listener, address) = loopback().await;
        let error = bind(&address.into()).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
