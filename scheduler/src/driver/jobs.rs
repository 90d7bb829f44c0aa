//! The driver's ends of jobs: of attached ones the client's stream, of detached ones what goes to the store and comes from it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport};
use burla_proto::v1;
use burla_types::{Exceeded, GridError, JobId, Limit, Outcome};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::attached::Attached;
use super::detached::{Detached, READ_BYTES_MAX};
use super::handle::SubmitAnswer;
use super::notes::Notes;
use super::{ClientHandles, Driver, Message, Opened, Resume, SessionNumber, log_end};
use crate::grid::event::{Before, CallUpdate, ClientUpdate, Event, JobSpec, Progress, Timestamp};
use crate::grid::overview::JobOverview;
use crate::metrics::{CallEnd, JobEnd};
use crate::service::{job_spec, no_room};
use crate::store::{PAYLOAD_BYTES_MAX, RestoredJob, Store, StoreError, Ticket};

/// How long after inputs could not be read they are tried again, as with what cannot be written.
const READ_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

/// The driver's end of a job.
pub(super) struct JobEndpoint {
    pub(super) notes: Notes,
    kind: Kind,
    /// What was last said of it.
    waiting: Option<String>,
    progress: Progress,
    inputs_paused: bool,
}

enum Kind {
    Attached(AttachedEnd),
    Detached(Detached),
}

struct AttachedEnd {
    kept: Attached,
    /// `None` when its connection broke.
    client: Option<ClientHandles>,
    stream: SessionNumber,
    /// Whether the client is known to know of this opening. One that is not counts what it has by the opening before.
    is_heard: bool,
    /// Since when the client is gone.
    lost: Option<Instant>,
    /// How the job ended: its client may not know.
    ended: Option<Result<(), GridError>>,
}

impl JobEndpoint {
    fn new(notes: Notes, kind: Kind) -> Self {
        Self { notes, kind, waiting: None, progress: Progress::default(), inputs_paused: false }
    }

    /// Inputs that arrived, less the calls that ended.
    pub(super) fn calls_open(&self) -> u64 {
        self.notes.calls_open()
    }

    /// Whether a scheduler that is to end waits for it.
    pub(super) fn keeps_scheduler(&self) -> bool {
        matches!(&self.kind, Kind::Attached(end) if end.ended.is_none())
    }

    fn attached(&mut self, stream: SessionNumber) -> Option<&mut AttachedEnd> {
        match &mut self.kind {
            Kind::Attached(end) if end.stream == stream => Some(end),
            _ => None,
        }
    }

