//! Slots: who has them, who gets them, who gives them up. What is decided is in `placement.rs`; this collects what it decides by,
//! and does it.

use std::time::Duration;

use burla_types::{JobId, NodeId, Resources};

use super::Grid;
use super::event::{Action, ClientUpdate, NodeCommand};
use super::job::Job;
use super::node::Node;
use super::placement::{Holding, Place, Wish, place, rebalance};

/// How long a job keeps a slot before it has to let one that has none have a turn. Short enough for a small job not to notice the
/// large one before it; long enough that handing over, which takes a round trip, costs a few percent.
const TURN_MIN: Duration = Duration::from_millis(100);

/// How long slots are freed on one node for a job before another node is tried: calls there may take an hour, and elsewhere a
/// moment.
const RESERVED_MAX: Duration = Duration::from_secs(1);

impl Grid {
    /// Gives free slots to jobs that want them, and calls to the slots.
    pub(super) fn place(&mut self) {
        self.keep_slots();
        let wishing: Vec<JobId> = self.jobs.values().filter(|job| job.slots_wanted() > 0).map(|job| job.id).collect();
        if wishing.is_empty() {
            return;
        }
        let wishes = wishing.iter().filter_map(|id| self.jobs.get(id)).map(|job| self.wish(job)).collect();
        let staying = self.nodes.iter().filter(|(_, node)| !node.leaving);
        let rooms = staying.map(|(id, node)| node.room(*id)).collect();
        let barred = |wish: usize, node: NodeId| {
            let reserved = self.nodes.get(&node).and_then(|node| node.reserved);
            let for_another = reserved.is_some_and(|(job, _)| job != wishing[wish] && self.jobs.contains_key(&job));
            for_another || self.jobs.get(&wishing[wish]).is_some_and(|job| job.avoids(node))
        };
        for grant in place(wishes, rooms, self.total(), barred) {
            let Some(mut job) = self.jobs.remove(&wishing[grant.wish]) else { continue };
            if let Some(node) = self.nodes.get_mut(&grant.node) {
                node.take(job.slot(), grant.slots);
                job.was_placed = true;
                job.leases.entry(grant.node).or_default().grant(self.now, grant.slots);
                // Slots that it was giving up there may have become these.
                self.settle(&mut job, grant.node);
                self.fill(&mut job, grant.node);
                // An earlier grant may have taken all the calls.
                self.release_idle_slots(&mut job);
            }
            self.jobs.insert(job.id, job);
        }
    }

