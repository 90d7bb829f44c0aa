//! Outputs one by one, as calls finish: for programs that wait, and for programs that await.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use burla_guest::Function;
use futures_core::Stream;

use crate::block_on::block_on;
use crate::calls::Calls;
use crate::inputs::Inputs;
use crate::{CallError, Error, Result, Usage};

/// A running job, and its outputs as calls finish. Made by [`generator`](crate::RemoteParallelMap::generator). Dropping it stops
/// the job.
#[must_use = "dropping it stops the job"]
pub struct Generator<F: Function, I>(IndexedGenerator<F, I>);

/// The same, each output with the index of its input. Made by [`Generator::indexed`].
#[must_use = "dropping it stops the job"]
pub struct IndexedGenerator<F: Function, I>(Calls<F, I>);

/// The same, each call with how it ended and what it took, failures included. Made by [`Generator::detailed`].
#[must_use = "dropping it stops the job"]
pub struct DetailedGenerator<F: Function, I>(Calls<F, I>);

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallEnd<T> {
    /// The position of its input, from 0.
    pub index: u64,
    /// Its output, or how else it ended.
    pub result: Result<T, CallError>,
    /// What it took.
    pub usage: Usage,
}

impl<F: Function, I> Generator<F, I> {
    pub(crate) fn new(calls: Calls<F, I>) -> Self {
        Self(IndexedGenerator(calls))
    }

    /// Gives every call's end: the index of its input, its output or its error, and what it took.
    ///
    /// ```no_run
    /// # #[burla::function]
    /// # fn length(text: String) -> usize { text.len() }
    /// # fn main() -> burla::Result<()> {
    /// let mut ends = burla::remote_parallel_map(length, ["a".to_owned(), "bc".to_owned()]).generator()?.detailed();
    /// for end in &mut ends {
    ///     let end = end?;
    ///     println!("call {} ran {} instructions", end.index, end.usage.fuel);
    /// }
    /// println!("all together {}", ends.usage().fuel);
    /// # Ok(())
    /// # }
    /// ```
    pub fn detailed(self) -> DetailedGenerator<F, I> {
        DetailedGenerator(self.0.0)
    }

    /// Gives the index of its input, from 0, with each output.
    pub fn indexed(self) -> IndexedGenerator<F, I> {
        self.0
    }
}

impl<F, I> Iterator for Generator<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(without_index)
    }
}

impl<F, I> Iterator for IndexedGenerator<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<(u64, F::Output)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.program_has_terminal(false);
        let next = block_on(std::future::poll_fn(|context| poll_next(&mut self.0, context)));
        self.0.program_has_terminal(true);
        next
    }
}

impl<F, I> Iterator for DetailedGenerator<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<CallEnd<F::Output>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.program_has_terminal(false);
        let next = block_on(std::future::poll_fn(|context| self.0.poll_next(context)));
        self.0.program_has_terminal(true);
        next
    }
}

impl<F, I> DetailedGenerator<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    /// What all calls that it has given took together.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }
}

/// A running job, and its outputs as calls finish. Made by [`stream`](crate::RemoteParallelMap::stream). Dropping it stops the
/// job.
#[must_use = "dropping it stops the job"]
pub struct CallStream<F: Function, I>(IndexedCallStream<F, I>);

/// The same, each output with the index of its input. Made by [`CallStream::indexed`].
#[must_use = "dropping it stops the job"]
pub struct IndexedCallStream<F: Function, I>(Calls<F, I>);

/// The same, each call with how it ended and what it took, failures included. Made by [`CallStream::detailed`].
#[must_use = "dropping it stops the job"]
pub struct DetailedCallStream<F: Function, I>(Calls<F, I>);

impl<F: Function, I> CallStream<F, I> {
    pub(crate) fn new(calls: Calls<F, I>) -> Self {
        Self(IndexedCallStream(calls))
    }

    /// Gives every call's end: the index of its input, its output or its error, and what it took.
    pub fn detailed(self) -> DetailedCallStream<F, I> {
        DetailedCallStream(self.0.0)
    }

    /// Gives the index of its input, from 0, with each output.
    pub fn indexed(self) -> IndexedCallStream<F, I> {
        self.0
    }
}

// Nothing in them is pinned.
impl<F: Function, I> Unpin for CallStream<F, I> {}
impl<F: Function, I> Unpin for IndexedCallStream<F, I> {}
impl<F: Function, I> Unpin for DetailedCallStream<F, I> {}

impl<F, I> Stream for CallStream<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<F::Output>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| next.map(without_index))
    }
}

impl<F, I> Stream for IndexedCallStream<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<(u64, F::Output)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.program_has_terminal(false);
        let next = ready!(poll_next(&mut self.0, context));
        self.0.program_has_terminal(true);
        Poll::Ready(next)
    }
}

impl<F, I> Stream for DetailedCallStream<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    type Item = Result<CallEnd<F::Output>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.program_has_terminal(false);
        let next = ready!(self.0.poll_next(context));
        self.0.program_has_terminal(true);
        Poll::Ready(next)
    }
}

impl<F, I> DetailedCallStream<F, I>
where
    F: Function,
    I: Inputs<F::Input>,
{
    /// What all calls that it has given took together.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }
}

/// An output with the index of its input.
type Indexed<F> = Result<(u64, <F as Function>::Output)>;

fn poll_next<F, I>(calls: &mut Calls<F, I>, context: &mut Context<'_>) -> Poll<Option<Indexed<F>>>
where
    F: Function,
    I: Inputs<F::Input>,
{
    let next = ready!(calls.poll_next(context));
    Poll::Ready(next.map(|next| {
        let CallEnd { index, result, .. } = next?;
        result.map(|output| (index, output)).map_err(|error| Error::Call(Box::new(error)))
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

impl<F: Function, I> fmt::Debug for DetailedGenerator<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetailedGenerator").finish_non_exhaustive()
    }
}

impl<F: Function, I> fmt::Debug for DetailedCallStream<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetailedCallStream").finish_non_exhaustive()
    }
}

fn without_index<T>(next: Result<(u64, T)>) -> Result<T> {
    next.map(|(_, output)| output)
}
