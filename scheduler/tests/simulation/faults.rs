//! What goes wrong in a run, and how often. Each seed draws its own: some runs are calm, some lose the scheduler every few seconds.

use crate::rng::Rng;
use crate::world::{MILLISECOND, SECOND, Time, World};

/// A way in which the simulated scheduler is made to be wrong, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// What was sent to a client counts as taken.
    ForgetsUntaken,
    /// Clients drop inputs that are not on the disk yet.
    KeepsBeforeCommit,
    /// Followers are told what is not on the disk yet.
    TellsBeforeCommit,
    /// Nodes forget outcomes that are not on the disk yet.
    AcknowledgesBeforeCommit,
    /// Outcomes that are on the disk are written again.
    CommitsTwice,
    /// What calls printed under the scheduler before is shown again.
    ForgetsShown,
    /// Calls that have ended are given to the grid again after a restart.
    ForgetsOutcomes,
    /// A job is resumed whose client cannot know yet that it was opened anew.
    ResumesUnheard,
    /// What a node says again is taken in again. This one does no harm.
    HearsTwice,
}

/// How often things go wrong, in times a second.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) until: Time,
    connection_breaks: f64,
    node_crashes: f64,
    node_freezes: f64,
    node_leaves: f64,
    scheduler_crashes: f64,
    client_crashes: f64,
    client_stalls: f64,
    cancels: f64,
    /// How long a scheduler is gone at most.
    scheduler_gone_max: Time,
    /// Chances, of each call.
    pub(crate) call_fails: f64,
    pub(crate) call_is_long: f64,
    pub(crate) call_kills: f64,
    pub(crate) call_lost: f64,
    pub(crate) memory_short: f64,
    /// Of each job that a node is told of.
    pub(crate) trouble: f64,
    /// How long a message may take.
    pub(crate) latency_max: Time,
    pub(crate) commit_max: Time,
}

/// How often a fault may be drawn.
const DRAW: Time = 100 * MILLISECOND;

impl Faults {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let heavy = rng.chance(0.4);
        let mut rate = |most: f64| {
            let level = rng.below(4) as f64 / 3.0;
            if rng.chance(0.4) { 0.0 } else { most * level * if heavy { 1.0 } else { 0.3 } }
        };
        Self {
            connection_breaks: rate(3.0),
            node_crashes: rate(0.5),
            node_freezes: rate(0.5),
            node_leaves: rate(0.3),
            scheduler_crashes: rate(0.4),
            client_crashes: rate(0.2),
            client_stalls: rate(0.3),
            cancels: rate(0.05),
            call_fails: rate(0.3),
            call_is_long: rate(0.1),
            call_kills: rate(0.03),
            call_lost: rate(0.1),
            memory_short: rate(0.1),
            trouble: rate(0.1),
            until: rng.between(2, 30) * SECOND,
            scheduler_gone_max: rng.pick(&[50 * MILLISECOND, SECOND, 4 * SECOND, 80 * SECOND]),
            latency_max: rng.pick(&[MILLISECOND, 10 * MILLISECOND, 100 * MILLISECOND, SECOND]),
            commit_max: rng.pick(&[MILLISECOND, 20 * MILLISECOND, 500 * MILLISECOND]),
        }
    }
}

impl World {
    /// Whether things still go wrong.
    pub(crate) fn is_quiet(&self) -> bool {
        self.now >= self.faults.until
    }

    pub(crate) fn draw_faults(&mut self) {
        if self.is_quiet() {
            self.calm_down();
            return;
        }
        let part = DRAW as f64 / SECOND as f64;
        if self.rng.chance(self.faults.connection_breaks * part) {
            let open: Vec<u64> = self.connections.iter().filter(|(_, it)| !it.cut).map(|(id, _)| *id).collect();
            if !open.is_empty() {
                let connection = self.rng.pick(&open);
                self.cut(connection);
            }
        }
        if self.rng.chance(self.faults.node_crashes * part) {
            let node = self.any_node();
            self.node_crashes(node);
        }
        if self.rng.chance(self.faults.node_freezes * part) {
            let (node, time) = (self.any_node(), self.rng.between(1, 8000) * MILLISECOND);
            self.node_freezes(node, time);
        }
        if self.rng.chance(self.faults.node_leaves * part) {
            let node = self.any_node();
            self.node_leaves(node);
        }
        if self.rng.chance(self.faults.scheduler_crashes * part) {
            let gone = self.rng.between(1, self.faults.scheduler_gone_max);
            self.scheduler_crashes(gone);
        }
        if self.rng.chance(self.faults.client_crashes * part) {
            let client = self.any_client();
            self.client_crashes(client);
        }
        if self.rng.chance(self.faults.client_stalls * part) {
            // A partition: it reaches nobody for a while, as often as not for longer than the grace time.
            let (client, time) = (self.any_client(), self.rng.pick(&[SECOND, 5 * SECOND, 70 * SECOND]));
            self.client_is_cut_off(client, time);
        }
        if self.rng.chance(self.faults.cancels * part) {
            let client = self.any_client();
            self.cancels(client);
        }
        self.later(DRAW, crate::world::Happening::Faults);
    }

    fn any_node(&mut self) -> usize {
        self.rng.below(self.nodes.len() as u64) as usize
    }

    fn any_client(&mut self) -> usize {
        self.rng.below(self.clients.len() as u64) as usize
    }
}
