//! What the targets for messages share: each part of a message is converted as its receiver does it, and back. What converts is
//! the same afterwards; what does not is refused for a reason that these functions know.

use std::fmt::Debug;
use std::time::Duration;

use burla_proto::convert::{self, CallReport, Work};
use burla_proto::v1::{self, call_event::Event, failure::Kind};
use burla_types::{Digest, Outcome, Peer, Resources, Usage};
use bytes::Bytes;
use prost::Message;

/// Reads a message, which must be the same when it has been written and read again.
pub fn decode<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let written = message.encode_to_vec();
    assert_eq!(written.len(), message.encoded_len());
    assert_eq!(M::decode(&*written).as_ref(), Ok(&message));
    Some(message)
}

pub fn digest(bytes: &Bytes) {
    match convert::digest(bytes) {
        Ok(digest) => {
            assert_eq!(&convert::digest_bytes(digest), bytes);
            assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }
        Err(_) => assert_ne!(bytes.len(), 32),
    }
}

pub fn job_id(bytes: &Bytes) {
    match convert::job_id(bytes) {
        Ok(id) => assert_eq!(&convert::job_id_bytes(id), bytes),
        Err(_) => assert_ne!(bytes.len(), 16),
    }
}

pub fn node_id(bytes: &Bytes) {
    match convert::node_id(bytes) {
        Ok(id) => assert_eq!(&convert::node_id_bytes(id), bytes),
        Err(_) => assert_ne!(bytes.len(), 16),
    }
}

/// A client or node that introduces itself, or does not.
pub fn peer(message: Option<v1::Peer>) {
    let message = message.unwrap_or_default();
    let (this, peer) = (Peer::this(), Peer::from(message.clone()));
    let common = this.common_protocol(&peer);
    assert_eq!(common, peer.common_protocol(&this));
    if let Some(protocol) = common {
        for side in [&this, &peer] {
            assert!((side.protocol_min..=side.protocol_max).contains(&protocol), "{side} does not speak {protocol}");
        }
    }
    assert_eq!(v1::Peer::from(peer), message);
}

pub fn resources(message: Option<v1::Resources>) {
    if let Some(message) = message {
        assert_eq!(v1::Resources::from(Resources::from(message)), message);
    }
}

pub fn usage(message: Option<v1::Usage>) {
    if let Some(message) = message {
        assert_eq!(v1::Usage::from(Usage::from(message)), message);
    }
}

/// What a client asks the scheduler to run, and the scheduler a node.
pub fn work(message: Option<v1::Work>) {
    let Some(mut message) = message else { return };
    let Ok(mut work) = Work::try_from(message.clone()) else { return };
    let written = v1::Work::from(work.clone());

    // A timeout of nothing is written as the least that there is.
    let least = Duration::from_millis(1);
    work.limits.wall_time_max = work.limits.wall_time_max.map(|time| time.max(least));
    assert_eq!(Work::try_from(written.clone()), Ok(work));

    // The message as well, or both directions might forget the same field.
    let limits = message.limits.as_mut().expect("work is read only with its limits");
    limits.wall_time_max_ms = limits.wall_time_max_ms.map(|time| time.max(1));
    // A network grant may be written in several ways. As words they were equal, above.
    let network = written.limits.as_ref().map(|limits| limits.network.clone()).unwrap_or_default();
    assert_eq!(network.len(), limits.network.len());
    limits.network = network;
    assert_eq!(written, message);
}

/// What happened to a call, as a node tells the scheduler, and the scheduler the client.
pub fn call(event: v1::CallEvent) {
    let report = convert::call_report(event.clone());
    assert_eq!(report.is_ok(), has_meaning(&event), "{event:?}");
    let Ok(report) = report else { return };
    let usage = match &report {
        CallReport::Printed { .. } => None,
        CallReport::Ended { outcome, .. } => {
            if let Outcome::Exceeded(exceeded) = outcome {
                assert!(exceeded.to_string().starts_with("exceeded "));
            }
            // Where it is absent, nothing was used.
            Some(event.usage.unwrap_or_default())
        }
    };
    let written = convert::call_event(event.index, event.attempt, report);
    assert_eq!(written, v1::CallEvent { usage, ..event });
}

fn has_meaning(event: &v1::CallEvent) -> bool {
    match &event.event {
        None => false,
        Some(Event::Done(_) | Event::Printed(_)) => true,
        Some(Event::Failure(failure)) => match &failure.kind {
            None => false,
            Some(Kind::Exceeded(exceeded)) => exceeded.limit() != v1::Limit::Unspecified,
            Some(_) => true,
        },
    }
}
