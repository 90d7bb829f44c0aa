//! What clients and nodes read from a scheduler, errors included.

#![no_main]

use burla_fuzz::{call, decode, digest, job_id, node_id, resources, usage, work};
use burla_proto::status;
use burla_proto::v1::follow_job_response::Response as Follow;
use burla_proto::v1::{self, grid_error_detail::Kind, map_response::Response, scheduler_message::Message};
use burla_types::GridError;
use burla_types::text::truncated;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tonic::{Code, Status};

/// Bytes of an error's texts, as in `proto/src/status.rs`: what is longer is cut.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Bytes of an error of which nothing is cut. Of a function's name, three bytes more than it has are counted, where the message
/// has at least two.
const WHOLE_BYTES_MAX: usize = TEXT_BYTES_MAX * 2 / 3;

/// What HTTP/2 peers take of headers.
const HEADERS_BYTES_MAX: usize = 16 << 10;

fuzz_target!(|bytes: &[u8]| {
    if let Some(v1::MapResponse { response: Some(response) }) = decode(bytes) {
        match response {
            Response::Opened(opened) => job_id(&opened.job_id),
            Response::Events(events) => events.events.into_iter().for_each(call),
            Response::Waiting(_) | Response::Progress(_) | Response::NodeLost(_) => {}
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
            Message::StopCalls(stop) => job_id(&stop.job_id),
            Message::Acknowledged(_) => {}
        }
    }
    if let Some(v1::FollowJobResponse { response: Some(response) }) = decode(bytes) {
        match response {
            Follow::Job(job) => job_id(&job.job_id),
            Follow::Outcomes(events) | Follow::Lines(events) => events.events.into_iter().for_each(call),
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

/// An error comes out of the headers of an answer as it went in, or with texts that were cut to fit, and are not cut again.
fn grid_error(detail: v1::GridErrorDetail, bytes: &[u8]) {
    let received = Status::with_details(Code::Unknown, "", Bytes::copy_from_slice(bytes));
    let Some(error) = status::from_status(&received) else {
        assert!(!has_meaning(&detail), "{detail:?}");
        return;
    };
    assert!(has_meaning(&detail), "{detail:?}");
    let answered = answered(&error);
    if bytes.len() <= WHOLE_BYTES_MAX {
        assert_eq!(answered, error);
    }
    assert_eq!(self::answered(&answered), answered);
}

/// The error that is in an answer's headers when the scheduler has answered with this one.
fn answered(error: &GridError) -> GridError {
    let headers = status::to_status(error).into_http::<()>().into_parts().0.headers;
    let headers_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(headers_bytes < HEADERS_BYTES_MAX, "{headers_bytes} bytes of headers");
    let received = Status::from_header_map(&headers).expect("a status in the headers");
    assert_eq!(received.message(), truncated(&error.to_string(), TEXT_BYTES_MAX));
    status::from_status(&received).expect("the scheduler's errors have a meaning")
}

fn has_meaning(detail: &v1::GridErrorDetail) -> bool {
    match &detail.kind {
        None => false,
        Some(Kind::UnknownComponent(unknown)) => unknown.digest.len() == 32,
        Some(Kind::UnknownJob(unknown)) => unknown.job_id.len() == 16,
        Some(_) => true,
    }
}
