//! What clients and nodes read from a scheduler, errors included.

#![no_main]

use burla_fuzz::{call, decode, digest, job_id, node_id, resources, usage, work};
use burla_proto::status;
use burla_proto::v1::{self, grid_error_detail::Kind, map_response::Response, scheduler_message::Message};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tonic::{Code, Status};

fuzz_target!(|bytes: &[u8]| {
    if let Some(v1::MapResponse { response: Some(response) }) = decode(bytes) {
        match response {
            Response::Opened(opened) => job_id(&opened.job_id),
            Response::Events(events) => events.events.into_iter().for_each(call),
            Response::Waiting(_) | Response::Progress(_) => {}
        }
    }
    if let Some(v1::SchedulerMessage { message: Some(message) }) = decode(bytes) {
        match message {
            Message::Welcome(welcome) => node_id(&welcome.node_id),
            Message::StartJob(start) => {
                job_id(&start.job_id);
                work(start.work);
            }
            Message::SetSlots(set) => job_id(&set.job_id),
            Message::RunCalls(run) => job_id(&run.job_id),
            Message::SetOutputPaused(set) => job_id(&set.job_id),
            Message::StopJob(stop) => job_id(&stop.job_id),
            Message::RecallCalls(recall) => job_id(&recall.job_id),
        }
    }
    if let Some(chunk) = decode::<v1::ComponentChunk>(bytes) {
        digest(&chunk.digest);
    }
    if let Some(list) = decode::<v1::ListNodesResponse>(bytes) {
        for node in list.nodes {
            node_id(&node.node_id);
            resources(node.capacity);
            resources(node.taken);
        }
    }
    if let Some(list) = decode::<v1::ListJobsResponse>(bytes) {
        for job in list.jobs {
            job_id(&job.job_id);
            resources(job.slot);
            usage(job.usage);
        }
    }
    if let Some(detail) = decode::<v1::GridErrorDetail>(bytes) {
        grid_error(detail, bytes);
    }
});

/// An error comes out of the headers of an answer as it went in.
fn grid_error(detail: v1::GridErrorDetail, bytes: &[u8]) {
    let received = Status::with_details(Code::Unknown, "", Bytes::copy_from_slice(bytes));
    let Some(error) = status::from_status(&received) else {
        assert!(!has_meaning(&detail), "{detail:?}");
        return;
    };
    assert!(has_meaning(&detail), "{detail:?}");
    let headers = status::to_status(&error).into_http::<()>().into_parts().0.headers;
    let received = Status::from_header_map(&headers).expect("a status in the headers");
    assert_eq!(received.message(), error.to_string());
    assert_eq!(status::from_status(&received), Some(error));
}

fn has_meaning(detail: &v1::GridErrorDetail) -> bool {
    match &detail.kind {
        None => false,
        Some(Kind::UnknownComponent(unknown)) => unknown.digest.len() == 32,
        Some(Kind::UnknownJob(unknown)) => unknown.job_id.len() == 16,
        Some(_) => true,
    }
}
