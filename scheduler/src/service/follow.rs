//! What became of a kept job, for whoever wants to know, from wherever in it they want: what is on the disk first, then what comes to
//! it, until the job has ended. An edge file: generated types stop here.

use std::time::Duration;

use burla_proto::v1::{self, follow_job_response::Response};
use burla_proto::{BATCH_BYTES, convert, status};
use burla_types::{GridError, JobId, with_causes};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::refuse;
use crate::driver::DriverHandle;
use crate::store::{Kept, StoreError};

/// Answers that wait for a client that does not read them; each has about a message's worth of events.
const ANSWERS_MAX: usize = 4;

/// How often the job is looked at for who watches it.
const LOOK_TIME: Duration = Duration::from_millis(200);

type Sender = mpsc::Sender<Result<v1::FollowJobResponse, Status>>;

/// What a client is told that follows a job.
pub(super) type Answers = ReceiverStream<Result<v1::FollowJobResponse, Status>>;

/// Follows a job.
pub(super) async fn follow(driver: &DriverHandle, request: v1::FollowJobRequest) -> Result<Answers, Status> {
    let id = convert::job_id(&request.job_id).map_err(refuse)?;
    let job = driver.job(id).await.map_err(|error| status::to_status(&error))?;
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    let Some(kept) = driver.store.job(id) else {
        // Its client has what its calls return and print; whoever else asks can watch it.
        tokio::spawn(watch_unkept(driver.clone(), job, answers));
        return Ok(ReceiverStream::new(receiver));
    };
    let following = Following {
        driver: driver.clone(),
        id,
        kept: kept.kept,
        outcome: request.first_outcome,
        line_event: request.first_line_event,
        answers,
    };
    tokio::spawn(following.run(job));
    Ok(ReceiverStream::new(receiver))
}

/// Tells of a job of which nothing is kept, until it is over.
async fn watch_unkept(driver: DriverHandle, mut job: v1::Job, answers: Sender) {
    let Ok(id) = convert::job_id(&job.job_id) else { return };
    let mut told: Option<v1::Job> = None;
    let mut looks = looks();
    loop {
        let is_over = job.state() != v1::job::State::Open;
        if told.as_ref().is_none_or(|told| is_over || is_other(told, &job)) {
            if answers.send(Ok(v1::FollowJobResponse { response: Some(Response::Job(job.clone())) })).await.is_err() {
                return;
            }
            told = Some(job);
        }
        if is_over {
            return;
        }
        tokio::select! {
            _ = looks.tick() => {}
            () = answers.closed() => return,
        }
        job = match driver.job(id).await {
            Ok(job) => job,
            Err(error) => {
                let _ = answers.send(Err(status::to_status(&error))).await;
                return;
            }
        };
    }
}

/// When a job is to be looked at again.
fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK_TIME);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.reset();
    looks
}

struct Following {
    driver: DriverHandle,
    id: JobId,
    kept: watch::Receiver<Kept>,
    /// The next to tell.
    outcome: Option<u64>,
    line_event: Option<u64>,
    answers: Sender,
}

impl Following {
    async fn run(mut self, job: v1::Job) {
        let answers = self.answers.clone();
        if let Err(status) = self.tell(job).await {
            let _ = answers.send(Err(status)).await;
        }
    }

    async fn tell(&mut self, mut job: v1::Job) -> Result<(), Status> {
        let mut told: Option<v1::Job> = None;
        let mut looks = looks();
        loop {
            let kept = *self.kept.borrow_and_update();
            if kept.expired {
                job.expired = true;
                self.say(Response::Job(job)).await;
                return Ok(());
            }
            let is_new = told.as_ref().is_none_or(|told| is_other(told, &job));
            // Of one that has ended, the last is the one that says so.
            if is_new && !kept.ended {
                if !self.say(Response::Job(job.clone())).await {
                    return Ok(());
                }
                told = Some(job.clone());
            }
            let is_heard = match self.tell_events(kept).await {
                Ok(is_heard) => is_heard,
                // It expired in the meantime, and what it kept is being removed.
                Err(StoreError::NotKept(_)) => {
                    job.expired = true;
                    self.say(Response::Job(job)).await;
                    return Ok(());
                }
                Err(error) => return Err(self.unreadable(&error)),
            };
            if !is_heard {
                return Ok(());
            }
            if kept.ended {
                let job = self.driver.job(self.id).await.map_err(|error| status::to_status(&error))?;
                self.say(Response::Job(job)).await;
                return Ok(());
            }
            tokio::select! {
                changed = self.kept.changed() => {
                    if changed.is_err() {
                        return Err(status::to_status(&GridError::UnknownJob(self.id)));
                    }
                }
                _ = looks.tick() => {
                    job = self.driver.job(self.id).await.map_err(|error| status::to_status(&error))?;
                }
                () = self.answers.closed() => return Ok(()),
            }
        }
    }

    /// Tells all events that are kept. Returns whether anyone hears it.
    async fn tell_events(&mut self, kept: Kept) -> Result<bool, StoreError> {
        // Lines first: they were kept before the outcomes that followed them.
        while let Some(next) = self.line_event.filter(|next| *next < kept.lines) {
            let events = self.driver.store.read_lines(self.id, next, BATCH_BYTES).await?;
            self.line_event = Some(after(&events, next, kept.lines));
            if !self.say(Response::Lines(events)).await {
                return Ok(false);
            }
        }
        while let Some(next) = self.outcome.filter(|next| *next < kept.outcomes) {
            let events = self.driver.store.read_outcomes(self.id, next, BATCH_BYTES).await?;
            self.outcome = Some(after(&events, next, kept.outcomes));
            if !self.say(Response::Outcomes(events)).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn unreadable(&self, error: &StoreError) -> Status {
        tracing::error!(job = %self.id, error = %with_causes(error), "cannot read what a kept job told");
        let reason = format!("what it told cannot be read: {}", with_causes(error));
        status::to_status(&GridError::CannotKeep { reason })
    }

    async fn say(&self, response: Response) -> bool {
        self.answers.send(Ok(v1::FollowJobResponse { response: Some(response) })).await.is_ok()
    }
}

/// The number after those that were read. Where none were, though there should be, nothing more is to be had.
fn after(events: &v1::KeptEvents, next: u64, all: u64) -> u64 {
    if events.events.is_empty() { all } else { next.max(events.first + events.events.len() as u64) }
}

/// Whether there is anything new to see of it but that time went by.
fn is_other(told: &v1::Job, now: &v1::Job) -> bool {
    let opened_ms_ago = told.opened_ms_ago;
    v1::Job { opened_ms_ago, ..now.clone() } != *told
}
