//! What a scheduler does with a ledger that it starts with: it takes it over, reads it from the beginning to the end, and knows what
//! the one before it knew.
//!
//! Damage is not passed over in silence. Without `skip_damaged`, anything that is not as it was written keeps the scheduler from
//! starting, and the ledger stays as it is. With it, damaged entries are removed, and each open job that may have lost something
//! ends as failed and says so: what is missing at the end of a job leaves no hole, so every job that was opened before the entry
//! may be the one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use burla_ledger::{AppendError, Blobs, Ledger, Position, ReadError, append_settled};
use burla_proto::v1::{self, call_event::Event, job};
use burla_types::{JobId, Usage};
use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::fact::{Fact, OutcomesFact, SegmentFact};
use super::index::{Garbage, Index};
use super::indices::Indices;
use super::writer::Writer;
use super::{Clock, Job, SHARD, State, Store, StoreConfig, StoreError, time_of, unix_ms, without_secrets};
use crate::grid::event::Tries;

/// Who may write the log: the value is an `Epoch`, one higher for each owner.
const OWNER: &str = "owner/0";

/// What is read of the ledger at one time.
const READ_BYTES: usize = 4 << 20;

/// How often the log may turn out to be longer when it is taken over: the owner before, if it is still there, appends once or twice
/// before it is refused, since it is refused from the first time on that this one succeeds.
const TAKE_OVER_TRIES_MAX: u32 = 100;

/// Names of nodes that a job keeps, as `Job` says.
const NODES_MAX: usize = 64;

/// What is read of a job's lines at one time.
const LINES_BYTES: usize = 4 << 20;

/// A job that was open when the scheduler before this one ended.
#[derive(Debug, PartialEq)]
pub(crate) struct RestoredJob {
    pub(crate) id: JobId,
    pub(crate) options: v1::OpenJob,
    pub(crate) opened: SystemTime,
    /// The index after its last input.
    pub(crate) inputs: u64,
    pub(crate) inputs_closed: bool,
    /// Calls with an outcome.
    pub(crate) ended: Indices,
    pub(crate) calls_failed: u64,
    pub(crate) usage: Usage,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) nodes: BTreeSet<String>,
    /// Tries at its calls that were made again.
    pub(crate) tries: Tries,
    /// Of calls without an outcome that have printed, how many lines are kept: of stdout, and of stderr.
    pub(crate) lines_shown: HashMap<u64, [u64; 2]>,
}

pub(super) async fn open(
    ledger: Arc<dyn Ledger>,
    blobs: Blobs,
    config: StoreConfig,
    clock: Clock,
) -> Result<(Arc<Store>, Writer, Vec<RestoredJob>), StoreError> {
    let epoch = take_lease(&*ledger).await?;
    let mut replay = Replay::new(config.skip_damaged);
    let end = take_over(&*ledger, &mut replay, epoch).await?;
    let orphans = replay.compare_blobs(&blobs).await?;
    let skip_damaged = config.skip_damaged;

    let (state, mut garbage, mut restored) = replay.into_state()?;
    garbage.push(Garbage { entries: Vec::new(), blobs: orphans });
    let store = Arc::new(Store::new(ledger, blobs, config, clock, state));
    restored.sort_by_key(|job| (job.opened, job.id));
    let mut open = Vec::with_capacity(restored.len());
    for mut job in restored {
        match store.lines_shown(&job).await {
            Ok(shown) => job.lines_shown = shown,
            Err(StoreError::Damaged { what }) if skip_damaged => {
                store.end_damaged(&job, &what);
                continue;
            }
            Err(error) => return Err(error),
        }
        match store.damage_of(job.id) {
            Some(damage) => store.end_damaged(&job, &damage),
            None => open.push(job),
        }
    }
    let writer = Writer::new(Arc::clone(&store), end, epoch, garbage);
    Ok((store, writer, open))
}

