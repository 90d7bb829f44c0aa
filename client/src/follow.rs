//! Following a detached job: how its calls ended and what they printed, in the order in which the grid keeps that, until the job
//! has ended.
//!
//! What speaks with the grid runs on the client's own runtime, and holds the grid back where nobody takes what comes. It counts
//! what it has passed on, so that it goes on from there when the connection breaks, and nothing comes twice.
//!
//! This is an edge file: generated types stop here.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport};
use burla_proto::v1::{self, follow_job_response::Response};
use burla_types::{JobId, OutputStream, Peer};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::connection::{self, Connection};
use crate::overview::{job_info, malformed};
use crate::progress::Progress;
use crate::redial::Redial;
use crate::{CallEnd, CallError, Error, Grid, JobInfo, JobState, Result};

/// Bytes of events that may wait for the user to take them. A single one may be larger, and then waits alone.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// Bytes that a permit of the semaphore over them stands for, since it counts in 32 bits.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// Batches of events that may wait; what is in them is bounded by bytes.
const EVENT_BATCHES_MAX: usize = 64;

/// What is wanted of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// Only what becomes of it.
    Nothing,
    /// How its calls ended.
    Outcomes,
    /// What its calls printed.
    Lines,
}

/// What happened to a call of the job.
#[derive(Debug)]
pub(crate) enum Followed {
    Ended(CallEnd<Bytes>),
    Printed { index: u64, stream: OutputStream, lines: Bytes },
}

/// A job that is followed. Dropping it ends that, and leaves the job alone.
pub(crate) struct Follow {
    batches: mpsc::Receiver<Batch>,
    /// Handed out one at a time from the batch that came last.
    ready: VecDeque<Followed>,
    /// `None` once it has ended.
    task: Option<JoinHandle<Result<JobInfo>>>,
    progress: Arc<Progress>,
}

enum Batch {
    Events {
        events: Vec<Followed>,
        _room: Option<OwnedSemaphorePermit>,
    },
    /// The connection broke.
    Broke,
}

/// What comes next of a job that is followed.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart as soon as it is given, and most of them are events")]
pub(crate) enum Next {
    Event(Followed),
    /// The scheduler has answered, and there may be nothing to tell for a while.
    Answered,
    /// The connection broke, so nobody tells anything until the scheduler has answered again.
    Broke,
    /// The job is over; this is how.
    Over(JobInfo),
}

impl Follow {
    pub(crate) fn start(grid: &Grid, id: JobId, wanted: Wanted, spinner: Option<bool>) -> Self {
        let (sender, batches) = mpsc::channel(EVENT_BATCHES_MAX);
        let progress = Progress::start(spinner);
        let follower = Follower {
            url: grid.url().to_owned(),
            id,
            wanted,
            next: 0,
            seen: Seen::default(),
            sender,
            room: Arc::new(Semaphore::new(EVENT_BYTES_MAX / BYTES_PER_PERMIT)),
            progress: Arc::clone(&progress),
        };
        let task = connection::runtime().spawn(follower.run());
        Self { batches, ready: VecDeque::new(), task: Some(task), progress }
    }

    /// What comes next. Must not be polled after the job's end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Next>> {
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(Ok(Next::Event(event)));
        }
        match ready!(self.batches.poll_recv(context)) {
            Some(Batch::Events { events, .. }) => {
                self.ready = events.into();
                return Poll::Ready(Ok(self.ready.pop_front().map_or(Next::Answered, Next::Event)));
            }
            Some(Batch::Broke) => return Poll::Ready(Ok(Next::Broke)),
            None => {}
        }
        let Some(task) = &mut self.task else { return Poll::Pending };
        let ended = ready!(Pin::new(task).poll(context));
        self.task = None;
        self.progress.unwatched();
        // Nobody aborts the task but whoever drops this, so it panicked: a bug of ours.
        Poll::Ready(ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic())).map(Next::Over))
    }

    /// Says whose turn it is to write to the terminal: the program, or the job that the program waits for.
    pub(crate) fn program_has_terminal(&self, has: bool) {
        self.progress.program_has_terminal(has);
    }

    /// Writes something else to the terminal, where the progress may be.
    pub(crate) fn instead<T>(&self, write: impl FnOnce() -> T) -> T {
        self.progress.instead(write)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            self.progress.unwatched();
        }
    }
}

/// The side that speaks with the grid.
struct Follower {
    url: String,
    id: JobId,
    wanted: Wanted,
    /// The number of the next event that is wanted.
    next: u64,
    seen: Seen,
    sender: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
    progress: Arc<Progress>,
}

impl Follower {
    async fn run(mut self) -> Result<JobInfo> {
        let mut redial = Redial::new();
        loop {
            match self.run_on_one_connection(&mut redial).await {
                Ok(job) => return Ok(job),
                Err(error) => {
                    // Whoever receives is gone, and this task is aborted with it.
                    let _ = self.sender.send(Batch::Broke).await;
                    redial.pause(error, &self.progress).await?;
                }
            }
        }
    }