    pub(super) fn detached(&mut self) -> Option<&mut Detached> {
        match &mut self.kind {
            Kind::Detached(detached) => Some(detached),
            Kind::Attached(_) => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(&self.kind, Kind::Attached(end) if end.ended.is_some())
    }
}

impl AttachedEnd {
    fn tell(&self, update: ClientUpdate) {
        if let Some(client) = &self.client {
            let _ = client.outbox.send(update);
        }
    }
}

impl Driver {
    pub(super) fn take_in_about_job(&mut self, now: Timestamp, message: Message) -> Option<Event> {
        match message {
            Message::Open { id, spec, options, resume, client } => self.open(id, *spec, options, resume, client),
            Message::ClientSaid { job, stream, event } => self.client_said(job, stream, event),
            Message::Taken { job, stream, events } => {
                if let Some(end) = self.jobs.get_mut(&job).and_then(|job| job.attached(stream)) {
                    end.kept.taken(events);
                }
                None
            }
            Message::ClientGone { job, stream } => self.client_gone(job, stream),
            Message::ClientLost { job, stream, is_broken } => {
                if !is_broken && self.jobs.get(&job).is_some_and(JobEndpoint::is_over) {
                    return self.client_gone(job, stream);
                }
                if let Some(end) = self.jobs.get_mut(&job).and_then(|job| job.attached(stream)) {
                    if end.ended.is_none() {
                        tracing::info!(%job, "the connection to a job's client broke");
                    }
                    (end.client, end.lost) = (None, Some(Instant::now()));
                }
                None
            }
            Message::Submit { id, stream, spec, options, answer } => self.submit(id, stream, *spec, options, answer),
            Message::SubmitterGone { job, stream } => {
                if let Some(detached) = self.jobs.get_mut(&job).and_then(JobEndpoint::detached) {
                    detached.submitter_is_gone(stream);
                }
                None
            }
            Message::KeepInputs { job, first_index, inputs } => self.keep_inputs(job, first_index, inputs),
            Message::CloseInputs(job) => {
                let detached = self.jobs.get_mut(&job)?.detached()?;
                detached.closed = true;
                self.jobs.get_mut(&job)?.notes.inputs_closed = true;
                self.store.close_inputs(job);
                self.feed(job);
                None
            }
            Message::Read { job, written, inputs } => self.inputs_were_read(job, written, inputs),
            Message::Jobs { ended, answer } => {
                let mut jobs: Vec<_> = self.grid.jobs(now).into_iter().filter_map(|job| self.open_job(job)).collect();
                jobs.extend(self.store.ending());
                if ended {
                    jobs.extend(self.store.history());
                }
                let _ = answer.send(jobs);
                None
            }
            Message::Job(id, answer) => {
                let open = self.grid.job(now, id).and_then(|job| self.open_job(job));
                let _ = answer.send(open.or_else(|| self.store.ended_job(id)));
                None
            }
            Message::Cancel(id, answer) => {
                let is_open = self.jobs.get(&id).is_some_and(|job| !job.is_over());
                let _ = answer.send(is_open);
                is_open.then_some(Event::JobFailed(id, GridError::Canceled))
            }
            // The others are taken in where they are about nodes.
            _ => None,
        }
    }

    /// An open job, as far as the driver has it too. One that waits for the disk says so.
    fn open_job(&self, overview: JobOverview) -> Option<v1::Job> {
        let notes = &self.jobs.get(&overview.id)?.notes;
        let mut job = notes.open_job(overview);
        if notes.detached
            && let Some(disk) = self.store.waits_for()
        {
            job.waiting = disk;
        }
        Some(job)
    }

    fn open(
        &mut self,
        id: JobId,
        mut spec: JobSpec,
        options: Arc<v1::OpenJob>,
        resume: Option<Resume>,
        mut client: ClientHandles,
    ) -> Option<Event> {
        let answer = |client: &mut ClientHandles, opened| {
            // Who did not wait for it does not miss it.
            client.opened.take().map(|sender| sender.send(opened))
        };
        if let (Some(job), Some(resume)) = (self.jobs.get_mut(&id), resume)
            && let JobEndpoint { notes, kind: Kind::Attached(end), waiting, progress, inputs_paused } = job
            && end.is_heard
            && let Some(updates) = end.kept.resume(resume.events_taken)
        {
            tracing::info!(job = %id, updates = updates.len(), "a job's client is back");
            answer(&mut client, Opened { resumed: true, next_index: notes.inputs });
            client.inputs_paused.send_replace(*inputs_paused);
            (end.stream, end.lost, end.client) = (client.stream, None, Some(client));
            if !updates.is_empty() {
                end.tell(ClientUpdate::Calls(updates));
            }
            if waiting.is_some() {
                end.tell(ClientUpdate::Waiting(waiting.clone()));
            }
            end.tell(ClientUpdate::Progress(*progress));
            if let Some(ended) = end.ended.clone() {
                end.tell(ClientUpdate::Ended(ended.map(|()| Default::default())));
            }
            return None;
        }
        if self.is_draining {
            let _ = client.outbox.send(ClientUpdate::Ended(Err(GridError::ShuttingDown)));
            return None;
        }
        match self.jobs.get(&id) {
            Some(job) if job.notes.detached => {
                let reason = "a detached job has this id".to_owned();
                let _ = client.outbox.send(ClientUpdate::Ended(Err(GridError::InvalidRequest { reason })));
                return None;
            }
            // The client does not know that it was open, or lost more than is kept for it.
            Some(_) => self.forget_attached(id),
            None => {}
        }
        answer(&mut client, Opened::default());
        spec.before.openings = resume.map_or(0, |resume| resume.openings.max(1));
        self.log_opened(id, &spec);
        let end = AttachedEnd {
            kept: Attached::default(),
            stream: client.stream,
            client: Some(client),
            is_heard: resume.is_none(),
            lost: None,
            ended: None,
        };
        let notes = Notes::new(options, SystemTime::now(), false);
        self.jobs.insert(id, JobEndpoint::new(notes, Kind::Attached(end)));
        Some(Event::JobOpened(id, spec))
    }