/// Makes this one the owner in the eyes of those who start later.
async fn take_lease(ledger: &dyn Ledger) -> Result<u64, StoreError> {
    let lease = ledger.value(OWNER).await.map_err(StoreError::read("who owns the ledger"))?;
    let (revision, before) = match lease {
        None => (None, 0),
        Some(lease) => match v1::Epoch::decode(lease.bytes) {
            Ok(owner) => (Some(lease.revision), owner.epoch),
            Err(error) => return Err(StoreError::Damaged { what: format!("who owns it: {error}") }),
        },
    };
    let epoch = v1::Epoch { epoch: before + 1, version: burla_types::VERSION.to_owned() };
    ledger.set_value(OWNER, revision, epoch.encode_to_vec().into()).await.map_err(StoreError::set)?;
    Ok(before + 1)
}

/// Reads the log to its end and appends the epoch there. From then on nobody else can append.
async fn take_over(ledger: &dyn Ledger, replay: &mut Replay, epoch: u64) -> Result<Position, StoreError> {
    let record = v1::Epoch { epoch, version: burla_types::VERSION.to_owned() };
    let record = v1::record::Record::Epoch(record);
    let entry = Bytes::from(v1::Record { record: Some(record) }.encode_to_vec());
    let mut from = Position(0);
    for _ in 0..TAKE_OVER_TRIES_MAX {
        from = replay.read(ledger, from).await?;
        match append_settled(ledger, SHARD, from, vec![entry.clone()]).await {
            Ok(end) => {
                replay.take_in(from, entry)?;
                return Ok(end);
            }
            // The owner before has just appended something.
            Err(AppendError::Refused { .. }) => {}
            Err(error) => return Err(StoreError::append(error)),
        }
    }
    Err(StoreError::Superseded)
}

/// The log as far as it was read.
struct Replay {
    index: Index,
    /// Jobs that have not ended.
    open: HashMap<JobId, Replayed>,
    /// Jobs that have ended and of which everything is kept.
    ended: HashMap<JobId, Opened>,
    skip_damaged: bool,
    skipped: Vec<Position>,
}

struct Opened {
    at: Position,
    options: v1::OpenJob,
    opened: SystemTime,
}

/// A job as far as it was read.
struct Replayed {
    opened: Opened,
    with_outcome: Indices,
    usage: Usage,
    failures: BTreeMap<String, u64>,
    nodes: BTreeSet<String>,
    tries: Tries,
}

impl Replay {
    fn new(skip_damaged: bool) -> Self {
        Self { index: Index::default(), open: HashMap::new(), ended: HashMap::new(), skip_damaged, skipped: Vec::new() }
    }

    /// Reads on to the end, and returns where that is.
    async fn read(&mut self, ledger: &dyn Ledger, mut from: Position) -> Result<Position, StoreError> {
        // Entries at the end may have been removed, so the last that is there does not tell.
        let end = ledger.end(SHARD).await.map_err(StoreError::read("the end of the ledger"))?;
        while from < end {
            match ledger.read(SHARD, from, READ_BYTES).await {
                Ok(entries) => {
                    let Some((last, _)) = entries.last() else { return Ok(end) };
                    let last = *last;
                    for (at, entry) in entries {
                        self.take_in(at, entry)?;
                    }
                    from = last.after(1);
                }
                Err(ReadError::Corrupt { position, reason, .. }) => {
                    self.skip(position, &reason)?;
                    // What came before it in the same read is there.
                    while from < position {
                        let entry = ledger.entry(SHARD, from).await.map_err(StoreError::read("an entry of the ledger"))?;
                        if let Some(entry) = entry {
                            self.take_in(from, entry)?;
                        }
                        from = from.after(1);
                    }
                    from = position.after(1);
                }
                Err(error) => return Err(StoreError::read("the entries of the ledger")(error)),
            }
        }
        Ok(from.max(end))
    }

    /// Goes on without an entry, where that was asked for.
    fn skip(&mut self, at: Position, reason: &str) -> Result<(), StoreError> {
        if !self.skip_damaged {
            return Err(StoreError::Damaged { what: format!("entry {at} of log {SHARD}: {reason}") });
        }
        tracing::warn!(entry = at.0, %reason, "a damaged entry of the ledger of kept jobs is removed");
        self.skipped.push(at);
        Ok(())
    }

