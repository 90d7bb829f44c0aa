//! What became of a kept job, for whoever wants to know, from wherever in it they want: what is on the disk first, then what comes to
//! it, until the job has ended. An edge file: generated types stop here.

use std::time::Duration;

use burla_proto::v1::{self, follow_job_response::Response};
use burla_proto::{BATCH_BYTES, convert, status};
use burla_types::{GridError, JobId, with_causes};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::refuse;
use crate::driver::DriverHandle;
use crate::store::{Kept, StoreError};

/// Answers that wait for a client that does not read them; each has about a message's worth of events.
const ANSWERS_MAX: usize = 4;

/// How often the job is looked at for who watches it.
const LOOK_TIME: Duration = Duration::from_millis(200);

/// What a client is told that follows a job.
pub(super) type Answers = ReceiverStream<Result<v1::FollowJobResponse, Status>>;

/// Follows a job.
pub(super) async fn follow(driver: &DriverHandle, request: v1::FollowJobRequest) -> Result<Answers, Status> {
    let id = convert::job_id(&request.job_id).map_err(refuse)?;
    let job = driver.job(id).await.map_err(|error| status::to_status(&error))?;
    let Some(kept) = driver.store.job(id) else {
        // What is known of it is that it has ended, or that its client has all the rest.
        let (sender, answers) = mpsc::channel(1);
        let _ = sender.send(Ok(v1::FollowJobResponse { response: Some(Response::Job(job)) })).await;
        return Ok(ReceiverStream::new(answers));
    };
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
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

struct Following {
    driver: DriverHandle,
    id: JobId,
    kept: watch::Receiver<Kept>,
    /// The next to tell.
    outcome: Option<u64>,
    line_event: Option<u64>,
    answers: mpsc::Sender<Result<v1::FollowJobResponse, Status>>,
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
            if !self.tell_events(kept).await? {
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
                () = tokio::time::sleep(LOOK_TIME) => {
                    job = self.driver.job(self.id).await.map_err(|error| status::to_status(&error))?;
                }
                () = self.answers.closed() => return Ok(()),
            }
        }
    }

    /// Tells all events that are kept. Returns whether anyone hears it.
    async fn tell_events(&mut self, kept: Kept) -> Result<bool, Status> {
        // Lines first: they were kept before the outcomes that followed them.
        while let Some(next) = self.line_event.filter(|next| *next < kept.lines) {
            let events =
                self.driver.store.read_lines(self.id, next, BATCH_BYTES).await.map_err(|error| self.unreadable(&error))?;
            self.line_event = Some(after(&events, next, kept.lines));
            if !self.say(Response::Lines(events)).await {
                return Ok(false);
            }
        }
        while let Some(next) = self.outcome.filter(|next| *next < kept.outcomes) {
            let events =
                self.driver.store.read_outcomes(self.id, next, BATCH_BYTES).await.map_err(|error| self.unreadable(&error))?;
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
