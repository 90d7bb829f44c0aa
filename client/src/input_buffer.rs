//! What goes to the scheduler after the message that opens a job: inputs, from the user's iterator to the connection; how much of
//! what came back the client has; and that it wants no more.
//!
//! A buffer bound in bytes, and not a channel of batches: an iterator can stop for minutes after any input, and whatever stood in
//! a half-filled batch would wait with it. Here every input can be taken the moment it is there, and those that gathered while
//! the connection was busy go out together.
//!
//! An input that went out is kept until it is known how its call ended: a connection that breaks may have to be followed by
//! another, and the scheduler there may know nothing of the job. The first inputs go out with the message that opens it, before
//! the scheduler has answered: one batch, and no more before the answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use burla_proto::v1::{self, input_batch::LinesShown, map_request::Request};
use burla_proto::{BATCH_BYTES, WireSize, batch_is_full};
use burla_types::OutputStream;
use bytes::Bytes;
use rustc_hash::FxHashMap;

/// What may wait for the connection: one batch that is being sent, and one to send next. What is kept after that comes on top.
const BUFFERED_BYTES_MAX: usize = 2 * BATCH_BYTES;

/// Makes an empty buffer.
pub(crate) fn input_buffer() -> (InputSender, InputReceiver) {
    let shared = Arc::new(Shared::default());
    (InputSender(Arc::clone(&shared)), InputReceiver(shared))
}

/// The end that the user's iterator feeds.
pub(crate) struct InputSender(Arc<Shared>);

/// The job's end: it says what has come of the inputs, and drives what is sent. Dropping it says that the job is over.
pub(crate) struct InputReceiver(Arc<Shared>);

/// What is sent after one opening of the job. It ends after `Abandon`, when the job is opened again, and with the job.
pub(crate) struct RequestStream {
    shared: Arc<Shared>,
    opening: u32,
}

/// The connection takes no more inputs: the job is over.
#[derive(Debug)]
pub(crate) struct Closed;

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those that never went out, `next_index` being the first.
    inputs: VecDeque<Bytes>,
    bytes: usize,
    next_index: u64,
    /// Calls whose input went out and whose outcome has not come. How many there can be is the scheduler's bound on what is open
    /// in a job, 200,000 inputs or 192 MiB: it takes no more off the connection.
    open: FxHashMap<u64, OpenCall>,
    /// Those of them that the scheduler has to be sent once more, ascending.
    left: VecDeque<u64>,
    /// Whether it had forgotten the job, so that what is left has to be told apart by indices.
    forgotten: bool,
    /// Which opening of the job this is, from 1.
    opening: u32,
    allowed: Allowed,
    closed_said: bool,
    abandon_said: bool,
    /// Call events to report as taken.
    taken: Option<u64>,
    end: End,
    receiver_gone: bool,
    sender_waits: Option<Waker>,
    receiver_waits: Option<Waker>,
}

/// A call whose outcome has not come.
struct OpenCall {
    input: Bytes,
    /// Lines of it that were shown.
    stdout_lines: u64,
    stderr_lines: u64,
}

/// What may go out before the scheduler has answered the opening.
#[derive(Clone, Copy, Default, PartialEq)]
enum Allowed {
    /// Nothing: what is to be sent depends on the answer.
    #[default]
    Nothing,
    FirstBatch,
    /// It has answered.
    All,
}

