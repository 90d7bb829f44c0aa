//! Which messages are taken in together, and which may wait for others for a moment.
//!
//! Reports of short calls come by the ten thousands each second; each would otherwise be a message to the node and one to the
//! client. Their slots have more to do meanwhile. Anything else is taken in at once, with all that was gathered before it.

use std::time::Duration;

use burla_proto::convert::CallReport;
use burla_types::Outcome;

use super::{Driver, Message};
use crate::grid::event::{CallNews, Event};

/// How far back in what is taken in together a message looks for one that it can be added to. As many nodes as report at the same
/// time; with more, there is more to do anyway.
const LOOK_BACK_MAX: usize = 16;

/// Calls that are so short have others waiting for their slot that last longer than reports are gathered (`grid/lease.rs`).
const SHORT_CALL_TIME: Duration = Duration::from_millis(1);

/// Calls that must be open for a job not to miss its reports for a while: its client waits for the last of them, and who waits
/// for a few wants each at once.
const OPEN_CALLS_MIN: u64 = 256;

impl Driver {
    /// Whether nobody misses it for a moment.
    pub(super) fn can_wait(&self, message: &Message) -> bool {
        let is_of_short_call = |news: &CallNews| match &news.report {
            CallReport::Ended { outcome: Outcome::Done(_), usage, .. } => usage.wall_time <= SHORT_CALL_TIME,
            _ => false,
        };
        match message {
            Message::NodeSaid { event: Event::CallsReported(_, job, news), .. } => {
                let has_many = self.jobs.get(job).is_some_and(|job| job.calls_open() >= OPEN_CALLS_MIN);
                has_many && news.iter().all(is_of_short_call)
            }
            Message::Event(Event::ClientTook(..)) | Message::Taken { .. } => true,
            _ => false,
        }
    }
}

/// Adds reports of a node about a job, and bytes that a client took, to those before them: the grid takes in a hundred together
/// for little more than one. What each of the others says does not depend on which of the two comes first.
pub(super) fn together(messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let mut together: Vec<Message> = Vec::with_capacity(messages.size_hint().0);
    for message in messages {
        let mut before = together.iter_mut().rev().take(LOOK_BACK_MAX).map_while(|message| match message {
            Message::NodeSaid { event: Event::CallsReported(..), .. } | Message::Event(Event::ClientTook(..)) => Some(message),
            _ => None,
        });
        match message {
            Message::NodeSaid { session, number, event: Event::CallsReported(node, job, news) } => {
                let add_to = before.find_map(|message| match message {
                    Message::NodeSaid { session: of, number, event: Event::CallsReported(_, its_job, its_news) }
                        if (*of, *its_job) == (session, job) =>
                    {
                        Some((number, its_news))
                    }
                    _ => None,
                });
                match add_to {
                    Some((its_number, its_news)) => {
                        *its_number = number.max(*its_number);
                        its_news.extend(news);
                    }
                    None => together.push(Message::NodeSaid { session, number, event: Event::CallsReported(node, job, news) }),
                }
            }
            Message::Event(Event::ClientTook(job, bytes)) => {
                let add_to = before.find_map(|message| match message {
                    Message::Event(Event::ClientTook(its_job, its_bytes)) if *its_job == job => Some(its_bytes),
                    _ => None,
                });
                match add_to {
                    Some(its_bytes) => *its_bytes += bytes,
                    None => together.push(Message::Event(Event::ClientTook(job, bytes))),
                }
            }
            message => together.push(message),
        }
    }
    together
}

#[cfg(test)]
mod tests;
