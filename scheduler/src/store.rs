//! Keeps detached jobs, and how all jobs ended, so that both outlive the scheduler.
//!
//! 1. What happens to a kept job is told to the [`Store`] as it happens: it was opened, got inputs, calls of it printed and ended,
//!    it ended. That never waits: it is set aside (`store/waiting.rs`), and the caller has a [`Ticket`] for it.
//! 2. The [`Writer`] takes all that was set aside while it was writing, and writes it together: inputs of a job that follow each
//!    other are one segment, and so are outcomes and lines (`store/segment.rs`). One append puts all of it on the disk, so its cost
//!    is that of a batch, whatever the number of calls (`store/writer.rs`).
//! 3. What is written is taken into the index (`store/index.rs`), and from then on can be read (`store/read.rs`). Who follows a job
//!    watches [`Kept`].
//! 4. A scheduler that starts takes the log over, so that no other can go on writing it, and reads the records again, though not
//!    what is in the segments (`store/recovery.rs`): it has the same index, and hands the jobs that are open to the grid.
//! 5. What a job kept is removed some time after it has ended, and what is known of it later still (`store/expiry.rs`).
//!
//! Each call has one outcome here: the first. It never decides what runs, and never decodes an input or an output.

mod expiry;
mod fact;
mod index;
mod indices;
mod read;
mod recovery;
mod segment;
mod waiting;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use burla_ledger::{AppendError, Blobs, Ledger, ReadError, SetError, Shard};
use burla_proto::v1;
use burla_types::JobId;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use self::index::Index;
pub(crate) use self::indices::Indices;
pub(crate) use self::recovery::RestoredJob;
use self::waiting::Waiting;
pub(crate) use self::writer::Writer;
use crate::grid::event::Tries;

/// The log that everything is in. With several schedulers, each will own some of several.
const SHARD: Shard = Shard(0);

/// The longest input or output that can be kept: a blob holds one, and a little around it. Who submits more is told before, and an
/// output that is longer is an outcome of its own kind; told to the store, it would stand in the way of everything behind it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = burla_ledger::BLOB_BYTES_MAX - (1 << 20);

/// Ends of attached jobs that wait to be written, at most. Seconds' worth of the smallest; only with a disk that takes nothing for
/// longer are there more, and those are not in the history.
const UNWRITTEN_ENDS_MAX: usize = 10_000;

/// How long and how much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long after a job has ended its inputs, outcomes and lines are kept.
    pub retention: Duration,
    /// What all kept jobs may take on disk. When it is more, those that ended first expire before their time.
    pub bytes_max: u64,
    /// Of how many jobs of which nothing is kept any more, or never was, it is known how they ended. The oldest are forgotten.
    pub history_jobs_max: usize,
    /// Begin although part of what was kept is damaged, and without that part.
    pub skip_damaged: bool,
}

/// Keeps jobs. Nothing here waits for the disk but what reads.
pub(crate) struct Store {
    ledger: Arc<dyn Ledger>,
    blobs: Blobs,
    config: StoreConfig,
    clock: Clock,
    state: Mutex<State>,
    /// There is something to write that should not wait.
    wake: Notify,
    written: watch::Sender<Ticket>,
    trouble: watch::Sender<Option<String>>,
    /// A write has taken long, and goes on.
    is_slow: AtomicBool,
}

/// What was told to the store up to some moment. Later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// A job that is kept, or is about to be.
#[derive(Clone, Debug)]
pub(crate) struct KeptJob {
    /// What of it is on the disk. It closes when the job is not kept any more.
    pub(crate) kept: watch::Receiver<Kept>,
}

/// How much of a job is on the disk, and can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) opened: bool,
    /// All inputs before this index.
    pub(crate) inputs: u64,
    pub(crate) inputs_closed: bool,
    /// Outcomes, numbered from 0 in the order in which they were kept.
    pub(crate) outcomes: u64,
    /// Line events, in the same way.
    pub(crate) lines: u64,
    pub(crate) ended: bool,
    /// None of it can be read any more.
    pub(crate) expired: bool,
}

