//! Detached jobs: what the scheduler writes to its log, what it says once that is on the disk, and what it makes of it when it
//! starts again.

use std::collections::{BTreeMap, BTreeSet};

use burla_proto::WireSize;
use burla_proto::convert::CallReport;
use burla_scheduler::grid::event::{Before, CallUpdate, Event, JobSpec, ResentInput, Tries};
use burla_types::{GridError, JobId, Outcome, Usage};
use bytes::Bytes;

use crate::faults::Planted;
use crate::function;
use crate::messages::{ToPeer, ToScheduler, Told};
use crate::scheduler::Life;
use crate::world::{Happening, World};

/// Inputs that are read from the disk at a time.
const READ_BATCH: usize = 16;

/// An entry of the log.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Opened(JobId, JobSpec),
    Inputs(JobId, Vec<Bytes>),
    Closed(JobId),
    Outcomes(JobId, Vec<Told>),
    Lines(JobId, Vec<Told>),
    Ended(JobId, Result<u64, GridError>),
}

/// A detached job, as the scheduler's memory has it.
pub(crate) struct Kept {
    pub(crate) spec: JobSpec,
    /// Who hands over its inputs, and whether it was told that the job is kept.
    submitter: Option<u64>,
    told_opened: bool,
    inputs: Vec<Bytes>,
    closed: bool,
    outcomes: Vec<Told>,
    lines: Vec<Told>,
    pub(crate) has: BTreeSet<u64>,
    pub(crate) ended: Option<Result<u64, GridError>>,
    /// What of that is on the disk.
    opened_there: bool,
    inputs_there: u64,
    closed_there: bool,
    there: [u64; 2],
    ended_there: bool,
    /// Who follows it, and how far each was told.
    followers: BTreeMap<u64, [u64; 2]>,
}

impl Kept {
    fn new(spec: JobSpec) -> Self {
        Self {
            spec,
            submitter: None,
            told_opened: false,
            inputs: Vec::new(),
            closed: false,
            outcomes: Vec::new(),
            lines: Vec::new(),
            has: BTreeSet::new(),
            ended: None,
            opened_there: false,
            inputs_there: 0,
            closed_there: false,
            there: [0; 2],
            ended_there: false,
            followers: BTreeMap::new(),
        }
    }

    pub(crate) fn lose_stream(&mut self, connection: u64) {
        self.followers.remove(&connection);
        if self.submitter == Some(connection) {
            self.submitter = None;
        }
    }

    /// What the calls took together that have ended.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (_, report) in &self.outcomes {
            if let CallReport::Ended { usage: of, .. } = report {
                usage.add(of);
            }
        }
        usage
    }

    /// Lines of a call that were shown.
    fn shown(&self, index: u64) -> [u64; 2] {
        let mut shown = [0; 2];
        for (_, report) in self.lines.iter().filter(|(of, _)| *of == index) {
            if let CallReport::Printed { stream, first_line, lines } = report {
                let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                let shown = &mut shown[function::number_of(*stream)];
                *shown = (*shown).max(first_line + count);
            }
        }
        shown
    }
}

impl World {
    fn kept_mut(&mut self, job: JobId) -> Option<&mut Kept> {
        self.life.as_mut()?.kept.get_mut(&job)
    }

    /// The job whose inputs come by this stream.
    pub(crate) fn kept_of_stream(&self, connection: u64) -> Option<JobId> {
        let kept = &self.life.as_ref()?.kept;
        kept.iter().find(|(_, kept)| kept.submitter == Some(connection)).map(|(id, _)| *id)
    }

    pub(crate) fn open_kept(&mut self, connection: u64, job: JobId, spec: JobSpec) {
        if let Some(kept) = self.kept_mut(job) {
            let old = kept.submitter.replace(connection);
            kept.told_opened = false;
            if let Some(old) = old.filter(|old| *old != connection) {
                self.scheduler_drops(old);
            }
            self.tell_submitter(job);
            return;
        }
        let mut kept = Kept::new(spec.clone());
        kept.submitter = Some(connection);
        if let Some(life) = &mut self.life {
            life.kept.insert(job, kept);
        }
        self.append(Record::Opened(job, spec.clone()));
        self.feed(Event::JobOpened(job, spec));
    }

    /// Says how much is kept: first that the job is, last that all is.
    fn tell_submitter(&mut self, job: JobId) {
        let too_early = self.planted == Planted::KeepsBeforeCommit;
        let Some(kept) = self.kept_mut(job) else { return };
        let Some(connection) = kept.submitter.filter(|_| kept.opened_there) else { return };
        let next = if too_early { kept.inputs.len() as u64 } else { kept.inputs_there };
        let all = kept.closed_there || kept.ended_there;
        let received = kept.inputs.len() as u64;
        if !std::mem::replace(&mut kept.told_opened, true) {
            self.send_to_peer(connection, ToPeer::Opened(true, received));
        }
        self.send_to_peer(connection, ToPeer::Kept(next));
        if all {
            self.send_to_peer(connection, ToPeer::Submitted);
        }
    }

