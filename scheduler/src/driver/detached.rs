//! The driver's ends of detached jobs: what goes to the store and comes from it.
//!
//! Inputs that arrive while the grid has room go straight on to it; the others are read from the disk when it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport};
use burla_proto::v1;
use burla_types::{Exceeded, GridError, JobId, Limit, Outcome};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::handle::SubmitAnswer;
use super::jobs::{JobEndpoint, Kind};
use super::notes::Notes;
use super::{Driver, Message, Opened, SessionNumber};
use crate::grid::event::{Before, CallUpdate, ClientUpdate, Event, JobSpec, ResentInput};
use crate::service::{job_spec, no_room};
use crate::store::{Indices, PAYLOAD_BYTES_MAX, RestoredJob, Store, StoreError, Ticket};

/// Bytes of inputs that are read from the disk at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// How long after inputs could not be read they are tried again, as with what cannot be written.
const READ_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

/// How long a job is waited for whose inputs are not all here and nobody hands over more. A client tries for ten minutes of its own
/// to have its connection back, and may be suspended for as long before it does.
pub(super) const SUBMITTER_GRACE: Duration = Duration::from_secs(60 * 60);

/// How far the grid is with the inputs of a detached job.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// The index after the last input that the store was told of.
    pub(crate) inputs: u64,
    pub(crate) closed: bool,
    /// The index after the last input that the grid has, or that has an outcome.
    fed: u64,
    told_closed: bool,
    /// Inputs are being read.
    reading: bool,
    /// The grid has no room.
    paused: bool,
    /// Inputs whose calls had ended under an earlier scheduler.
    ended: Indices,
    /// Lines that its open calls had shown under an earlier scheduler.
    shown: HashMap<u64, [u64; 2]>,
    /// The stream by which its inputs come, and since when there is none.
    submitter: Option<SessionNumber>,
    pub(super) submitter_lost: Option<Instant>,
}

impl Detached {
    /// One whose inputs come by this stream.
    pub(super) fn submitted_by(submitter: SessionNumber) -> Self {
        Self { submitter: Some(submitter), ..Self::default() }
    }

    /// One that an earlier scheduler had.
    pub(crate) fn restored(inputs: u64, closed: bool, ended: Indices, shown: HashMap<u64, [u64; 2]>) -> Self {
        // What has ended is not read again, as far as nothing before it is open.
        let fed = ended.first_missing().min(inputs);
        Self { inputs, closed, ended, shown, fed, submitter_lost: Some(Instant::now()), ..Self::default() }
    }

    /// The index after the last input that the grid has, or that has an outcome.
    pub(super) fn fed(&self) -> u64 {
        self.fed
    }

    /// Its client goes on handing over inputs, by this stream.
    pub(super) fn submitter_is_back(&mut self, submitter: SessionNumber) {
        (self.submitter, self.submitter_lost) = (Some(submitter), None);
    }

    /// Nothing more comes by this stream.
    pub(super) fn submitter_is_gone(&mut self, submitter: SessionNumber) {
        if self.submitter == Some(submitter) {
            (self.submitter, self.submitter_lost) = (None, Some(Instant::now()));
        }
    }

    /// Whether nobody is going to hand over the inputs that are missing.
    pub(super) fn is_orphaned(&self) -> bool {
        !self.closed && self.submitter_lost.is_some_and(|since| since.elapsed() >= SUBMITTER_GRACE)
    }

    /// Inputs arrived behind those there are. Returns what the grid is to be told at once.
    pub(crate) fn arrived(&mut self, job: JobId, inputs: Vec<Bytes>) -> Option<Event> {
        let is_next = self.fed == self.inputs && !self.reading && !self.paused;
        self.inputs += inputs.len() as u64;
        is_next.then(|| {
            self.fed = self.inputs;
            Event::InputsArrived(job, inputs)
        })
    }