    /// What a job is giving up and nobody waits for any more, it keeps.
    fn keep_slots(&mut self) {
        let mut kept = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.has_pending() && !job.output_paused) {
            let avoided = |node: &NodeId| job.avoids(*node);
            let is_usable = |id: &NodeId| {
                let node = self.nodes.get(id);
                node.is_some_and(|node| !node.leaving && node.reserved.is_none() && !node.is_overcommitted()) && !avoided(id)
            };
            let given_up = job.leases.iter().filter(|(_, lease)| lease.held > lease.slots).map(|(id, _)| *id);
            let given_up: Vec<_> = given_up.filter(is_usable).collect();
            for node in given_up {
                if let Some(lease) = job.leases.get_mut(&node) {
                    lease.slots = lease.held;
                    kept.push((job.id, node));
                }
            }
        }
        for (job, node) in kept {
            let Some(mut job) = self.jobs.remove(&job) else { continue };
            self.fill(&mut job, node);
            self.jobs.insert(job.id, job);
        }
    }

    /// Makes jobs give up slots where others go short.
    pub(super) fn rebalance(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| !node.leaving).map(|(id, _)| *id).collect();
        let places: Vec<_> = nodes.iter().filter_map(|id| self.nodes.get(id).map(|node| (id, node))).map(to_place).collect();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let (mut wishes, mut holdings) = (Vec::with_capacity(jobs.len()), Vec::new());
        for (wish, job) in self.jobs.values().enumerate() {
            let held = job.leases.values().map(|lease| lease.slots).sum();
            wishes.push(Wish { held, ..self.wish(job) });
            for (node, lease) in job.leases.iter().filter(|(_, lease)| lease.slots > 0) {
                let Ok(place) = nodes.binary_search(node) else { continue };
                let turn_over = self.now.0.saturating_sub(lease.since.0) >= TURN_MIN;
                holdings.push(Holding { wish, place, slots: lease.slots, turn_over });
            }
        }
        let is_stale = |wish: usize, place: usize| {
            let reserved = self.nodes.get(&nodes[place]).and_then(|node| node.reserved);
            reserved.is_some_and(|(job, since)| job == jobs[wish] && self.now.0.saturating_sub(since.0) >= RESERVED_MAX)
        };
        let is_barred = |wish: usize, place: usize| self.jobs[&jobs[wish]].avoids(nodes[place]);
        let plan = rebalance(wishes, &places, holdings, self.total(), is_barred, is_stale);
        let before: Vec<_> = self.nodes.values_mut().map(|node| node.reserved.take()).collect();
        for ((id, node), before) in self.nodes.iter_mut().zip(before) {
            let wish = plan.reservations.iter().find(|(reserved, _)| reserved == id).map(|(_, wish)| *wish);
            node.reserved = wish.map(|wish| match before {
                Some((job, since)) if job == jobs[wish] && self.now.0.saturating_sub(since.0) < RESERVED_MAX => (job, since),
                _ => (jobs[wish], self.now),
            });
        }
        for revoked in plan.revocations {
            self.with_job(jobs[revoked.wish], |grid, job| grid.revoke(job, revoked.node, revoked.slots));
        }
    }

    /// Looks at what only time brings: turns that are over, calls that are stuck behind others, and news for clients.
    pub(super) fn time_went_by(&mut self) {
        self.out_of_balance = true;
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            self.with_job(id, |grid, job| {
                if job.slots_held() > 0 {
                    job.served = grid.now;
                }
                job.forgive(grid.now);
                grid.recall_stuck(job);
                let progress = job.progress();
                if progress != job.progress_told {
                    job.progress_told = progress;
                    grid.actions.push(Action::ToClient(job.id, ClientUpdate::Progress(progress)));
                }
            });
        }
    }

    /// Takes calls back that wait behind others which do not end, when there may be somewhere else to run them: where there is
    /// room, or where another job may have more than its share.
    fn recall_stuck(&mut self, job: &mut Job) {
        if job.has_pending() || job.output_paused || job.slots_held() >= job.spec.parallelism_max {
            return;
        }
        let slot = job.slot();
        let has_room = |id: &NodeId, node: &Node| !node.leaving && node.room(*id).free.slots_of(slot) > 0;
        let room = || self.nodes.iter().any(|(id, node)| has_room(id, node) && !job.is_refused_by(*id));
        // This one is taken out while it is looked at.
        let others = self.jobs.values().any(|other| other.slots_held() > 0);
        if !others && !room() {
            return;
        }
        let now = self.now;
        for (node, lease) in job.leases.iter_mut().filter(|(_, lease)| lease.is_stuck(now)) {
            lease.mark_stuck();
            lease.recalling = true;
            self.actions.push(Action::ToNode(*node, NodeCommand::RecallCalls(job.id)));
        }
    }

    /// Takes slots away from a job. Calls that run there go on; those that wait there come back.
    pub(super) fn revoke(&mut self, job: &mut Job, node: NodeId, slots: u64) {
        let (id, memory_bytes) = (job.id, job.slot().memory_bytes);
        let Some(lease) = job.leases.get_mut(&node) else { return };
        lease.revoke(slots);
        if lease.slots_told.is_some() {
            (lease.slots_told, lease.memory_bytes_told) = (Some(lease.slots), memory_bytes);
            self.actions.push(Action::ToNode(node, NodeCommand::SetSlots(id, lease.slots, memory_bytes)));
            if !lease.sent.is_empty() && !lease.recalling {
                lease.recalling = true;
                self.actions.push(Action::ToNode(node, NodeCommand::RecallCalls(id)));
            }
        }
        self.settle(job, node);
    }

    /// Gives back the slots of a lease that no call can be in any more.
    pub(super) fn settle(&mut self, job: &mut Job, node: NodeId) {
        let slot = job.slot();
        if let (Some(lease), Some(node)) = (job.leases.get_mut(&node), self.nodes.get_mut(&node)) {
            node.give_back(slot, lease.settle());
        }
    }

    /// Slots are held only for calls that are there. A job whose inputs come slowly shares the grid by that alone.
    pub(super) fn release_idle_slots(&mut self, job: &mut Job) {
        if job.has_pending() && !job.output_paused {
            return;
        }
        let slot = job.slot();
        for (node, lease) in &mut job.leases {
            lease.revoke(lease.slots_idle());
            if let Some(node) = self.nodes.get_mut(node) {
                node.give_back(slot, lease.settle());
            }
        }
    }

    /// The job's slots are known to need more than before.
    pub(super) fn adjust_reservations(&mut self, job: &Job, before: Resources) {
        let after = job.slot();
        for (node, lease) in &job.leases {
            if let Some(node) = self.nodes.get_mut(node) {
                node.give_back(before, lease.held);
                node.take(after, lease.held);
            }
        }
    }

    pub(super) fn memory_ceiling(&self) -> u64 {
        self.nodes.values().map(|node| node.spec.capacity.memory_bytes).max().unwrap_or(u64::MAX)
    }

    /// The nodes are others than before, and with them what a slot can reserve at most.
    pub(super) fn adjust_ceilings(&mut self) {
        let ceiling = self.memory_ceiling();
        let mut jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values_mut() {
            let before = job.slot();
            job.memory_bytes_ceiling = ceiling;
            self.adjust_reservations(job, before);
        }
        self.jobs = jobs;
    }

    fn wish(&self, job: &Job) -> Wish {
        Wish { slot: job.slot(), held: job.slots_held(), wanted: job.slots_wanted(), served: job.served }
    }

    fn total(&self) -> Resources {
        self.nodes.values().fold(Resources::default(), |sum, node| sum.plus(node.spec.capacity, 1))
    }
}

fn to_place((id, node): (&NodeId, &super::node::Node)) -> Place {
    Place { node: *id, capacity: node.spec.capacity, calls_max: node.spec.calls_max }
}
