//! Reads what is kept: jobs, how they ended, and what is in their segments.
//!
//! A read takes whole segments, since a part of one cannot be had for less: at least one, however large, and then as many as there
//! is room for. Who asks for the rest next pays for nothing twice.

use std::time::SystemTime;

use burla_ledger::{BlobError, BlobRef};
use burla_proto::v1::{self, record::Record, segment::Place};
use burla_types::JobId;
use bytes::Bytes;
use prost::Message;

use super::index::{KeptSegments, Segment, Segments};
use super::{KeptJob, SHARD, Store, StoreError, unix_ms};

impl Store {
    /// A job of which everything is kept, open or ended.
    pub(crate) fn job(&self, id: JobId) -> Option<KeptJob> {
        let state = self.state();
        let job = state.jobs.get(&id)?;
        Some(KeptJob { kept: job.kept.subscribe() })
    }

    /// The jobs that have ended, as far as that is known, in that order; times are as of now.
    pub(crate) fn history(&self) -> Vec<v1::Job> {
        let now = self.clock.now();
        let state = self.state();
        let unkept = state.ending.iter().filter(|(id, _)| !state.jobs.contains_key(id));
        let written = state.index.ended_jobs().filter(|(id, _)| !state.ending.contains_key(id));
        let mut jobs: Vec<_> = written
            .map(|(_, ended)| (ended.ended_unix_ms, as_of(now, ended.ended_unix_ms, &ended.job, ended.is_expired())))
            .chain(unkept.map(|(_, (ended, job))| (*ended, as_of(now, *ended, job, false))))
            .collect();
        jobs.sort_by_key(|(ended_unix_ms, _)| *ended_unix_ms);
        jobs.into_iter().map(|(_, job)| job).collect()
    }

    /// Kept jobs that have ended and of which that is not on the disk.
    pub(crate) fn ending(&self) -> Vec<v1::Job> {
        let now = self.clock.now();
        let state = self.state();
        let kept = state.ending.iter().filter(|(id, _)| state.jobs.contains_key(id));
        kept.map(|(_, (ended, job))| self.still_open(now, *ended, job)).collect()
    }

    /// A job that has ended. A kept one is told as open until that is on the disk: after a crash it is.
    pub(crate) fn ended_job(&self, id: JobId) -> Option<v1::Job> {
        let now = self.clock.now();
        let state = self.state();
        if let Some((ended, job)) = state.ending.get(&id) {
            let is_kept = state.jobs.contains_key(&id);
            return Some(if is_kept { self.still_open(now, *ended, job) } else { as_of(now, *ended, job, false) });
        }
        let ended = state.index.ended_job(id)?;
        Some(as_of(now, ended.ended_unix_ms, &ended.job, ended.is_expired()))
    }

    fn still_open(&self, now: SystemTime, ended_unix_ms: u64, job: &v1::Job) -> v1::Job {
        let waiting = self.waits_for().unwrap_or_else(|| "its end to be on the disk".to_owned());
        let state = v1::job::State::Open.into();
        v1::Job { state, error: String::new(), waiting, ended_ms_ago: None, ..as_of(now, ended_unix_ms, job, false) }
    }