    /// The grid has room for more, or none.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// From which index on inputs are to be read now, if they are. From then on they are being read.
    pub(crate) fn begin_reading(&mut self) -> Option<u64> {
        let begins = self.fed < self.inputs && !self.reading && !self.paused;
        self.reading |= begins;
        begins.then_some(self.fed)
    }

    /// These were read, of which there may be none yet. Returns what the grid is to be told.
    pub(crate) fn read(&mut self, job: JobId, inputs: Vec<(u64, Bytes)>) -> Option<Event> {
        self.reading = false;
        let next_index = inputs.last()?.0 + 1;
        let open = inputs.into_iter().filter(|(index, _)| *index >= self.fed && !self.ended.contains(*index));
        let resent = |(index, input)| ResentInput { index, input, shown: self.shown.remove(&index).unwrap_or_default() };
        let inputs = open.map(resent).collect();
        self.fed = next_index;
        Some(Event::InputsResent(job, inputs, next_index))
    }

    /// Whether the grid is to be told now that these were all.
    pub(crate) fn closes(&mut self) -> bool {
        let closes = self.closed && self.fed == self.inputs && !self.told_closed;
        self.told_closed |= closes;
        closes
    }
}

impl Driver {
    pub(super) fn submit(
        &mut self,
        id: JobId,
        stream: SessionNumber,
        spec: JobSpec,
        options: Arc<v1::OpenJob>,
        answer: SubmitAnswer,
    ) -> Option<Event> {
        let known = match self.jobs.get_mut(&id).map(JobEndpoint::detached) {
            Some(Some(detached)) => {
                detached.submitter_is_back(stream);
                Some(Ok(Opened { resumed: true, next_index: detached.inputs }))
            }
            Some(None) => Some(Err(GridError::InvalidRequest { reason: "an attached job has this id".to_owned() })),
            None if self.is_draining => Some(Err(GridError::ShuttingDown)),
            None => self.store.job(id).map(|kept| Ok(Opened { resumed: true, next_index: kept.kept.borrow().inputs })),
        };
        let full = || self.store.is_full().then(|| Err(no_room()));
        if let Some(known) = known.or_else(full) {
            let _ = answer.send(known);
            return None;
        }
        let _ = answer.send(Ok(Opened::default()));
        self.log_opened(id, &spec);
        self.store.open_job(id, v1::OpenJob::clone(&options));
        let notes = Notes::new(options, SystemTime::now(), true);
        self.jobs.insert(id, JobEndpoint::new(notes, Kind::Detached(Detached::submitted_by(stream))));
        Some(Event::JobOpened(id, spec))
    }

    /// A job that an earlier scheduler kept.
    pub(super) fn restore(&mut self, job: RestoredJob, openings: u32) {
        let calls_ended = job.ended.len();
        let mut notes = Notes::new(Arc::new(job.options.clone()), job.opened, true);
        notes.add_before(calls_ended, job.usage, &job.failures, job.nodes);
        (notes.inputs, notes.inputs_closed, notes.tries) = (job.inputs, job.inputs_closed, job.tries);
        let detached = Detached::restored(job.inputs, job.inputs_closed, job.ended, job.lines_shown);
        let (id, fed) = (job.id, detached.fed());
        tracing::info!(job = %id, inputs = job.inputs, calls_ended, "going on with a kept job");
        self.metrics.jobs.inc();
        self.jobs.insert(id, JobEndpoint::new(notes, Kind::Detached(detached)));
        self.hungry.insert(id);
        match job_spec(job.options) {
            Ok(mut spec) => {
                let (calls_failed, usage) = (job.calls_failed, job.usage);
                spec.before = Before { openings, calls_ended, calls_failed, usage, tries: job.tries };
                self.handle(Event::JobOpened(id, spec));
                // What is not read again is there all the same: what comes has its index after it.
                self.handle(Event::InputsResent(id, Vec::new(), fed));
            }
            Err(reason) => {
                let reason = format!("this scheduler does not understand how it was opened: {reason}");
                self.tell_client(id, ClientUpdate::Ended(Err(GridError::CannotKeep { reason })));
            }
        }
    }

