//! Where inputs wait between the user's iterator and the connection.
//!
//! A buffer bound in bytes, and not a channel of batches: an iterator can stop for minutes after any input, and whatever stood in
//! a half-filled batch would wait with it. Here every input can be taken the moment it is there, and those that gathered while
//! the connection was busy go out together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use burla_proto::{BATCH_BYTES, WireSize, batch_is_full};
use bytes::Bytes;

/// What may wait for the connection: one batch that is being sent, and one to send next.
const BUFFERED_BYTES_MAX: usize = 2 * BATCH_BYTES;

/// Makes an empty buffer.
pub(crate) fn input_buffer() -> (InputSender, InputReceiver) {
    let shared = Arc::new(Shared::default());
    (InputSender(Arc::clone(&shared)), InputReceiver(shared))
}

/// The end that the user's iterator feeds.
pub(crate) struct InputSender(Arc<Shared>);

/// The end that the connection drains.
pub(crate) struct InputReceiver(Arc<Shared>);

/// Consecutive inputs, encoded.
pub(crate) struct InputBatch {
    pub(crate) first_index: u64,
    pub(crate) inputs: Vec<Bytes>,
}

/// The connection takes no more inputs: the job is over.
#[derive(Debug)]
pub(crate) struct Closed;

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    inputs: VecDeque<Bytes>,
    bytes: usize,
    taken: u64,
    end: End,
    receiver_gone: bool,
    sender_waits: Option<Waker>,
    receiver_waits: Option<Waker>,
}

/// How the inputs ended, if they did.
#[derive(Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    NotYet,
    /// The iterator has no more.
    Finished,
    /// The user dropped the job.
    Abandoned,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InputSender {
    /// Ready when another input may be pushed.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.0.lock();
        if state.receiver_gone {
            return Poll::Ready(Err(Closed));
        }
        if state.bytes < BUFFERED_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        state.sender_waits = Some(context.waker().clone());
        Poll::Pending
    }

    /// Adds the next input.
    pub(crate) fn push(&self, input: Bytes) {
        let mut state = self.0.lock();
        state.bytes += input.wire_bytes();
        state.inputs.push_back(input);
        wake(state, |state| &mut state.receiver_waits);
    }

    /// Says that there are no more.
    pub(crate) fn finish(self) {
        self.0.lock().end = End::Finished;
    }
}

impl Drop for InputSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.end == End::NotYet {
            state.end = End::Abandoned;
        }
        wake(state, |state| &mut state.receiver_waits);
    }
}

impl InputReceiver {
    /// The inputs that are there, as one batch, as soon as there is one. `None` when there will be no more.
    pub(crate) async fn next_batch(&mut self) -> Option<InputBatch> {
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    /// Whether the inputs ended because the iterator did.
    pub(crate) fn finished(&self) -> bool {
        self.0.lock().end == End::Finished
    }

    fn poll_batch(&self, context: &mut Context<'_>) -> Poll<Option<InputBatch>> {
        let mut state = self.0.lock();
        if state.inputs.is_empty() {
            if state.end != End::NotYet {
                return Poll::Ready(None);
            }
            state.receiver_waits = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut batch = InputBatch { first_index: state.taken, inputs: Vec::new() };
        let mut bytes = 0;
        while let Some(input) = state.inputs.pop_front_if(|input| !batch_is_full(bytes, input)) {
            bytes += input.wire_bytes();
            batch.inputs.push(input);
        }
        state.bytes -= bytes;
        state.taken += batch.inputs.len() as u64;
        wake(state, |state| &mut state.sender_waits);
        Poll::Ready(Some(batch))
    }
}

impl Drop for InputReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        wake(state, |state| &mut state.sender_waits);
    }
}

/// Wakes whoever waits, after the lock is gone: the woken side takes it first thing.
fn wake(mut state: MutexGuard<'_, State>, who: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waker = who(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    fn room(sender: &InputSender) -> Poll<Result<(), Closed>> {
        sender.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn inputs_that_gathered_leave_together_and_in_order() {
        let (sender, mut receiver) = input_buffer();
        for byte in 0..3u8 {
            sender.push(vec![byte].into());
        }
        let batch = block_on(receiver.next_batch()).unwrap();
        assert_eq!((batch.first_index, batch.inputs), (0, vec![vec![0].into(), vec![1].into(), vec![2].into()]));
        sender.push(vec![3].into());
        sender.finish();
        assert_eq!(block_on(receiver.next_batch()).unwrap().first_index, 3);
        assert!(block_on(receiver.next_batch()).is_none());
        assert!(receiver.finished());
    }

    #[test]
    fn a_full_buffer_holds_the_iterator_back() {
        let (sender, mut receiver) = input_buffer();
        while room(&sender).is_ready() {
            sender.push(vec![0; BATCH_BYTES / 4].into());
        }
        assert!(block_on(receiver.next_batch()).unwrap().inputs.len() < 5);
        assert!(room(&sender).is_ready());
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (sender, mut receiver) = input_buffer();
        drop(sender);
        assert!(block_on(receiver.next_batch()).is_none());
        assert!(!receiver.finished());

        let (sender, receiver) = input_buffer();
        drop(receiver);
        assert!(matches!(room(&sender), Poll::Ready(Err(Closed))));
    }
}
