//! Giving a detached job to the grid: opens it, sends its inputs, and ends when the grid has said that it keeps everything.
//!
//! The inputs are taken wherever [`submit`] is polled; what speaks with the grid runs on the client's own runtime. When the
//! connection breaks, the job is opened again under its id, and goes on with the inputs that the grid does not have.
//!
//! This is an edge file: generated types stop here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use burla_proto::convert;
use burla_proto::v1::{self, MapRequest, map_request::Request, submit_job_response::Response};
use burla_types::{GridError, JobId};
use bytes::Bytes;
use futures_core::Stream;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use crate::component::Component;
use crate::connection::{self, Connection};
use crate::input_source::{InputSource, Turn};
use crate::interrupt::{self, Interrupt};
use crate::opening::new_job_id;
use crate::options::{CheckedOptions, Options};
use crate::progress::Progress;
use crate::redial::Redial;
use crate::unkept::{Next, UnkeptReceiver, UnkeptSender, UnkeptStream, unkept_inputs};
use crate::{CanceledBy, Error, Grid, Result};

/// Gives a job of a component's function to the grid, and returns its id. Where it fails, is interrupted with Ctrl-C, or is
/// dropped, what the grid has of the job by then is canceled.
pub(crate) async fn submit<S>(component: Component, function: &str, inputs: S, options: Options) -> Result<(Grid, JobId)>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    let options = CheckedOptions::try_from(options)?;
    let (grid, id) = (Grid::at(options.url.clone())?, new_job_id());
    let progress = Progress::start(options.spinner);
    let mut open = options.open_job(function, component.digest);
    open.job_id = convert::job_id_bytes(id);
    let (sender, receiver) = unkept_inputs();
    let inputs = InputSource::new(inputs, sender, Arc::clone(&progress));
    let submission =
        Submission { url: options.url.clone(), open, component, inputs: receiver, openings: 0, progress: Arc::clone(&progress) };
    let task = connection::runtime().spawn(submission.run(interrupt::watch()));
    let mut submitting = Submitting { id, url: options.url, inputs, task: Some(task), progress };
    match std::future::poll_fn(|context| submitting.poll(context)).await {
        Ok(()) => {
            submitting.progress.submitted(submitting.inputs.taken());
            Ok((grid, id))
        }
        Err(error) => {
            submitting.give_up(&error).await;
            Err(error)
        }
    }
}

/// A job on its way to the grid, as its user sees it.
struct Submitting<S> {
    id: JobId,
    url: String,
    inputs: InputSource<S, UnkeptSender>,
    /// `None` once it has ended, or was given up.
    task: Option<JoinHandle<Result<()>>>,
    progress: Arc<Progress>,
}

impl<S> Submitting<S>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.inputs.take(context)? == Turn::TimeIsUp {
            context.waker().wake_by_ref();
        }
        let Some(task) = &mut self.task else { return Poll::Ready(Ok(())) };
        let ended = std::task::ready!(Pin::new(task).poll(context));
        self.task = None;
        Poll::Ready(ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic())))
    }

    /// Cancels what the grid may have of the job, unless it has nothing or nobody answers there.
    async fn give_up(&mut self, error: &Error) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.progress.stopped();
        let is_known = match error {
            Error::JobCanceled { by, .. } => *by == CanceledBy::CtrlC,
            Error::Unreachable { .. } => false,
            // The grid may have refused all of it, or what came after the beginning.
            _ => true,
        };
        if is_known {
            // What becomes of it is in the log; the error that led here is the one to tell.
            let _ = connection::runtime().spawn(connection::cancel(self.url.clone(), self.id, None)).await;
        }
    }
}

impl<S> Drop for Submitting<S> {
    fn drop(&mut self) {
        // Its future was dropped, or the user's iterator panicked.
        if let Some(task) = self.task.take() {
            task.abort();
            self.progress.stopped();
            connection::runtime().spawn(connection::cancel(self.url.clone(), self.id, None));
        }
    }
}