/// How the inputs ended, if they did.
#[derive(Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    NotYet,
    /// The iterator has no more.
    Finished,
    /// Nobody wants the outcomes any more.
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
        let mut state = self.0.lock();
        if state.end == End::NotYet {
            state.end = End::Finished;
        }
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
    /// What follows the first opening of the job: its inputs from the first on, without waiting for an answer. Also where the
    /// scheduler has refused to open it until something else is done, and so has nothing of it.
    pub(crate) fn open_first(&self) -> RequestStream {
        let mut state = self.0.lock();
        debug_assert!(state.left.is_empty(), "nothing is left of a job that was not opened again");
        for index in (0..state.next_index).rev() {
            let Some(call) = state.open.remove(&index) else { continue };
            state.bytes += call.input.wire_bytes();
            state.inputs.push_front(call.input);
        }
        state.next_index = 0;
        self.next_opening(state, Allowed::FirstBatch)
    }

    /// What follows when the job is opened again: nothing before the scheduler has answered.
    pub(crate) fn open_again(&self) -> RequestStream {
        self.next_opening(self.0.lock(), Allowed::Nothing)
    }

    fn next_opening(&self, mut state: MutexGuard<'_, State>, allowed: Allowed) -> RequestStream {
        state.opening += 1;
        state.allowed = allowed;
        (state.closed_said, state.abandon_said, state.taken) = (false, false, None);
        let opening = state.opening;
        // The stream of the opening before.
        wake(state, |state| &mut state.receiver_waits);
        RequestStream { shared: Arc::clone(&self.0), opening }
    }

    /// The scheduler has opened the job for the first time.
    pub(crate) fn answered(&self) {
        let mut state = self.0.lock();
        state.allowed = Allowed::All;
        wake(state, |state| &mut state.receiver_waits);
    }

    /// The scheduler has the job, with the inputs before `next_index`.
    pub(crate) fn resumed(&self, next_index: u64) {
        self.send_left(next_index, false);
    }

    /// The scheduler knows nothing of the job.
    pub(crate) fn forgotten(&self) {
        self.send_left(0, true);
    }

    fn send_left(&self, next_index: u64, forgotten: bool) {
        let mut state = self.0.lock();
        let mut left: Vec<_> = state.open.keys().copied().filter(|index| *index >= next_index).collect();
        left.sort_unstable();
        (state.left, state.forgotten) = (left.into(), forgotten);
        state.allowed = Allowed::All;
        wake(state, |state| &mut state.receiver_waits);
    }

    /// Lines of a call are about to be shown, the last of which is number `lines` of the stream. Returns whether they should be:
    /// nothing comes of a call that has ended.
    pub(crate) fn shown(&self, index: u64, stream: OutputStream, lines: u64) -> bool {
        let mut state = self.0.lock();
        let Some(call) = state.open.get_mut(&index) else { return false };
        let shown = match stream {
            OutputStream::Stdout => &mut call.stdout_lines,
            OutputStream::Stderr => &mut call.stderr_lines,
        };
        *shown = lines.max(*shown);
        true
    }

    /// A call's outcome has come. Returns whether it is the first: there is none to be handed out after that.
    pub(crate) fn ended(&self, index: u64) -> bool {
        self.0.lock().open.remove(&index).is_some()
    }

    /// Whether there are no more inputs, and every call has ended.
    pub(crate) fn all_ended(&self) -> bool {
        let state = self.0.lock();
        state.end == End::Finished && state.inputs.is_empty() && state.open.is_empty()
    }

    /// Has the scheduler told how many call events the client has.
    pub(crate) fn report_taken(&self, events: u64) {
        let mut state = self.0.lock();
        state.taken = Some(events);
        wake(state, |state| &mut state.receiver_waits);
    }

    /// Nobody wants the outcomes any more; the scheduler is told so.
    pub(crate) fn abandon(&self) {
        let mut state = self.0.lock();
        state.end = End::Abandoned;
        wake(state, |state| &mut state.receiver_waits);
    }

    /// Whether nobody wants the outcomes any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.lock().end == End::Abandoned
    }
}

impl Drop for InputReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        // The user may keep the other end for long.
        (state.open, state.left) = (FxHashMap::default(), VecDeque::new());
        let stream = state.receiver_waits.take();
        wake(state, |state| &mut state.sender_waits);
        if let Some(stream) = stream {
            stream.wake();
        }
    }
}

impl RequestStream {
    /// The next message, as soon as there is one; inputs that are there go out as one batch. `None` when there will be no more.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Request>> {
        let mut state = self.shared.lock();
        if state.receiver_gone || state.opening != self.opening {
            return Poll::Ready(None);
        }
        if state.end == End::Abandoned {
            let said = std::mem::replace(&mut state.abandon_said, true);
            return Poll::Ready((!said).then_some(Request::Abandon(v1::Abandon {})));
        }
        if let Some(events) = state.taken.take() {
            return Poll::Ready(Some(Request::Taken(v1::Taken { events })));
        }
        // Those that are left come before the others.
        if state.allowed == Allowed::All
            && let Some(batch) = state.next_left()
        {
            return Poll::Ready(Some(Request::Inputs(batch)));
        }
        if state.allowed != Allowed::Nothing && state.inputs.is_empty() && state.end == End::Finished && !state.closed_said {
            state.closed_said = true;
            return Poll::Ready(Some(Request::InputsClosed(v1::InputsClosed {})));
        }
        let has_to_wait = match state.allowed {
            Allowed::Nothing => true,
            Allowed::FirstBatch => state.next_index > 0,
            Allowed::All => false,
        };
        if state.inputs.is_empty() || has_to_wait {
            state.receiver_waits = Some(context.waker().clone());
            return Poll::Pending;
        }
        let batch = state.next_new();
        wake(state, |state| &mut state.sender_waits);
        Poll::Ready(Some(Request::Inputs(batch)))
    }
}

