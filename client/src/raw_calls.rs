//! A running job as bytes: takes encoded inputs as the grid takes them, gives encoded outputs as they come.
//!
//! It runs wherever it is polled. Everything that speaks with the grid is `job.rs`, on the client's own runtime. Between the two
//! are a bounded buffer of inputs and a bounded channel of outcomes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use burla_proto::v1;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backoff::RECONNECT_TIME_MAX;
use crate::component::Component;
use crate::input_buffer::{InputSender, input_buffer};
use crate::input_source::{InputSource, Turn};
use crate::job::{ABANDON_TIME_MAX, CANCEL_TIME_MAX, Ended, EndedBatch, Job};
use crate::options::{CheckedOptions, Options};
use crate::patience::Patience;
use crate::progress::Progress;
use crate::{CallEnd, CallError, Error, Result, Usage, connection, interrupt};

/// Batches of outcomes that may wait to be decoded; what is in them is bounded by bytes, in `job.rs`.
const OUTCOME_BATCHES_MAX: usize = 64;

/// A running job: how its calls ended, as they do. Dropping it stops the job.
pub struct RawCalls<S> {
    inputs: InputSource<S, InputSender>,
    inputs_held: bool,
    /// The last turn of taking inputs took all its time.
    inputs_are_slow: bool,
    /// For inputs whose iterator may keep outputs back.
    patience: Option<Patience>,
    /// Calls whose end was given.
    given: u64,
    usage: Usage,
    outcomes: mpsc::Receiver<EndedBatch>,
    outcomes_sender: mpsc::WeakSender<EndedBatch>,
    /// Handed out one at a time from the batch that came last.
    ready: std::vec::IntoIter<Ended>,
    /// `None` once it has ended.
    task: Option<Task>,
    progress: Arc<Progress>,
}

/// What speaks with the grid, on the client's own runtime.
struct Task {
    handle: JoinHandle<Result<()>>,
    /// Says why nobody wants the job any more.
    wanted: oneshot::Sender<v1::Abandon>,
    /// Disconnected when the task has ended. Of std, because a job may be dropped where tokio does not let anyone wait: on a
    /// thread of the user's own runtime.
    over: std::sync::mpsc::Receiver<()>,
}

impl<S> RawCalls<S> {
    /// The job has failed for its program, for this reason, although its calls have not: the scheduler is told so.
    pub fn fail(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.abandon(v1::Abandon { error: burla_types::with_causes(error), canceled: false });
    }

    /// Nobody wants the job any more: waits while the scheduler is told so, which it is unless the connection is broken. The
    /// program may exit right after.
    fn abandon(&mut self, why: v1::Abandon) {
        let Some(Task { handle, wanted, over }) = self.task.take() else { return };
        // A task that has ended has nobody to tell.
        let _ = wanted.send(why);
        // The task may wait for room.
        self.outcomes.close();
        while self.outcomes.try_recv().is_ok() {}
        // And a moment for the task to go on from where these two end.
        let _ = over.recv_timeout(ABANDON_TIME_MAX + CANCEL_TIME_MAX + ABANDON_TIME_MAX);
        handle.abort();
        self.progress.stopped();
    }
}

impl<S> Drop for RawCalls<S> {
    fn drop(&mut self) {
        self.abandon(v1::Abandon::default());
    }
}