    fn log_opened(&mut self, id: JobId, spec: &JobSpec) {
        self.metrics.jobs.inc();
        let (name, digest) = (spec.name.clone(), spec.work.digest);
        self.log_lines.push(Box::new(move || tracing::info!(job = %id, %name, %digest, "job opened")));
    }

    /// Drops an attached job that is about to be opened anew.
    fn forget_attached(&mut self, id: JobId) {
        if self.jobs.remove(&id).is_some_and(|job| !job.is_over()) {
            self.metrics.jobs.dec();
            self.handle(Event::JobAbandoned(id));
        }
    }

    fn client_said(&mut self, id: JobId, stream: SessionNumber, event: Event) -> Option<Event> {
        let job = self.jobs.get_mut(&id)?;
        job.attached(stream)?.is_heard = true;
        match &event {
            Event::InputsArrived(_, inputs) => {
                job.notes.inputs += inputs.len() as u64;
                self.metrics.inputs.inc_by(inputs.len() as u64);
            }
            Event::InputsResent(_, _, next_index) => job.notes.inputs = (*next_index).max(job.notes.inputs),
            Event::InputsClosed(_) => job.notes.inputs_closed = true,
            _ => {}
        }
        Some(event)
    }

    fn client_gone(&mut self, id: JobId, stream: SessionNumber) -> Option<Event> {
        self.jobs.get_mut(&id)?.attached(stream)?;
        let job = self.jobs.remove(&id)?;
        if job.is_over() {
            return None;
        }
        if let Kind::Attached(end) = &job.kind {
            end.tell(ClientUpdate::Ended(Err(GridError::Canceled)));
        }
        tracing::info!(job = %id, name = %job.notes.options.name, "job abandoned by its client");
        self.job_ended(id, &job.notes, JobEnd::Abandoned, None, (0, 0));
        Some(Event::JobAbandoned(id))
    }

    /// Ends jobs whose clients did not come back in time: those of attached ones, and those that had not handed over all inputs.
    pub(super) fn end_grace(&self, messages: &mut Vec<Message>) {
        for (id, job) in &self.jobs {
            match &job.kind {
                Kind::Attached(AttachedEnd { lost: Some(since), stream, .. }) if since.elapsed() >= self.client_grace => {
                    messages.push(Message::ClientGone { job: *id, stream: *stream });
                }
                Kind::Detached(detached) if detached.is_orphaned() => {
                    let reason = "its client went away before it had handed over all inputs; submit it again".to_owned();
                    messages.push(Message::Event(Event::JobFailed(*id, GridError::CannotKeep { reason })));
                }
                _ => {}
            }
        }
    }