/// What became of outcomes that were told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) ticket: Ticket,
    /// Indices of which there was an outcome before, or of which there is no input: these were not kept.
    pub(crate) dropped: Vec<u64>,
}

/// The store cannot go on, or cannot read what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another scheduler has taken the log over. This one must stop: what it goes on to do would not be kept.
    #[error(
        "another scheduler has taken over the ledger of kept jobs, so this one stops; see to it that each scheduler has a data directory of its own"
    )]
    Superseded,
    /// Part of what was kept cannot be read.
    #[error(
        "the ledger of kept jobs is damaged: {what}; restore the data directory from a backup, choose another one, or start `burla-scheduler --skip-damaged` to go on without what is damaged"
    )]
    Damaged { what: String },
    #[error("cannot read kept jobs: {what}")]
    Read { what: &'static str, source: burla_ledger::Cause },
    #[error("cannot take over the ledger of kept jobs")]
    TakeOver { source: burla_ledger::Cause },
    /// It was told to end, and could not write all that it was told.
    #[error("{bytes} bytes of kept jobs could not be written before the end: {reason}")]
    Unwritten { bytes: usize, reason: String },
    /// Nothing is kept of the job, or not any more.
    #[error("job {0} is not kept, or not any more; `cargo burla jobs` lists those that are")]
    NotKept(JobId),
}

impl StoreError {
    fn read(what: &'static str) -> impl FnOnce(ReadError) -> Self {
        move |error| match error {
            ReadError::Failed(source) => Self::Read { what, source },
            damaged => Self::Damaged { what: damaged.to_string() },
        }
    }

    fn append(error: AppendError) -> Self {
        match error {
            AppendError::Refused { .. } => Self::Superseded,
            error => Self::TakeOver { source: error.into() },
        }
    }

    fn set(error: SetError) -> Self {
        match error {
            SetError::Refused { .. } => Self::Superseded,
            error => Self::TakeOver { source: error.into() },
        }
    }
}

/// Tells the time. Tests bring their own.
#[derive(Clone)]
struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    fn now(&self) -> SystemTime {
        (self.0)()
    }
}

#[derive(Default)]
struct State {
    index: Index,
    /// Kept jobs, also those of which nothing is written yet.
    jobs: HashMap<JobId, Job>,
    /// Ends that are not written yet.
    ending: HashMap<JobId, (u64, v1::Job)>,
    /// Jobs whose expiry or forgetting is not written yet.
    leaving: HashSet<JobId>,
    waiting: Waiting,
    /// What was added and is not written yet, also what the writer has taken.
    bytes_waiting: usize,
    ticket: Ticket,
    is_closed: bool,
}

/// What was told of a kept job, written or not.
#[derive(Debug, Default)]
struct Job {
    inputs: u64,
    inputs_closed: bool,
    with_outcome: Indices,
    outcomes: u64,
    lines: u64,
    is_over: bool,
    kept: watch::Sender<Kept>,
}

impl Store {
    /// Takes the ledger over and reads what is in it: what is kept, who writes it from here on, and the jobs that are open. Blobs
    /// that no record names are removed.
    pub(crate) async fn open(
        ledger: Arc<dyn Ledger>,
        blobs: Blobs,
        config: StoreConfig,
    ) -> Result<(Arc<Self>, Writer, Vec<RestoredJob>), StoreError> {
        recovery::open(ledger, blobs, config, Clock::system()).await
    }

    fn new(ledger: Arc<dyn Ledger>, blobs: Blobs, config: StoreConfig, clock: Clock, state: State) -> Self {
        let (written, trouble) = (watch::Sender::default(), watch::Sender::default());
        let (state, is_slow) = (Mutex::new(state), AtomicBool::new(false));
        Self { ledger, blobs, config, clock, state, wake: Notify::new(), written, trouble, is_slow }
    }

