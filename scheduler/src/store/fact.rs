//! What a record of the ledger says, without the bytes of inputs, outputs and lines in it: all that has to be in memory.

use std::collections::HashMap;

use burla_proto::convert;
use burla_proto::v1::{self, record::Record, segment::Place};
use burla_types::{JobId, Usage};
use prost::Message;

use crate::grid::event::Tries;

/// A record, as the index takes it in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Fact {
    Epoch,
    JobOpened { job: JobId, options: v1::OpenJob, opened_unix_ms: u64 },
    Inputs(JobId, SegmentFact),
    InputsClosed(JobId),
    Outcomes(JobId, SegmentFact, OutcomesFact),
    Lines(JobId, SegmentFact),
    JobTries(JobId, Tries),
    JobEnded { job: JobId, ended_unix_ms: u64, as_it_was: v1::Job },
    JobExpired(JobId),
    JobForgotten(JobId),
}

/// A segment: which of the job's inputs, outcomes or line events are in it, and where.
#[derive(Debug)]
pub(crate) struct SegmentFact {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// What it takes on disk: its entry in the ledger and its blob.
    pub(crate) bytes: u64,
    /// The blob its content is in, where it is not in the record.
    pub(crate) blob: Option<String>,
}

/// What a scheduler that starts again knows of outcomes without reading them.
#[derive(Debug)]
pub(crate) struct OutcomesFact {
    pub(crate) indices: Vec<u64>,
    pub(crate) usage: Usage,
    pub(crate) failures: HashMap<String, u64>,
    pub(crate) nodes: Vec<String>,
}

/// A record that this version cannot make sense of, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Senseless(String);

impl Fact {
    /// What an entry of the ledger says.
    pub(crate) fn decode(entry: bytes::Bytes) -> Result<Self, Senseless> {
        let bytes = entry.len();
        let record = v1::Record::decode(entry).map_err(|error| Senseless(format!("it is not a record: {error}")))?;
        let record = record.record.ok_or_else(|| senseless("it is a record of a kind that this version does not know"))?;
        Self::of(record, bytes)
    }

    /// What a record says that takes `entry_bytes` in the ledger.
    pub(crate) fn of(record: Record, entry_bytes: usize) -> Result<Self, Senseless> {
        let job = |id: &bytes::Bytes| convert::job_id(id).map_err(|error| Senseless(error.to_string()));
        Ok(match record {
            Record::Epoch(_) => Self::Epoch,
            Record::JobOpened(it) => Self::JobOpened {
                job: job(&it.job_id)?,
                options: it.options.ok_or_else(|| senseless("a job was opened without saying with what"))?,
                opened_unix_ms: it.opened_unix_ms,
            },
            Record::Inputs(it) => {
                Self::Inputs(job(&it.job_id)?, segment(it.first_index, it.count, it.inputs.as_ref(), entry_bytes)?)
            }
            Record::InputsClosed(it) => Self::InputsClosed(job(&it.job_id)?),
            Record::Outcomes(it) => {
                let place = segment(it.first, it.count, it.events.as_ref(), entry_bytes)?;
                if it.indices.len() as u64 != place.count {
                    return Err(senseless("a segment of outcomes that does not say of which calls they are"));
                }
                let usage = it.usage.map(Usage::from).unwrap_or_default();
                let outcomes = OutcomesFact { indices: it.indices, usage, failures: it.failures, nodes: it.nodes };
                Self::Outcomes(job(&it.job_id)?, place, outcomes)
            }
            Record::Lines(it) => Self::Lines(job(&it.job_id)?, segment(it.first, it.count, it.events.as_ref(), entry_bytes)?),
            Record::JobTries(it) => Self::JobTries(job(&it.job_id)?, Tries { retried: it.retried, requeued: it.requeued }),
            Record::JobEnded(it) => Self::JobEnded {
                job: job(&it.job_id)?,
                ended_unix_ms: it.ended_unix_ms,
                as_it_was: it.job.ok_or_else(|| senseless("a job ended without saying how"))?,
            },
            Record::JobExpired(it) => Self::JobExpired(job(&it.job_id)?),
            Record::JobForgotten(it) => Self::JobForgotten(job(&it.job_id)?),
        })
    }

    /// The job it is about.
    pub(crate) fn job(&self) -> Option<JobId> {
        match self {
            Self::Epoch => None,
            Self::JobOpened { job, .. } | Self::JobEnded { job, .. } => Some(*job),
            Self::Inputs(job, _) | Self::Outcomes(job, ..) | Self::Lines(job, _) | Self::JobTries(job, _) => Some(*job),
            Self::InputsClosed(job) | Self::JobExpired(job) | Self::JobForgotten(job) => Some(*job),
        }
    }
}

fn segment(first: u64, count: u64, content: Option<&v1::Segment>, entry_bytes: usize) -> Result<SegmentFact, Senseless> {
    if count == 0 || first.checked_add(count).is_none() {
        return Err(senseless("a segment of nothing"));
    }
    let (blob, blob_bytes) = match content.and_then(|content| content.place.as_ref()) {
        None | Some(Place::Inline(_)) => (None, 0),
        Some(Place::Blob(blob)) => (Some(blob.name.clone()), blob.bytes),
    };
    Ok(SegmentFact { first, count, bytes: entry_bytes as u64 + blob_bytes, blob })
}

fn senseless(reason: &str) -> Senseless {
    Senseless(reason.to_owned())
}