    fn submit(
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
        (notes.inputs, notes.inputs_closed) = (job.inputs, job.inputs_closed);
        let detached = Detached::restored(job.inputs, job.inputs_closed, job.ended, job.lines_shown);
        let (id, fed) = (job.id, detached.fed());
        tracing::info!(job = %id, inputs = job.inputs, calls_ended, "going on with a kept job");
        self.metrics.jobs.inc();
        self.jobs.insert(id, JobEndpoint::new(notes, Kind::Detached(detached)));
        self.hungry.insert(id);
        match job_spec(job.options) {
            Ok(mut spec) => {
                let (calls_failed, usage) = (job.calls_failed, job.usage);
                spec.before = Before { openings, calls_ended, calls_failed, usage };
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

    fn keep_inputs(&mut self, id: JobId, first_index: u64, mut inputs: Vec<Bytes>) -> Option<Event> {
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

    /// Has inputs of a detached job read that the grid has room for, and tells it when those were all.
    pub(super) fn feed(&mut self, id: JobId) {
        let Some(detached) = self.jobs.get_mut(&id).and_then(JobEndpoint::detached) else { return };
        if let Some(from) = detached.begin_reading() {
            tokio::spawn(read_inputs(Arc::clone(&self.store), self.myself.clone(), id, from));
        } else if detached.closes() {
            self.handle(Event::InputsClosed(id));
        }
    }

    fn inputs_were_read(&mut self, id: JobId, written: Ticket, inputs: Result<Vec<(u64, Bytes)>, StoreError>) -> Option<Event> {
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

    pub(super) fn set_inputs_paused(&mut self, id: JobId, paused: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.inputs_paused = paused;
        match &mut job.kind {
            Kind::Attached(end) => {
                if let Some(client) = &end.client {
                    client.inputs_paused.send_replace(paused);
                }
            }
            Kind::Detached(detached) => {
                detached.set_paused(paused);
                self.hungry.insert(id);
            }
        }
    }

    pub(super) fn tell_client(&mut self, id: JobId, update: ClientUpdate) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match update {
            ClientUpdate::Calls(mut calls) => {
                if job.notes.detached {
                    calls.iter_mut().for_each(|call| fit_store(&mut call.report));
                }
                let ended = job.notes.calls_told(&calls);
                match &mut job.kind {
                    Kind::Attached(end) => {
                        end.kept.tell(&calls);
                        self.count(&calls, ended);
                        if let Some(job) = self.jobs.get(&id)
                            && let Kind::Attached(end) = &job.kind
                        {
                            end.tell(ClientUpdate::Calls(calls));
                        }
                    }
                    Kind::Detached(_) => {
                        self.count(&calls, ended);
                        self.keep_calls(id, calls);
                    }
                }
            }
            ClientUpdate::Waiting(reason) => {
                job.waiting.clone_from(&reason);
                if let Kind::Attached(end) = &job.kind {
                    end.tell(ClientUpdate::Waiting(reason));
                }
            }
            ClientUpdate::Progress(progress) => {
                job.progress = progress;
                if let Kind::Attached(end) = &job.kind {
                    end.tell(ClientUpdate::Progress(progress));
                }
            }
            ClientUpdate::Ended(result) => self.end(id, result),
        }
    }

    /// What became of calls of a detached job goes to the store. Until it is on the disk, it counts as untaken.
    fn keep_calls(&mut self, id: JobId, calls: Vec<CallUpdate>) {
        let bytes = calls.iter().map(WireSize::wire_bytes).sum();
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

    fn end(&mut self, id: JobId, result: Result<crate::grid::event::JobSummary, GridError>) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let end = match &result {
            Ok(_) => JobEnd::Finished,
            Err(GridError::Canceled) => JobEnd::Canceled,
            Err(_) => JobEnd::Failed,
        };
        let tried_again = result.as_ref().map_or((0, 0), |summary| (summary.retried, summary.requeued));
        self.job_ended(id, &job.notes, end, result.as_ref().err(), tried_again);
        let (name, ended) = (job.notes.options.name.clone(), result.clone());
        self.log_lines.push(Box::new(move || log_end(id, &name, &ended)));
        if let Kind::Attached(attached) = &mut job.kind {
            attached.ended = Some(result.clone().map(drop));
            attached.tell(ClientUpdate::Ended(result));
            // Until its client has it all.
            self.jobs.insert(id, job);
        }
    }

    fn job_ended(&mut self, id: JobId, notes: &Notes, end: JobEnd, error: Option<&GridError>, tried_again: (u64, u64)) {
        self.metrics.jobs.dec();
        self.metrics.jobs_ended.get_or_create(&end).inc();
        self.store.end_job(id, notes.ended_job(id, end, error, tried_again));
    }

    /// Counts the calls that ended.
    fn count(&self, updates: &[CallUpdate], ended: u64) {
        let done = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
        let done = updates.iter().filter(done).count() as u64;
        self.metrics.calls_ended.get_or_create(&CallEnd::Done).inc_by(done);
        self.metrics.calls_ended.get_or_create(&CallEnd::Failed).inc_by(ended - done);
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
