//! The scheduler's ends of its nodes' sessions: what is to be said to each, and what each was told has been taken in.

use std::collections::VecDeque;
use std::sync::Arc;

use burla_types::{JobId, Resources};
use tokio::sync::mpsc;

use super::SessionNumber;
use crate::grid::event::NodeCommand;
use crate::store::Ticket;

/// What the driver has for a node.
pub(crate) type NodeOutbox = mpsc::UnboundedSender<ToNode>;

/// Something to say to a node.
#[derive(Debug)]
pub(crate) enum ToNode {
    /// What the grid wants of it.
    Command(NodeCommand),
    /// What it said up to this message has been taken in, and is on the disk where that is where it belongs.
    Acknowledged(u64),
}

/// The scheduler's end of a node's session.
pub(super) struct NodeEnd {
    pub(super) session: SessionNumber,
    pub(super) name: Arc<str>,
    pub(super) capacity: Resources,
    pub(super) outbox: NodeOutbox,
    /// Jobs in which nothing runs any more, of which it has not been told.
    pub(super) finished: Vec<JobId>,
    /// The last message that was taken in, and the last of which it was told so.
    heard: u64,
    acknowledged: u64,
    /// Messages that are to be acknowledged when so much is on the disk; one for each time that was looked at.
    waiting: VecDeque<(u64, Ticket)>,
    /// The last of what it said that belongs on the disk. Of attached jobs nothing does, so a disk that is full does not hold
    /// their nodes up.
    told: Ticket,
}

impl NodeEnd {
    pub(super) fn new(session: SessionNumber, name: &str, capacity: Resources, outbox: NodeOutbox) -> Self {
        Self {
            session,
            name: name.into(),
            capacity,
            outbox,
            finished: Vec::new(),
            heard: 0,
            acknowledged: 0,
            waiting: VecDeque::new(),
            told: Ticket::default(),
        }
    }

    /// A receiver that is gone has told of it, or is about to.
    pub(super) fn send(&mut self, command: NodeCommand) {
        self.tell_finished();
        let _ = self.outbox.send(ToNode::Command(command));
    }

    pub(super) fn tell_finished(&mut self) {
        for job in self.finished.drain(..) {
            let _ = self.outbox.send(ToNode::Command(NodeCommand::StopJob(job)));
        }
    }

    /// A message was taken in. Returns whether there was nothing to acknowledge before.
    pub(super) fn heard(&mut self, number: u64) -> bool {
        let was_even = self.heard == self.acknowledged;
        self.heard = self.heard.max(number);
        was_even && self.heard > self.acknowledged
    }

    /// What it said last was told to the store.
    pub(super) fn told(&mut self, ticket: Ticket) {
        self.told = self.told.max(ticket);
    }

    /// Acknowledges what is on the disk, or does not belong there. Returns whether more is to come.
    pub(super) fn acknowledge(&mut self, written: Ticket) -> bool {
        let last = self.waiting.back().map_or(self.acknowledged, |(number, _)| *number);
        if self.heard > last {
            self.waiting.push_back((self.heard, self.told));
        }
        let mut kept = None;
        while let Some((number, _)) = self.waiting.pop_front_if(|(_, ticket)| *ticket <= written) {
            kept = Some(number);
        }
        if let Some(number) = kept {
            self.acknowledged = number;
            let _ = self.outbox.send(ToNode::Acknowledged(number));
        }
        self.heard > self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_said_is_acknowledged_when_it_is_on_the_disk() {
        let (outbox, mut told) = mpsc::unbounded_channel();
        let capacity = Resources { cpu_millis: 1000, memory_bytes: 1 << 30 };
        let mut node = NodeEnd::new(SessionNumber(1), "node", capacity, outbox);
        let mut acknowledged = || match told.try_recv() {
            Ok(ToNode::Acknowledged(number)) => Some(number),
            _ => None,
        };
        assert!(node.heard(3) && !node.heard(4));
        node.told(Ticket(7));
        assert!(node.acknowledge(Ticket(6)));
        assert_eq!(acknowledged(), None);
        node.heard(5);
        node.told(Ticket(8));
        assert!(node.acknowledge(Ticket(7)), "the rest came later");
        assert_eq!(acknowledged(), Some(4));
        assert!(!node.acknowledge(Ticket(8)));
        assert_eq!((acknowledged(), acknowledged()), (Some(5), None));
        node.heard(2);
        assert!(!node.acknowledge(Ticket(9)), "it was said before, in an earlier session");
        assert_eq!(acknowledged(), None);
        node.heard(6);
        assert!(!node.acknowledge(Ticket(8)), "what is not for the disk does not wait for it");
        assert_eq!(acknowledged(), Some(6));
    }
}