    /// Inputs from an index on, with their indices. None where none is kept from there on.
    pub(crate) async fn read_inputs(&self, id: JobId, from: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut inputs = Vec::new();
        let mut bytes = 0;
        for segment in self.segments(id, from, |job| &job.inputs)? {
            let content = self.content(id, &segment).await?;
            let read = v1::Inputs::decode(content).map_err(|error| damaged(id, &segment, &error))?.inputs;
            check_count(id, &segment, read.len())?;
            for (index, input) in (segment.first..).zip(read).skip_while(|(index, _)| *index < from) {
                bytes += input.len();
                inputs.push((index, input));
            }
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(inputs)
    }

    /// How calls ended, from the outcome of that number on. Where that is damaged and gone, from the next that is there.
    pub(crate) async fn read_outcomes(&self, id: JobId, from: u64, bytes_max: usize) -> Result<v1::KeptEvents, StoreError> {
        self.read_events(id, from, bytes_max, |job| &job.outcomes).await
    }

    /// What calls printed, in the same way.
    pub(crate) async fn read_lines(&self, id: JobId, from: u64, bytes_max: usize) -> Result<v1::KeptEvents, StoreError> {
        self.read_events(id, from, bytes_max, |job| &job.lines).await
    }

    async fn read_events(
        &self,
        id: JobId,
        from: u64,
        bytes_max: usize,
        kind: fn(&KeptSegments) -> &Segments,
    ) -> Result<v1::KeptEvents, StoreError> {
        let mut events = v1::KeptEvents { first: from, events: Vec::new() };
        let mut bytes = 0;
        for segment in self.segments(id, from, kind)? {
            if events.events.is_empty() {
                events.first = segment.first.max(from);
            } else if segment.first != events.first + events.events.len() as u64 {
                break;
            }
            let content = self.content(id, &segment).await?;
            bytes += content.len();
            let read = v1::CallEvents::decode(content).map_err(|error| damaged(id, &segment, &error))?.events;
            check_count(id, &segment, read.len())?;
            let known = usize::try_from(from.saturating_sub(segment.first)).unwrap_or(usize::MAX);
            events.events.extend(read.into_iter().skip(known));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(events)
    }

    /// The segments from one number on, at most as many as a read may want.
    fn segments(&self, id: JobId, from: u64, kind: fn(&KeptSegments) -> &Segments) -> Result<Vec<Segment>, StoreError> {
        /// A segment of less than a hundred bytes is rare, and who reads on is not held up by asking again.
        const SEGMENTS_TOGETHER_MAX: usize = 256;
        let state = self.state();
        match state.index.job(id) {
            Some(job) => Ok(kind(job).from(from).iter().take(SEGMENTS_TOGETHER_MAX).cloned().collect()),
            // Nothing of it is written yet.
            None if state.jobs.contains_key(&id) => Ok(Vec::new()),
            None => Err(StoreError::NotKept(id)),
        }
    }

    async fn content(&self, id: JobId, segment: &Segment) -> Result<Bytes, StoreError> {
        let entry = self.ledger.entry(SHARD, segment.at).await;
        // It was removed since the index was asked.
        let entry = entry.map_err(StoreError::read("an entry of the ledger"))?.ok_or(StoreError::NotKept(id))?;
        let record = v1::Record::decode(entry).map_err(|error| damaged(id, segment, &error))?;
        let content = match record.record {
            Some(Record::Inputs(record)) => record.inputs,
            Some(Record::Outcomes(record) | Record::Lines(record)) => record.events,
            _ => None,
        };
        match content.and_then(|content| content.place) {
            // A message with nothing in it is no bytes, and is not written.
            None => Ok(Bytes::new()),
            Some(Place::Inline(bytes)) => Ok(bytes),
            Some(Place::Blob(v1::segment::Blob { name, bytes, crc32c })) => {
                self.blobs.get(&BlobRef { name, bytes, crc32c }).await.map_err(|error| match error {
                    // It was removed since the index was asked.
                    BlobError::Missing { .. } if self.job(id).is_none() => StoreError::NotKept(id),
                    BlobError::Failed { .. } => StoreError::Read { what: "part of a job", source: error.into() },
                    error => damaged(id, segment, &error),
                })
            }
        }
    }
}

/// A job that ended, told at some later time.
fn as_of(now: SystemTime, ended_unix_ms: u64, job: &v1::Job, expired: bool) -> v1::Job {
    let ended_ms_ago = unix_ms(now).saturating_sub(ended_unix_ms);
    let opened_ms_ago = job.opened_ms_ago.saturating_add(ended_ms_ago);
    v1::Job { opened_ms_ago, ended_ms_ago: Some(ended_ms_ago), expired, ..job.clone() }
}

fn check_count(id: JobId, segment: &Segment, read: usize) -> Result<(), StoreError> {
    if read as u64 == segment.count {
        return Ok(());
    }
    let what = format!("{read} are there instead of {}", segment.count);
    Err(damaged(id, segment, &std::io::Error::other(what)))
}

fn damaged(id: JobId, segment: &Segment, error: &(dyn std::error::Error + 'static)) -> StoreError {
    let reason = super::writer::chain(error);
    StoreError::Damaged { what: format!("entry {} of it, of job {id}: {reason}", segment.at) }
}
