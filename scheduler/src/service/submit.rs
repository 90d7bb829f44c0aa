//! Jobs that are handed over to the grid: inputs are taken in as fast as they can be kept, and the client hears how far that is. An
//! edge file: generated types stop here.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use burla_proto::v1::{self, map_request::Request, submit_job_response::Response};
use burla_proto::{WireSize, convert, status};
use burla_types::{GridError, JobId};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::map::check_inputs;
use crate::driver::{DriverHandle, Gone, Opened, SessionNumber};
use crate::grid::event::{Event, JobSpec};
use crate::store::{Kept, PAYLOAD_BYTES_MAX};

/// Bytes of inputs of a job that are taken in and not on the disk: a second's worth of a slow one.
const UNKEPT_BYTES_MAX: usize = 32 << 20;

/// Answers that wait for a client that does not read them. Each says more than the one before, and it has to read one now and then.
const ANSWERS_MAX: usize = 4;

/// How long the store may be in trouble before who hands a job over is told. It may just be over.
const TROUBLE_TIME_MAX: Duration = Duration::from_secs(5);

/// What a client is told that hands a job over.
pub(super) type Answers = ReceiverStream<Result<v1::SubmitJobResponse, Status>>;

/// Opens a job, or goes on with it.
pub(super) async fn open(
    driver: &DriverHandle,
    job: JobId,
    spec: JobSpec,
    mut options: v1::OpenJob,
    requests: Streaming<v1::MapRequest>,
) -> Result<Answers, Status> {
    options.resume = None;
    let stream = driver.next_number();
    let opened = driver.submit(job, stream, spec, Arc::new(options)).await.map_err(|error| status::to_status(&error))?;
    let Some(kept) = driver.store.job(job) else { return Err(status::to_status(&GridError::UnknownJob(job))) };
    let (sender, answers) = mpsc::channel(ANSWERS_MAX);
    let trouble = driver.store.trouble();
    let submission = Submission {
        driver: driver.clone(),
        job,
        stream,
        opened,
        requests,
        kept: kept.kept,
        trouble,
        unkept: VecDeque::new(),
        answers: sender,
    };
    tokio::spawn(submission.run());
    Ok(ReceiverStream::new(answers))
}

struct Submission {
    driver: DriverHandle,
    job: JobId,
    stream: SessionNumber,
    opened: Opened,
    requests: Streaming<v1::MapRequest>,
    kept: watch::Receiver<Kept>,
    trouble: watch::Receiver<Option<String>>,
    /// The index after a batch that is not on the disk, and the bytes of the batch.
    unkept: VecDeque<(u64, usize)>,
    answers: mpsc::Sender<Result<v1::SubmitJobResponse, Status>>,
}

/// Why a job is not handed over.
enum Halt {
    /// The connection broke, or the job is over, or the scheduler is.
    Gone(Status),
    /// It cannot be kept as it comes, so it ends: nobody knows of it who could end it.
    Refused(GridError),
}

impl From<GridError> for Halt {
    fn from(error: GridError) -> Self {
        Self::Gone(status::to_status(&error))
    }
}

impl Submission {
    async fn run(mut self) {
        let Opened { resumed, next_index } = self.opened;
        let opened = v1::JobOpened { job_id: convert::job_id_bytes(self.job), resumed, next_index };
        let answers = self.answers.clone();
        let ended = async {
            if !self.say(Response::Opened(opened)).await {
                return Ok(());
            }
            self.take().await
        };
        let ended = ended.await;
        let (driver, job) = (&self.driver, self.job);
        let status = match ended {
            Ok(()) => None,
            // A client that is gone may be back, or look for its job elsewhere.
            Err(Halt::Gone(status)) => Some(status),
            Err(Halt::Refused(error)) => {
                let _ = driver.tell(Event::JobFailed(job, error.clone())).await;
                Some(status::to_status(&error))
            }
        };
        driver.submitter_gone(job, self.stream).await;
        if let Some(status) = status {
            let _ = answers.send(Err(status)).await;
        }
    }

    /// Whether anyone hears it.
    async fn say(&self, response: Response) -> bool {
        self.answers.send(Ok(v1::SubmitJobResponse { response: Some(response) })).await.is_ok()
    }

