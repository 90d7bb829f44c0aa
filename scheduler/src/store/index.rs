//! What is in the ledger, as far as it has to be known without reading it: for each kept job, where its segments are; for each
//! that has ended, how.
//!
//! Plain code: the writer hands it each record that it has committed, and recovery hands it all of them again, in the same order.
//! So what a scheduler knows after a restart is what it knew before. It takes some fifty bytes per segment and nothing per call.

#[cfg(test)]
use std::collections::BTreeMap;
use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use burla_ledger::Position;
use burla_proto::v1;
use burla_types::JobId;

use super::fact::{Fact, SegmentFact};

/// All jobs, and what may be removed.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Jobs of which everything is kept, open or ended.
    jobs: HashMap<JobId, KeptSegments>,
    /// Jobs that have ended, kept or not.
    ended: HashMap<JobId, EndedJob>,
    /// The same in the order in which they ended.
    ended_order: BTreeSet<(u64, JobId)>,
    /// What all kept jobs take on disk, and of that those that have ended.
    bytes: u64,
    ended_bytes: u64,
    /// How many of those that have ended are kept.
    ended_kept: usize,
    epoch: Option<Position>,
    garbage: Vec<Garbage>,
}

/// Where everything of a kept job is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptSegments {
    opened_at: Position,
    closed_at: Option<Position>,
    /// Where it is written how many tries were made again.
    tries_at: Option<Position>,
    pub(crate) inputs: Segments,
    pub(crate) outcomes: Segments,
    pub(crate) lines: Segments,
    /// On disk.
    pub(crate) bytes: u64,
    /// The first thing found that is not as it was written.
    pub(crate) damage: Option<String>,
}

/// Segments of one kind of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Ascending by first, without overlap, and without gaps where nothing is damaged.
    segments: Vec<Segment>,
    /// The number after the last.
    pub(crate) next: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) at: Position,
    pub(crate) first: u64,
    pub(crate) count: u64,
    blob: Option<Box<str>>,
}

/// A job that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndedJob {
    pub(crate) ended_unix_ms: u64,
    /// As it was then.
    pub(crate) job: Arc<v1::Job>,
    at: Position,
    expired_at: Option<Position>,
}

impl EndedJob {
    pub(crate) fn is_expired(&self) -> bool {
        self.expired_at.is_some()
    }
}

/// Entries and blobs that nobody needs any more. What is removed together may be gone in part after a crash; what comes later in
/// the list is removed later, so that what is left is understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    pub(crate) entries: Vec<Position>,
    pub(crate) blobs: Vec<String>,
}

