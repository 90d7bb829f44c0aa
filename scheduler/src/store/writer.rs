//! Writes what the store was told, all that gathered at a time, and takes what is written into the index.
//!
//! It is the only one who appends. So it knows where the log ends, and when the log ends elsewhere, another scheduler has taken it
//! over: then it stops, whatever waits, since what it would add was decided without knowing what the other did.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use burla_ledger::{AppendError, Position, append_settled};
use burla_proto::v1;
use burla_types::JobId;
use bytes::Bytes;
use prost::Message;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fact::Fact;
use super::index::Garbage;
use super::segment::{Piece, Unplaced};
use super::{Kept, SHARD, State, Store, StoreError, Ticket};

/// What is appended at one time. An append costs as much as a write to the disk has to, however little is in it; with more than
/// this, what waits for the first of it would notice the last.
const APPEND_BYTES_MAX: usize = 8 << 20;

/// Records that are appended at one time.
const APPEND_ENTRIES_MAX: usize = 4096;

/// How long what nobody waits for may wait for company: a scheduler runs hundreds of small jobs a second, of each of which it only
/// writes that it was there, and is to write that once.
const LAZY_TIME: Duration = Duration::from_secs(1);

/// How long after it could not write it tries again. A disk that is full stays so for longer, and one that is slow recovers.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a write may take before whoever waits for it is told. A disk under load takes a second now and then.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// How often it looks for jobs that are not kept any longer.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// Entries that are removed at one time.
const REMOVED_TOGETHER_MAX: usize = 4096;

/// Writes what a [`Store`] was told.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Arc<Store>,
    /// Where the log ends.
    end: Position,
    /// How many schedulers have owned the log, this one included. With the job and a number it names blobs: an owner never gives a
    /// name twice, nor one that another gave.
    pub(crate) epoch: u64,
    blobs_named: u64,
    /// What was taken from the store and is not encoded yet, and everything that was told up to it.
    pieces: VecDeque<Piece>,
    taken: Ticket,
    /// The piece that comes next.
    unplaced: Option<Unplaced>,
    group: Group,
    garbage: VecDeque<Garbage>,
    expiry_due: Instant,
}

/// What is appended together. It stays as it is until that has succeeded: where an append was not answered, the same has to be
/// tried again.
#[derive(Debug, Default)]
struct Group {
    entries: Vec<Bytes>,
    facts: Vec<Fact>,
    /// With the blobs.
    bytes: usize,
    bytes_waited: usize,
    /// An append of it was not answered, so it may be there.
    may_be_there: bool,
}

impl Group {
    fn is_full(&self) -> bool {
        self.bytes >= APPEND_BYTES_MAX || self.entries.len() >= APPEND_ENTRIES_MAX
    }
}

/// Something could not be written for now.
#[derive(Debug)]
pub(super) struct Trouble(String);

