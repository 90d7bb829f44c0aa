//! What was told to the store since the writer last took it: of each job one batch, in which everything of a kind is together.
//!
//! The order within a batch does not depend on the order in which it was told, and is safe to be cut off anywhere: an input comes
//! before the outcome of its call, and so do its lines, since a call with an outcome is not run again and prints no more.

use std::collections::HashMap;
use std::sync::Arc;

use burla_proto::convert;
use burla_proto::v1::{self, record::Record};
use burla_types::JobId;
use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::segment::{self, Piece};
use crate::grid::event::Tries;

/// An event of a call, and which node told of it.
pub(super) type Outcome = (v1::CallEvent, Option<Arc<str>>);

/// What one more input or event takes in memory beside its bytes, so that a million empty ones are not nothing.
const ITEM_OVERHEAD_BYTES: usize = 64;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batches: Vec<Batch>,
    /// Where more of a job goes.
    last: HashMap<JobId, usize>,
    /// Someone waits for it to be written.
    is_urgent: bool,
    /// Since when there is something for which nobody waits.
    lazy_since: Option<Instant>,
}

/// What waits of one job.
#[derive(Debug)]
struct Batch {
    job: JobId,
    opened: Option<v1::KeptJobOpened>,
    inputs: Numbered<Bytes>,
    inputs_closed: bool,
    lines: Numbered<v1::CallEvent>,
    outcomes: Numbered<Outcome>,
    tries: Option<v1::KeptJobTries>,
    ended: Option<v1::KeptJobEnded>,
    expired: bool,
    forgotten: bool,
    bytes: usize,
}

/// Consecutive ones.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    pub(super) first: u64,
    pub(super) items: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { first: 0, items: Vec::new() }
    }
}

impl<T> Numbered<T> {
    fn extend(&mut self, first: u64, items: impl IntoIterator<Item = T>) {
        if self.items.is_empty() {
            self.first = first;
        }
        self.items.extend(items);
    }
}

/// Each of these returns the bytes that wait in addition.
impl Waiting {
    pub(super) fn open(&mut self, job: JobId, options: v1::OpenJob, opened_unix_ms: u64) -> usize {
        let bytes = options.encoded_len() + ITEM_OVERHEAD_BYTES;
        let opened = v1::KeptJobOpened { job_id: convert::job_id_bytes(job), options: Some(options), opened_unix_ms };
        self.urgent(job, bytes).opened = Some(opened);
        bytes
    }

    pub(super) fn add_inputs(&mut self, job: JobId, first: u64, inputs: impl ExactSizeIterator<Item = Bytes>) -> usize {
        let mut bytes = 0;
        let batch = self.urgent(job, 0);
        batch.inputs.extend(first, inputs.inspect(|input| bytes += input.len() + ITEM_OVERHEAD_BYTES));
        batch.bytes += bytes;
        bytes
    }

    pub(super) fn close_inputs(&mut self, job: JobId) -> usize {
        self.urgent(job, ITEM_OVERHEAD_BYTES).inputs_closed = true;
        ITEM_OVERHEAD_BYTES
    }

    pub(super) fn add_outcomes(&mut self, job: JobId, first: u64, outcomes: Vec<Outcome>) -> usize {
        let bytes = outcomes.iter().map(|(event, _)| event.encoded_len() + ITEM_OVERHEAD_BYTES).sum();
        self.urgent(job, bytes).outcomes.extend(first, outcomes);
        bytes
    }

    pub(super) fn add_lines(&mut self, job: JobId, first: u64, lines: Vec<v1::CallEvent>) -> usize {
        let bytes = lines.iter().map(|event| event.encoded_len() + ITEM_OVERHEAD_BYTES).sum();
        self.urgent(job, bytes).lines.extend(first, lines);
        bytes
    }

    /// How many tries were made again. Nobody waits for it to be written.
    pub(super) fn note_tries(&mut self, job: JobId, tries: Tries, now: Instant) -> usize {
        self.lazy_since.get_or_insert(now);
        let Tries { retried, requeued } = tries;
        let noted = v1::KeptJobTries { job_id: convert::job_id_bytes(job), retried, requeued };
        let before = self.batch(job, 0).tries.replace(noted);
        let bytes = if before.is_none() { ITEM_OVERHEAD_BYTES } else { 0 };
        self.batch(job, bytes);
        bytes
    }