    fn take_in(&mut self, at: Position, entry: Bytes) -> Result<(), StoreError> {
        let fact = match Fact::decode(entry) {
            Ok(fact) => fact,
            Err(senseless) => return self.skip(at, &senseless.to_string()),
        };
        match &fact {
            Fact::JobOpened { job, options, opened_unix_ms } => {
                let opened = Opened { at, options: options.clone(), opened: time_of(*opened_unix_ms) };
                self.open.entry(*job).or_insert_with(|| Replayed::new(opened));
            }
            Fact::Outcomes(job, segment, outcomes) => self.count(*job, segment, outcomes),
            Fact::JobTries(job, tries) => {
                if let Some(replayed) = self.open.get_mut(job) {
                    replayed.tries = *tries;
                }
            }
            Fact::JobEnded { job, .. } => {
                if let Some(replayed) = self.open.remove(job) {
                    self.ended.insert(*job, replayed.opened);
                }
            }
            Fact::JobExpired(job) | Fact::JobForgotten(job) => {
                self.open.remove(job);
                self.ended.remove(job);
            }
            _ => {}
        }
        self.index.take_in(at, fact);
        Ok(())
    }

    fn count(&mut self, id: JobId, segment: &SegmentFact, outcomes: &OutcomesFact) {
        let (Some(job), Some(kept)) = (self.open.get_mut(&id), self.index.job(id)) else { return };
        if segment.first < kept.outcomes.next {
            // It is there twice, which the index notes.
            return;
        }
        let inputs = kept.inputs.next;
        for &index in &outcomes.indices {
            if index >= inputs {
                self.index.note_damage(id, || format!("the input of call {index}, which has ended, is missing"));
            } else if !job.with_outcome.insert(index) {
                self.index.note_damage(id, || format!("call {index} has two outcomes"));
            }
        }
        job.usage.add(&outcomes.usage);
        for (kind, count) in &outcomes.failures {
            *job.failures.entry(kind.clone()).or_default() += count;
        }
        for node in &outcomes.nodes {
            if job.nodes.len() < NODES_MAX {
                job.nodes.insert(node.clone());
            }
        }
    }

    /// Notes which blobs are missing, and returns those that nobody names: of writes that were cut off, and of jobs that expired.
    async fn compare_blobs(&mut self, blobs: &Blobs) -> Result<Vec<String>, StoreError> {
        let read = |error: burla_ledger::BlobError| StoreError::Read { what: "the names of the blobs", source: error.into() };
        let mut unnamed: HashSet<String> = blobs.list().await.map_err(read)?.into_iter().collect();
        let mut damaged = Vec::new();
        for (id, kept) in self.index.jobs() {
            if let Some(missing) = kept.blobs().filter(|name| !unnamed.remove(*name)).last() {
                damaged.push((id, format!("its blob {missing} is missing")));
            }
        }
        for (id, damage) in damaged {
            self.index.note_damage(id, || damage);
        }
        Ok(unnamed.into_iter().collect())
    }

    fn into_state(mut self) -> Result<(State, Vec<Garbage>, Vec<RestoredJob>), StoreError> {
        for (id, job) in &self.open {
            // What the skipped entries were about cannot be known.
            if let Some(entry) = self.skipped.iter().find(|entry| **entry > job.opened.at) {
                self.index.note_damage(*id, || format!("entry {entry} of the log may have been about it, and is damaged"));
            }
        }
        for (id, kept) in self.index.jobs() {
            let Some(damage) = &kept.damage else { continue };
            if self.open.contains_key(&id) && !self.skip_damaged {
                return Err(StoreError::Damaged { what: format!("of job {id}, {damage}") });
            }
            tracing::warn!(job = %id, %damage, "what is kept of a job is damaged");
        }
        let mut state = State::default();
        let mut restored = Vec::with_capacity(self.open.len());
        for id in self.ended.into_keys() {
            let job = Job { is_over: true, ..Job::default() };
            state.jobs.insert(id, job);
        }
        for (id, replayed) in self.open {
            let Some(kept) = self.index.job(id) else { continue };
            let job = Job {
                inputs: kept.inputs.next,
                inputs_closed: kept.inputs_closed(),
                with_outcome: replayed.with_outcome.clone(),
                outcomes: kept.outcomes.next,
                lines: kept.lines.next,
                ..Job::default()
            };
            restored.push(replayed.restored(id, job.inputs, job.inputs_closed));
            state.jobs.insert(id, job);
        }
        let mut garbage = self.index.take_garbage();
        garbage.push(Garbage { entries: self.skipped, blobs: Vec::new() });
        state.index = self.index;
        let ids: Vec<_> = state.jobs.keys().copied().collect();
        ids.into_iter().for_each(|id| state.tell(id));
        Ok((state, garbage, restored))
    }
}