    async fn take(&mut self) -> Result<(), Halt> {
        let (mut next_index, mut told, mut has_all) = (self.opened.next_index, 0, false);
        loop {
            let kept = *self.kept.borrow_and_update();
            while self.unkept.pop_front_if(|(index, _)| *index <= kept.inputs).is_some() {}
            if kept.ended && !kept.inputs_closed {
                let job = self.driver.job(self.job).await?;
                let has_failed = job.state() == v1::job::State::Failed;
                return Err(if has_failed { GridError::CannotKeep { reason: job.error } } else { GridError::Canceled }.into());
            }
            if kept.inputs > told {
                told = kept.inputs;
                if !self.say(Response::Kept(v1::InputsKept { next_index: told })).await {
                    return Ok(());
                }
            }
            if kept.inputs_closed {
                self.say(Response::Submitted(v1::Submitted {})).await;
                return Ok(());
            }
            let unkept: usize = self.unkept.iter().map(|(_, bytes)| bytes).sum();
            let has_room = !has_all && unkept < UNKEPT_BYTES_MAX;
            let trouble = pin!(in_trouble(self.trouble.clone()));
            tokio::select! {
                changed = self.kept.changed() => {
                    if changed.is_err() {
                        return Err(GridError::UnknownJob(self.job).into());
                    }
                }
                reason = trouble => return Err(Halt::Refused(GridError::CannotKeep { reason })),
                request = self.requests.message(), if has_room => {
                    let Some(request) = request.map_err(Halt::Gone)? else { return Ok(()) };
                    match request.request {
                        Some(Request::Inputs(batch)) => {
                            if batch.first_index > next_index || !batch.indices.is_empty() {
                                let first_index = batch.first_index;
                                return Err(malformed(format!("inputs from index {first_index} on, where {next_index} is next")));
                            }
                            check_inputs(batch.first_index, &batch.inputs).map_err(malformed)?;
                            check_kept(batch.first_index, &batch.inputs).map_err(Halt::Refused)?;
                            if self.driver.store.is_full() {
                                return Err(Halt::Refused(no_room()));
                            }
                            let end = batch.first_index + batch.inputs.len() as u64;
                            next_index = end.max(next_index);
                            self.unkept.push_back((end, batch.inputs.iter().map(WireSize::wire_bytes).sum()));
                            self.driver.keep_inputs(self.job, batch.first_index, batch.inputs).await?;
                        }
                        Some(Request::InputsClosed(_)) => {
                            has_all = true;
                            self.driver.close_inputs(self.job).await?;
                        }
                        Some(Request::Abandon(_)) => {
                            // One that is over already is over.
                            let _ = self.driver.cancel(self.job, Gone::Canceled).await;
                            return Err(GridError::Canceled.into());
                        }
                        Some(Request::Taken(_)) => {}
                        Some(Request::Open(_)) => return Err(malformed("the job is open already")),
                        None => return Err(malformed("an empty request")),
                    }
                }
            }
        }
    }
}

fn malformed(reason: impl Into<String>) -> Halt {
    Halt::Refused(GridError::InvalidRequest { reason: reason.into() })
}

/// What kept jobs take is all that they may.
pub(crate) fn no_room() -> GridError {
    let reason =
        "open jobs take all the room that it has for what it keeps: cancel some (`cargo burla jobs`), or raise --keep-gib";
    GridError::CannotKeep { reason: reason.to_owned() }
}

/// Refuses what the store has no room for.
fn check_kept(first_index: u64, inputs: &[Bytes]) -> Result<(), GridError> {
    let Some((input, index)) = inputs.iter().zip(first_index..).find(|(input, _)| input.len() > PAYLOAD_BYTES_MAX) else {
        return Ok(());
    };
    let (bytes, mib) = (input.len(), PAYLOAD_BYTES_MAX >> 20);
    let reason =
        format!("input {index} has {bytes} bytes, and a detached job's may have {mib} MiB; split it, or run the job attached");
    Err(GridError::CannotKeep { reason })
}

/// Completes when the store has been in trouble for a while.
async fn in_trouble(mut trouble: watch::Receiver<Option<String>>) -> String {
    loop {
        if trouble.wait_for(Option::is_some).await.is_err() {
            return std::future::pending().await;
        }
        let over = tokio::time::timeout(TROUBLE_TIME_MAX, trouble.wait_for(Option::is_none)).await.is_ok();
        if let (false, Some(reason)) = (over, trouble.borrow().clone()) {
            return reason;
        }
    }
}
