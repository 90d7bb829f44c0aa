//! The driver's ends of attached jobs: the client's stream, and what the client was told and may not have. That is kept until it
//! says that it has, so that one whose connection breaks goes on where it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use burla_proto::WireSize;
use burla_proto::v1;
use burla_types::{GridError, JobId};

use super::jobs::{JobEndpoint, Kind};
use super::notes::Notes;
use super::{ClientHandles, Driver, Gone, Opened, Resume, SessionNumber};
use crate::grid::event::{CallUpdate, ClientUpdate, Event, JobSpec};
use crate::metrics::JobEnd;

/// Bytes of updates that are kept for a client that does not say what it has. A client that lost its connection and more than this
/// has its open calls run again.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The updates of a job that its client may not have, numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    kept: VecDeque<CallUpdate>,
    bytes: usize,
    /// The number of the first that is kept.
    first: u64,
}

impl Attached {
    /// The client is told more.
    pub(crate) fn tell(&mut self, updates: &[CallUpdate]) {
        for update in updates {
            self.bytes += update.held_bytes();
            self.kept.push_back(update.clone());
        }
        while self.bytes > KEPT_BYTES_MAX && self.kept.len() > 1 {
            self.forget_first();
        }
    }

    /// The client has all before this number.
    pub(crate) fn taken(&mut self, number: u64) {
        while self.first < number && !self.kept.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(update) = self.kept.pop_front() {
            self.bytes -= update.held_bytes();
            self.first += 1;
        }
    }

    /// All from this number on, for a client that has what is before; `None` where some of it is not kept any more, or never was.
    pub(crate) fn resume(&mut self, number: u64) -> Option<Vec<CallUpdate>> {
        if number < self.first || number > self.first + self.kept.len() as u64 {
            return None;
        }
        self.taken(number);
        Some(self.kept.iter().cloned().collect())
    }
}

/// The driver's end of an attached job.
pub(super) struct AttachedEnd {
    pub(super) kept: Attached,
    /// `None` when its connection broke.
    pub(super) client: Option<ClientHandles>,
    pub(super) stream: SessionNumber,
    /// Whether the client is known to know of this opening. One that is not counts what it has by the opening before.
    is_heard: bool,
    /// Since when the client is gone.
    pub(super) lost: Option<Instant>,
    /// How the job ended: its client may not know.
    pub(super) ended: Option<Result<(), GridError>>,
}

impl AttachedEnd {
    pub(super) fn tell(&self, update: ClientUpdate) {
        if let Some(client) = &self.client {
            let _ = client.outbox.send(update);
        }
    }
}