impl Index {
    /// Takes in the record at `at`. What does not fit to what came before is noted as damage of its job.
    pub(crate) fn take_in(&mut self, at: Position, fact: Fact) {
        match fact {
            Fact::Epoch => {
                let before = self.epoch.replace(at);
                self.discard(before);
            }
            Fact::JobOpened { job, .. } => {
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.note_damage(|| format!("it was opened again at {at}"));
                    self.discard([at]);
                } else {
                    self.jobs.insert(job, KeptSegments::new(at));
                }
            }
            Fact::Inputs(job, segment) => self.add(job, at, segment, |job| &mut job.inputs, "inputs"),
            Fact::Outcomes(job, segment, _) => self.add(job, at, segment, |job| &mut job.outcomes, "outcomes"),
            Fact::Lines(job, segment) => self.add(job, at, segment, |job| &mut job.lines, "lines"),
            Fact::InputsClosed(job) => match self.jobs.get_mut(&job) {
                Some(kept) => {
                    let again = kept.closed_at.replace(at);
                    self.discard(again);
                }
                None => self.discard([at]),
            },
            Fact::JobTries(job, _) => {
                let outdated = match self.jobs.get_mut(&job) {
                    Some(kept) => kept.tries_at.replace(at),
                    None => Some(at),
                };
                self.discard(outdated);
            }
            Fact::JobEnded { job, ended_unix_ms, as_it_was } => {
                let ended = EndedJob { ended_unix_ms, job: Arc::new(as_it_was), at, expired_at: None };
                // One that was not kept may have been opened anew after it had ended, and ends again: the last time counts.
                if let Some(before) = self.ended.insert(job, ended) {
                    self.ended_order.remove(&(before.ended_unix_ms, job));
                    self.discard(before.entries());
                } else {
                    let kept = self.jobs.get(&job);
                    self.ended_bytes += kept.map_or(0, |kept| kept.bytes);
                    self.ended_kept += usize::from(kept.is_some());
                }
                self.ended_order.insert((ended_unix_ms, job));
            }
            Fact::JobExpired(job) => {
                self.remove_kept(job);
                let again = match self.ended.get_mut(&job) {
                    Some(ended) => ended.expired_at.replace(at),
                    None => Some(at),
                };
                self.discard(again);
            }
            Fact::JobForgotten(job) => {
                self.remove_kept(job);
                if let Some(ended) = self.ended.remove(&job) {
                    self.ended_order.remove(&(ended.ended_unix_ms, job));
                    // In this order: without the first, the second is of a job that nobody knows.
                    self.discard([ended.at]);
                    self.discard(ended.expired_at);
                }
                self.discard([at]);
            }
        }
    }

    fn add(
        &mut self,
        job: JobId,
        at: Position,
        fact: SegmentFact,
        kind: impl FnOnce(&mut KeptSegments) -> &mut Segments,
        name: &str,
    ) {
        let SegmentFact { first, count, bytes, blob } = fact;
        let Some(kept) = self.jobs.get_mut(&job) else {
            // What opened the job is gone, and with it what to do with this.
            self.garbage.push(Garbage { entries: vec![at], blobs: blob.into_iter().collect() });
            return;
        };
        let segments = kind(kept);
        let next = segments.next;
        if first < next {
            kept.note_damage(|| format!("its {name} from {first} on are there twice"));
            self.garbage.push(Garbage { entries: vec![at], blobs: blob.into_iter().collect() });
            return;
        }
        segments.segments.push(Segment { at, first, count, blob: blob.map(Into::into) });
        segments.next = first + count;
        kept.bytes += bytes;
        self.bytes += bytes;
        if self.ended.contains_key(&job) {
            self.ended_bytes += bytes;
        }
        if first > next {
            kept.note_damage(|| format!("its {name} from {next} to {} are missing", first - 1));
        }
    }

    fn remove_kept(&mut self, job: JobId) {
        let Some(kept) = self.jobs.remove(&job) else { return };
        self.bytes -= kept.bytes;
        if self.ended.contains_key(&job) {
            self.ended_bytes -= kept.bytes;
            self.ended_kept -= 1;
        }
        let opened = [Some(kept.opened_at), kept.closed_at, kept.tries_at];
        let all = [kept.inputs, kept.outcomes, kept.lines];
        let mut segments = Garbage::default();
        for segment in all.into_iter().flat_map(|segments| segments.segments) {
            segments.entries.push(segment.at);
            segments.blobs.extend(segment.blob.map(String::from));
        }
        self.garbage.push(segments);
        self.discard(opened.into_iter().flatten());
    }

    fn discard(&mut self, entries: impl IntoIterator<Item = Position>) {
        let entries: Vec<_> = entries.into_iter().collect();
        if !entries.is_empty() {
            self.garbage.push(Garbage { entries, blobs: Vec::new() });
        }
    }

    /// What may be removed since this was last asked, first to last.
    pub(crate) fn take_garbage(&mut self) -> Vec<Garbage> {
        mem::take(&mut self.garbage)
    }

    pub(crate) fn job(&self, job: JobId) -> Option<&KeptSegments> {
        self.jobs.get(&job)
    }

    /// Notes that something of a job cannot be read.
    pub(crate) fn note_damage(&mut self, job: JobId, damage: impl FnOnce() -> String) {
        if let Some(kept) = self.jobs.get_mut(&job) {
            kept.note_damage(damage);
        }
    }

    /// Everything of which all is kept.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &KeptSegments)> {
        self.jobs.iter().map(|(id, kept)| (*id, kept))
    }

    pub(crate) fn ended_job(&self, job: JobId) -> Option<&EndedJob> {
        self.ended.get(&job)
    }

    /// The jobs that have ended, in that order.
    pub(crate) fn ended_jobs(&self) -> impl DoubleEndedIterator<Item = (JobId, &EndedJob)> {
        self.ended_order.iter().filter_map(|(_, id)| Some((*id, self.ended.get(id)?)))
    }

    /// What all kept jobs take on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of how many jobs that have ended everything is kept, and of how many only how they ended is known.
    pub(crate) fn ended_counts(&self) -> (usize, usize) {
        (self.ended_kept, self.ended.len() - self.ended_kept)
    }

    /// What those take that have not ended.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.bytes - self.ended_bytes
    }

    /// How many entries of the ledger it knows of.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        let segments = |kept: &KeptSegments| {
            let all = [&kept.inputs, &kept.outcomes, &kept.lines];
            let once = 1 + usize::from(kept.inputs_closed()) + usize::from(kept.tries_at.is_some());
            all.into_iter().map(|segments| segments.segments.len()).sum::<usize>() + once
        };
        let ended = |ended: &EndedJob| 1 + usize::from(ended.is_expired());
        usize::from(self.epoch.is_some())
            + self.jobs.values().map(segments).sum::<usize>()
            + self.ended.values().map(ended).sum::<usize>()
    }

    /// All it knows, in an order that does not depend on the memory it is in, so that two can be compared.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> (BTreeMap<JobId, &KeptSegments>, Vec<(JobId, EndedJob)>, u64) {
        let jobs = self.jobs.iter().map(|(id, kept)| (*id, kept)).collect();
        (jobs, self.ended_jobs().map(|(id, ended)| (id, ended.clone())).collect(), self.bytes)
    }
}

impl KeptSegments {
    fn new(opened_at: Position) -> Self {
        let (inputs, outcomes, lines) = (Segments::default(), Segments::default(), Segments::default());
        Self { opened_at, closed_at: None, tries_at: None, inputs, outcomes, lines, bytes: 0, damage: None }
    }

    pub(crate) fn inputs_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// The blobs that hold something of it.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &str> {
        let all = [&self.inputs, &self.outcomes, &self.lines];
        all.into_iter().flat_map(|segments| &segments.segments).filter_map(|segment| segment.blob.as_deref())
    }

    fn note_damage(&mut self, damage: impl FnOnce() -> String) {
        self.damage.get_or_insert_with(damage);
    }
}

impl Segments {
    /// The segment that holds `number`, or where that is missing the next that is there.
    pub(crate) fn from(&self, number: u64) -> &[Segment] {
        let before = self.segments.partition_point(|segment| segment.first + segment.count <= number);
        &self.segments[before..]
    }
}

impl EndedJob {
    fn entries(&self) -> impl Iterator<Item = Position> + use<> {
        [Some(self.at), self.expired_at].into_iter().flatten()
    }
}
