//! Outputs one by one, as calls finish: for programs that wait, and for programs that await.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use burla_guest::Function;
use futures_core::Stream;

use crate::block_on::block_on;
use crate::calls::Calls;
use crate::{Error, Result};

/// A running job, and its outputs as calls finish. Made by [`generator`](crate::RemoteParallelMap::generator). Dropping it stops
/// the job.
#[must_use = "dropping it stops the job"]
pub struct Generator<F: Function, I>(IndexedGenerator<F, I>);

/// The same, each output with the index of its input. Made by [`Generator::indexed`].
#[must_use = "dropping it stops the job"]
pub struct IndexedGenerator<F: Function, I>(Calls<F, I>);

impl<F: Function, I> Generator<F, I> {
    pub(crate) fn new(calls: Calls<F, I>) -> Self {
        Self(IndexedGenerator(calls))
    }

    /// Gives the index of its input, from 0, with each output.
    pub fn indexed(self) -> IndexedGenerator<F, I> {
        self.0
    }
}

impl<F, I> Iterator for Generator<F, I>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(without_index)
    }
}

impl<F, I> Iterator for IndexedGenerator<F, I>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<(u64, F::Output)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.program_has_terminal(false);
        let next = block_on(std::future::poll_fn(|context| poll_next(&mut self.0, context)));
        self.0.program_has_terminal(true);
        next
    }
}

/// A running job, and its outputs as calls finish. Made by [`stream`](crate::RemoteParallelMap::stream). Dropping it stops the
/// job.
#[must_use = "dropping it stops the job"]
pub struct CallStream<F: Function, I>(IndexedCallStream<F, I>);

/// The same, each output with the index of its input. Made by [`CallStream::indexed`].
#[must_use = "dropping it stops the job"]
pub struct IndexedCallStream<F: Function, I>(Calls<F, I>);

impl<F: Function, I> CallStream<F, I> {
    pub(crate) fn new(calls: Calls<F, I>) -> Self {
        Self(IndexedCallStream(calls))
    }

    /// Gives the index of its input, from 0, with each output.
    pub fn indexed(self) -> IndexedCallStream<F, I> {
        self.0
    }
}

// Nothing in them is pinned.
impl<F: Function, I> Unpin for CallStream<F, I> {}
impl<F: Function, I> Unpin for IndexedCallStream<F, I> {}

impl<F, I> Stream for CallStream<F, I>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<F::Output>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| next.map(without_index))
    }
}

impl<F, I> Stream for IndexedCallStream<F, I>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    type Item = Result<(u64, F::Output)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.program_has_terminal(false);
        let next = ready!(poll_next(&mut self.0, context));
        self.0.program_has_terminal(true);
        Poll::Ready(next)
    }
}

/// An output with the index of its input.
type Indexed<F> = Result<(u64, <F as Function>::Output)>;

fn poll_next<F, I>(calls: &mut Calls<F, I>, context: &mut Context<'_>) -> Poll<Option<Indexed<F>>>
where
    F: Function,
    I: Iterator<Item = F::Input>,
{
    let next = ready!(calls.poll_next(context));
    Poll::Ready(next.map(|next| {
        let (index, fate) = next?;
        fate.map(|output| (index, output)).map_err(|error| Error::Call(Box::new(error)))
    }))
}

impl<F: Function, I> fmt::Debug for Generator<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").finish_non_exhaustive()
    }
}

impl<F: Function, I> fmt::Debug for IndexedGenerator<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedGenerator").finish_non_exhaustive()
    }
}

impl<F: Function, I> fmt::Debug for CallStream<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallStream").finish_non_exhaustive()
    }
}

impl<F: Function, I> fmt::Debug for IndexedCallStream<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedCallStream").finish_non_exhaustive()
    }
}

fn without_index<T>(next: Result<(u64, T)>) -> Result<T> {
    next.map(|(_, output)| output)
}
