//! The driver's ends of jobs: what it has of each, and what the grid says of one on its way there. What only attached or detached
//! ones have is in `driver/attached.rs` and `driver/detached.rs`.

use std::collections::HashSet;

use burla_proto::convert::{self, CallReport};
use burla_proto::v1;
use burla_types::{Digest, GridError, JobId, Outcome};

use super::attached::AttachedEnd;
use super::detached::{Detached, fit_store};
use super::notes::Notes;
use super::{Driver, Gone, Message, SessionNumber, log_end};
use crate::grid::event::{CallUpdate, ClientUpdate, Event, JobSpec, JobSummary, Progress, Timestamp};
use crate::grid::overview::JobOverview;
use crate::metrics::{CallEnd, JobEnd, Metrics};

/// The driver's end of a job.
pub(super) struct JobEndpoint {
    pub(super) notes: Notes,
    pub(super) kind: Kind,
    /// What was last said of it.
    pub(super) waiting: Option<String>,
    pub(super) progress: Progress,
    pub(super) inputs_paused: bool,
}

pub(super) enum Kind {
    Attached(AttachedEnd),
    Detached(Detached),
}

impl JobEndpoint {
    pub(super) fn new(notes: Notes, kind: Kind) -> Self {
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

    pub(super) fn attached(&mut self, stream: SessionNumber) -> Option<&mut AttachedEnd> {
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

    pub(super) fn is_over(&self) -> bool {
        matches!(&self.kind, Kind::Attached(end) if end.ended.is_some())
    }
}

impl Driver {
    pub(super) fn take_in_about_job(&mut self, now: Timestamp, message: Message) -> Option<Event> {
        match message {
            Message::Open { id, spec, options, resume, client } => self.open(id, *spec, options, resume, client),
            Message::ClientSaid { job, stream, event } => self.client_said(job, stream, event),
            Message::Taken { job, stream, events } => {
                self.client_took(job, stream, events);
                None
            }
            Message::ClientGone { job, stream, why } => self.client_gone(job, stream, why),
            Message::ClientLost { job, stream, is_broken } => self.client_lost(job, stream, is_broken),
            Message::Submit { id, stream, spec, options, answer } => self.submit(id, stream, *spec, options, answer),
            Message::SubmitterGone { job, stream } => {
                if let Some(detached) = self.jobs.get_mut(&job).and_then(JobEndpoint::detached) {
                    detached.submitter_is_gone(stream);
                }
                None
            }
            Message::KeepInputs { job, first_index, inputs } => self.keep_inputs(job, first_index, inputs),
            Message::CloseInputs(job) => self.close_inputs(job),
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
            Message::Components(answer) => {
                let _ = answer.send(self.components());
                None
            }
            Message::Cancel { job: id, why, answer } => {
                let open = self.jobs.get(&id).filter(|job| !job.is_over());
                let _ = answer.send(open.is_some());
                match &open?.kind {
                    Kind::Attached(_) if why != Gone::Canceled => self.give_up(id, why),
                    _ => Some(Event::JobFailed(id, GridError::Canceled)),
                }
            }
            // The others are taken in where they are about nodes.
            _ => None,
        }
    }

    /// The components that open jobs need, also those of which only this process knows that they have ended.
    fn components(&self) -> HashSet<Digest> {
        let component = |options: &v1::OpenJob| convert::digest(&options.work.as_ref()?.digest).ok();
        let open = self.jobs.values().filter(|job| !job.is_over()).filter_map(|job| component(&job.notes.options));
        let ending = self.store.ending().into_iter().filter_map(|job| component(&job.options?));
        open.chain(ending).collect()
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

    pub(super) fn log_opened(&mut self, id: JobId, spec: &JobSpec) {
        self.metrics.jobs.inc();
        let (name, digest) = (spec.name.clone(), spec.work.digest);
        self.log_lines.push(Box::new(move || tracing::info!(job = %id, %name, %digest, "job opened")));
    }

    /// Ends jobs whose clients did not come back in time: those of attached ones, and those that had not handed over all inputs.
    pub(super) fn end_grace(&self, messages: &mut Vec<Message>) {
        for (id, job) in &self.jobs {
            match &job.kind {
                Kind::Attached(AttachedEnd { lost: Some(since), stream, .. }) if since.elapsed() >= self.client_grace => {
                    messages.push(Message::ClientGone { job: *id, stream: *stream, why: Gone::Vanished });
                }
                Kind::Detached(detached) if detached.is_orphaned() => {
                    let reason = "its client went away before it had handed over all inputs; submit it again".to_owned();
                    messages.push(Message::Event(Event::JobFailed(*id, GridError::CannotKeep { reason })));
                }
                _ => {}
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
                count(&self.metrics, &calls, ended);
                match &mut job.kind {
                    Kind::Attached(end) => {
                        end.kept.tell(&calls);
                        end.tell(ClientUpdate::Calls(calls));
                    }
                    Kind::Detached(_) => self.keep_calls(id, calls),
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
            ClientUpdate::NodeLost(lost) => {
                if let Kind::Attached(end) = &job.kind {
                    end.tell(ClientUpdate::NodeLost(lost));
                }
            }
            ClientUpdate::Tries(tries) => {
                job.notes.tries = tries;
                if job.notes.detached {
                    self.store.note_tries(id, tries);
                }
            }
            ClientUpdate::Ended(result) => self.end(id, result),
        }
    }

    fn end(&mut self, id: JobId, result: Result<JobSummary, GridError>) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let (end, error) = match &result {
            // All calls have ended before its client could say that it gave up.
            Ok(_) => match job.notes.deciding_failure() {
                Some(failure) => (JobEnd::Failed, Some(failure.to_owned())),
                None => (JobEnd::Finished, None),
            },
            // That it was canceled, its state says.
            Err(GridError::Canceled) => (JobEnd::Canceled, None),
            Err(error) => (JobEnd::Failed, Some(error.to_string())),
        };
        self.job_ended(id, &job.notes, end, error);
        let (name, ended) = (job.notes.options.name.clone(), result.clone());
        self.log_lines.push(Box::new(move || log_end(id, &name, &ended)));
        if let Kind::Attached(attached) = &mut job.kind {
            attached.ended = Some(result.clone().map(drop));
            attached.tell(ClientUpdate::Ended(result));
            // Until its client has it all.
            self.jobs.insert(id, job);
        }
    }

    pub(super) fn job_ended(&mut self, id: JobId, notes: &Notes, end: JobEnd, error: Option<String>) {
        self.metrics.jobs.dec();
        self.metrics.jobs_ended.get_or_create(&end).inc();
        self.store.end_job(id, notes.ended_job(id, end, error));
    }
}

/// Counts the calls that ended, of which there are so many.
fn count(metrics: &Metrics, updates: &[CallUpdate], ended: u64) {
    let done = |update: &&CallUpdate| matches!(update.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
    let done = updates.iter().filter(done).count() as u64;
    metrics.calls_ended.get_or_create(&CallEnd::Done).inc_by(done);
    metrics.calls_ended.get_or_create(&CallEnd::Failed).inc_by(ended - done);
}
