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

use crate::input_source::{Closed, InputSink, wake};

/// What may wait for the connection: one batch that is being sent, and one to send next. What is kept after that comes on top.
const BUFFERED_BYTES_MAX: usize = 2 * BATCH_BYTES;

/// Calls that may be open: their inputs went out, and their outcomes have not come. As many as a scheduler holds of a job. Without
/// this bound, 600,000 small inputs more would be under way in HTTP/2's window, each kept here, and whatever the client says would
/// reach the scheduler after all of them.
const OPEN_CALLS_MAX: usize = 200_000;

/// Open calls below which inputs go out again after there were [`OPEN_CALLS_MAX`]: few enough to fill a batch of small inputs.
const OPEN_CALLS_LOW: usize = OPEN_CALLS_MAX / 8 * 7;

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

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those that never went out, `next_index` being the first.
    inputs: VecDeque<Bytes>,
    bytes: usize,
    next_index: u64,
    /// Calls whose input went out and whose outcome has not come: [`OPEN_CALLS_MAX`], or the bytes that the scheduler holds of a
    /// job, 192 MiB, if these are fewer. It takes no more off the connection.
    open: FxHashMap<u64, OpenCall>,
    /// There were [`OPEN_CALLS_MAX`], and are not yet fewer than [`OPEN_CALLS_LOW`].
    is_full: bool,
    /// Those of them that the scheduler has to be sent once more, ascending.
    left: VecDeque<u64>,
    /// Whether it had forgotten the job, so that what is left has to be told apart by indices.
    forgotten: bool,
    /// Which opening of the job this is, from 1.
    opening: u32,
    allowed: Allowed,
    closed_said: bool,
    abandon_said: bool,
    /// Why nobody wants the outcomes any more.
    abandon: v1::Abandon,
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

impl InputSink for InputSender {
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
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

    fn push(&self, input: Bytes) {
        let mut state = self.0.lock();
        state.bytes += input.wire_bytes();
        state.inputs.push_back(input);
        wake(state, |state| &mut state.receiver_waits);
    }

    fn finish(self) {
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
        let mut state = self.0.lock();
        let is_first = state.open.remove(&index).is_some();
        if state.is_full && state.open.len() < OPEN_CALLS_LOW {
            state.is_full = false;
            wake(state, |state| &mut state.receiver_waits);
        }
        is_first
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

    /// Nobody wants the outcomes any more; the scheduler is told so, and why.
    pub(crate) fn abandon(&self, why: v1::Abandon) {
        let mut state = self.0.lock();
        (state.end, state.abandon) = (End::Abandoned, why);
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
            return Poll::Ready((!said).then(|| Request::Abandon(state.abandon.clone())));
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
        state.is_full |= state.open.len() >= OPEN_CALLS_MAX;
        if state.inputs.is_empty() || has_to_wait || state.is_full {
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
        while self.open.len() < OPEN_CALLS_MAX
            && let Some(input) = self.inputs.pop_front_if(|input| !batch_is_full(bytes, input))
        {
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

#[cfg(test)]
mod tests;
