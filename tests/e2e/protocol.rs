//! What a scheduler answers to clients and nodes that are not ours, or not of its version.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use burla_proto::convert::{self, CallReport, Work};
use burla_proto::v1::client_api_client::ClientApiClient;
use burla_proto::v1::node_api_client::NodeApiClient;
use burla_proto::v1::{self, map_request::Request, map_response::Response};
use burla_proto::{COMPONENT_CHUNK_BYTES, status};
use burla_tests::{LocalGrid, guests};
use burla_types::{Digest, GridError, Limits, Outcome, PROTOCOL_MAX, Peer};
use bytes::Bytes;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

async fn dial(grid: &LocalGrid) -> Channel {
    Endpoint::from_shared(grid.grid.url().to_owned()).unwrap().connect().await.unwrap()
}

fn open(function: &str, digest: Digest) -> v1::OpenJob {
    let limits = Limits {
        cpu_millis_max: 1000,
        memory_bytes_max: 1 << 30,
        fuel_max: None,
        wall_time_max: None,
        disk_bytes_max: None,
        network: vec![],
    };
    let work = Work { digest, function: function.to_owned(), limits, env: BTreeMap::new(), wants_output: true };
    v1::OpenJob {
        client: Some(Peer::this().into()),
        work: Some(work.into()),
        cpu_millis: 1000,
        memory_bytes: None,
        max_parallelism: None,
        name: "test".to_owned(),
        job_id: Bytes::copy_from_slice(&new_id()),
        ..v1::OpenJob::default()
    }
}

/// An id that no job of these tests has.
fn new_id() -> [u8; 16] {
    static JOBS: AtomicU8 = AtomicU8::new(0);
    [JOBS.fetch_add(1, Ordering::Relaxed); 16]
}

async fn upload(client: &mut ClientApiClient<Channel>, digest: Digest, bytes: &[u8]) -> Result<(), Status> {
    let chunks: Vec<_> = bytes.chunks(COMPONENT_CHUNK_BYTES).map(|data| (digest, Bytes::copy_from_slice(data))).collect();
    let chunks = chunks.into_iter().map(|(digest, data)| v1::ComponentChunk { digest: convert::digest_bytes(digest), data });
    client.upload_component(tokio_stream::iter(chunks)).await.map(|_| ())
}

/// Sends these requests, and returns what comes back until the end.
async fn map(client: &mut ClientApiClient<Channel>, requests: Vec<Request>) -> Result<Vec<v1::CallEvent>, GridError> {
    let requests = requests.into_iter().map(|request| v1::MapRequest { request: Some(request) });
    let ours = |status: Status| status::from_status(&status).unwrap_or_else(|| panic!("not an error of ours: {status}"));
    let mut responses = client.map(tokio_stream::iter(requests)).await.map_err(ours)?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = responses.message().await.map_err(ours)? {
        if let Some(Response::Events(events)) = message.response {
            all.extend(events.events);
        }
    }
    Ok(all)
}