impl Driver {
    pub(super) fn open(
        &mut self,
        id: JobId,
        mut spec: JobSpec,
        options: Arc<v1::OpenJob>,
        resume: Option<Resume>,
        client: ClientHandles,
    ) -> Option<Event> {
        let mut client = match resume.map(|resume| resume.events_taken) {
            Some(events_taken) => self.resume(id, events_taken, client)?,
            None => client,
        };
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

    /// The job goes on with a client that is back, where all is here that the client does not have. Where it is not, this gives the
    /// client back.
    fn resume(&mut self, id: JobId, events_taken: u64, mut client: ClientHandles) -> Option<ClientHandles> {
        let Some(job) = self.jobs.get_mut(&id) else { return Some(client) };
        let JobEndpoint { notes, kind: Kind::Attached(end), waiting, progress, inputs_paused } = job else { return Some(client) };
        let updates = if end.is_heard { end.kept.resume(events_taken) } else { None };
        let Some(updates) = updates else { return Some(client) };
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
        None
    }

    pub(super) fn client_said(&mut self, id: JobId, stream: SessionNumber, event: Event) -> Option<Event> {
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

    pub(super) fn client_took(&mut self, id: JobId, stream: SessionNumber, events: u64) {
        if let Some(end) = self.jobs.get_mut(&id).and_then(|job| job.attached(stream)) {
            end.kept.taken(events);
        }
    }

    /// The client's stream is over, by the client's doing or because the connection broke.
    pub(super) fn client_lost(&mut self, id: JobId, stream: SessionNumber, is_broken: bool) -> Option<Event> {
        if !is_broken && self.jobs.get(&id).is_some_and(JobEndpoint::is_over) {
            return self.client_gone(id, stream, Gone::Stopped);
        }
        let end = self.jobs.get_mut(&id)?.attached(stream)?;
        if end.ended.is_none() {
            tracing::info!(job = %id, "the connection to a job's client broke");
        }
        (end.client, end.lost) = (None, Some(Instant::now()));
        None
    }

    /// The client wants no more of the job.
    pub(super) fn client_gone(&mut self, id: JobId, stream: SessionNumber, why: Gone) -> Option<Event> {
        self.jobs.get_mut(&id)?.attached(stream)?;
        self.give_up(id, why)
    }

    /// Ends an attached job of which its client wants no more.
    pub(super) fn give_up(&mut self, id: JobId, why: Gone) -> Option<Event> {
        let job = self.jobs.remove(&id)?;
        if job.is_over() {
            return None;
        }
        if let Kind::Attached(end) = &job.kind {
            end.tell(ClientUpdate::Ended(Err(GridError::Canceled)));
        }
        let (end, error) = match (why, job.notes.deciding_failure()) {
            (Gone::Failed(error), _) => (JobEnd::Failed, error),
            (Gone::Canceled, _) => (JobEnd::Canceled, "its program was stopped with Ctrl-C".to_owned()),
            (Gone::Stopped | Gone::Vanished, Some(failure)) => (JobEnd::Failed, failure.to_owned()),
            (Gone::Stopped, None) => (JobEnd::Stopped, "its program stopped it".to_owned()),
            (Gone::Vanished, None) => {
                let grace = self.client_grace.as_secs_f64();
                (JobEnd::Abandoned, format!("its program went away: its connection broke, and it was not back within {grace} s"))
            }
        };
        let name = &job.notes.options.name;
        match end {
            JobEnd::Abandoned => tracing::info!(job = %id, %name, "job abandoned by its client"),
            _ => tracing::info!(job = %id, %name, %error, "job ended by its client"),
        }
        self.job_ended(id, &job.notes, end, Some(error));
        Some(Event::JobAbandoned(id))
    }

    /// Drops an attached job that is about to be opened anew.
    fn forget_attached(&mut self, id: JobId) {
        if self.jobs.remove(&id).is_some_and(|job| !job.is_over()) {
            self.metrics.jobs.dec();
            self.handle(Event::JobAbandoned(id));
        }
    }
}

fn answer(client: &mut ClientHandles, opened: Opened) {
    // Who did not wait for it does not miss it.
    client.opened.take().map(|sender| sender.send(opened));
}

#[cfg(test)]
mod tests {
    use burla_proto::convert::CallReport;
    use burla_types::OutputStream;
    use bytes::Bytes;

    use super::*;

    fn update(index: u64, bytes: usize) -> CallUpdate {
        let lines = Bytes::from(vec![b'x'; bytes]);
        CallUpdate { index, report: CallReport::Printed { stream: OutputStream::Stdout, first_line: 0, lines } }
    }

    fn resumed(attached: &mut Attached, number: u64) -> Option<Vec<u64>> {
        Some(attached.resume(number)?.iter().map(|update| update.index).collect())
    }

    #[test]
    fn a_client_gets_what_it_does_not_have() {
        let mut attached = Attached::default();
        attached.tell(&[update(5, 1), update(6, 1), update(7, 1)]);
        assert_eq!(resumed(&mut attached, 1), Some(vec![6, 7]));
        assert_eq!(resumed(&mut attached, 1), Some(vec![6, 7]), "it may break again");
        attached.taken(2);
        assert_eq!(resumed(&mut attached, 1), None, "it said that it had more");
        assert_eq!(resumed(&mut attached, 3), Some(vec![]));
        assert_eq!(resumed(&mut attached, 4), None, "nobody told it that");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut attached = Attached::default();
        for index in 0..3 {
            attached.tell(&[update(index, KEPT_BYTES_MAX / 2)]);
        }
        assert_eq!(resumed(&mut attached, 0), None);
        assert_eq!(resumed(&mut attached, 2), Some(vec![2]));
        attached.tell(&[update(9, KEPT_BYTES_MAX * 2)]);
        assert_eq!(resumed(&mut attached, 3), Some(vec![9]), "one always is");
    }
}
