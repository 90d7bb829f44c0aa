//! Connections: in order, with delays, and able to break. What is under way when one breaks arrives or is lost; the two ends notice
//! at different times, and not before what still arrives has.

use std::collections::VecDeque;

use crate::messages::{ToPeer, ToScheduler};
use crate::world::{Happening, MILLISECOND, SECOND, Time, World};

/// Until when each end has noticed that a connection is broken: three missed heartbeats.
const NOTICED_MAX: Time = 6 * SECOND;

/// Who dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A node's process, by the node's place and how often it has been started.
    Node(usize, u32),
    Client(usize, u32),
}

pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// The scheduler's life that it was made in.
    pub(crate) life: u32,
    to_scheduler: VecDeque<ToScheduler>,
    to_peer: VecDeque<ToPeer>,
    /// When the last message of each direction arrives.
    last: [Time; 2],
    /// Nothing that is sent from now on arrives.
    pub(crate) cut: bool,
    closed: [bool; 2],
}

const TO_SCHEDULER: usize = 0;
const TO_PEER: usize = 1;

impl World {
    pub(crate) fn connect(&mut self, peer: Peer) -> u64 {
        self.connections_made += 1;
        let id = self.connections_made;
        let life = self.life.as_ref().map_or(0, |life| life.number);
        let (to_scheduler, to_peer) = (VecDeque::new(), VecDeque::new());
        let connection = Connection { peer, life, to_scheduler, to_peer, last: [0; 2], cut: false, closed: [false; 2] };
        self.connections.insert(id, connection);
        id
    }

    fn arrival(&mut self, connection: u64, direction: usize) -> Option<Time> {
        let delay = self.rng.between(10, self.faults.latency_max.max(10));
        let it = self.connections.get_mut(&connection).filter(|it| !it.cut)?;
        it.last[direction] = it.last[direction].max(self.now + delay);
        Some(it.last[direction])
    }

    pub(crate) fn send_to_scheduler(&mut self, connection: u64, message: ToScheduler) {
        let Some(at) = self.arrival(connection, TO_SCHEDULER) else { return };
        if let Some(it) = self.connections.get_mut(&connection) {
            it.to_scheduler.push_back(message);
        }
        self.at(at, Happening::ReachesScheduler(connection));
    }

    pub(crate) fn send_to_peer(&mut self, connection: u64, message: ToPeer) {
        let Some(at) = self.arrival(connection, TO_PEER) else { return };
        if let Some(it) = self.connections.get_mut(&connection) {
            it.to_peer.push_back(message);
        }
        self.at(at, Happening::ReachesPeer(connection));
    }

    pub(crate) fn reaches_scheduler(&mut self, connection: u64) {
        let Some(it) = self.connections.get_mut(&connection) else { return };
        let Some(message) = it.to_scheduler.pop_front() else { return };
        let is_there = !it.closed[TO_SCHEDULER] && self.life.as_ref().is_some_and(|life| life.number == it.life);
        if is_there {
            self.trace(|| format!("scheduler hears {connection}: {message:?}"));
            self.scheduler_hears(connection, message);
        }
    }

    pub(crate) fn reaches_peer(&mut self, connection: u64) {
        let Some(it) = self.connections.get_mut(&connection) else { return };
        if let Peer::Node(node, _) = it.peer
            && self.nodes[node].frozen_until > self.now
        {
            let until = self.nodes[node].frozen_until;
            self.at(until, Happening::ReachesPeer(connection));
            return;
        }
        let (peer, closed) = (it.peer, it.closed[TO_PEER]);
        let Some(message) = it.to_peer.pop_front() else { return };
        if closed || !self.is_alive(peer) {
            return;
        }
        self.trace(|| format!("{peer:?} hears {connection}: {message:?}"));
        match peer {
            Peer::Node(node, _) => self.node_hears(node, connection, message),
            Peer::Client(client, _) => self.client_hears(client, connection, message),
        }
    }

    fn is_alive(&self, peer: Peer) -> bool {
        match peer {
            Peer::Node(node, start) => self.nodes[node].is_up && self.nodes[node].starts == start,
            Peer::Client(client, start) => !self.clients[client].is_gone && self.clients[client].starts == start,
        }
    }

    /// The connection breaks. Some of what is under way arrives; each end notices sometime after.
    pub(crate) fn cut(&mut self, connection: u64) {
        let Some(it) = self.connections.get_mut(&connection).filter(|it| !it.cut) else { return };
        it.cut = true;
        let (arrive_there, arrive_here) = (it.to_scheduler.len() as u64, it.to_peer.len() as u64);
        let kept = [self.rng.between(0, arrive_there) as usize, self.rng.between(0, arrive_here) as usize];
        let Some(it) = self.connections.get_mut(&connection) else { return };
        it.to_scheduler.truncate(kept[0]);
        it.to_peer.truncate(kept[1]);
        let last = it.last;
        self.trace(|| format!("connection {connection} breaks"));
        for (end, last) in last.into_iter().enumerate() {
            let after = if self.rng.chance(0.5) { self.rng.below(20 * MILLISECOND) } else { self.rng.below(NOTICED_MAX) };
            self.at(last.max(self.now) + after, Happening::Noticed(connection, end));
        }
    }

    /// An end notices that the connection is broken.
    pub(crate) fn noticed(&mut self, connection: u64, end: usize) {
        let Some(it) = self.connections.get_mut(&connection) else { return };
        if std::mem::replace(&mut it.closed[end], true) {
            return;
        }
        let (peer, life) = (it.peer, it.life);
        self.trace(|| format!("{} notices that connection {connection} is broken", ["the scheduler", "the peer"][end]));
        if end == TO_SCHEDULER {
            if self.life.as_ref().is_some_and(|now| now.number == life) {
                self.scheduler_lost(connection);
            }
        } else if self.is_alive(peer) {
            match peer {
                Peer::Node(node, _) => self.node_lost_session(node, connection),
                Peer::Client(client, _) => self.client_lost_stream(client, connection),
            }
        }
        if self.connections.get(&connection).is_some_and(|it| it.closed == [true; 2]) {
            self.connections.remove(&connection);
        }
    }

    /// A peer closes its end in good order: everything that is under way to the scheduler arrives, then the end.
    pub(crate) fn hang_up(&mut self, connection: u64) {
        let Some(it) = self.connections.get_mut(&connection).filter(|it| !it.cut) else { return };
        (it.cut, it.closed[TO_PEER]) = (true, true);
        let at = it.last[TO_SCHEDULER].max(self.now) + MILLISECOND;
        self.at(at, Happening::Noticed(connection, TO_SCHEDULER));
    }

    /// The scheduler hears nothing of this any more: a newer stream took its place.
    pub(crate) fn scheduler_drops(&mut self, connection: u64) {
        if let Some(it) = self.connections.get_mut(&connection) {
            it.closed[TO_SCHEDULER] = true;
        }
        self.cut(connection);
    }
}