fn inputs(first_index: u64, inputs: &[&'static [u8]]) -> Request {
    let inputs = inputs.iter().map(|input| Bytes::from_static(input)).collect();
    Request::Inputs(v1::InputBatch { first_index, inputs, ..v1::InputBatch::default() })
}

const CLOSED: Request = Request::InputsClosed(v1::InputsClosed {});

#[tokio::test]
async fn another_version_is_refused_by_name() {
    let grid = LocalGrid::without_nodes();
    let newer = PROTOCOL_MAX + 1;
    let theirs = || Peer { version: "9.9.9".to_owned(), protocol_min: newer, protocol_max: newer + 2 };
    let mismatch = GridError::VersionMismatch { scheduler: Peer::this(), peer: theirs() };
    let mut client = ClientApiClient::new(dial(&grid).await);
    let offer = v1::OfferComponentRequest { client: Some(theirs().into()), digest: Bytes::from_static(&[0; 32]) };
    let refused = client.offer_component(offer).await.unwrap_err();
    assert_eq!(status::from_status(&refused), Some(mismatch.clone()));
    let old = v1::OpenJob { client: Some(theirs().into()), ..open("a::b", Digest::of(b"x")) };
    assert_eq!(map(&mut client, vec![Request::Open(old)]).await.unwrap_err(), mismatch);

    let mut node = NodeApiClient::new(dial(&grid).await);
    let hello = v1::Hello { node: Some(theirs().into()), ..v1::Hello::default() };
    let hello = v1::NodeMessage { number: 0, message: Some(v1::node_message::Message::Hello(hello)) };
    let refused = node.session(tokio_stream::iter([hello])).await.unwrap_err();
    assert_eq!(status::from_status(&refused), Some(mismatch));
}

#[tokio::test]
async fn bytes_that_are_not_what_their_digest_says_are_refused() {
    let grid = LocalGrid::without_nodes();
    let mut client = ClientApiClient::new(dial(&grid).await);
    let component = std::fs::read(guests()).unwrap();
    for (digest, bytes, part) in [
        (Digest::of(b"other"), &component[..], "do not match their digest"),
        (Digest::of(&component), &component[..component.len() / 2], "do not match their digest"),
        (Digest::of(b"text"), b"text", "not a WebAssembly component"),
    ] {
        let refused = upload(&mut client, digest, bytes).await.unwrap_err();
        let Some(GridError::InvalidComponent { reason }) = status::from_status(&refused) else { panic!("{refused}") };
        assert!(reason.contains(part), "{reason}");
        let unknown = map(&mut client, vec![Request::Open(open("a::b", digest))]).await.unwrap_err();
        assert_eq!(unknown, GridError::UnknownComponent(digest));
    }
}

#[tokio::test]
async fn wrong_names_inputs_and_orders_are_told() {
    let grid = LocalGrid::start(1);
    let mut client = ClientApiClient::new(dial(&grid).await);
    let component = std::fs::read(guests()).unwrap();
    let digest = Digest::of(&component);
    upload(&mut client, digest, &component).await.unwrap();

    let unknown = map(&mut client, vec![Request::Open(open("burla_test_guests::nothing", digest))]).await.unwrap_err();
    let GridError::UnknownFunction { name, available } = &unknown else { panic!("{unknown:?}") };
    assert_eq!(name, "burla_test_guests::nothing");
    assert!(available.contains(&"burla_test_guests::typed::nothing".to_owned()));

    // 21, a text where a number should be, and nothing at all.
    let doubles = || Request::Open(open("burla_test_guests::typed::doubles", digest));
    let mut events = map(&mut client, vec![doubles(), inputs(0, &[&[21], &[0xa1, b'x'], &[]]), CLOSED]).await.unwrap();
    events.sort_by_key(|event| event.index);
    let mut outcomes = events.into_iter().map(|event| match convert::call_report(event).unwrap() {
        CallReport::Ended { outcome, .. } => outcome,
        printed => panic!("{printed:?}"),
    });
    assert_eq!(outcomes.next(), Some(Outcome::Done(Bytes::from_static(&[42]))));
    for outcome in outcomes {
        let Outcome::Refused { message } = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("is not what `burla_test_guests::typed::doubles(number: i64) -> i64` takes"), "{message}");
    }

    for (requests, part) in [
        (vec![CLOSED], "does not open a job"),
        (vec![doubles(), inputs(5, &[&[1]])], "inputs from index 5 on, where 0 is next"),
        (vec![doubles(), doubles()], "open already"),
        (vec![Request::Open(v1::OpenJob { cpu_millis: 0, ..open("burla_test_guests::typed::doubles", digest) })], "func_cpu"),
    ] {
        let error = map(&mut client, requests).await.unwrap_err();
        assert!(matches!(&error, GridError::InvalidRequest { reason } if reason.contains(part)), "no `{part}` in {error:?}");
    }
}
