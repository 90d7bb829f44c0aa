//! What a node that has nothing to do costs its scheduler in memory, connection included.
//!
//! ```text
//! cargo bench -p burla-scheduler --bench idle_nodes
//! ```
//!
//! The scheduler is a process of its own, as in operation; this one is its nodes. They stay for some heartbeats, since a
//! connection that has carried one holds buffers for the next. Bounded: 510 connections on loopback, some ten seconds.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use burla_proto::v1::node_api_client::NodeApiClient;
use burla_proto::v1::{self, NodeMessage, SchedulerMessage, node_message};
use burla_proto::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, STREAM_WINDOW_BYTES};
use burla_types::{Peer, Resources};
use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// Nodes that join before the first look, so that what the scheduler sets up once is not counted.
const FIRST_NODES: usize = 10;
const NODES: usize = 500;
const HEARTBEATS: u32 = 2;

fn main() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_burla-scheduler"));
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir.path());
    let mut scheduler = Scheduler(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(scheduler.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    tokio::runtime::Runtime::new().unwrap().block_on(measure(&url, &scheduler));
}

async fn measure(url: &str, scheduler: &Scheduler) {
    let mut sessions = join(url, FIRST_NODES).await;
    tokio::time::sleep(HEARTBEAT_INTERVAL * HEARTBEATS).await;
    let before = scheduler.resident_bytes();
    sessions.extend(join(url, NODES).await);
    let joined = scheduler.resident_bytes();
    tokio::time::sleep(HEARTBEAT_INTERVAL * HEARTBEATS + Duration::from_secs(1)).await;
    let after = scheduler.resident_bytes();
    let per_node = |bytes: u64| bytes.saturating_sub(before) as f64 / NODES as f64 / 1024.0;
    println!(
        "{NODES} idle nodes: {:.1} KiB each when joined, {:.1} KiB after {HEARTBEATS} heartbeats; {:.1} MiB without them",
        per_node(joined),
        per_node(after),
        before as f64 / f64::from(1 << 20)
    );
    drop(sessions);
}

/// Killed when dropped.
struct Scheduler(Child);

impl Scheduler {
    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        kibibytes.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The node's end of a session, and what keeps it open.
type Session = (tokio::sync::mpsc::Sender<NodeMessage>, Streaming<SchedulerMessage>);

/// Joins so many nodes, each with a connection as a node's own (`host/src/session.rs`).
async fn join(url: &str, nodes: usize) -> Vec<Session> {
    let mut sessions = Vec::with_capacity(nodes);
    for number in 0..nodes {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .unwrap()
            .http2_keep_alive_interval(HEARTBEAT_INTERVAL)
            .keep_alive_timeout(HEARTBEAT_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        let (messages, receiver) = tokio::sync::mpsc::channel(1);
        let capacity = Resources { cpu_millis: 4000, memory_bytes: 16 << 30 };
        let hello = v1::Hello {
            node: Some(Peer::this().into()),
            name: format!("node-{number}"),
            capacity: Some(capacity.into()),
            calls_max: 1000,
            node_id: Bytes::copy_from_slice(&(number as u128).to_be_bytes()),
            held: vec![],
        };
        messages.send(NodeMessage { number: 0, message: Some(node_message::Message::Hello(hello)) }).await.unwrap();
        let mut client = NodeApiClient::new(endpoint.connect().await.unwrap());
        let answers = client.session(tokio_stream::wrappers::ReceiverStream::new(receiver)).await.unwrap();
        let mut answers = answers.into_inner();
        answers.next().await.unwrap().unwrap();
        sessions.push((messages, answers));
    }
    sessions
}
