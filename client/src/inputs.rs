//! Inputs that a job takes: an iterator, an asynchronous stream, or an iterator on a thread of its own.
//!
//! An iterator is asked wherever the job is polled, so it need not be `Send` and may borrow. While it blocks, nothing else happens
//! on that thread: outputs that come meanwhile have to wait. A stream and a thread keep nothing back.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

/// A collection, an iterator, or a [`FromStream`], whose items are the inputs of a function.
///
/// Nobody else implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not give inputs of type `{T}`",
    note = "the inputs are a collection or an iterator of owned values, `burla::from_stream(…)` or `burla::from_thread(…)`"
)]
pub trait IntoInputs<T> {
    /// Gives them one by one.
    type Inputs: Inputs<T>;

    /// Begins to give them.
    #[doc(hidden)]
    fn into_inputs(self) -> Self::Inputs;
}

impl<T, I: IntoIterator<Item = T>> IntoInputs<T> for I {
    type Inputs = I::IntoIter;

    fn into_inputs(self) -> I::IntoIter {
        self.into_iter()
    }
}

impl<T, S: Stream<Item = T>> IntoInputs<T> for FromStream<S> {
    type Inputs = Self;

    fn into_inputs(self) -> Self {
        self
    }
}

/// Inputs one by one: any iterator, and [`FromStream`].
///
/// Nobody else implements it.
pub trait Inputs<T> {
    /// Asking for an input may block the thread that asks.
    #[doc(hidden)]
    const MAY_BLOCK: bool;

    /// The next input.
    #[doc(hidden)]
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Option<T>>;

    /// At least and at most how many there are.
    #[doc(hidden)]
    fn inputs_left(&self) -> (usize, Option<usize>);
}

impl<T, I: Iterator<Item = T>> Inputs<T> for I {
    const MAY_BLOCK: bool = true;

    fn poll_input(&mut self, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.next())
    }

    fn inputs_left(&self) -> (usize, Option<usize>) {
        self.size_hint()
    }
}

impl<T, S: Stream<Item = T>> Inputs<T> for FromStream<S> {
    const MAY_BLOCK: bool = false;

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }

    fn inputs_left(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The items of a stream as the inputs of a job. Made by [`from_stream`] and [`from_thread`].
pub struct FromStream<S>(Pin<Box<S>>);

/// Inputs from any asynchronous [`Stream`], such as the receiver of an asynchronous channel. They are taken as they come, and
/// outputs are given as calls end, whether there is a next input yet or not.
///
/// The stream is polled where the job is: by [`.stream()`](crate::RemoteParallelMap::stream) and `.await` in their task, and by the
/// methods that block on the thread that called them. One that needs a runtime, such as a timer of tokio's, needs it there.
///
/// ```no_run
/// # #[burla::function]
/// # fn length(text: String) -> usize { text.len() }
/// # async fn lengths() -> burla::Result<()> {
/// let (sender, receiver) = tokio::sync::mpsc::channel(100);
/// tokio::spawn(async move { sender.send("a".to_owned()).await });
/// let inputs = burla::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
/// let lengths = burla::remote_parallel_map(length, inputs).await?;
/// assert_eq!(lengths, [1]);
/// # Ok(())
/// # }
/// ```
pub fn from_stream<S: Stream>(stream: S) -> FromStream<S> {
    FromStream(Box::pin(stream))
}

/// Inputs from a blocking iterator, which `make` gives on a thread of its own: lines of stdin, or the receiver of a channel. Outputs
/// are given as calls end, while the iterator waits for the next input. The iterator is made on the thread, so only `make` and the
/// inputs have to be `Send`.
///
/// The thread is started with the job, and takes a few inputs ahead of it. When the job is dropped, the thread ends after the input
/// that it waits for; nobody waits for the thread.
///
/// ```no_run
/// # #[burla::function]
/// # fn shout(line: String) -> String { line.to_uppercase() }
/// # fn main() -> burla::Result<()> {
/// let lines = burla::from_thread(|| std::io::stdin().lines().map_while(Result::ok));
/// for shouted in burla::remote_parallel_map(shout, lines).generator()? {
///     println!("{}", shouted?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A program whose outputs lead to further inputs sends them through a channel. The job ends when the sender is dropped:
///
/// ```no_run
/// # #[burla::function]
/// # fn links(page: u64) -> Vec<u64> { (2 * page + 1..2 * page + 3).filter(|next| *next < 100).collect() }
/// # fn main() -> burla::Result<()> {
/// let (sender, pages) = std::sync::mpsc::channel();
/// let (mut sender, mut open) = (Some(sender), 1);
/// sender.iter().for_each(|sender| sender.send(0).unwrap());
/// for found in burla::remote_parallel_map(links, burla::from_thread(|| pages)).generator()? {
///     let found = found?;
///     open = open - 1 + found.len();
///     found.into_iter().for_each(|page| sender.as_ref().unwrap().send(page).unwrap());
///     if open == 0 {
///         sender = None;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn from_thread<I, M>(make: M) -> FromStream<ThreadInputs<I::Item>>
where
    M: FnOnce() -> I + Send + 'static,
    I: IntoIterator,
    I::Item: Send + 'static,
{
    from_stream(ThreadInputs::new(make))
}

pub use thread::ThreadInputs;

#[cfg(not(target_family = "wasm"))]
mod thread {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::thread::JoinHandle;

    use futures_core::Stream;
    use tokio::sync::mpsc;

    /// Inputs that the thread has taken and the job has not: enough for the job not to wait for a switch of threads each time, and
    /// few, since inputs may be large.
    const AHEAD_MAX: usize = 16;

    /// What an iterator gives on a thread of its own. Made by [`from_thread`](crate::from_thread).
    pub struct ThreadInputs<T>(State<T>);

    enum State<T> {
        New(Box<dyn FnOnce(mpsc::Sender<T>) + Send>),
        Running(mpsc::Receiver<T>, JoinHandle<()>),
        Over,
    }

    impl<T: Send + 'static> ThreadInputs<T> {
        pub(super) fn new<I, M>(make: M) -> Self
        where
            M: FnOnce() -> I + Send + 'static,
            I: IntoIterator<Item = T>,
        {
            Self(State::New(Box::new(move |inputs| {
                for input in make() {
                    // The job is gone.
                    if inputs.blocking_send(input).is_err() {
                        break;
                    }
                }
            })))
        }
    }

    impl<T: Send + 'static> Stream for ThreadInputs<T> {
        type Item = T;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
            loop {
                self.0 = match std::mem::replace(&mut self.0, State::Over) {
                    State::New(take) => {
                        let (sender, receiver) = mpsc::channel(AHEAD_MAX);
                        let thread = std::thread::Builder::new().name("burla-inputs".to_owned());
                        let handle = thread.spawn(move || take(sender));
                        State::Running(receiver, handle.expect("the operating system gives this process a thread"))
                    }
                    State::Running(mut receiver, handle) => {
                        let next = receiver.poll_recv(context);
                        if !matches!(next, Poll::Ready(None)) {
                            self.0 = State::Running(receiver, handle);
                            return next;
                        }
                        // The thread has dropped the sender, last of all. An iterator that panicked has not ended.
                        if let Err(panic) = handle.join() {
                            std::panic::resume_unwind(panic);
                        }
                        State::Over
                    }
                    State::Over => return Poll::Ready(None),
                };
            }
        }
    }

    // Nothing in it is pinned.
    impl<T> Unpin for ThreadInputs<T> {}
}

