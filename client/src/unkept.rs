//! The inputs of a detached job between the user's iterator and the grid's disk.
//!
//! An input stays here until the grid says that it is kept, so that it can be sent again when the connection breaks. That bounds
//! what may be on its way: an iterator that is faster than the grid's disk waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use burla_proto::{WireSize, batch_is_full};
use burla_types::GridError;
use bytes::Bytes;

use crate::input_source::{Closed, InputSink, wake};
use crate::{Error, Result};

/// Bytes of inputs that the grid has not said to keep. Some times what a disk writes while an acknowledgement is on its way, and
/// little beside a program's other memory. A single input may be larger, and then is alone.
const UNKEPT_BYTES_MAX: usize = 16 << 20;

/// Makes an empty buffer.
pub(crate) fn unkept_inputs() -> (UnkeptSender, UnkeptReceiver) {
    let shared = Arc::new(Shared::default());
    (UnkeptSender(Arc::clone(&shared)), UnkeptReceiver(shared))
}

/// The end that the user's iterator feeds.
pub(crate) struct UnkeptSender(Arc<Shared>);

/// The end that speaks with the grid. Dropping it says that no more inputs are wanted.
pub(crate) struct UnkeptReceiver(Arc<Shared>);

/// The inputs for one opening of the job. It ends with the inputs, and when there is another opening.
pub(crate) struct UnkeptStream {
    shared: Arc<Shared>,
    opening: u32,
}

/// What goes to the grid next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Consecutive inputs, encoded.
    Batch { first_index: u64, inputs: Vec<Bytes> },
    /// There are no more.
    Finished,
    /// The inputs are another opening's, or nobody's.
    Over,
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// The index of the first input that is here; all before it are kept.
    kept: u64,
    inputs: VecDeque<Bytes>,
    bytes: usize,
    opening: u32,
    /// The index of the next input to send; `None` before the scheduler has said from where.
    next: Option<u64>,
    finished: bool,
    receiver_gone: bool,
    sender_waits: Option<Waker>,
    receiver_waits: Option<Waker>,
}

impl InputSink for UnkeptSender {
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.0.lock();
        if state.receiver_gone {
            return Poll::Ready(Err(Closed));
        }
        if state.bytes < UNKEPT_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        state.sender_waits = Some(context.waker().clone());
        Poll::Pending
    }

    fn push(&self, input: Bytes) {
        let mut state = self.0.lock();
        state.bytes += input.wire_bytes();
        state.inputs.push_back(input);
        wake(state, |state| &mut state.receiver_waits);
    }

    fn finish(self) {
        let mut state = self.0.lock();
        state.finished = true;
        wake(state, |state| &mut state.receiver_waits);
    }
}

impl UnkeptReceiver {
    /// The inputs for another opening of the job. It has none before [`Self::opened`].
    pub(crate) fn open(&self) -> UnkeptStream {
        let mut state = self.0.lock();
        state.opening += 1;
        state.next = None;
        let opening = state.opening;
        // The stream of an earlier opening.
        wake(state, |state| &mut state.receiver_waits);
        UnkeptStream { shared: Arc::clone(&self.0), opening }
    }

    /// The scheduler has opened the job, and has the inputs before `next_index`.
    pub(crate) fn opened(&self, next_index: u64) -> Result<()> {
        let mut state = self.0.lock();
        let end = state.end();
        if next_index < state.kept {
            let (kept, lost) = (state.kept, next_index);
            let reason = format!("the grid has lost inputs {lost} to {kept}, which it had kept: submit the job again");
            return Err(GridError::CannotKeep { reason }.into());
        }
        if next_index > end {
            return Err(too_many(next_index, end));
        }
        state.next = Some(next_index);
        wake(state, |state| &mut state.receiver_waits);
        Ok(())
    }

    /// The inputs before `next_index` are on the grid's disk: they need not be sent again.
    pub(crate) fn kept(&self, next_index: u64) -> Result<()> {
        let mut state = self.0.lock();
        let end = state.end();
        if next_index > end {
            return Err(too_many(next_index, end));
        }
        while state.kept < next_index
            && let Some(input) = state.inputs.pop_front()
        {
            state.bytes -= input.wire_bytes();
            state.kept += 1;
        }
        wake(state, |state| &mut state.sender_waits);
        Ok(())
    }
}