impl State {
    /// Inputs that go out for the first time.
    fn next_new(&mut self) -> v1::InputBatch {
        let mut batch = v1::InputBatch { first_index: self.next_index, ..v1::InputBatch::default() };
        let mut bytes = 0;
        while let Some(input) = self.inputs.pop_front_if(|input| !batch_is_full(bytes, input)) {
            bytes += input.wire_bytes();
            self.open.insert(self.next_index, OpenCall { input: input.clone(), stdout_lines: 0, stderr_lines: 0 });
            self.next_index += 1;
            batch.inputs.push(input);
        }
        self.bytes -= bytes;
        batch
    }

    /// Inputs that have to go out once more.
    fn next_left(&mut self) -> Option<v1::InputBatch> {
        let first_index = *self.left.front()?;
        let mut batch = v1::InputBatch { first_index, ..v1::InputBatch::default() };
        let mut bytes = 0;
        while let Some(index) = self.left.front().copied() {
            // All that are left are open: the scheduler has none of them, so none can have ended since.
            if let Some(call) = self.open.get(&index) {
                if batch_is_full(bytes, &call.input) {
                    break;
                }
                bytes += call.input.wire_bytes();
                batch.inputs.push(call.input.clone());
                batch.indices.push(index);
                let (stdout, stderr) = (call.stdout_lines, call.stderr_lines);
                if (stdout, stderr) != (0, 0) {
                    batch.shown.push(LinesShown { index, stdout, stderr });
                }
            }
            self.left.pop_front();
        }
        let are_consecutive = batch.indices.iter().copied().eq((first_index..).take(batch.indices.len()));
        if are_consecutive && !self.forgotten {
            batch.indices.clear();
        }
        Some(batch).filter(|batch| !batch.inputs.is_empty())
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

    fn poll(stream: &RequestStream) -> Poll<Option<Request>> {
        stream.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn batch(stream: &RequestStream) -> v1::InputBatch {
        match poll(stream) {
            Poll::Ready(Some(Request::Inputs(batch))) => batch,
            other => panic!("{other:?}"),
        }
    }

    fn new_inputs(stream: &RequestStream) -> (u64, Vec<Bytes>) {
        let batch = batch(stream);
        assert!(batch.indices.is_empty() && batch.shown.is_empty(), "{batch:?}");
        (batch.first_index, batch.inputs)
    }

    fn is_closed(stream: &RequestStream) -> bool {
        matches!(poll(stream), Poll::Ready(Some(Request::InputsClosed(_))))
    }

    fn bytes<const N: usize>(bytes: [u8; N]) -> Vec<Bytes> {
        bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect()
    }

    fn push<const N: usize>(sender: &InputSender, inputs: [u8; N]) {
        bytes(inputs).into_iter().for_each(|input| sender.push(input));
    }

    #[test]
    fn inputs_that_gathered_leave_together_and_in_order() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        receiver.answered();
        push(&sender, [0, 1, 2]);
        assert_eq!(new_inputs(&stream), (0, bytes([0, 1, 2])));
        assert!(poll(&stream).is_pending());
        push(&sender, [3]);
        sender.finish();
        assert_eq!(new_inputs(&stream).0, 3);
        assert!(is_closed(&stream));
        assert!(poll(&stream).is_pending(), "the stream stays open as long as the job");
        (0..3).for_each(|index| assert!(receiver.ended(index)));
        assert!(!receiver.all_ended());
        assert!(receiver.ended(3));
        assert!(receiver.all_ended());
        drop(receiver);
        assert!(matches!(poll(&stream), Poll::Ready(None)));
    }

    #[test]
    fn a_full_buffer_holds_the_iterator_back() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        while room(&sender).is_ready() {
            sender.push(vec![0; BATCH_BYTES / 4].into());
        }
        assert!(new_inputs(&stream).1.len() < 5);
        assert!(room(&sender).is_ready());
    }