#[cfg(target_family = "wasm")]
mod thread {
    use std::marker::PhantomData;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_core::Stream;

    /// Inputs in a component, where no job is ever started.
    pub struct ThreadInputs<T>(PhantomData<fn() -> T>);

    impl<T> ThreadInputs<T> {
        pub(super) fn new<M>(_make: M) -> Self {
            Self(PhantomData)
        }
    }

    impl<T> Stream for ThreadInputs<T> {
        type Item = T;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
            Poll::Ready(None)
        }
    }
}

impl<S> fmt::Debug for FromStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromStream").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ThreadInputs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadInputs").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::block_on::block_on;

    fn next<T, I: Inputs<T>>(inputs: &mut I) -> Option<T> {
        block_on(std::future::poll_fn(|context| inputs.poll_input(context)))
    }

    #[test]
    fn the_iterator_of_a_thread_is_made_there_and_taken_to_its_end() {
        let mut inputs = from_thread(|| {
            let not_send = Rc::new(10);
            (0..100).map(move |number| number + *not_send)
        });
        let taken: Vec<i32> = std::iter::from_fn(|| next(&mut inputs)).collect();
        assert_eq!(taken, (10..110).collect::<Vec<_>>());
        assert_eq!(next(&mut inputs), None, "and it stays over");
    }

    #[test]
    fn an_iterator_that_blocks_on_its_thread_blocks_nobody_else_and_its_job_may_go() {
        let (sender, receiver) = mpsc::channel::<u8>();
        let mut inputs = from_thread(|| receiver);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert_eq!(Inputs::<u8>::poll_input(&mut inputs, &mut context), Poll::Pending);
        sender.send(7).unwrap();
        assert_eq!(next(&mut inputs), Some(7));
        drop(inputs);
        // The thread ends with the next input, and drops the receiver with its iterator.
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while sender.send(8).is_ok() {
            assert!(std::time::Instant::now() < until, "the thread goes on without its job");
            std::thread::yield_now();
        }
    }

    #[test]
    #[should_panic(expected = "no more ink")]
    fn an_iterator_that_panics_on_its_thread_has_not_ended() {
        let mut inputs = from_thread(|| (0..3).map(|number| if number < 2 { number } else { panic!("no more ink") }));
        while next::<i32, _>(&mut inputs).is_some() {}
    }
}
