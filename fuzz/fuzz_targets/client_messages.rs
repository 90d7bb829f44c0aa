//! What a scheduler reads from clients.

#![no_main]

use burla_fuzz::{decode, digest, job_id, peer, work};
use burla_proto::v1::{self, map_request::Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The same bytes may be any of these; the first that fits is not the only one.
    if let Some(offer) = decode::<v1::OfferComponentRequest>(bytes) {
        peer(offer.client);
        digest(&offer.digest);
    }
    if let Some(chunk) = decode::<v1::ComponentChunk>(bytes) {
        digest(&chunk.digest);
    }
    if let Some(v1::MapRequest { request: Some(Request::Open(open)) }) = decode(bytes) {
        peer(open.client);
        work(open.work);
    }
    if let Some(list) = decode::<v1::ListNodesRequest>(bytes) {
        peer(list.client);
    }
    if let Some(list) = decode::<v1::ListJobsRequest>(bytes) {
        peer(list.client);
    }
    if let Some(cancel) = decode::<v1::CancelJobRequest>(bytes) {
        peer(cancel.client);
        job_id(&cancel.job_id);
    }
});