/// A job on its way to the grid, as messages.
struct Submission {
    url: String,
    open: v1::OpenJob,
    component: Component,
    inputs: UnkeptReceiver,
    /// How often the job was opened so far.
    openings: u32,
    progress: Arc<Progress>,
}

impl Submission {
    async fn run(mut self, interrupt: Interrupt) -> Result<()> {
        let canceled = |by| Err(Error::JobCanceled { by, calls_ended: 0 });
        tokio::select! {
            ended = self.run_uninterrupted() => match ended {
                Err(Error::Grid(GridError::Canceled)) => canceled(CanceledBy::Operator),
                ended => ended,
            },
            () = interrupt.pressed() => canceled(CanceledBy::CtrlC),
        }
    }

    async fn run_uninterrupted(&mut self) -> Result<()> {
        let mut redial = Redial::new();
        while let Err(error) = self.run_on_one_connection(&mut redial).await {
            redial.pause(error, &self.progress).await?;
        }
        Ok(())
    }

    async fn run_on_one_connection(&mut self, redial: &mut Redial) -> Result<()> {
        let mut connection = Connection::open(&self.url).await?;
        redial.reached();
        let mut provided = false;
        loop {
            match self.run_one_opening(&mut connection, redial).await {
                Err(Error::Grid(GridError::UnknownComponent(_))) if !provided => {
                    connection.provide(&self.component, |bytes| self.progress.uploading(bytes)).await?;
                    provided = true;
                }
                ended => return ended,
            }
        }
    }

    async fn run_one_opening(&mut self, connection: &mut Connection, redial: &mut Redial) -> Result<()> {
        let resume = (self.openings > 0).then_some(v1::open_job::Resume { events_taken: 0, openings: self.openings });
        let open = v1::OpenJob { resume, ..self.open.clone() };
        self.openings += 1;
        let requests = Requests { open: Some(open), inputs: self.inputs.open(), closed: false };
        let responses = connection.client.submit_job(requests).await.map_err(|status| connection.error(status))?;
        self.receive(responses.into_inner(), connection, redial).await
    }

    async fn receive(
        &self,
        mut responses: Streaming<v1::SubmitJobResponse>,
        connection: &Connection,
        redial: &mut Redial,
    ) -> Result<()> {
        while let Some(message) = responses.message().await.map_err(|status| connection.error(status))? {
            match message.response {
                Some(Response::Opened(opened)) => {
                    tracing::debug!(job = ?opened.job_id, opened.resumed, opened.next_index, "job opened");
                    self.inputs.opened(opened.next_index)?;
                    redial.well(&self.progress);
                    self.progress.submitting(0);
                }
                Some(Response::Kept(kept)) => {
                    self.inputs.kept(kept.next_index)?;
                    self.progress.submitting(kept.next_index);
                }
                Some(Response::Submitted(_)) => return Ok(()),
                None => {}
            }
        }
        Err(connection.error(Status::unavailable("the stream ended before the job was kept")))
    }
}

/// What goes to the scheduler: the job, its inputs, and that they are all. The stream stays open after that: its end would say that
/// the client is gone.
struct Requests {
    open: Option<v1::OpenJob>,
    inputs: UnkeptStream,
    closed: bool,
}

impl Stream for Requests {
    type Item = MapRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<MapRequest>> {
        let request = if let Some(open) = self.open.take() {
            Request::Open(open)
        } else if self.closed {
            // Whoever drops the responses drops this with them.
            return Poll::Pending;
        } else {
            match std::task::ready!(self.inputs.poll_next(context)) {
                Next::Batch { first_index, inputs } => {
                    Request::Inputs(v1::InputBatch { first_index, inputs, ..v1::InputBatch::default() })
                }
                Next::Finished => {
                    self.closed = true;
                    Request::InputsClosed(v1::InputsClosed {})
                }
                Next::Over => return Poll::Ready(None),
            }
        };
        Poll::Ready(Some(MapRequest { request: Some(request) }))
    }
}
