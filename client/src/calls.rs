//! A running job with its types: encodes inputs as the grid takes them, decodes what comes back.
//!
//! [`Calls`] runs wherever the user polls it, so the inputs, the outputs and the iterator need not be `Send`; it never blocks but
//! in the user's own iterator. What it does with bytes is [`RawCalls`]'s.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use burla_guest::Function;
use burla_types::codec;
use bytes::Bytes;
use futures_core::Stream;

use crate::component::Component;
use crate::inputs::Inputs;
use crate::options::Options;
use crate::patience::is_of_channel;
use crate::raw_calls::{RawCalls, check_size};
use crate::{CallEnd, Error, Result, Usage};

/// A running job: its calls' fates, as they come. Dropping it stops the job.
pub(crate) struct Calls<F: Function, I> {
    state: State<F, I>,
    /// Outputs are given as they come, so the iterator of the inputs must not keep them back.
    gives_early: bool,
}

enum State<F: Function, I> {
    /// Nothing has been asked of it yet.
    New {
        function: F,
        inputs: I,
        options: Box<Options>,
    },
    Running(Box<RawCalls<Encoded<F, I>>>),
    Failed,
}

// Nothing in it is pinned: the iterator and the outputs are only ever moved out of.
impl<F: Function, I> Unpin for Calls<F, I> {}

impl<F, I> Calls<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    pub(crate) fn new(function: F, inputs: I, options: Options) -> Self {
        Self { state: State::New { function, inputs, options: Box::new(options) }, gives_early: false }
    }

    /// For a job whose outputs are wanted as they come.
    pub(crate) fn giving_early(mut self) -> Self {
        self.gives_early = true;
        self
    }

    /// How many inputs the iterator has given so far.
    pub(crate) fn inputs_taken(&self) -> u64 {
        match &self.state {
            State::Running(calls) => calls.inputs_taken(),
            State::New { .. } | State::Failed => 0,
        }
    }

    /// What the calls that it has given took together.
    pub(crate) fn usage(&self) -> Usage {
        match &self.state {
            State::Running(calls) => calls.usage(),
            State::New { .. } | State::Failed => Usage::default(),
        }
    }

    /// Starts the job, if it has not been: finds the component and the grid, and begins to dial.
    pub(crate) fn start(&mut self) -> Result<()> {
        let (function, inputs, options) = match std::mem::replace(&mut self.state, State::Failed) {
            State::New { function, inputs, options } => (function, inputs, options),
            other => {
                self.state = other;
                return Ok(());
            }
        };
        let may_block = self.gives_early && I::MAY_BLOCK;
        if may_block && is_of_channel::<I>() {
            return Err(Error::BlockingInputs);
        }
        let is_patient = may_block && inputs.inputs_left() == (0, None);
        let info = function.info()?;
        let inputs = Encoded::<F, I>::new(inputs);
        let mut calls = RawCalls::start(Component::of(info)?, &info.name, inputs, *options)?;
        if is_patient {
            calls.be_patient();
        }
        self.state = State::Running(Box::new(calls));
        Ok(())
    }

    /// The next call's fate, in the order in which they end; `None` when all have.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<CallEnd<F::Output>>>> {
        if let Err(error) = self.start() {
            return Poll::Ready(Some(Err(error)));
        }
        let State::Running(calls) = &mut self.state else { return Poll::Ready(None) };
        let next = match ready!(calls.poll_next(context)) {
            Some(Ok(CallEnd { index, result: Ok(output), usage })) => match codec::decode(&output) {
                Ok(output) => Some(Ok(CallEnd { index, result: Ok(output), usage })),
                Err(source) => {
                    // The job is of no use any more.
                    let error = Error::DecodeOutput { index, source };
                    calls.fail(&error);
                    self.state = State::Failed;
                    Some(Err(error))
                }
            },
            Some(Ok(CallEnd { index, result: Err(error), usage })) => Some(Ok(CallEnd { index, result: Err(error), usage })),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        Poll::Ready(next)
    }

    /// Says whose turn it is to write to the terminal: the user's program, or the job that the program waits for.
    pub(crate) fn program_has_terminal(&self, has: bool) {
        if let State::Running(calls) = &self.state {
            calls.program_has_terminal(has);
        }
    }
}

/// The inputs as they travel.
pub(crate) struct Encoded<F, I> {
    inputs: I,
    index: u64,
    function: PhantomData<fn() -> F>,
}

impl<F, I> Encoded<F, I> {
    pub(crate) fn new(inputs: I) -> Self {
        Self { inputs, index: 0, function: PhantomData }
    }
}

impl<F, I> Unpin for Encoded<F, I> {}

impl<F, I> Stream for Encoded<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Some(input) = ready!(self.inputs.poll_input(context)) else { return Poll::Ready(None) };
        let index = self.index;
        self.index += 1;
        Poll::Ready(Some(encode(index, &input)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inputs.inputs_left()
    }
}

fn encode<T: serde::Serialize>(index: u64, input: &T) -> Result<Bytes> {
    let input = codec::encode(input).map_err(|source| Error::EncodeInput { index, source })?;
    check_size(index, input.len())?;
    Ok(input.into())
}

#[cfg(test)]
mod tests {
    use crate::{Error, Result, remote_parallel_map};

    fn unmarked(number: u8) -> u8 {
        number
    }

    #[test]
    fn what_is_not_marked_is_refused_before_a_component_or_a_grid_is_looked_for() {
        fn refusal<T>(result: Result<T>) -> String {
            match result.err() {
                Some(Error::NotMarked(not_marked)) => not_marked.to_string(),
                other => panic!("{other:?}"),
            }
        }
        let path = format!("`{}::unmarked`", module_path!());
        let job = || remote_parallel_map(unmarked, [1]);
        for refusal in [refusal(job().run()), refusal(job().try_run()), refusal(job().generator()), refusal(job().detach())] {
            assert!(refusal.contains(&path) && refusal.contains("#[burla::function]"), "{refusal}");
        }
        let closure = refusal(remote_parallel_map(|number: u8| number, [1]).run());
        assert!(closure.starts_with("a closure in"), "{closure}");
    }
}
