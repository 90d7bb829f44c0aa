//! The one table between [`GridError`] and gRPC statuses, both ways. The error itself travels in the status's details, so that
//! the other side gets the same value back and never has to read a text.

use burla_types::text::truncated;
use burla_types::{Digest, GridError, Peer};
use prost::Message;
use tonic::{Code, Status};

use crate::convert;
use crate::v1::{self, grid_error_detail::Kind};

/// What a scheduler answers for this error.
pub fn to_status(error: &GridError) -> Status {
    let code = match error {
        GridError::VersionMismatch { .. } => Code::FailedPrecondition,
        GridError::UnknownComponent(_) | GridError::UnknownFunction { .. } => Code::NotFound,
        GridError::InvalidComponent { .. } | GridError::InvalidRequest { .. } => Code::InvalidArgument,
        GridError::NoNodeFits { .. } => Code::ResourceExhausted,
        GridError::UnknownJob(_) => Code::NotFound,
        GridError::RefusedByPolicy { .. } => Code::PermissionDenied,
        GridError::Canceled => Code::Cancelled,
        GridError::CannotKeep { .. } => Code::ResourceExhausted,
        GridError::ShuttingDown => Code::Unavailable,
    };
    let detail = v1::GridErrorDetail { kind: Some(to_kind(&bounded(error.clone()))) };
    Status::with_details(code, truncated(&error.to_string(), TEXT_BYTES_MAX), detail.encode_to_vec().into())
}

/// Bytes of an error's texts, of which some are in it twice. A status travels in headers, of which HTTP/2 peers take 16 KiB; the
/// message takes three letters there for every one that is not plain, the error itself one and a third for each byte.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// The error with texts that fit.
fn bounded(error: GridError) -> GridError {
    let cut = |text: String| truncated(&text, TEXT_BYTES_MAX).into_owned();
    match error {
        GridError::InvalidComponent { reason } => GridError::InvalidComponent { reason: cut(reason) },
        GridError::InvalidRequest { reason } => GridError::InvalidRequest { reason: cut(reason) },
        GridError::RefusedByPolicy { reason } => GridError::RefusedByPolicy { reason: cut(reason) },
        GridError::CannotKeep { reason } => GridError::CannotKeep { reason: cut(reason) },
        GridError::UnknownFunction { name, available } => {
            let mut bytes = 0;
            let fits = |name: &String| {
                // With what says how long it is.
                bytes += name.len() + 3;
                bytes <= TEXT_BYTES_MAX
            };
            GridError::UnknownFunction { name: cut(name), available: available.into_iter().take_while(fits).collect() }
        }
        GridError::VersionMismatch { scheduler, peer } => {
            let cut = |peer: Peer| Peer { version: cut(peer.version), ..peer };
            GridError::VersionMismatch { scheduler: cut(scheduler), peer: cut(peer) }
        }
        other => other,
    }
}

/// The error that a status carries; `None` for one that did not come from [`to_status`], such as a lost connection.
pub fn from_status(status: &Status) -> Option<GridError> {
    let detail = v1::GridErrorDetail::decode(status.details()).ok()?;
    from_kind(detail.kind?)
}

fn to_kind(error: &GridError) -> Kind {
    use v1::grid_error_detail as detail;
    match error.clone() {
        GridError::VersionMismatch { scheduler, peer } => {
            Kind::VersionMismatch(detail::VersionMismatch { scheduler: Some(scheduler.into()), peer: Some(peer.into()) })
        }
        GridError::UnknownComponent(digest) => {
            Kind::UnknownComponent(detail::UnknownComponent { digest: digest.as_bytes().to_vec().into() })
        }
        GridError::InvalidComponent { reason } => Kind::InvalidComponent(detail::InvalidComponent { reason }),
        GridError::UnknownFunction { name, available } => Kind::UnknownFunction(detail::UnknownFunction { name, available }),
        GridError::NoNodeFits { wanted, largest } => {
            Kind::NoNodeFits(detail::NoNodeFits { wanted: Some(wanted.into()), largest: Some(largest.into()) })
        }
        GridError::InvalidRequest { reason } => Kind::InvalidRequest(detail::InvalidRequest { reason }),
        GridError::RefusedByPolicy { reason } => Kind::RefusedByPolicy(detail::RefusedByPolicy { reason }),
        GridError::CannotKeep { reason } => Kind::CannotKeep(detail::CannotKeep { reason }),
        GridError::Canceled => Kind::Canceled(detail::Canceled {}),
        GridError::UnknownJob(job) => Kind::UnknownJob(detail::UnknownJob { job_id: convert::job_id_bytes(job) }),
        GridError::ShuttingDown => Kind::ShuttingDown(detail::ShuttingDown {}),
    }
}