    /// From here on the job is kept. One that is already stays as it is.
    pub(crate) fn open_job(&self, id: JobId, options: v1::OpenJob) -> Ticket {
        let opened = self.clock.now();
        let mut state = self.state();
        if state.jobs.contains_key(&id) || state.ending.contains_key(&id) || state.index.ended_job(id).is_some() {
            return state.ticket;
        }
        state.jobs.insert(id, Job::default());
        let bytes = state.waiting.open(id, options, unix_ms(opened));
        self.added(&mut state, bytes)
    }

    /// More inputs of the job. Those that it has already are passed over. A gap before the first is the caller's mistake: then none
    /// is kept, and [`Kept::inputs`] stays where it is.
    pub(crate) fn add_inputs(&self, id: JobId, first_index: u64, inputs: Vec<Bytes>) -> Ticket {
        let mut state = self.state();
        let State { jobs, waiting, ticket, .. } = &mut *state;
        let Some(job) = open(jobs, id).filter(|job| !job.inputs_closed) else { return *ticket };
        if first_index > job.inputs {
            tracing::error!(job = %id, first_index, next_index = job.inputs, "inputs were to be kept that do not follow on");
            return *ticket;
        }
        let known = usize::try_from(job.inputs - first_index).unwrap_or(usize::MAX);
        if known >= inputs.len() {
            return *ticket;
        }
        let first = job.inputs;
        job.inputs += (inputs.len() - known) as u64;
        let bytes = waiting.add_inputs(id, first, inputs.into_iter().skip(known));
        self.added(&mut state, bytes)
    }

    /// There are no more inputs.
    pub(crate) fn close_inputs(&self, id: JobId) -> Ticket {
        let mut state = self.state();
        let State { jobs, waiting, ticket, .. } = &mut *state;
        let Some(job) = open(jobs, id).filter(|job| !job.inputs_closed) else { return *ticket };
        job.inputs_closed = true;
        let bytes = waiting.close_inputs(id);
        self.added(&mut state, bytes)
    }