    /// Returns the job as it was when it ended.
    async fn run_on_one_connection(&mut self, redial: &mut Redial) -> Result<JobInfo> {
        let mut connection = Connection::open(&self.url).await?;
        redial.reached();
        let request = v1::FollowJobRequest {
            client: Some(Peer::this().into()),
            job_id: convert::job_id_bytes(self.id),
            first_outcome: (self.wanted == Wanted::Outcomes).then_some(self.next),
            first_line_event: (self.wanted == Wanted::Lines).then_some(self.next),
        };
        let responses = connection.client.follow_job(request).await.map_err(|status| connection.error(status))?;
        let mut responses = responses.into_inner();
        redial.well(&self.progress);
        // The job, where it was over and nothing has come since.
        let mut over = None;
        while let Some(message) = responses.message().await.map_err(|status| connection.error(status))? {
            let batch = match message.response {
                Some(Response::Job(job)) => {
                    let job = job_info(job)?;
                    self.check(&job)?;
                    self.show(&job);
                    over = (job.state != JobState::Open).then_some(job);
                    Batch::Events { events: Vec::new(), _room: None }
                }
                Some(Response::Outcomes(kept)) if self.wanted == Wanted::Outcomes => {
                    over = None;
                    self.take(kept).await?
                }
                Some(Response::Lines(kept)) if self.wanted == Wanted::Lines => {
                    over = None;
                    self.take(kept).await?
                }
                // What was not asked for.
                Some(Response::Outcomes(_) | Response::Lines(_)) | None => continue,
            };
            // Whoever receives is gone, and this task is aborted with it.
            let _ = self.sender.send(batch).await;
        }
        let job = over.ok_or_else(|| connection.error(Status::unavailable("the stream ended before the job had")))?;
        if self.wanted == Wanted::Outcomes && job.state == JobState::Finished && self.seen.first_unseen < job.inputs {
            return Err(Error::MissingResult { index: self.seen.first_unseen });
        }
        Ok(job)
    }

    /// Refuses a job of which there is not what is wanted.
    fn check(&self, job: &JobInfo) -> Result<()> {
        if self.wanted != Wanted::Nothing && !job.detached {
            return Err(Error::ResultsNotKept { job: self.id });
        }
        if self.wanted != Wanted::Nothing && job.expired {
            return Err(Error::ResultsExpired { job: self.id });
        }
        Ok(())
    }

    fn show(&self, job: &JobInfo) {
        self.progress.running();
        self.progress.set_ended(job.calls_ended.saturating_sub(job.calls_failed), job.calls_failed);
        self.progress.set_running(job.running, job.nodes.len() as u64);
        self.progress.set_waiting(job.waiting.clone());
        if job.inputs_closed {
            self.progress.set_total(job.inputs);
        }
    }

    /// Takes what is new of these, when there is room for it.
    async fn take(&mut self, kept: v1::KeptEvents) -> Result<Batch> {
        if kept.first > self.next && self.wanted == Wanted::Outcomes {
            let reason = format!("it left out how calls ended, from number {} to {}", self.next, kept.first);
            return Err(Error::Protocol { reason });
        }
        let (mut events, mut bytes) = (Vec::with_capacity(kept.events.len()), 0);
        for (number, event) in (kept.first..).zip(kept.events) {
            // It came before the connection broke.
            if number < self.next {
                continue;
            }
            self.next = number + 1;
            let index = event.index;
            let report = convert::call_report(event).map_err(malformed)?;
            let report_bytes = report.wire_bytes();
            let event = match report {
                CallReport::Ended { outcome, stderr_tail, usage } if self.wanted == Wanted::Outcomes && self.seen.add(index) => {
                    let result = CallError::from_outcome(index, outcome, stderr_tail, usage);
                    Followed::Ended(CallEnd { index, result, usage })
                }
                CallReport::Printed { stream, lines, .. } if self.wanted == Wanted::Lines => {
                    Followed::Printed { index, stream, lines }
                }
                CallReport::Ended { .. } | CallReport::Printed { .. } => continue,
            };
            bytes += report_bytes;
            events.push(event);
        }
        // Not taking them off the connection is what holds the grid back.
        let permits = u32::try_from(bytes.min(EVENT_BYTES_MAX) / BYTES_PER_PERMIT).unwrap_or(u32::MAX);
        // Nobody closes the semaphore.
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.ok();
        Ok(Batch::Events { events, _room: room })
    }
}

/// The indices of calls whose end was passed on. Most come nearly in order, so few have to be remembered one by one.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// All before it were.
    first_unseen: u64,
    /// Those after it that were.
    later: HashSet<u64>,
}

impl Seen {
    /// Whether it is new.
    pub(crate) fn add(&mut self, index: u64) -> bool {
        if index < self.first_unseen || !self.later.insert(index) {
            return false;
        }
        while self.later.remove(&self.first_unseen) {
            self.first_unseen += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_is_new_once() {
        let mut seen = Seen::default();
        let new: Vec<_> = [0, 2, 0, 3, 2, 1, 3, 4].into_iter().filter(|&index| seen.add(index)).collect();
        assert_eq!(new, [0, 2, 3, 1, 4]);
        assert_eq!(seen.first_unseen, 5);
        assert!(seen.later.is_empty(), "only gaps cost memory");
    }
}
