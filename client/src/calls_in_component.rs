//! What a running job is inside a component: nothing. A component holds functions, and the program around them, if it comes along,
//! is never called.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use burla_guest::Function;

use crate::inputs::Inputs;
use crate::options::Options;
use crate::{CallEnd, Error, Result, Usage};

/// A job that cannot be.
pub(crate) struct Calls<F, I>(PhantomData<fn() -> (F, I)>);

impl<F, I> Calls<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    pub(crate) fn new(_function: F, _inputs: I, _options: Options) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn giving_early(self) -> Self {
        self
    }

    pub(crate) fn inputs_taken(&self) -> u64 {
        0
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        Err(Error::InsideFunction)
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::default()
    }

    pub(crate) fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<CallEnd<F::Output>>>> {
        Poll::Ready(Some(Err(Error::InsideFunction)))
    }

    pub(crate) fn program_has_terminal(&self, _: bool) {}
}