    /// Calls ended, and which nodes told of them. Each call ends once here: what comes later is dropped. Of a job that has ended
    /// itself nobody wants to know, so there nothing is kept.
    pub(crate) fn add_outcomes(&self, id: JobId, outcomes: Vec<(v1::CallEvent, Option<Arc<str>>)>) -> Added {
        let mut state = self.state();
        let State { jobs, waiting, ticket, .. } = &mut *state;
        let Some(job) = open(jobs, id) else {
            let dropped = outcomes.iter().map(|(event, _)| event.index).collect();
            return Added { ticket: *ticket, dropped };
        };
        let first = job.outcomes;
        let mut dropped = Vec::new();
        let mut new = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let index = outcome.0.index;
            if index < job.inputs && job.with_outcome.insert(index) { new.push(outcome) } else { dropped.push(index) }
        }
        if new.is_empty() {
            return Added { ticket: *ticket, dropped };
        }
        job.outcomes += new.len() as u64;
        let bytes = waiting.add_outcomes(id, first, new);
        Added { ticket: self.added(&mut state, bytes), dropped }
    }

    /// Calls printed. Whoever says so has seen to it that each line is there once.
    pub(crate) fn add_lines(&self, id: JobId, lines: Vec<v1::CallEvent>) -> Ticket {
        let mut state = self.state();
        let State { jobs, waiting, ticket, .. } = &mut *state;
        let Some(job) = open(jobs, id).filter(|_| !lines.is_empty()) else { return *ticket };
        let first = job.lines;
        job.lines += lines.len() as u64;
        let bytes = waiting.add_lines(id, first, lines);
        self.added(&mut state, bytes)
    }

    /// How many tries at calls of a job were made again until now. It is written within a second, along with others.
    pub(crate) fn note_tries(&self, id: JobId, tries: Tries) {
        let mut state = self.state();
        let State { jobs, waiting, .. } = &mut *state;
        if open(jobs, id).is_some() {
            let bytes = waiting.note_tries(id, tries, tokio::time::Instant::now());
            self.added(&mut state, bytes);
        }
    }

    /// A job ended, kept or not; this is how. Of one that was not kept it is written within a second, along with others.
    pub(crate) fn end_job(&self, id: JobId, as_it_was: v1::Job) -> Ticket {
        let ended_unix_ms = unix_ms(self.clock.now());
        let mut state = self.state();
        state.end_job(id, ended_unix_ms, as_it_was, tokio::time::Instant::now());
        // The writer looks for itself how long it may wait.
        self.wake.notify_one();
        state.ticket
    }

    fn added(&self, state: &mut State, bytes: usize) -> Ticket {
        state.bytes_waiting += bytes;
        state.ticket.0 += 1;
        self.wake.notify_one();
        state.ticket
    }

    /// Everything up to this ticket is on the disk.
    pub(crate) fn written(&self) -> watch::Receiver<Ticket> {
        self.written.subscribe()
    }

    /// What keeps the store from writing, for as long as it does: a disk that is full, say. Nothing is lost or changes its order
    /// meanwhile; it waits, and who adds more has to bound that by [`Store::bytes_waiting`].
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// What a kept job waits for whose news is not on the disk, if that is more than a moment.
    pub(crate) fn waits_for(&self) -> Option<String> {
        let slow = || self.is_slow.load(Ordering::Relaxed).then(|| "the scheduler's disk takes long to write".to_owned());
        self.trouble.borrow().clone().or_else(slow)
    }

    /// The bytes of what was added and is not on the disk.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.state().bytes_waiting
    }

    /// Whether jobs that are open take all that kept jobs may on disk. Those that have ended make room.
    pub(crate) fn is_full(&self) -> bool {
        self.state().index.open_bytes() > self.config.bytes_max
    }

    /// What kept jobs take on disk.
    #[cfg(test)]
    pub(crate) fn bytes_kept(&self) -> u64 {
        self.state().index.bytes()
    }

    /// The writer ends when it has written what was added before; what is added from here on may be lost.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.wake.notify_one();
    }

    /// Nothing panics while it holds the lock and leaves something half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_job(&mut self, id: JobId, ended_unix_ms: u64, as_it_was: v1::Job, now: tokio::time::Instant) {
        let kept = match self.jobs.get_mut(&id) {
            Some(job) if job.is_over => return,
            Some(job) => {
                job.is_over = true;
                job.with_outcome = Indices::default();
                true
            }
            None if self.ending.len() >= UNWRITTEN_ENDS_MAX && !self.ending.contains_key(&id) => {
                tracing::warn!(job = %id, "too many jobs have ended since the disk took anything: how this one did is not kept");
                return;
            }
            None => false,
        };
        self.ending.insert(id, (ended_unix_ms, as_it_was.clone()));
        let lazily_since = (!kept).then_some(now);
        self.bytes_waiting += self.waiting.end(id, ended_unix_ms, as_it_was, lazily_since);
        self.ticket.0 += 1;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let (jobs, bytes_waiting) = (state.jobs.len(), state.bytes_waiting);
        f.debug_struct("Store").field("jobs", &jobs).field("bytes_waiting", &bytes_waiting).finish_non_exhaustive()
    }
}

/// The job, if it is kept and has not ended.
fn open(jobs: &mut HashMap<JobId, Job>, id: JobId) -> Option<&mut Job> {
    jobs.get_mut(&id).filter(|job| !job.is_over)
}

/// A job's options without the values of its environment: they may be secrets, and how a job was opened is for everyone to see.
pub(crate) fn without_secrets(options: &v1::OpenJob) -> v1::OpenJob {
    let mut options = options.clone();
    if let Some(work) = &mut options.work {
        work.env.values_mut().for_each(String::clear);
    }
    options
}

/// Times on disk are milliseconds since 1970; a clock that is before that says 1970.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time_of(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH)
}