fn from_kind(kind: Kind) -> Option<GridError> {
    Some(match kind {
        Kind::VersionMismatch(it) => GridError::VersionMismatch {
            scheduler: it.scheduler.unwrap_or_default().into(),
            peer: it.peer.unwrap_or_default().into(),
        },
        Kind::UnknownComponent(it) => GridError::UnknownComponent(Digest::from_bytes(it.digest.as_ref().try_into().ok()?)),
        Kind::InvalidComponent(it) => GridError::InvalidComponent { reason: it.reason },
        Kind::UnknownFunction(it) => GridError::UnknownFunction { name: it.name, available: it.available },
        Kind::NoNodeFits(it) => {
            GridError::NoNodeFits { wanted: it.wanted.unwrap_or_default().into(), largest: it.largest.unwrap_or_default().into() }
        }
        Kind::InvalidRequest(it) => GridError::InvalidRequest { reason: it.reason },
        Kind::RefusedByPolicy(it) => GridError::RefusedByPolicy { reason: it.reason },
        Kind::CannotKeep(it) => GridError::CannotKeep { reason: it.reason },
        Kind::Canceled(_) => GridError::Canceled,
        Kind::UnknownJob(it) => GridError::UnknownJob(convert::job_id(&it.job_id).ok()?),
        Kind::ShuttingDown(_) => GridError::ShuttingDown,
    })
}

#[cfg(test)]
mod tests {
    use burla_types::{JobId, Resources};

    use super::*;

    #[test]
    fn every_error_survives_the_round_trip() {
        let errors = [
            GridError::VersionMismatch {
                scheduler: Peer::this(),
                peer: Peer { version: "2.0.0".into(), protocol_min: 7, protocol_max: 9 },
            },
            GridError::UnknownComponent(Digest::of(b"x")),
            GridError::InvalidComponent { reason: "cut short".into() },
            GridError::UnknownFunction { name: "a::b".into(), available: vec!["a::c".into()] },
            GridError::NoNodeFits {
                wanted: Resources { cpu_millis: 8000, memory_bytes: 1 },
                largest: Resources { cpu_millis: 4000, memory_bytes: 2 },
            },
            GridError::InvalidRequest { reason: "no".into() },
            GridError::RefusedByPolicy { reason: "not here".into() },
            GridError::CannotKeep { reason: "the disk is full".into() },
            GridError::Canceled,
            GridError::UnknownJob(JobId::from_bytes([7; 16])),
            GridError::ShuttingDown,
        ];
        for error in errors {
            assert_eq!(from_status(&to_status(&error)), Some(error));
        }
    }

    #[test]
    fn long_texts_fit_into_headers() {
        let long = "é".repeat(1 << 20);
        let peer = Peer { version: long.clone(), ..Peer::this() };
        for error in [
            GridError::InvalidComponent { reason: long.clone() },
            GridError::RefusedByPolicy { reason: long.clone() },
            GridError::VersionMismatch { scheduler: Peer::this(), peer },
            GridError::UnknownFunction { name: long.clone(), available: vec!["x".to_owned(); 100_000] },
            GridError::UnknownFunction { name: long, available: vec![String::new(); 100_000] },
        ] {
            let status = to_status(&error);
            let response = status.clone().into_http::<()>();
            let bytes: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 16 << 10, "{bytes}");
            assert!(from_status(&status).is_some());
        }
    }

    #[test]
    fn a_foreign_status_is_not_ours() {
        assert_eq!(from_status(&Status::unavailable("connection refused")), None);
    }
}
