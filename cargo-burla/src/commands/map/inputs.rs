//! The inputs that were read, as the stream that the client takes them from, and what is known of each until its call
//! has ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::reader::{Batch, Unreadable};
use super::splitter::{BadInput, Piece};

/// Where an input came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Origin {
    /// Its position among everything that should be an input, from 0.
    pub(super) position: u64,
    /// The number of its line, from 1.
    pub(super) line: u64,
}

/// The state that the stream shares with whoever polls the job.
#[derive(Default)]
pub(super) struct Inputs {
    /// The number of inputs taken, bad ones included.
    pub(super) taken: u64,
    /// The origin of the input of each call that has not ended.
    pub(super) calls: HashMap<u64, Origin>,
    /// Something that is no input, with its position. No more are taken before it is looked at.
    pub(super) bad: Option<(u64, BadInput)>,
    /// The inputs could not be read to their end.
    pub(super) unreadable: Option<Unreadable>,
    /// No more inputs are wanted.
    pub(super) is_stopped: bool,
}

/// Inputs as a stream.
pub(super) struct InputStream {
    batches: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<Piece<Bytes>>,
    inputs: Rc<RefCell<Inputs>>,
    /// The index of the next call.
    index: u64,
}

impl InputStream {
    pub(super) fn new(batches: mpsc::Receiver<Batch>) -> Self {
        Self { batches, batch: Vec::new().into_iter(), inputs: Rc::default(), index: 0 }
    }

    pub(super) fn inputs(&self) -> Rc<RefCell<Inputs>> {
        Rc::clone(&self.inputs)
    }
}

impl Stream for InputStream {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut inputs = this.inputs.borrow_mut();
        loop {
            if inputs.is_stopped {
                return Poll::Ready(None);
            }
            if inputs.bad.is_some() || inputs.unreadable.is_some() {
                // The task that polls the job looks at it first.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(piece) = this.batch.next() else {
                match std::task::ready!(this.batches.poll_recv(context)) {
                    Some(Ok(batch)) => this.batch = batch.into_iter(),
                    Some(Err(error)) => inputs.unreadable = Some(error),
                    None => return Poll::Ready(None),
                }
                continue;
            };
            let position = inputs.taken;
            inputs.taken += 1;
            match piece {
                Piece::Input { line, input } => {
                    inputs.calls.insert(this.index, Origin { position, line });
                    this.index += 1;
                    return Poll::Ready(Some(Ok(input)));
                }
                Piece::Bad(bad) => inputs.bad = Some((position, bad)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(stream: &mut InputStream) -> Poll<Option<Bytes>> {
        let next = Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()));
        next.map(|next| next.map(Result::unwrap))
    }

    #[test]
    fn a_bad_input_is_looked_at_before_the_next_is_taken() {
        let (sender, batches) = mpsc::channel(2);
        let mut stream = InputStream::new(batches);
        let inputs = stream.inputs();
        let input = |line, text: &'static str| Piece::Input { line, input: Bytes::from(text) };
        let bad = BadInput { lines: 2..=2, reason: "no".to_owned() };
        sender.try_send(Ok(vec![input(1, "a"), Piece::Bad(bad.clone()), input(3, "b"), input(4, "c")])).unwrap();
        assert_eq!(poll(&mut stream), Poll::Ready(Some("a".into())));
        assert_eq!((poll(&mut stream), poll(&mut stream)), (Poll::Pending, Poll::Pending));
        assert_eq!(inputs.borrow_mut().bad.take(), Some((1, bad)));
        assert_eq!(poll(&mut stream), Poll::Ready(Some("b".into())));
        assert_eq!(inputs.borrow().calls[&1], Origin { position: 2, line: 3 });
        inputs.borrow_mut().is_stopped = true;
        assert_eq!(poll(&mut stream), Poll::Ready(None));
    }
}