    pub(super) fn keep_inputs(&mut self, id: JobId, first_index: u64, mut inputs: Vec<Bytes>) -> Option<Event> {
        let job = self.jobs.get_mut(&id)?;
        let detached = job.detached()?;
        // The client says again what it does not know to be kept.
        let known = usize::try_from(detached.inputs.saturating_sub(first_index)).unwrap_or(usize::MAX);
        if first_index > detached.inputs || known >= inputs.len() {
            return None;
        }
        inputs.drain(..known);
        self.metrics.inputs.inc_by(inputs.len() as u64);
        let first_index = detached.inputs;
        self.store.add_inputs(id, first_index, inputs.clone());
        let event = detached.arrived(id, inputs);
        job.notes.inputs = first_index.max(job.detached()?.inputs);
        self.hungry.insert(id);
        event
    }

    pub(super) fn close_inputs(&mut self, id: JobId) -> Option<Event> {
        let job = self.jobs.get_mut(&id)?;
        job.detached()?.closed = true;
        job.notes.inputs_closed = true;
        self.store.close_inputs(id);
        self.feed(id);
        None
    }

    /// Has inputs of a detached job read that the grid has room for, and tells it when those were all.
    pub(super) fn feed(&mut self, id: JobId) {
        let Some(detached) = self.jobs.get_mut(&id).and_then(JobEndpoint::detached) else { return };
        if let Some(from) = detached.begin_reading() {
            tokio::spawn(read_inputs(Arc::clone(&self.store), self.myself.clone(), id, from));
        } else if detached.closes() {
            self.handle(Event::InputsClosed(id));
        }
    }

    pub(super) fn inputs_were_read(
        &mut self,
        id: JobId,
        written: Ticket,
        inputs: Result<Vec<(u64, Bytes)>, StoreError>,
    ) -> Option<Event> {
        let detached = self.jobs.get_mut(&id)?.detached()?;
        // Where there was nothing, there is when more is on the disk than then, and not before.
        let is_starved = matches!(&inputs, Ok(inputs) if inputs.is_empty()) && *self.store.written().borrow() == written;
        if is_starved { &mut self.starved } else { &mut self.hungry }.insert(id);
        match inputs {
            Ok(inputs) => detached.read(id, inputs),
            Err(error) => {
                let reason = burla_types::with_causes(&error);
                tracing::error!(job = %id, %reason, "cannot read the inputs of a kept job");
                Some(Event::JobFailed(id, GridError::CannotKeep { reason: format!("its inputs cannot be read: {reason}") }))
            }
        }
    }

    /// What became of calls of a detached job goes to the store. Until it is on the disk, it counts as untaken.
    pub(super) fn keep_calls(&mut self, id: JobId, calls: Vec<CallUpdate>) {
        let bytes = calls.iter().map(WireSize::held_bytes).sum();
        let node = self.speaking.as_ref().map(|(_, name)| Arc::clone(name));
        let (mut outcomes, mut lines) = (Vec::new(), Vec::new());
        let mut ticket = Ticket::default();
        for CallUpdate { index, report } in calls {
            let is_outcome = matches!(report, CallReport::Ended { .. });
            let event = convert::call_event(index, 0, report);
            if is_outcome { outcomes.push((event, node.clone())) } else { lines.push(event) }
        }
        if !lines.is_empty() {
            ticket = self.store.add_lines(id, lines);
        }
        if !outcomes.is_empty() {
            let added = self.store.add_outcomes(id, outcomes);
            ticket = added.ticket;
            if !added.dropped.is_empty() {
                tracing::error!(job = %id, dropped = ?added.dropped, "calls ended twice; the first counts");
            }
        }
        if let Some(node) = self.speaking.as_ref().and_then(|(id, _)| self.nodes.get_mut(id)) {
            node.told(ticket);
        }
        self.on_their_way.push_back((ticket, id, bytes));
    }
}

