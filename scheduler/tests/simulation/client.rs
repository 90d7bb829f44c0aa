//! Clients. An attached one keeps every input until it knows how the call ended, and opens its job again when its stream breaks. A
//! detached one hands its inputs over until they are kept, and then follows the job, from wherever it was.

use std::collections::BTreeMap;

use burla_proto::convert::CallReport;
use burla_scheduler::grid::event::{JobSpec, ResentInput};
use burla_types::{GridError, JobId};

use crate::function;
use crate::messages::{Opening, ToPeer, ToScheduler, Told};
use crate::network::Peer;
use crate::world::{Happening, MILLISECOND, SECOND, Time, World};

/// The pause before a client dials again.
const DIAL_PAUSE: (Time, Time) = (20 * MILLISECOND, 2 * SECOND);

/// How long after an event the client says that it has it.
const TAKEN_WITHIN: Time = 500 * MILLISECOND;

/// Inputs in one message at most.
const BATCH_MAX: u64 = 12;

/// A resent batch holds fewer, so that there are several.
const RESENT_BATCH_MAX: usize = 7;

pub(crate) struct Client {
    pub(crate) job: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) inputs: u64,
    pub(crate) is_detached: bool,
    pub(crate) starts: u32,
    /// It crashed, and nobody waits for its job any more.
    pub(crate) is_gone: bool,
    pub(crate) end: Option<Result<u64, GridError>>,
    pub(crate) was_canceled: bool,
    cut_off_until: Time,
    pub(crate) connection: Option<u64>,
    is_open: bool,
    openings: u32,
    /// Inputs that were sent on any stream, and the next that is to be sent on this one.
    sent: u64,
    next: u64,
    /// Inputs before this one it does not have any more.
    dropped: u64,
    closed: bool,
    events_taken: u64,
    /// What it last said of that, and on which stream.
    taken_said: (u64, u64),
    pub(crate) outcomes: BTreeMap<u64, CallReport>,
    pub(crate) shown: BTreeMap<u64, [u64; 2]>,
    /// Of detached jobs: all inputs are kept, and how far it followed.
    pub(crate) is_submitted: bool,
    followed: [u64; 2],
    wants_cancel: bool,
}

impl Client {
    pub(crate) fn new(job: JobId, spec: JobSpec, inputs: u64, is_detached: bool) -> Self {
        Self {
            job,
            spec,
            inputs,
            is_detached,
            starts: 1,
            is_gone: false,
            end: None,
            was_canceled: false,
            cut_off_until: 0,
            connection: None,
            is_open: false,
            openings: 0,
            sent: 0,
            next: 0,
            dropped: 0,
            closed: false,
            events_taken: 0,
            taken_said: (0, 0),
            outcomes: BTreeMap::new(),
            shown: BTreeMap::new(),
            is_submitted: false,
            followed: [0; 2],
            wants_cancel: false,
        }
    }

    /// Whether nothing more is to be expected of it.
    pub(crate) fn is_through(&self) -> bool {
        self.is_gone || self.end.is_some()
    }
}

impl World {
    pub(crate) fn client_dials(&mut self, client: usize) {
        let it = &self.clients[client];
        if it.is_through() || it.connection.is_some() {
            return;
        }
        if self.life.is_none() || it.cut_off_until > self.now {
            let pause = self.rng.between(DIAL_PAUSE.0, DIAL_PAUSE.1);
            self.later(pause, Happening::ClientDials(client));
            return;
        }
        let connection = self.connect(Peer::Client(client, self.clients[client].starts));
        let it = &mut self.clients[client];
        it.connection = Some(connection);
        (it.is_open, it.closed) = (false, false);
        let message = if it.is_submitted {
            ToScheduler::Follow(it.job, it.followed[0], it.followed[1])
        } else if it.is_detached {
            ToScheduler::Open(it.job, it.spec.clone(), Opening::Detached)
        } else {
            it.openings += 1;
            ToScheduler::Open(it.job, it.spec.clone(), Opening::Attached(it.events_taken, it.openings - 1))
        };
        let (cancels, job) = (it.wants_cancel, it.job);
        self.send_to_scheduler(connection, message);
        if cancels {
            self.send_to_scheduler(connection, ToScheduler::Cancel(job));
        }
    }

