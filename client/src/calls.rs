//! A running job with its types: encodes inputs as the grid takes them, decodes what comes back.
//!
//! [`Calls`] runs wherever the user polls it, so the inputs, the outputs and the iterator need not be `Send`; it never blocks but
//! in the user's own iterator. Everything that speaks with the grid is `job.rs`, on the client's own runtime. Between the two are
//! a bounded buffer of inputs and a bounded channel of outcomes.

use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use burla_guest::Function;
use burla_types::{LIMIT_PAYLOAD_BYTES_MAX, codec};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::component::Component;
use crate::connection;
use crate::input_buffer::{Closed, InputSender, input_buffer};
use crate::job::{Ended, Job};
use crate::options::{CheckedOptions, Options};
use crate::{CallError, Error, Result};

/// Batches of outcomes that may wait to be decoded: enough for the user's iterator to take its time over one input.
const OUTCOME_BATCHES_MAX: usize = 64;

/// How long inputs are taken before outcomes are looked at again. An iterator that is faster than the grid would otherwise be all
/// that happens.
const INPUT_TURN: Duration = Duration::from_millis(1);

/// A running job: its calls' fates, as they come. Dropping it stops the job.
pub(crate) struct Calls<F: Function, I> {
    state: State<I>,
    inputs_sent: u64,
    function: PhantomData<F>,
}

enum State<I> {
    /// Nothing has been asked of it yet.
    New {
        inputs: I,
        options: Box<Options>,
    },
    Running(Running<I>),
    Over,
}

struct Running<I> {
    /// `None` once the iterator has ended.
    inputs: Option<Inputs<I>>,
    outcomes: mpsc::Receiver<Vec<Ended>>,
    /// Decoded one at a time from the batch that came last.
    ready: std::vec::IntoIter<Ended>,
    task: tokio::task::JoinHandle<Result<()>>,
}

struct Inputs<I> {
    iterator: I,
    sender: InputSender,
}

impl<I> Drop for Running<I> {
    fn drop(&mut self) {
        // The stream to the scheduler ends with the task, and that is how the scheduler knows that nobody waits any more.
        self.task.abort();
    }
}

impl<F, I> Calls<F, I>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    pub(crate) fn new(_function: F, inputs: I, options: Options) -> Self {
        Self { state: State::New { inputs, options: Box::new(options) }, inputs_sent: 0, function: PhantomData }
    }

    /// How many inputs the iterator has given so far.
    pub(crate) fn inputs_sent(&self) -> u64 {
        self.inputs_sent
    }

    /// The next call's fate, in the order in which they end; `None` when all have.
    #[expect(clippy::type_complexity, reason = "the outer result is the job's, the inner one the call's; a name would hide that")]
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(u64, Result<F::Output, CallError>)>>> {
        loop {
            let running = match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Running(running) => running,
                State::New { .. } => match self.start() {
                    Ok(()) => continue,
                    Err(error) => return self.end(error),
                },
            };
            if let Some(Ended { index, outcome, stderr_tail }) = running.ready.next() {
                return match decode::<F>(index, outcome, stderr_tail) {
                    Ok(fate) => Poll::Ready(Some(Ok((index, fate)))),
                    Err(error) => self.end(error),
                };
            }
            let turn = match take_inputs::<F, I>(running, &mut self.inputs_sent, context) {
                Ok(turn) => turn,
                Err(error) => return self.end(error),
            };
            match running.outcomes.poll_recv(context) {
                Poll::Ready(Some(batch)) => running.ready = batch.into_iter(),
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

    fn start(&mut self) -> Result<()> {
        let State::New { inputs, options } = std::mem::replace(&mut self.state, State::Over) else { return Ok(()) };
        let options = CheckedOptions::try_from(*options)?;
        let component = Component::of::<F>()?;
        let (sender, receiver) = input_buffer();
        let (outcome_sender, outcomes) = mpsc::channel(OUTCOME_BATCHES_MAX);
        let job = Job { function: F::NAME, component, options };
        let task = connection::runtime().spawn(job.run(receiver, outcome_sender));
        let inputs = Inputs { iterator: inputs, sender };
        self.state = State::Running(Running { inputs: Some(inputs), outcomes, ready: Vec::new().into_iter(), task });
        Ok(())
    }

    /// The job's task has nothing more to say: what did it end with?
    fn poll_task<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let State::Running(running) = &mut self.state else { return Poll::Ready(None) };
        let ended = std::task::ready!(std::pin::Pin::new(&mut running.task).poll(context));
        self.state = State::Over;
        match ended {
            Ok(Ok(())) => Poll::Ready(None),
            Ok(Err(error)) => Poll::Ready(Some(Err(error))),
            // Nobody but `drop` aborts the task, so it panicked: in the user's callback, or in a bug of ours.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn end<T>(&mut self, error: Error) -> Poll<Option<Result<T>>> {
        self.state = State::Over;
        Poll::Ready(Some(Err(error)))
    }
}

/// Why no more inputs are taken for now.
#[derive(PartialEq)]
enum Turn {
    /// There are none, or no room; whoever changes that wakes us.
    MustWait,
    TimeIsUp,
}

/// Takes inputs from the iterator for as long as there is room for them, and one turn at most.
fn take_inputs<F, I>(running: &mut Running<I>, inputs_sent: &mut u64, context: &mut Context<'_>) -> Result<Turn>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    let started = Instant::now();
    while let Some(inputs) = &mut running.inputs {
        match inputs.sender.poll_room(context) {
            Poll::Pending => return Ok(Turn::MustWait),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Closed)) => {
                // The task has ended and says why.
                running.inputs = None;
                break;
            }
        }
        match inputs.iterator.next() {
            Some(input) => {
                inputs.sender.push(encode(*inputs_sent, &input)?);
                *inputs_sent += 1;
            }
            None => {
                if let Some(inputs) = running.inputs.take() {
                    inputs.sender.finish();
                }
            }
        }
        if started.elapsed() >= INPUT_TURN {
            return Ok(Turn::TimeIsUp);
        }
    }
    Ok(Turn::MustWait)
}

fn encode<T: serde::Serialize>(index: u64, input: &T) -> Result<Bytes> {
    let input = codec::encode(input).map_err(|source| Error::EncodeInput { index, source })?;
    if input.len() > LIMIT_PAYLOAD_BYTES_MAX {
        return Err(Error::InputTooLarge { index, bytes: input.len(), bytes_max: LIMIT_PAYLOAD_BYTES_MAX });
    }
    Ok(input.into())
}

fn decode<F: Function>(index: u64, outcome: burla_types::Outcome, stderr_tail: String) -> Result<Result<F::Output, CallError>> {
    match CallError::from_outcome(index, outcome, stderr_tail) {
        Err(error) => Ok(Err(error)),
        Ok(output) => match codec::decode(&output) {
            Ok(output) => Ok(Ok(output)),
            Err(source) => Err(Error::DecodeOutput { index, source }),
        },
    }
}
