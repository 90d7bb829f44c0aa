//! What a scheduler reads from nodes.

#![no_main]

use burla_fuzz::{call, decode, digest, job_id, peer, resources};
use burla_proto::v1::{self, node_message::Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(v1::NodeMessage { message: Some(message), .. }) = decode(bytes) {
        match message {
            Message::Hello(hello) => {
                peer(hello.node);
                resources(hello.capacity);
            }
            Message::Events(events) => {
                job_id(&events.job_id);
                events.events.into_iter().for_each(call);
            }
            Message::Unusable(unusable) => job_id(&unusable.job_id),
            Message::Returned(returned) => job_id(&returned.job_id),
            Message::Leaving(_) => {}
        }
    }
    if let Some(download) = decode::<v1::DownloadComponentRequest>(bytes) {
        digest(&download.digest);
    }
});