    pub(crate) fn client_lost_stream(&mut self, client: usize, connection: u64) {
        if self.clients[client].connection == Some(connection) {
            self.clients[client].connection = None;
            let pause = self.rng.between(DIAL_PAUSE.0, DIAL_PAUSE.1);
            self.later(pause, Happening::ClientDials(client));
        }
    }

    pub(crate) fn client_hears(&mut self, client: usize, connection: u64, message: ToPeer) {
        if self.clients[client].connection != Some(connection) || self.clients[client].is_through() {
            return;
        }
        match message {
            ToPeer::Opened(resumed, next) => self.client_opened(client, connection, resumed, next),
            ToPeer::Calls(first, updates) => {
                let it = &mut self.clients[client];
                if first != it.events_taken {
                    let taken = it.events_taken;
                    self.violated(|| format!("client {client} has {taken} events, and was told from {first} on"));
                    return;
                }
                it.events_taken += updates.len() as u64;
                self.client_shows(client, updates);
                let pause = self.rng.below(TAKEN_WITHIN);
                self.later(pause, Happening::ClientTakes(client, connection));
            }
            ToPeer::Kept(next) => {
                let it = &mut self.clients[client];
                // What is kept, the client drops.
                it.dropped = it.dropped.max(next);
            }
            ToPeer::Submitted => {
                let it = &mut self.clients[client];
                it.is_submitted = true;
                it.connection = None;
                self.hang_up(connection);
                let pause = self.rng.below(SECOND);
                self.later(pause, Happening::ClientDials(client));
            }
            ToPeer::Outcomes(first, updates) => self.client_follows(client, 0, first, updates),
            ToPeer::Lines(first, updates) => self.client_follows(client, 1, first, updates),
            ToPeer::Ended(result) => {
                let it = &mut self.clients[client];
                it.end = Some(result);
                it.connection = None;
                self.hang_up(connection);
                self.check_end(client);
            }
            ToPeer::Unknown => {
                let it = &self.clients[client];
                if it.is_submitted {
                    self.violated(|| format!("the job of client {client} is not known any more"));
                }
            }
            other => self.violated(|| format!("client {client} was told {other:?}")),
        }
    }

    /// Says how much it has, so that the scheduler can forget that.
    pub(crate) fn client_takes(&mut self, client: usize, connection: u64) {
        let it = &mut self.clients[client];
        if it.connection != Some(connection) || it.taken_said == (connection, it.events_taken) {
            return;
        }
        let events = it.events_taken;
        it.taken_said = (connection, events);
        self.send_to_scheduler(connection, ToScheduler::Taken(events));
    }

    fn client_opened(&mut self, client: usize, connection: u64, resumed: bool, next: u64) {
        let it = &mut self.clients[client];
        it.is_open = true;
        it.next = next;
        if next < it.dropped {
            let dropped = it.dropped;
            self.violated(|| format!("inputs from {next} on are lost, and client {client} has dropped those before {dropped}"));
            return;
        }
        if !resumed {
            it.events_taken = 0;
        }
        // What an earlier scheduler had is sent again without what has ended, also where the last time got only so far.
        if !it.is_detached && it.outcomes.range(next..it.sent.max(next)).next().is_some() || !resumed {
            let left: Vec<_> = (next..it.sent).filter(|index| !it.outcomes.contains_key(index)).collect();
            it.next = it.sent;
            let (job, shown) = (it.job, it.shown.clone());
            for batch in left.chunks(RESENT_BATCH_MAX) {
                let inputs = batch.iter().map(|index| ResentInput {
                    index: *index,
                    input: function::input(job, *index),
                    shown: shown.get(index).copied().unwrap_or_default(),
                });
                self.send_to_scheduler(connection, ToScheduler::Resent(inputs.collect()));
            }
        }
        self.client_sends(client, connection);
    }

