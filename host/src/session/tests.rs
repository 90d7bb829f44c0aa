//! Sessions with a scheduler that says what the test wants said.

use std::path::PathBuf;
use std::sync::Arc;

use burla_proto::v1::node_api_server::{NodeApi, NodeApiServer};
use burla_types::Resources;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use super::*;
use crate::jobs::tests::{Node, done, job_id, waiting};
use crate::network::NetworkPolicy;
use crate::policy::Policy;

/// Hands each session to the test.
struct Scheduler(mpsc::UnboundedSender<Peering>);

/// The scheduler's end of a session.
struct Peering {
    from_node: Streaming<NodeMessage>,
    to_node: mpsc::UnboundedSender<Result<SchedulerMessage, Status>>,
}

#[tonic::async_trait]
impl NodeApi for Scheduler {
    type SessionStream = tokio_stream::wrappers::UnboundedReceiverStream<Result<SchedulerMessage, Status>>;
    type DownloadComponentStream = tokio_stream::Empty<Result<v1::ComponentChunk, Status>>;

    async fn session(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (to_node, messages) = mpsc::unbounded_channel();
        let _ = self.0.send(Peering { from_node: request.into_inner(), to_node });
        Ok(Response::new(messages.into()))
    }

    async fn download_component(
        &self,
        _: Request<v1::DownloadComponentRequest>,
    ) -> Result<Response<Self::DownloadComponentStream>, Status> {
        Err(Status::not_found("there are none"))
    }
}

impl Peering {
    fn say(&self, message: Message) {
        self.to_node.send(Ok(SchedulerMessage { message: Some(message) })).unwrap();
    }

    async fn hear(&mut self) -> (u64, node_message::Message) {
        let message = self.from_node.message().await.unwrap().unwrap();
        (message.number, message.message.unwrap())
    }

    /// Its first message, to which it is welcomed.
    async fn hello(&mut self) -> v1::Hello {
        let (0, node_message::Message::Hello(hello)) = self.hear().await else { panic!("not a hello without a number") };
        self.say(Message::Welcome(v1::Welcome { node_id: hello.node_id.clone(), protocol: PROTOCOL_MAX }));
        hello
    }

    /// The number of a message about calls, and their indices.
    async fn events(&mut self) -> (u64, Vec<u64>) {
        let (number, node_message::Message::Events(events)) = self.hear().await else { panic!("not about calls") };
        (number, events.events.iter().map(|event| event.index).collect())
    }
}

fn config(url: String) -> NodeConfig {
    NodeConfig {
        scheduler_url: url,
        name: "n".to_owned(),
        capacity: Resources { cpu_millis: 1000, memory_bytes: 1 << 30 },
        data_dir: PathBuf::new(),
        sandbox_dir: PathBuf::new(),
        disk_bytes: 0,
        policy: Policy { network: Arc::new(NetworkPolicy::default()), disk_bytes_max: 0 },
        drain_time: Duration::ZERO,
    }
}

#[tokio::test]
async fn a_node_says_again_in_its_next_session_what_it_has_and_what_was_not_acknowledged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(format!("http://{}", listener.local_addr().unwrap()));
    let (sessions, mut peers) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder().add_service(NodeApiServer::new(Scheduler(sessions)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let (node, mut slot) = Node::with_endless_call(7);
    let node_id = NodeId::from_bytes([9; 16]);
    let joined = watch::Sender::new(false);
    let session = || run(&config, node_id, &node.jobs, &node.outbound, &joined);

    let (ended, ()) = tokio::join!(session(), async {
        let mut peer = peers.recv().await.unwrap();
        let hello = peer.hello().await;
        assert_eq!(hello.node_id[..], *node_id.as_bytes());
        let held = v1::HeldJob {
            job_id: convert::job_id_bytes(job_id()),
            slot: Some(v1::Resources { cpu_millis: 500, memory_bytes: 1 << 20 }),
            calls: vec![v1::Attempt { index: 7, attempt: Attempt::FIRST.0 }],
        };
        assert_eq!(hello.held, [held]);
        for index in 0..2 {
            node.outbound.push(done(&waiting(index)));
            assert_eq!(peer.events().await, (index + 1, vec![index]));
        }
        peer.say(Message::Acknowledged(v1::Acknowledged { number: 1 }));
    });
    assert!(matches!(ended, Err(SessionError::Closed)), "{ended:?}");

    let (ended, ()) = tokio::join!(session(), async {
        let mut peer = peers.recv().await.unwrap();
        let hello = peer.hello().await;
        assert_eq!((&hello.node_id[..], hello.held.len()), (&node_id.as_bytes()[..], 1));
        assert_eq!(peer.events().await, (2, vec![1]), "the first was acknowledged");
        let calls = vec![v1::Attempt { index: 7, attempt: Attempt::FIRST.0 }];
        peer.say(Message::StopCalls(v1::StopCalls { job_id: convert::job_id_bytes(job_id()), calls }));
        peer.say(Message::Acknowledged(v1::Acknowledged { number: 2 }));
        (&mut slot).await;
        let (number, node_message::Message::Returned(returned)) = peer.hear().await else { panic!("not returned") };
        assert_eq!((number, returned.reason()), (0, v1::calls_returned::Reason::Stopped));
        assert_eq!((returned.calls.len(), returned.calls[0].index), (1, 7));
        peer.say(Message::Acknowledged(v1::Acknowledged { number: 3 }));
        // Kept until the node has read it.
        peer.to_node.closed().await;
    });
    assert!(matches!(ended, Err(SessionError::Malformed(_))), "{ended:?}");
}
