//! What goes out when, without a connection.

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
fn no_more_calls_are_open_than_a_scheduler_holds() {
    let (sender, receiver) = input_buffer();
    let stream = receiver.open_first();
    receiver.answered();
    let mut sent = 0;
    while sent < OPEN_CALLS_MAX {
        push(&sender, [0; 100]);
        sent += new_inputs(&stream).1.len();
    }
    push(&sender, [1, 2]);
    sender.finish();
    assert!(poll(&stream).is_pending());
    let low = OPEN_CALLS_LOW as u64;
    (low..sent as u64).for_each(|index| assert!(receiver.ended(index)));
    assert!(poll(&stream).is_pending(), "a few at a time would be many small messages");
    assert!(receiver.ended(0));
    assert_eq!(new_inputs(&stream), (sent as u64, bytes([1, 2])));
    assert!(is_closed(&stream), "these were all");
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
    let why = v1::Abandon { error: "cannot encode input 3".into(), canceled: false };
    receiver.abandon(why.clone());
    assert!(matches!(poll(&stream), Poll::Ready(Some(Request::Abandon(said))) if said == why));
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