    /// How a job ended; of one that was not kept, nobody waits for it to be written.
    pub(super) fn end(&mut self, job: JobId, ended_unix_ms: u64, as_it_was: v1::Job, lazily_since: Option<Instant>) -> usize {
        let bytes = as_it_was.encoded_len() + ITEM_OVERHEAD_BYTES;
        match lazily_since {
            Some(now) => _ = self.lazy_since.get_or_insert(now),
            None => self.is_urgent = true,
        }
        let job_id = convert::job_id_bytes(job);
        self.batch(job, bytes).ended = Some(v1::KeptJobEnded { job_id, ended_unix_ms, job: Some(as_it_was) });
        bytes
    }

    pub(super) fn expire(&mut self, job: JobId) -> usize {
        self.urgent(job, ITEM_OVERHEAD_BYTES).expired = true;
        ITEM_OVERHEAD_BYTES
    }

    pub(super) fn forget(&mut self, job: JobId) -> usize {
        self.urgent(job, ITEM_OVERHEAD_BYTES).forgotten = true;
        ITEM_OVERHEAD_BYTES
    }

    fn urgent(&mut self, job: JobId, bytes: usize) -> &mut Batch {
        self.is_urgent = true;
        self.batch(job, bytes)
    }

    /// Where more of the job goes. What comes after the job has left is of another of the same id.
    fn batch(&mut self, job: JobId, bytes: usize) -> &mut Batch {
        let batches = &mut self.batches;
        let begin = |batches: &mut Vec<Batch>| {
            batches.push(Batch::new(job));
            batches.len() - 1
        };
        let at = self.last.entry(job).or_insert_with(|| begin(batches));
        if batches[*at].forgotten || batches[*at].expired {
            *at = begin(batches);
        }
        let batch = &mut batches[*at];
        batch.bytes += bytes;
        batch
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    pub(super) fn lazy_since(&self) -> Option<Instant> {
        self.lazy_since
    }

    /// Everything, in the order in which it has to be written.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Piece> {
        self.batches.into_iter().flat_map(Batch::into_pieces)
    }
}

impl Batch {
    fn new(job: JobId) -> Self {
        Self {
            job,
            opened: None,
            inputs: Numbered::default(),
            inputs_closed: false,
            lines: Numbered::default(),
            outcomes: Numbered::default(),
            tries: None,
            ended: None,
            expired: false,
            forgotten: false,
            bytes: 0,
        }
    }

    fn into_pieces(self) -> Vec<Piece> {
        let Self { job, opened, inputs, inputs_closed, lines, outcomes, tries, ended, expired, forgotten, bytes } = self;
        let job_id = || convert::job_id_bytes(job);
        let mut pieces = Vec::new();
        let record = |record| Piece::record(job, record);
        pieces.extend(opened.map(|opened| record(Record::JobOpened(opened))));
        segment::cut(inputs, Bytes::len).for_each(|inputs| pieces.push(Piece::inputs(job, inputs)));
        pieces.extend(inputs_closed.then(|| record(Record::InputsClosed(v1::KeptInputsClosed { job_id: job_id() }))));
        segment::cut(lines, v1::CallEvent::encoded_len).for_each(|lines| pieces.push(Piece::lines(job, lines)));
        let outcomes = segment::cut(outcomes, |(event, _)| event.encoded_len());
        outcomes.for_each(|outcomes| pieces.push(Piece::outcomes(job, outcomes)));
        pieces.extend(tries.map(|tries| record(Record::JobTries(tries))));
        pieces.extend(ended.map(|ended| record(Record::JobEnded(ended))));
        pieces.extend(expired.then(|| record(Record::JobExpired(v1::KeptJobExpired { job_id: job_id() }))));
        pieces.extend(forgotten.then(|| record(Record::JobForgotten(v1::KeptJobForgotten { job_id: job_id() }))));
        // All of it has waited until the last piece is written.
        if let Some(last) = pieces.last_mut() {
            last.bytes_waited = bytes;
        }
        pieces
    }
}
