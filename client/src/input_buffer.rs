//! Where inputs wait between the user's iterator and the connection.
//!
//! A buffer bound in bytes, and not a channel of batches: an iterator can stop for minutes after any input, and whatever stood in
//! a half-filled batch would wait with it. Here every input can be taken the moment it is there, and those that gathered while
//! the connection was busy go out together.
//!
//! Inputs go out with the message that opens the job, before the scheduler has answered it. Its answer may be that the job has to
//! be opened again, so what went out is kept until then: one batch, and no more goes out before the answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use burla_proto::{BATCH_BYTES, WireSize, batch_is_full};
use bytes::Bytes;

/// What may wait for the connection: one batch that is being sent, and one to send next. The one that is kept until the scheduler
/// has answered comes on top.
const BUFFERED_BYTES_MAX: usize = 2 * BATCH_BYTES;

/// Makes an empty buffer.
pub(crate) fn input_buffer() -> (InputSender, InputReceiver) {
    let shared = Arc::new(Shared::default());
    (InputSender(Arc::clone(&shared)), InputReceiver(shared))
}

/// The end that the user's iterator feeds.
pub(crate) struct InputSender(Arc<Shared>);

/// The end that the connection drains. Dropping it says that the job is over.
pub(crate) struct InputReceiver(Arc<Shared>);

/// The inputs for one try at opening the job. It ends when there are no more, when another try has begun, and with the job.
pub(crate) struct InputStream {
    shared: Arc<Shared>,
    opening: u32,
}

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
    /// Which try at opening the job has the inputs.
    opening: u32,
    /// Whether the scheduler has answered it.
    answered: bool,
    /// What was taken before the answer.
    unanswered: Vec<Bytes>,
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
    /// The inputs from the first on, for the next try at opening the job.
    pub(crate) fn open(&self) -> InputStream {
        let mut state = self.0.lock();
        state.opening += 1;
        state.taken = 0;
        for input in std::mem::take(&mut state.unanswered).into_iter().rev() {
            state.bytes += input.wire_bytes();
            state.inputs.push_front(input);
        }
        let opening = state.opening;
        // The stream of an earlier try.
        wake(state, |state| &mut state.receiver_waits);
        InputStream { shared: Arc::clone(&self.0), opening }
    }

    /// The scheduler has opened the job: what was sent need not be sent again.
    pub(crate) fn answered(&self) {
        let mut state = self.0.lock();
        state.answered = true;
        state.unanswered = Vec::new();
        wake(state, |state| &mut state.receiver_waits);
    }
}

impl Drop for InputReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        let stream = state.receiver_waits.take();
        wake(state, |state| &mut state.sender_waits);
        if let Some(stream) = stream {
            stream.wake();
        }
    }
}

impl InputStream {
    /// The inputs that are there, as one batch, as soon as there is one. `None` when there will be no more.
    pub(crate) fn poll_batch(&self, context: &mut Context<'_>) -> Poll<Option<InputBatch>> {
        let mut state = self.shared.lock();
        if !state.is_for(self.opening) || (state.inputs.is_empty() && state.end != End::NotYet) {
            return Poll::Ready(None);
        }
        if state.inputs.is_empty() || !state.unanswered.is_empty() {
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
        if !state.answered {
            state.unanswered.clone_from(&batch.inputs);
        }
        wake(state, |state| &mut state.sender_waits);
        Poll::Ready(Some(batch))
    }

    /// Whether the inputs ended because the iterator did.
    pub(crate) fn finished(&self) -> bool {
        let state = self.shared.lock();
        state.is_for(self.opening) && state.end == End::Finished
    }
}

impl State {
    fn is_for(&self, opening: u32) -> bool {
        !self.receiver_gone && self.opening == opening
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
    use super::*;

    fn room(sender: &InputSender) -> Poll<Result<(), Closed>> {
        sender.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    fn poll(stream: &InputStream) -> Poll<Option<InputBatch>> {
        stream.poll_batch(&mut Context::from_waker(Waker::noop()))
    }

    fn batch(stream: &InputStream) -> (u64, Vec<Bytes>) {
        match poll(stream) {
            Poll::Ready(Some(batch)) => (batch.first_index, batch.inputs),
            Poll::Ready(None) => panic!("the inputs have ended"),
            Poll::Pending => panic!("there is none yet"),
        }
    }

    #[test]
    fn inputs_that_gathered_leave_together_and_in_order() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open();
        receiver.answered();
        for byte in 0..3u8 {
            sender.push(vec![byte].into());
        }
        assert_eq!(batch(&stream), (0, vec![vec![0].into(), vec![1].into(), vec![2].into()]));
        assert!(poll(&stream).is_pending());
        sender.push(vec![3].into());
        sender.finish();
        assert_eq!(batch(&stream).0, 3);
        assert!(matches!(poll(&stream), Poll::Ready(None)));
        assert!(stream.finished());
    }

    #[test]
    fn a_full_buffer_holds_the_iterator_back() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open();
        while room(&sender).is_ready() {
            sender.push(vec![0; BATCH_BYTES / 4].into());
        }
        assert!(batch(&stream).1.len() < 5);
        assert!(room(&sender).is_ready());
    }

    #[test]
    fn a_job_that_is_opened_again_has_its_first_inputs_again() {
        let (sender, receiver) = input_buffer();
        let first = receiver.open();
        sender.push(vec![0].into());
        sender.push(vec![1].into());
        assert_eq!(batch(&first), (0, vec![vec![0].into(), vec![1].into()]));
        sender.push(vec![2].into());
        assert!(poll(&first).is_pending(), "one batch goes out before the answer");

        let second = receiver.open();
        sender.push(vec![3].into());
        sender.finish();
        assert!(matches!(poll(&first), Poll::Ready(None)), "an earlier try has no part in it any more");
        assert!(!first.finished());
        assert_eq!(batch(&second), (0, vec![vec![0].into(), vec![1].into(), vec![2].into(), vec![3].into()]));
        assert!(matches!(poll(&second), Poll::Ready(None)), "the end need not wait for the answer");
        assert!(second.finished());
    }

    #[test]
    fn the_answer_lets_the_rest_go_out() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open();
        sender.push(vec![0].into());
        assert_eq!(batch(&stream).0, 0);
        sender.push(vec![1].into());
        assert!(poll(&stream).is_pending());
        receiver.answered();
        assert_eq!(batch(&stream), (1, vec![vec![1].into()]));
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open();
        drop(sender);
        assert!(matches!(poll(&stream), Poll::Ready(None)));
        assert!(!stream.finished());

        let (sender, receiver) = input_buffer();
        let stream = receiver.open();
        sender.push(vec![0].into());
        drop(receiver);
        assert!(matches!(room(&sender), Poll::Ready(Err(Closed))));
        assert!(matches!(poll(&stream), Poll::Ready(None)), "nobody waits for the outcome any more");
        sender.finish();
        assert!(!stream.finished());
    }
}