    pub(crate) fn kept_inputs(&mut self, connection: u64, message: ToScheduler) {
        let Some(job) = self.kept_of_stream(connection) else { return };
        let Some(kept) = self.kept_mut(job) else { return };
        match message {
            ToScheduler::Inputs(first, inputs) => {
                if kept.closed || kept.ended.is_some() {
                    return;
                }
                if first != kept.inputs.len() as u64 {
                    let next = kept.inputs.len();
                    self.violated(|| format!("{job} was sent inputs from {first} on, and {next} was next"));
                    return;
                }
                kept.inputs.extend(inputs.iter().cloned());
                self.append(Record::Inputs(job, inputs.clone()));
                self.feed(Event::InputsArrived(job, inputs));
            }
            ToScheduler::InputsClosed => {
                if !std::mem::replace(&mut kept.closed, true) && kept.ended.is_none() {
                    self.append(Record::Closed(job));
                    self.feed(Event::InputsClosed(job));
                }
            }
            other => self.violated(|| format!("the scheduler was told {other:?} of {job}")),
        }
    }

    pub(crate) fn follow(&mut self, connection: u64, job: JobId, from: [u64; 2]) {
        match self.kept_mut(job) {
            Some(kept) => {
                kept.followers.insert(connection, from);
                self.tell_followers(job);
            }
            None => self.send_to_peer(connection, ToPeer::Unknown),
        }
    }

    fn tell_followers(&mut self, job: JobId) {
        let too_early = self.planted == Planted::TellsBeforeCommit;
        let Some(kept) = self.kept_mut(job) else { return };
        let mut said = Vec::new();
        let until = if too_early { [kept.outcomes.len() as u64, kept.lines.len() as u64] } else { kept.there };
        for (connection, at) in &mut kept.followers {
            for (what, events) in [(1, &kept.lines), (0, &kept.outcomes)] {
                if at[what] < until[what] {
                    let new = events[at[what] as usize..until[what] as usize].to_vec();
                    let message = if what == 0 { ToPeer::Outcomes(at[what], new) } else { ToPeer::Lines(at[what], new) };
                    said.push((*connection, message));
                    at[what] = until[what];
                }
            }
            if let Some(result) = kept.ended.clone().filter(|_| kept.ended_there) {
                said.push((*connection, ToPeer::Ended(result)));
            }
        }
        said.into_iter().for_each(|(connection, message)| self.send_to_peer(connection, message));
    }

    /// The grid told these of calls of the job.
    pub(crate) fn keep(&mut self, job: JobId, updates: Vec<Told>) {
        let twice = self.planted == Planted::CommitsTwice && self.rng.chance(0.1);
        let Some(kept) = self.kept_mut(job) else { return };
        if kept.ended.is_some() {
            return;
        }
        // In this order: the lines of a call are on the disk before its outcome.
        let is_line = |(_, report): &Told| matches!(report, CallReport::Printed { .. });
        let (lines, mut outcomes): (Vec<_>, Vec<_>) = updates.into_iter().partition(is_line);
        outcomes.retain(|(index, _)| kept.has.insert(*index));
        if twice {
            outcomes.extend(outcomes.first().cloned());
        }
        kept.lines.extend(lines.iter().cloned());
        kept.outcomes.extend(outcomes.iter().cloned());
        if !lines.is_empty() {
            self.append(Record::Lines(job, lines));
        }
        if !outcomes.is_empty() {
            self.append(Record::Outcomes(job, outcomes));
        }
        if self.planted == Planted::TellsBeforeCommit {
            self.tell_followers(job);
        }
    }

    pub(crate) fn keep_end(&mut self, job: JobId, result: Result<u64, GridError>) {
        if let Some(kept) = self.kept_mut(job) {
            kept.ended = Some(result.clone());
            self.append(Record::Ended(job, result));
        }
    }

    fn append(&mut self, record: Record) {
        self.log.push(record);
        self.commit_soon();
    }

    /// One commit at a time, of all that is there when it begins.
    fn commit_soon(&mut self) {
        if self.committing || self.committed == self.log.len() {
            return;
        }
        let Some(life) = self.life.as_ref().map(|life| life.number) else { return };
        self.committing = true;
        let time = self.rng.between(100, self.faults.commit_max);
        self.later(time, Happening::Committed(life, self.log.len()));
    }

    pub(crate) fn committed(&mut self, life: u32, until: usize) {
        if self.life.as_ref().is_none_or(|now| now.number != life) {
            return;
        }
        self.committing = false;
        let before = std::mem::replace(&mut self.committed, until);
        let (mut jobs, mut written) = (BTreeSet::new(), Vec::new());
        for record in &self.log[before..until] {
            if let Record::Outcomes(job, events) | Record::Lines(job, events) = record {
                let bytes = |(index, report): &Told| CallUpdate { index: *index, report: report.clone() }.held_bytes();
                written.push((*job, events.iter().map(bytes).sum()));
            }
            if let Some(life) = &mut self.life {
                jobs.insert(read(life, record));
            }
        }
        for (job, bytes) in written {
            // What is on the disk is off the scheduler's hands.
            self.feed(Event::ClientTook(job, bytes));
        }
        for job in jobs {
            self.tell_submitter(job);
            self.tell_followers(job);
        }
        self.commit_soon();
    }