impl<S> RawCalls<S>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    /// Starts a job of a component's function.
    pub(crate) fn start(component: Component, function: &str, inputs: S, options: Options) -> Result<Self> {
        let options = CheckedOptions::try_from(options)?;
        let (sender, receiver) = input_buffer();
        let (outcome_sender, outcomes) = mpsc::channel(OUTCOME_BATCHES_MAX);
        let outcomes_sender = outcome_sender.downgrade();
        let progress = Progress::start(options.spinner);
        let inputs = InputSource::new(inputs, sender, Arc::clone(&progress));
        let canceled = interrupt::watch();
        let job = Job {
            function: function.to_owned(),
            component,
            options,
            progress: Arc::clone(&progress),
            reconnect_time_max: RECONNECT_TIME_MAX,
        };
        let (wanted, unwanted) = oneshot::channel();
        let (is_over, over) = std::sync::mpsc::sync_channel(0);
        let handle = connection::runtime().spawn(async move {
            let _is_over: std::sync::mpsc::SyncSender<()> = is_over;
            job.run(receiver, outcome_sender, canceled, unwanted).await
        });
        Ok(Self {
            inputs,
            inputs_held: false,
            inputs_are_slow: false,
            patience: None,
            given: 0,
            usage: Usage::default(),
            outcomes,
            outcomes_sender,
            ready: Vec::new().into_iter(),
            task: Some(Task { handle, wanted, over }),
            progress,
        })
    }

    /// Asks for an input only when no output can be expected soon, because asking may block.
    pub(crate) fn be_patient(&mut self) {
        self.patience = Some(Patience::new(self.outcomes_sender.clone()));
    }

    /// How many inputs were taken so far.
    pub fn inputs_taken(&self) -> u64 {
        self.inputs.taken()
    }

    /// What the calls that it has given took together.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes no more inputs for now, or goes on: for a reader that has to keep outputs until an earlier one is there.
    pub fn hold_inputs(&mut self, hold: bool) {
        self.inputs_held = hold;
    }

    /// How the next call ended, with its index, in the order in which they do; `None` when all have. An error is the job's, and
    /// its end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<CallEnd<Bytes>>>> {
        loop {
            if let Some(Ended { index, outcome, stderr_tail, usage }) = self.ready.next() {
                self.given += 1;
                self.usage.add(&usage);
                let result = CallError::from_outcome(index, outcome, stderr_tail, usage);
                return Poll::Ready(Some(Ok(CallEnd { index, result, usage })));
            }
            if self.task.is_none() {
                return Poll::Ready(None);
            }
            // An iterator that takes its time is not asked while there is something to give.
            if (self.inputs_are_slow || self.patience.is_some())
                && let Poll::Ready(Some(batch)) = self.outcomes.poll_recv(context)
            {
                self.take_batch(batch);
                continue;
            }
            let turn = match self.take_inputs(context) {
                Ok(turn) => turn,
                Err(error) => {
                    self.fail(&error);
                    return Poll::Ready(Some(Err(error)));
                }
            };
            self.inputs_are_slow = turn == Turn::TimeIsUp;
            match self.outcomes.poll_recv(context) {
                Poll::Ready(Some(batch)) => self.take_batch(batch),
                Poll::Ready(None) => return self.poll_task(context),
                Poll::Pending => {
                    if turn == Turn::TimeIsUp {
                        context.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn take_inputs(&mut self, context: &mut Context<'_>) -> Result<Turn> {
        if self.inputs_held {
            return Ok(Turn::MustWait);
        }
        let Some(patience) = &mut self.patience else { return self.inputs.take(context) };
        if patience.poll_ask(self.inputs.taken() - self.given, context).is_pending() {
            return Ok(Turn::MustWait);
        }
        let count_max = if patience.is_one_by_one() { 1 } else { u64::MAX };
        patience.ask(|| self.inputs.take_at_most(count_max, context))
    }

    fn take_batch(&mut self, batch: EndedBatch) {
        self.ready = batch.ended.into_iter();
        if let Some(patience) = &mut self.patience {
            patience.ended();
        }
    }

    /// Says whose turn it is to write to the terminal: the program, or the job that the program waits for.
    pub fn program_has_terminal(&self, has: bool) {
        self.progress.program_has_terminal(has);
    }

    /// The job's task has nothing more to say: what did it end with?
    fn poll_task<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = std::task::ready!(Pin::new(&mut task.handle).poll(context));
        self.task = None;
        match ended {
            Ok(Ok(())) => {
                self.progress.finished();
                Poll::Ready(None)
            }
            Ok(Err(error)) => {
                self.progress.stopped();
                Poll::Ready(Some(Err(error)))
            }
            // Nobody but `abandon` aborts the task, so it panicked: in the user's callback, or in a bug of ours.
            Err(panicked) => {
                self.progress.stopped();
                std::panic::resume_unwind(panicked.into_panic())
            }
        }
    }
}

/// Refuses what is larger than an input may be.
pub(crate) fn check_size(index: u64, bytes: usize) -> Result<()> {
    let bytes_max = burla_types::LIMIT_PAYLOAD_BYTES_MAX;
    if bytes > bytes_max { Err(Error::InputTooLarge { index, bytes, bytes_max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_too_large_is_named_with_its_size_and_the_limit() {
        assert!(check_size(7, 1 << 30).is_ok());
        let error = check_size(7, (1 << 30) + 1).unwrap_err();
        assert!(matches!(error, Error::InputTooLarge { index: 7, bytes: 1_073_741_825, bytes_max: 1_073_741_824 }), "{error:?}");
    }
}