    /// Sends the next inputs, and more after a while.
    pub(crate) fn client_sends(&mut self, client: usize, connection: u64) {
        let count = self.rng.between(1, BATCH_MAX);
        let it = &mut self.clients[client];
        if it.connection != Some(connection) || !it.is_open || it.closed || it.is_through() {
            return;
        }
        let until = it.inputs.min(it.next + count);
        let message = if it.next < it.inputs {
            let inputs = (it.next..until).map(|index| function::input(it.job, index)).collect();
            let message = ToScheduler::Inputs(it.next, inputs);
            it.next = until;
            it.sent = it.sent.max(until);
            message
        } else {
            it.closed = true;
            ToScheduler::InputsClosed
        };
        self.send_to_scheduler(connection, message);
        let pause = self.rng.below(self.pace);
        self.later(pause, Happening::ClientSends(client, connection));
    }

    /// What is told of calls reaches the user.
    fn client_shows(&mut self, client: usize, updates: Vec<Told>) {
        for (index, report) in updates {
            match &report {
                CallReport::Printed { stream, first_line, lines } => {
                    self.check_lines(client, index, function::number_of(*stream), *first_line, lines);
                }
                CallReport::Ended { outcome, .. } => {
                    self.check_outcome(client, index, outcome);
                    self.clients[client].outcomes.insert(index, report);
                }
            }
        }
    }

    fn client_follows(&mut self, client: usize, what: usize, first: u64, updates: Vec<Told>) {
        let it = &mut self.clients[client];
        if first != it.followed[what] {
            let followed = it.followed[what];
            self.violated(|| format!("follower {client} is at {followed}, and was told from {first} on"));
            return;
        }
        it.followed[what] += updates.len() as u64;
        self.check_kept(client, what, first, &updates);
        self.client_shows(client, updates);
    }

    /// The client's process is gone. The user of a detached job starts it again; nobody comes for an attached one.
    pub(crate) fn client_crashes(&mut self, client: usize) {
        if self.clients[client].is_through() {
            return;
        }
        self.trace(|| format!("client {client} crashes"));
        if let Some(connection) = self.clients[client].connection.take() {
            if self.rng.chance(0.3) {
                self.send_to_scheduler(connection, ToScheduler::Abandon);
                self.hang_up(connection);
            } else {
                self.cut(connection);
            }
        }
        let it = &mut self.clients[client];
        if !it.is_detached {
            it.is_gone = true;
            return;
        }
        it.starts += 1;
        // It knows the job's id and its inputs, and nothing else; the follower begins from the start or where it was.
        (it.sent, it.next, it.dropped) = (0, 0, 0);
        if self.rng.chance(0.5) {
            let it = &mut self.clients[client];
            it.followed = [0; 2];
            it.outcomes.clear();
            it.shown.clear();
        }
        let pause = self.rng.between(DIAL_PAUSE.0, DIAL_PAUSE.1);
        self.later(pause, Happening::ClientDials(client));
    }

    /// The client reaches nobody for a while.
    pub(crate) fn client_is_cut_off(&mut self, client: usize, time: Time) {
        self.trace(|| format!("client {client} is cut off for {time}"));
        self.clients[client].cut_off_until = self.now + time;
        if let Some(connection) = self.clients[client].connection {
            self.cut(connection);
        }
    }

    /// Somebody cancels the job.
    pub(crate) fn cancels(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if it.is_through() {
            return;
        }
        (it.was_canceled, it.wants_cancel) = (true, true);
        let job = it.job;
        if let Some(connection) = it.connection {
            self.send_to_scheduler(connection, ToScheduler::Cancel(job));
        }
    }

    /// The faults are over: everyone can reach everyone.
    pub(crate) fn calm_clients(&mut self) {
        self.clients.iter_mut().for_each(|client| client.cut_off_until = 0);
    }
}