    /// The process is gone: of what was not known to be on the disk, some of it may be.
    pub(crate) fn lose_uncommitted(&mut self) {
        let under_way = (self.log.len() - self.committed) as u64;
        let kept = self.committed + self.rng.between(0, under_way) as usize;
        self.check_acknowledged(kept);
        self.log.truncate(kept);
        (self.committed, self.committing) = (kept, false);
        self.acknowledged.clear();
    }

    /// A scheduler starts and takes up what is in the log.
    pub(crate) fn read_log(&mut self) {
        let records = self.log.clone();
        let Some(life) = &mut self.life else { return };
        for record in &records {
            match record {
                Record::Opened(job, spec) => {
                    life.kept.insert(*job, Kept::new(spec.clone()));
                }
                record => load(life, record),
            }
            read(life, record);
        }
        let lives = life.number;
        let open: Vec<_> = life.kept.iter().filter(|(_, kept)| kept.ended.is_none()).map(|(job, _)| *job).collect();
        for job in open {
            self.take_up(job, lives);
        }
    }

    fn take_up(&mut self, job: JobId, openings: u32) {
        let planted = self.planted;
        let Some(kept) = self.kept_mut(job) else { return };
        let is_failure = |report: &CallReport| !matches!(report, CallReport::Ended { outcome: Outcome::Done(_), .. });
        let calls_failed = kept.outcomes.iter().filter(|(_, report)| is_failure(report)).count() as u64;
        let (calls_ended, usage, tries) = (kept.outcomes.len() as u64, kept.usage(), Tries::default());
        let before = Before { openings, calls_ended, calls_failed, usage, tries };
        let left = kept.inputs.iter().enumerate().filter(|(index, _)| {
            let has_ended = kept.has.contains(&(*index as u64));
            !has_ended || planted == Planted::ForgetsOutcomes
        });
        let left: Vec<_> = left
            .map(|(index, input)| {
                let index = index as u64;
                let shown = if planted == Planted::ForgetsShown { [0; 2] } else { kept.shown(index) };
                ResentInput { index, input: input.clone(), shown }
            })
            .collect();
        let (next, closed, spec) = (kept.inputs.len() as u64, kept.closed, kept.spec.clone());
        let told = if planted == Planted::ForgetsOutcomes { BTreeSet::new() } else { kept.has.clone() };
        let fuel = before.usage.fuel;
        if let Some(life) = &mut self.life {
            life.told.insert(job, told);
            life.fuel.insert(job, fuel);
        }
        self.feed(Event::JobOpened(job, JobSpec { before, ..spec }));
        for batch in left.chunks(READ_BATCH) {
            let last = batch.last().map_or(0, |last| last.index + 1);
            self.feed(Event::InputsResent(job, batch.to_vec(), last));
        }
        self.feed(Event::InputsResent(job, vec![], next));
        if closed {
            self.feed(Event::InputsClosed(job));
        }
    }
}

/// What a record brings that is in the memory already of the scheduler that wrote it.
fn load(life: &mut Life, record: &Record) {
    match record {
        Record::Opened(..) => {}
        Record::Inputs(job, inputs) => life.kept_or_none(job, |kept| kept.inputs.extend(inputs.iter().cloned())),
        Record::Closed(job) => life.kept_or_none(job, |kept| kept.closed = true),
        Record::Outcomes(job, outcomes) => life.kept_or_none(job, |kept| {
            kept.has.extend(outcomes.iter().map(|(index, _)| *index));
            kept.outcomes.extend(outcomes.iter().cloned());
        }),
        Record::Lines(job, lines) => life.kept_or_none(job, |kept| kept.lines.extend(lines.iter().cloned())),
        Record::Ended(job, result) => life.kept_or_none(job, |kept| kept.ended = Some(result.clone())),
    }
}

/// A record is on the disk. Returns whose it is.
fn read(life: &mut Life, record: &Record) -> JobId {
    match record {
        Record::Opened(job, _) => life.kept_or_none(job, |kept| kept.opened_there = true),
        Record::Inputs(job, inputs) => life.kept_or_none(job, |kept| kept.inputs_there += inputs.len() as u64),
        Record::Closed(job) => life.kept_or_none(job, |kept| kept.closed_there = true),
        Record::Outcomes(job, outcomes) => life.kept_or_none(job, |kept| kept.there[0] += outcomes.len() as u64),
        Record::Lines(job, lines) => life.kept_or_none(job, |kept| kept.there[1] += lines.len() as u64),
        Record::Ended(job, _) => life.kept_or_none(job, |kept| kept.ended_there = true),
    }
    let (Record::Opened(job, _)
    | Record::Inputs(job, ..)
    | Record::Closed(job)
    | Record::Outcomes(job, _)
    | Record::Lines(job, _)
    | Record::Ended(job, _)) = record;
    *job
}

impl Life {
    fn kept_or_none(&mut self, job: &JobId, act: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.kept.get_mut(job) {
            act(kept);
        }
    }
}