fn too_many(next_index: u64, end: u64) -> Error {
    Error::Protocol { reason: format!("it claims to have {next_index} inputs of the job, and was sent {end}") }
}

impl Drop for UnkeptReceiver {
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

impl UnkeptStream {
    /// The inputs that are there and were not sent in this opening, as one batch, as soon as there is one.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.shared.lock();
        if state.receiver_gone || state.opening != self.opening {
            return Poll::Ready(Next::Over);
        }
        let end = state.end();
        match state.next {
            Some(next) if next < end => {
                // Those that are kept by now are not sent any more.
                let first_index = next.max(state.kept);
                let from = usize::try_from(first_index - state.kept).unwrap_or(usize::MAX);
                let (mut inputs, mut bytes) = (Vec::new(), 0);
                for input in state.inputs.iter().skip(from) {
                    if batch_is_full(bytes, input) {
                        break;
                    }
                    bytes += input.wire_bytes();
                    inputs.push(input.clone());
                }
                state.next = Some(first_index + inputs.len() as u64);
                Poll::Ready(Next::Batch { first_index, inputs })
            }
            Some(_) if state.finished => Poll::Ready(Next::Finished),
            _ => {
                state.receiver_waits = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The index after the last input that was pushed.
    fn end(&self) -> u64 {
        self.kept + self.inputs.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(stream: &UnkeptStream) -> Poll<Next> {
        stream.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn room(sender: &UnkeptSender) -> Poll<Result<(), Closed>> {
        sender.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    fn batch(first_index: u64, inputs: &[u8]) -> Poll<Next> {
        Poll::Ready(Next::Batch { first_index, inputs: inputs.iter().map(|&byte| vec![byte].into()).collect() })
    }

    #[test]
    fn what_is_not_kept_is_sent_again_from_where_the_scheduler_says() {
        let (sender, receiver) = unkept_inputs();
        for byte in 0..4u8 {
            sender.push(vec![byte].into());
        }
        let first = receiver.open();
        assert_eq!(poll(&first), Poll::Pending, "the scheduler says from where");
        receiver.opened(0).unwrap();
        assert_eq!(poll(&first), batch(0, &[0, 1, 2, 3]));
        receiver.kept(2).unwrap();
        let second = receiver.open();
        assert_eq!(poll(&first), Poll::Ready(Next::Over));
        receiver.opened(3).unwrap();
        sender.push(vec![4].into());
        assert_eq!(poll(&second), batch(3, &[3, 4]));
        sender.finish();
        assert_eq!(poll(&second), Poll::Ready(Next::Finished));
    }

    #[test]
    fn what_the_scheduler_claims_must_be_so() {
        let (sender, receiver) = unkept_inputs();
        let _stream = receiver.open();
        for byte in 0..3u8 {
            sender.push(vec![byte].into());
        }
        for claimed in [receiver.opened(4), receiver.kept(4)] {
            assert!(matches!(claimed, Err(Error::Protocol { .. })), "{claimed:?}");
        }
        receiver.opened(0).unwrap();
        receiver.kept(2).unwrap();
        receiver.kept(1).unwrap();
        assert!(receiver.opened(1).is_err(), "it has lost what it had kept");
        receiver.opened(2).unwrap();
    }

    #[test]
    fn a_grid_that_keeps_nothing_holds_the_iterator_back() {
        let (sender, receiver) = unkept_inputs();
        let stream = receiver.open();
        receiver.opened(0).unwrap();
        let mut pushed = 0;
        while room(&sender).is_ready() {
            sender.push(vec![0; 1 << 20].into());
            pushed += 1;
        }
        while let Poll::Ready(Next::Batch { .. }) = poll(&stream) {}
        assert!(room(&sender).is_pending(), "what was sent is not kept yet");
        assert_eq!(pushed, 16);
        receiver.kept(1).unwrap();
        assert!(room(&sender).is_ready());
        drop(receiver);
        assert!(matches!(room(&sender), Poll::Ready(Err(Closed))));
    }
}