/// The outcome of a try to write.
pub(super) enum Halt {
    Trouble(Trouble),
    Superseded,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, end: Position, epoch: u64, garbage: Vec<Garbage>) -> Self {
        Self {
            store,
            end,
            epoch,
            blobs_named: 0,
            pieces: VecDeque::new(),
            taken: Ticket::default(),
            unplaced: None,
            group: Group::default(),
            garbage: garbage.into(),
            expiry_due: Instant::now() + EXPIRY_INTERVAL,
        }
    }

    /// Writes until the store is closed and everything it was told before is written. Ends with an error when another scheduler
    /// owns the log, and when the store is closed while nothing can be written.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        loop {
            let is_closed = self.work_arrives().await;
            let has_written = self.write().await?;
            if is_closed {
                return self.closing(has_written);
            }
            if !has_written {
                // Closing does not wait: it has its own last try.
                tokio::select! {
                    () = sleep(RETRY_INTERVAL) => {}
                    () = self.store.closed() => {}
                }
            }
            if self.expiry_due <= Instant::now() {
                self.expiry_due = Instant::now() + EXPIRY_INTERVAL;
                self.store.expire_due(self.store.clock.now());
            }
        }
    }

    fn closing(&self, has_written: bool) -> Result<(), StoreError> {
        if has_written {
            return Ok(());
        }
        let reason = self.store.trouble.borrow().clone().unwrap_or_default();
        Err(StoreError::Unwritten { bytes: self.store.bytes_waiting(), reason })
    }

    /// Waits for something to do; whether that is to end.
    async fn work_arrives(&self) -> bool {
        loop {
            let mut until = self.expiry_due;
            {
                let state = self.store.state();
                if state.is_closed {
                    return true;
                }
                if state.waiting.is_urgent() || self.has_work() {
                    return false;
                }
                if let Some(since) = state.waiting.lazy_since() {
                    until = until.min(since + LAZY_TIME);
                }
            }
            tokio::select! {
                () = self.store.wake.notified() => {}
                () = sleep_until(until) => return self.store.state().is_closed,
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.group.entries.is_empty() || self.unplaced.is_some() || !self.pieces.is_empty()
    }

    /// Writes everything there is, and removes what may be; false where it cannot at this time.
    pub(super) async fn write(&mut self) -> Result<bool, StoreError> {
        match self.append_all().await {
            Ok(()) => {
                self.told(None);
                self.remove_garbage().await;
                Ok(true)
            }
            Err(Halt::Trouble(Trouble(reason))) => {
                self.told(Some(reason));
                Ok(false)
            }
            Err(Halt::Superseded) => {
                self.told(Some(StoreError::Superseded.to_string()));
                Err(StoreError::Superseded)
            }
        }
    }

    pub(super) async fn append_all(&mut self) -> Result<(), Halt> {
        loop {
            if !self.has_work() {
                self.take();
            }
            if !self.has_work() {
                return Ok(());
            }
            while !self.group.is_full() && self.add_piece().await.map_err(Halt::Trouble)? {}
            self.append().await?;
            if !self.has_work() {
                self.store.written.send_replace(self.taken);
            }
        }
    }

    fn take(&mut self) {
        let mut state = self.store.state();
        self.taken = state.ticket;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.pieces.extend(waiting.into_pieces());
    }

    /// Makes a record of the next piece, for which its blob has to be on the disk. False when there is none.
    async fn add_piece(&mut self) -> Result<bool, Trouble> {
        let unplaced = match self.unplaced.take() {
            Some(unplaced) => unplaced,
            None => match self.pieces.pop_front() {
                Some(piece) => piece.encode(),
                None => return Ok(false),
            },
        };
        let mut blob = None;
        if let Some(content) = unplaced.large_content() {
            let name = blob_name(unplaced.job, self.epoch, self.blobs_named);
            match self.store.noting_slowness(self.store.blobs.put(&name, content.clone())).await {
                Ok(written) => {
                    self.blobs_named += 1;
                    self.group.bytes += content.len();
                    blob = Some(written);
                }
                Err(error) => {
                    self.unplaced = Some(unplaced);
                    return Err(Trouble(format!("cannot write part of a kept job: {}", chain(&error))));
                }
            }
        }
        self.group.bytes_waited += unplaced.bytes_waited;
        let record = unplaced.placed(blob);
        let entry = Bytes::from(v1::Record { record: Some(record.clone()) }.encode_to_vec());
        match Fact::of(record, entry.len()) {
            Ok(fact) => {
                self.group.bytes += entry.len();
                self.group.entries.push(entry);
                self.group.facts.push(fact);
            }
            // It was made by this version a moment ago; written, it would stand in the way of the next start.
            Err(error) => tracing::error!(%error, "a record that makes no sense was not written"),
        }
        Ok(true)
    }

    async fn append(&mut self) -> Result<(), Halt> {
        let entries = self.group.entries.clone();
        match self.store.noting_slowness(append_settled(&*self.store.ledger, SHARD, self.end, entries)).await {
            Ok(end) => self.appended(end),
            Err(AppendError::Refused { .. }) if self.group.may_be_there && self.is_there().await? => {
                self.appended(self.end.after(self.group.entries.len()));
            }
            Err(AppendError::Refused { .. }) => return Err(Halt::Superseded),
            Err(error) => {
                self.group.may_be_there |= matches!(error, AppendError::Ambiguous(_));
                return Err(Halt::Trouble(Trouble(format!("cannot keep jobs: {}", chain(&error)))));
            }
        }
        Ok(())
    }

    fn appended(&mut self, end: Position) {
        let group = std::mem::take(&mut self.group);
        self.garbage.extend(self.store.take_in(self.end, group));
        self.end = end;
    }

    /// Whether what was refused is what is there already.
    async fn is_there(&self) -> Result<bool, Halt> {
        for (nth, entry) in self.group.entries.iter().enumerate() {
            let found = self.store.ledger.entry(SHARD, self.end.after(nth)).await;
            let found = found.map_err(|error| Halt::Trouble(Trouble(format!("cannot read kept jobs: {}", chain(&error)))))?;
            if found.as_ref() != Some(entry) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn told(&self, trouble: Option<String>) {
        self.store.trouble.send_if_modified(|told| {
            if *told == trouble {
                return false;
            }
            match &trouble {
                Some(reason) => tracing::error!(%reason, "what has to be kept cannot be written; it waits in memory"),
                None => tracing::info!("what has to be kept can be written again"),
            }
            *told = trouble;
            true
        });
    }

    /// What cannot be removed is tried again with the next write, and at the latest by the next scheduler.
    async fn remove_garbage(&mut self) {
        while let Some(garbage) = self.garbage.front_mut() {
            while !garbage.entries.is_empty() {
                let together = garbage.entries.len().min(REMOVED_TOGETHER_MAX);
                let entries = garbage.entries[..together].to_vec();
                if let Err(error) = self.store.ledger.remove(SHARD, entries).await {
                    tracing::warn!(error = %chain(&error), "cannot remove what is not kept any more from the ledger");
                    return;
                }
                garbage.entries.drain(..together);
            }
            while let Some(name) = garbage.blobs.last() {
                if let Err(error) = self.store.blobs.delete(name).await {
                    tracing::warn!(error = %chain(&error), %name, "cannot remove what is not kept any more from the disk");
                    return;
                }
                garbage.blobs.pop();
            }
            self.garbage.pop_front();
        }
    }
}

impl Store {
    /// Waits for a write, and has it known when that takes long.
    async fn noting_slowness<T>(&self, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Ok(written) = timeout(SLOW_AFTER, &mut write).await {
            return written;
        }
        self.is_slow.store(true, Ordering::Relaxed);
        tracing::warn!("the disk takes long to write what has to be kept; it waits in memory");
        let written = write.await;
        self.is_slow.store(false, Ordering::Relaxed);
        written
    }

    async fn closed(&self) {
        while !self.state().is_closed {
            self.wake.notified().await;
        }
    }

    /// Takes in what was written from `at` on; says what may be removed now.
    fn take_in(&self, at: Position, group: Group) -> Vec<Garbage> {
        let mut state = self.state();
        let mut touched = HashSet::new();
        let mut has_ended = false;
        for (nth, fact) in group.facts.into_iter().enumerate() {
            let Some(job) = fact.job() else { continue };
            touched.insert(job);
            has_ended |= matches!(fact, Fact::JobEnded { .. } | Fact::JobExpired(_));
            state.forget_waiting(&fact);
            state.index.take_in(at.after(nth), fact);
        }
        touched.into_iter().for_each(|job| state.tell(job));
        state.bytes_waiting -= group.bytes_waited;
        if has_ended {
            state.expire_due(self.clock.now(), &self.config);
        }
        state.index.take_garbage()
    }
}

impl State {
    /// What was waiting to be written, and is now.
    fn forget_waiting(&mut self, fact: &Fact) {
        match fact {
            // Of one that was not kept, another end may wait already.
            Fact::JobEnded { job, ended_unix_ms, .. }
                if self.ending.get(job).is_some_and(|(waiting, _)| waiting == ended_unix_ms) =>
            {
                self.ending.remove(job);
            }
            Fact::JobExpired(job) | Fact::JobForgotten(job) => _ = self.leaving.remove(job),
            _ => {}
        }
    }

    /// Tells who follows the job what is kept of it.
    pub(super) fn tell(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(kept) = self.index.job(id) else {
            // Before anything of it was written, there is nothing to tell.
            if job.kept.borrow().opened {
                job.kept.send_modify(|kept| kept.expired = true);
                self.jobs.remove(&id);
            }
            return;
        };
        let ended = self.index.ended_job(id).is_some();
        let now = Kept {
            opened: true,
            inputs: kept.inputs.next,
            inputs_closed: kept.inputs_closed(),
            outcomes: kept.outcomes.next,
            lines: kept.lines.next,
            ended,
            expired: false,
        };
        job.kept.send_if_modified(|told| std::mem::replace(told, now) != now);
    }
}

fn blob_name(job: JobId, epoch: u64, number: u64) -> String {
    format!("{job}-{epoch}-{number}")
}

/// An error with its causes, for where only a text can go.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