impl Replayed {
    fn new(opened: Opened) -> Self {
        let (with_outcome, usage) = (Indices::default(), Usage::default());
        let (failures, nodes, tries) = (BTreeMap::new(), BTreeSet::new(), Tries::default());
        Self { opened, with_outcome, usage, failures, nodes, tries }
    }

    fn restored(self, id: JobId, inputs: u64, inputs_closed: bool) -> RestoredJob {
        let Self { opened: Opened { options, opened, .. }, with_outcome, usage, failures, nodes, tries } = self;
        let calls_failed = failures.values().sum();
        let (ended, lines_shown) = (with_outcome, HashMap::new());
        RestoredJob {
            id,
            options,
            opened,
            inputs,
            inputs_closed,
            ended,
            calls_failed,
            usage,
            failures,
            nodes,
            tries,
            lines_shown,
        }
    }
}

impl Store {
    /// Of calls that will be run again, how many lines of each stream are kept.
    async fn lines_shown(&self, job: &RestoredJob) -> Result<HashMap<u64, [u64; 2]>, StoreError> {
        let mut shown: HashMap<u64, [u64; 2]> = HashMap::new();
        let mut from = 0;
        loop {
            let kept = self.read_lines(job.id, from, LINES_BYTES).await?;
            if kept.events.is_empty() {
                return Ok(shown);
            }
            from = kept.first + kept.events.len() as u64;
            for event in kept.events {
                let Some(Event::Printed(printed)) = event.event else { continue };
                if !job.ended.contains(event.index) {
                    let streams = shown.entry(event.index).or_default();
                    let lines = &mut streams[usize::from(printed.stderr)];
                    *lines = (*lines).max(printed.first_line.saturating_add(count_lines(&printed.data)));
                }
            }
        }
    }

    fn damage_of(&self, id: JobId) -> Option<String> {
        self.state().index.job(id)?.damage.clone()
    }

    /// A job that may not be whole cannot go on: what is missing may be inputs.
    fn end_damaged(&self, job: &RestoredJob, damage: &str) {
        let error = format!("part of what the grid kept of it is damaged: {damage}; what can be read is kept");
        tracing::warn!(job = %job.id, %error, "a kept job ends");
        let now = self.clock.now();
        let work = job.options.work.as_ref();
        let as_it_was = v1::Job {
            job_id: burla_proto::convert::job_id_bytes(job.id),
            name: job.options.name.clone(),
            function: work.map(|work| work.function.clone()).unwrap_or_default(),
            calls_ended: job.ended.len(),
            calls_failed: job.calls_failed,
            inputs: job.inputs,
            inputs_closed: job.inputs_closed,
            opened_ms_ago: unix_ms(now).saturating_sub(unix_ms(job.opened)),
            usage: Some(job.usage.into()),
            state: job::State::Failed.into(),
            error,
            detached: true,
            failures: job.failures.clone().into_iter().collect(),
            nodes: job.nodes.iter().cloned().collect(),
            retried: job.tries.retried,
            requeued: job.tries.requeued,
            options: Some(without_secrets(&job.options)),
            ..v1::Job::default()
        };
        self.state().end_job(job.id, unix_ms(now), as_it_was, Instant::now());
    }
}

/// Lines in what was printed: each ends with a newline, but for the last, and for pieces of one that is too long.
fn count_lines(data: &[u8]) -> u64 {
    data.split_inclusive(|byte| *byte == b'\n').count() as u64
}
