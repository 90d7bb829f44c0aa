use burla_types::{Attempt, JobId, NodeId, Usage};
use bytes::Bytes;

use super::super::tests::driver;
use super::super::{Message, SessionNumber};
use super::*;

fn jobs() -> [JobId; 2] {
    [1, 2].map(|byte| JobId::from_bytes([byte; 16]))
}

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 16])
}

fn reported(node_byte: u8, job: JobId, index: u64, wall_time: Duration) -> Message {
    let usage = Usage { wall_time, ..Usage::default() };
    let report = CallReport::Ended { outcome: Outcome::Done(Bytes::new()), stderr_tail: String::new(), usage };
    let news = CallNews { index, attempt: Attempt::FIRST, report };
    let event = Event::CallsReported(node(node_byte), job, vec![news]);
    Message::NodeSaid { session: SessionNumber(u64::from(node_byte)), number: index, event }
}

fn took(job: JobId, bytes: usize) -> Message {
    Message::Event(Event::ClientTook(job, bytes))
}

/// What is in a message, in short.
fn shown(message: &Message) -> String {
    match message {
        Message::NodeSaid { number, event: Event::CallsReported(node, job, news), .. } => {
            let indices: Vec<_> = news.iter().map(|news| news.index).collect();
            format!("node {} job {} {indices:?} up to {number}", node.as_bytes()[0], job.as_bytes()[0])
        }
        Message::Event(Event::ClientTook(job, bytes)) => format!("job {} took {bytes}", job.as_bytes()[0]),
        _ => "other".to_owned(),
    }
}

#[test]
fn what_belongs_together_is_taken_in_together_and_nothing_overtakes_the_rest() {
    let [one, two] = jobs();
    let short = Duration::ZERO;
    let messages = vec![
        reported(1, one, 0, short),
        reported(2, one, 1, short),
        took(one, 5),
        reported(1, one, 2, short),
        reported(1, two, 3, short),
        took(two, 1),
        took(one, 6),
        Message::Event(Event::Tick),
        reported(1, one, 4, short),
        took(one, 7),
    ];
    let together: Vec<_> = together(messages.into_iter()).iter().map(shown).collect();
    let expected = [
        "node 1 job 1 [0, 2] up to 2",
        "node 2 job 1 [1] up to 1",
        "job 1 took 11",
        "node 1 job 2 [3] up to 3",
        "job 2 took 1",
        "other",
        "node 1 job 1 [4] up to 4",
        "job 1 took 7",
    ];
    assert_eq!(together, expected);
}

#[tokio::test]
async fn only_reports_of_short_calls_of_large_jobs_can_wait() {
    let mut driver = driver().await;
    for (job, calls_open) in jobs().into_iter().zip([OPEN_CALLS_MIN, OPEN_CALLS_MIN - 1]) {
        driver.has_job(job, calls_open);
    }
    let [large, small] = jobs();
    assert!(driver.can_wait(&reported(1, large, 0, SHORT_CALL_TIME)));
    assert!(driver.can_wait(&took(small, 1)));
    assert!(!driver.can_wait(&reported(1, large, 0, SHORT_CALL_TIME * 2)), "its slot may have nothing else to do");
    assert!(!driver.can_wait(&reported(1, small, 0, SHORT_CALL_TIME)), "it may be one of the last");
    assert!(!driver.can_wait(&Message::Event(Event::InputsClosed(large))));
}
