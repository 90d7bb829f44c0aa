//! Inputs on their way from the user's iterator into a buffer, wherever their job is polled.

use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;

use crate::Result;
use crate::progress::Progress;

/// How long inputs are taken before the rest of what polls them has its turn, outcomes say. An iterator that is faster than the grid
/// would otherwise be all that happens.
const INPUT_TURN: Duration = Duration::from_millis(1);

/// The end of a buffer that inputs go into.
pub(crate) trait InputSink {
    /// Ready when another input may be pushed.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Closed>>;

    /// Adds the next input.
    fn push(&self, input: Bytes);

    /// Says that there are no more.
    fn finish(self);
}

/// The buffer's other end is gone: nobody wants more inputs.
#[derive(Debug)]
pub(crate) struct Closed;

/// Takes inputs as far as the buffer has room for them.
pub(crate) struct InputSource<S, K> {
    /// `None` once the inputs have ended, or nobody wants more.
    open: Option<(S, K)>,
    taken: u64,
    progress: Arc<Progress>,
}

/// Why no more inputs are taken for now.
#[derive(PartialEq)]
pub(crate) enum Turn {
    /// There are none, or no room; whoever changes that wakes us.
    MustWait,
    /// The turn is over, and there may be more.
    TimeIsUp,
}

impl<S, K> InputSource<S, K> {
    /// How many inputs were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }
}

impl<S, K> InputSource<S, K>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
    K: InputSink,
{
    /// The progress is told how many inputs there are: now where the iterator says so, or when it has ended.
    pub(crate) fn new(inputs: S, sink: K, progress: Arc<Progress>) -> Self {
        if let (lower, Some(upper)) = inputs.size_hint()
            && lower == upper
        {
            progress.set_total(lower as u64);
        }
        Self { open: Some((inputs, sink)), taken: 0, progress }
    }

    /// Takes inputs for as long as there is room for them, and one turn at most. An error is one of the inputs.
    pub(crate) fn take(&mut self, context: &mut Context<'_>) -> Result<Turn> {
        self.take_at_most(u64::MAX, context)
    }

    /// The same, and no more than so many.
    pub(crate) fn take_at_most(&mut self, count_max: u64, context: &mut Context<'_>) -> Result<Turn> {
        let (started, taken_max) = (Instant::now(), self.taken.saturating_add(count_max));
        while let Some((inputs, sink)) = &mut self.open {
            match sink.poll_room(context) {
                Poll::Pending => return Ok(Turn::MustWait),
                Poll::Ready(Ok(())) => {}
                // Who held the other end says why.
                Poll::Ready(Err(Closed)) => {
                    self.open = None;
                    break;
                }
            }
            match Pin::new(inputs).poll_next(context) {
                Poll::Pending => return Ok(Turn::MustWait),
                Poll::Ready(Some(input)) => {
                    sink.push(input?);
                    self.taken += 1;
                }
                Poll::Ready(None) => {
                    if let Some((_, sink)) = self.open.take() {
                        sink.finish();
                        self.progress.set_total(self.taken);
                    }
                }
            }
            if self.taken >= taken_max || started.elapsed() >= INPUT_TURN {
                return Ok(Turn::TimeIsUp);
            }
        }
        Ok(Turn::MustWait)
    }
}

/// Wakes an end of a buffer that waits, after the lock is gone: the woken side takes it first thing.
pub(crate) fn wake<T>(mut state: MutexGuard<'_, T>, who: impl FnOnce(&mut T) -> &mut Option<Waker>) {
    let waker = who(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::Error;

    /// Has room for so many inputs; `None` where nobody wants any.
    #[derive(Clone, Default)]
    struct Sink {
        room: Rc<Cell<Option<usize>>>,
        finished: Rc<Cell<bool>>,
    }

    impl InputSink for Sink {
        fn poll_room(&self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
            match self.room.get() {
                Some(0) => Poll::Pending,
                Some(_) => Poll::Ready(Ok(())),
                None => Poll::Ready(Err(Closed)),
            }
        }

        fn push(&self, _: Bytes) {
            self.room.set(self.room.get().map(|room| room - 1));
        }

        fn finish(self) {
            self.finished.set(true);
        }
    }

    /// An iterator's items, each at once.
    struct Ready<I>(I);

    impl<I: Iterator<Item = Result<Bytes>> + Unpin> Stream for Ready<I> {
        type Item = Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    fn source<I: Iterator<Item = Result<Bytes>> + Unpin>(inputs: I, sink: &Sink) -> InputSource<Ready<I>, Sink> {
        InputSource::new(Ready(inputs), sink.clone(), Progress::start(Some(false)))
    }

    /// Turns until there is something to wait for.
    fn take<I: Iterator<Item = Result<Bytes>> + Unpin>(source: &mut InputSource<Ready<I>, Sink>) -> Result<u64> {
        while source.take(&mut Context::from_waker(Waker::noop()))? == Turn::TimeIsUp {}
        Ok(source.taken())
    }

    fn inputs(count: usize) -> impl Iterator<Item = Result<Bytes>> + Unpin {
        std::iter::repeat_with(|| Ok(Bytes::new())).take(count)
    }

    #[test]
    fn inputs_are_taken_as_far_as_there_is_room_and_said_to_be_all_after_the_last() {
        let sink = Sink::default();
        sink.room.set(Some(2));
        let mut source = source(inputs(5), &sink);
        assert_eq!(take(&mut source).unwrap(), 2);
        sink.room.set(Some(10));
        assert_eq!((take(&mut source).unwrap(), sink.finished.get()), (5, true));
        assert_eq!(take(&mut source).unwrap(), 5);
    }

    #[test]
    fn nothing_is_taken_that_nobody_wants() {
        let sink = Sink::default();
        let mut source = source(inputs(5), &sink);
        assert_eq!((take(&mut source).unwrap(), sink.finished.get()), (0, false));
        sink.room.set(Some(10));
        assert_eq!(take(&mut source).unwrap(), 0, "that is for good");
    }

    #[test]
    fn an_iterator_that_never_ends_is_not_all_that_happens() {
        let sink = Sink::default();
        sink.room.set(Some(usize::MAX));
        let mut source = source(inputs(usize::MAX), &sink);
        assert!(source.take(&mut Context::from_waker(Waker::noop())).unwrap() == Turn::TimeIsUp);
        assert!(source.taken() > 0);
    }

    #[test]
    fn an_input_that_is_an_error_is_told() {
        let sink = Sink::default();
        sink.room.set(Some(10));
        let too_large = Err(Error::InputTooLarge { index: 1, bytes: 2, bytes_max: 1 });
        let mut source = source(inputs(1).chain([too_large]), &sink);
        assert!(matches!(take(&mut source), Err(Error::InputTooLarge { index: 1, .. })));
        assert!(!sink.finished.get());
    }
}