/// Reads inputs of a kept job for the driver. A disk that cannot be read for now is tried again, for as long as there is a driver:
/// the inputs are there. Only what is damaged is not.
async fn read_inputs(store: Arc<Store>, driver: mpsc::WeakSender<Message>, id: JobId, from: u64) {
    loop {
        let written = *store.written().borrow();
        let inputs = store.read_inputs(id, from, READ_BYTES_MAX).await;
        // A driver that is gone has no use for them.
        let Some(driver) = driver.upgrade() else { return };
        let Err(error @ StoreError::Read { .. }) = &inputs else {
            let _ = driver.send(Message::Read { job: id, written, inputs }).await;
            return;
        };
        tracing::warn!(job = %id, error = %burla_types::with_causes(error), "cannot read inputs of a kept job, trying again");
        drop(driver);
        tokio::time::sleep(READ_AGAIN_INTERVAL).await;
    }
}

/// An output that is larger than the store takes is none: its call exceeded what a detached job's may have.
pub(super) fn fit_store(report: &mut CallReport) {
    if let CallReport::Ended { outcome, .. } = report
        && let Outcome::Done(output) = outcome
        && output.len() > PAYLOAD_BYTES_MAX
    {
        let (allowed, wanted) = (PAYLOAD_BYTES_MAX as u64, Some(output.len() as u64));
        *outcome = Outcome::Exceeded(Exceeded { limit: Limit::OutputSize, allowed, wanted, peak: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::from_bytes([1; 16])
    }

    fn bytes(count: usize) -> Vec<Bytes> {
        vec![Bytes::from_static(b"input"); count]
    }

    fn kept(indices: std::ops::Range<u64>) -> Vec<(u64, Bytes)> {
        indices.map(|index| (index, Bytes::from_static(b"input"))).collect()
    }

    fn indices(event: Option<Event>) -> (Vec<u64>, u64) {
        let Some(Event::InputsResent(_, inputs, next)) = event else { panic!("no inputs: {event:?}") };
        (inputs.iter().map(|input| input.index).collect(), next)
    }

    #[test]
    fn inputs_go_straight_on_while_there_is_room_and_by_the_disk_where_there_is_none() {
        let mut detached = Detached::default();
        assert!(matches!(detached.arrived(job(), bytes(3)), Some(Event::InputsArrived(_, inputs)) if inputs.len() == 3));
        detached.set_paused(true);
        assert!(detached.arrived(job(), bytes(2)).is_none());
        assert_eq!(detached.begin_reading(), None);
        detached.set_paused(false);
        assert!(detached.arrived(job(), bytes(1)).is_none(), "nothing overtakes those before");
        assert_eq!((detached.begin_reading(), detached.begin_reading()), (Some(3), None));
        detached.closed = true;
        assert!(!detached.closes());
        // So much is on the disk already.
        assert_eq!(indices(detached.read(job(), kept(3..5))), (vec![3, 4], 5));
        assert_eq!(detached.begin_reading(), Some(5));
        assert!(detached.read(job(), vec![]).is_none(), "the last is not");
        assert_eq!(detached.begin_reading(), Some(5));
        assert_eq!(indices(detached.read(job(), kept(5..6))), (vec![5], 6));
        assert_eq!((detached.closes(), detached.closes()), (true, false));
    }

    #[test]
    fn what_had_ended_is_not_run_again() {
        let mut ended = Indices::default();
        for index in [0, 2, 3] {
            ended.insert(index);
        }
        let mut detached = Detached::restored(5, true, ended, HashMap::from([(1, [2, 0])]));
        assert_eq!(detached.begin_reading(), Some(1), "the first has ended");
        let Some(Event::InputsResent(_, inputs, next)) = detached.read(job(), kept(1..4)) else { panic!("inputs") };
        assert_eq!(inputs.iter().map(|input| (input.index, input.shown)).collect::<Vec<_>>(), [(1, [2, 0])]);
        assert_eq!(next, 4);
        assert!(!detached.closes());
    }
}