    #[test]
    fn a_job_that_was_refused_at_first_has_its_first_inputs_again() {
        let (sender, receiver) = input_buffer();
        let first = receiver.open_first();
        push(&sender, [0, 1]);
        assert_eq!(new_inputs(&first), (0, bytes([0, 1])));
        push(&sender, [2]);
        assert!(poll(&first).is_pending(), "one batch goes out before the answer");

        let second = receiver.open_first();
        push(&sender, [3]);
        sender.finish();
        assert!(matches!(poll(&first), Poll::Ready(None)), "an earlier opening has no part in it any more");
        assert_eq!(new_inputs(&second), (0, bytes([0, 1, 2, 3])));
        assert!(is_closed(&second), "the end need not wait for the answer");
    }

    #[test]
    fn the_answer_lets_the_rest_go_out() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        push(&sender, [0]);
        assert_eq!(new_inputs(&stream).0, 0);
        push(&sender, [1]);
        assert!(poll(&stream).is_pending());
        receiver.answered();
        assert_eq!(new_inputs(&stream), (1, bytes([1])));
    }

    #[test]
    fn a_scheduler_that_has_the_job_gets_what_did_not_reach_it() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        receiver.answered();
        push(&sender, [0, 1, 2, 3]);
        batch(&stream);
        assert!(receiver.ended(1));
        push(&sender, [4]);
        sender.finish();

        let stream = receiver.open_again();
        assert!(poll(&stream).is_pending(), "what to send depends on the answer");
        receiver.resumed(2);
        assert_eq!(new_inputs(&stream), (2, bytes([2, 3])));
        assert_eq!(new_inputs(&stream), (4, bytes([4])));
        assert!(is_closed(&stream));
    }

    #[test]
    fn a_scheduler_that_forgot_the_job_gets_exactly_what_is_open_and_what_was_shown_of_it() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        receiver.answered();
        push(&sender, [0, 1, 2, 3]);
        batch(&stream);
        assert!(receiver.shown(1, OutputStream::Stdout, 7));
        assert!(receiver.shown(1, OutputStream::Stdout, 4));
        assert!(receiver.shown(2, OutputStream::Stderr, 1));
        assert!(receiver.shown(3, OutputStream::Stderr, 2));
        assert!(receiver.ended(2));
        assert!(!receiver.ended(2), "it has ended before");
        assert!(!receiver.shown(2, OutputStream::Stdout, 1), "it has ended");
        assert!(!receiver.ended(9), "nobody sent it");
        push(&sender, [4]);

        let stream = receiver.open_again();
        receiver.forgotten();
        let left = batch(&stream);
        assert_eq!((left.indices, left.inputs), (vec![0, 1, 3], bytes([0, 1, 3])));
        let shown = [LinesShown { index: 1, stdout: 7, stderr: 0 }, LinesShown { index: 3, stdout: 0, stderr: 2 }];
        assert_eq!(left.shown, shown);
        assert_eq!(new_inputs(&stream), (4, bytes([4])));

        // And breaks again, before 3 was there.
        let stream = receiver.open_again();
        receiver.resumed(2);
        let left = batch(&stream);
        assert_eq!((left.indices.as_slice(), left.shown.as_slice()), ([].as_slice(), &shown[1..]));
        assert_eq!((left.first_index, left.inputs), (3, bytes([3, 4])));
    }

    #[test]
    fn what_is_taken_is_said_once_and_as_it_is_now() {
        let (_sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        receiver.report_taken(3);
        receiver.report_taken(5);
        assert!(matches!(poll(&stream), Poll::Ready(Some(Request::Taken(v1::Taken { events: 5 })))));
        assert!(poll(&stream).is_pending());
    }

    #[test]
    fn a_job_that_nobody_wants_is_abandoned_whatever_else_there_is_to_send() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        push(&sender, [0]);
        drop(sender);
        assert!(receiver.is_abandoned());
        assert!(matches!(poll(&stream), Poll::Ready(Some(Request::Abandon(_)))));
        assert!(matches!(poll(&stream), Poll::Ready(None)));

        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        sender.finish();
        assert!(is_closed(&stream));
        receiver.abandon();
        assert!(matches!(poll(&stream), Poll::Ready(Some(Request::Abandon(_)))));
    }

    #[test]
    fn the_iterator_learns_that_the_job_is_over() {
        let (sender, receiver) = input_buffer();
        let stream = receiver.open_first();
        push(&sender, [0]);
        drop(receiver);
        assert!(matches!(room(&sender), Poll::Ready(Err(Closed))));
        assert!(matches!(poll(&stream), Poll::Ready(None)), "nobody waits for the outcome any more");
    }
}
