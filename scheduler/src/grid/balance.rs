//! Slots: who has them, who gets them, who gives them up. What is decided is in `placement.rs`; this collects what it decides by,
//! and does it.

use std::time::Duration;

use burla_types::{JobId, NodeId, Resources};

use super::Grid;
use super::event::{Action, ClientUpdate, NodeCommand};
use super::job::Job;
use super::lease::Lease;
use super::node::Node;
use super::placement::{Grant, Holding, Place, Wish, place, rebalance};

/// How long a job keeps a slot before it has to let one that has none have a turn. Short enough for a small job not to notice the
/// large one before it; long enough that handing over, which takes a round trip, costs a few percent.
const TURN_MIN: Duration = Duration::from_millis(100);

/// How long slots are freed on one node for a job before another node is tried: calls there may take an hour, and elsewhere a
/// moment.
const RESERVED_MAX: Duration = Duration::from_secs(1);

impl Grid {
    /// Gives free slots to jobs that want them, and calls to the slots. What was so when they were last given away still is:
    /// a node that has no more room than then has none for a job that wished then.
    pub(super) fn place(&mut self) {
        self.keep_slots();
        let everywhere = std::mem::take(&mut self.look_everywhere);
        let mut freed = std::mem::take(&mut self.freed);
        if self.wishing.is_empty() || (freed.is_empty() && !everywhere) {
            freed.clear();
            self.freed = freed;
            return;
        }
        let rooms = if everywhere {
            self.roomiest()
        } else {
            freed.sort_unstable();
            freed.dedup();
            freed.iter().filter_map(|id| self.nodes.get(id)?.room(*id)).collect()
        };
        let wishing: Vec<&Job> = self.wishing.iter().filter_map(|id| self.jobs.get(id).map(Box::as_ref)).collect();
        let ids: Vec<JobId> = wishing.iter().map(|job| job.id).collect();
        let wishes: Vec<Wish> = wishing.iter().map(|job| wish(job)).collect();
        let mut wanted: Vec<u64> = wishes.iter().map(|wish| wish.wanted).collect();
        let is_barred = |wish: usize, node: NodeId| {
            let reserved = self.reserved.get(&node);
            let for_another = reserved.is_some_and(|(job, _)| *job != ids[wish] && self.jobs.contains_key(job));
            for_another || wishing[wish].avoids(node)
        };
        let grants = place(wishes, rooms, self.capacity.total, is_barred);
        for Grant { wish, node, slots } in grants {
            let Some(job) = self.jobs.get(&ids[wish]) else { continue };
            wanted[wish] -= slots;
            // An earlier grant may have taken all the calls. Then these slots are for calls that wait at that node, or for none.
            if !job.has_pending() && job.leases.get(node).is_none_or(|lease| lease.sent.len() as u64 <= lease.slots) {
                // Another may have gone without for these.
                self.freed.push(node);
                continue;
            }
            let Some(mut job) = self.jobs.remove(&ids[wish]) else { continue };
            self.take(node, job.slot(), slots);
            job.was_placed = true;
            let position = job.leases.position_or_new(node);
            job.leases.change_at(position, |lease| lease.grant(self.now, slots));
            // Slots that it was giving up there may have become these.
            self.settle_at(&mut job, node, position);
            job.fill(self.now, node, position, &mut self.actions);
            // More may have been given than calls that wait.
            self.release_idle_slots(&mut job);
            self.put_back(job);
        }
        // One that got all it wished for wishes for more where its new slots are for calls that wait at their nodes: the others
        // still have none. There may be room for them yet.
        let mut satisfied = ids.iter().zip(wanted).filter(|(_, wanted)| *wanted == 0).map(|(id, _)| id);
        self.look_everywhere |= satisfied.any(|id| self.wishing.contains(id));
    }

    /// What a job is giving up and nobody waits for any more, it keeps.
    fn keep_slots(&mut self) {
        if std::mem::take(&mut self.recheck_given_up) {
            self.jobs.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.keep_slots_of(id));
        } else {
            // By position, since the list grows as jobs are worked on; what that adds is not looked at again.
            for at in 0..self.touched.len() {
                self.keep_slots_of(self.touched[at]);
            }
        }
    }

    fn keep_slots_of(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.leases.given_up().is_empty() || !job.has_pending() || job.output_paused || job.has_too_many_slots() {
            return;
        }
        let is_usable = |id: &NodeId| {
            let node = self.nodes.get(id).filter(|node| !node.leaving && !node.is_overcommitted());
            node.is_some() && !self.reserved.contains_key(id) && !job.avoids(*id)
        };
        let kept: Vec<_> = job.leases.given_up().iter().copied().filter(is_usable).collect();
        let Some(mut job) = self.jobs.remove(&id) else { return };
        for node in kept {
            job.leases.change(node, |lease| lease.slots = lease.held);
            self.fill(&mut job, node);
        }
        self.put_back(job);
    }

    /// Makes jobs give up slots where others go short.
    pub(super) fn rebalance(&mut self) {
        if self.wishing.is_empty() && self.overcommitted == 0 {
            // Nobody goes short, and nothing is to be freed for anyone.
            self.recheck_given_up |= !self.reserved.is_empty();
            self.reserved.clear();
            return;
        }
        let nodes: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| !node.leaving).map(|(id, _)| *id).collect();
        let places: Vec<_> = nodes.iter().filter_map(|id| self.nodes.get(id).map(|node| (id, node))).map(to_place).collect();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let (mut wishes, mut holdings) = (Vec::with_capacity(jobs.len()), Vec::new());
        for (wish, job) in self.jobs.values().enumerate() {
            wishes.push(Wish { held: job.leases.sums().slots, ..self::wish(job) });
            for (node, lease) in job.leases.iter().filter(|(_, lease)| lease.slots > 0) {
                let Ok(place) = nodes.binary_search(&node) else { continue };
                let turn_over = self.now.0.saturating_sub(lease.since.0) >= TURN_MIN;
                holdings.push(Holding { wish, place, slots: lease.slots, turn_over });
            }
        }
        let is_stale = |wish: usize, place: usize| {
            let reserved = self.reserved.get(&nodes[place]);
            reserved.is_some_and(|(job, since)| *job == jobs[wish] && self.now.0.saturating_sub(since.0) >= RESERVED_MAX)
        };
        let is_barred = |wish: usize, place: usize| self.jobs[&jobs[wish]].avoids(nodes[place]);
        let plan = rebalance(wishes, &places, holdings, self.capacity.total, is_barred, is_stale);
        let before = std::mem::take(&mut self.reserved);
        for (node, wish) in plan.reservations {
            let since = match before.get(&node) {
                Some((job, since)) if *job == jobs[wish] && self.now.0.saturating_sub(since.0) < RESERVED_MAX => *since,
                _ => self.now,
            };
            self.reserved.insert(node, (jobs[wish], since));
        }
        // Who had a node's room to wait for may not have it any more.
        (self.recheck_given_up, self.look_everywhere) = (true, true);
        for revoked in plan.revocations {
            self.with_job(jobs[revoked.wish], |grid, job| grid.revoke(job, revoked.node, revoked.slots));
        }
    }

    /// Looks at what only time brings: turns that are over, calls that are stuck behind others, and news for clients.
    pub(super) fn time_went_by(&mut self) {
        self.out_of_balance = true;
        self.end_old_claims();
        self.count_nodeless_steps();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            self.with_job(id, |grid, job| {
                if job.slots_held() > 0 {
                    job.served = grid.now;
                }
                grid.look_everywhere |= job.forgive(grid.now);
                if job.waits_for_nodes.is_some_and(|until| until <= grid.now) {
                    (job.waits_for_nodes, job.waiting_changed) = (None, true);
                }
                job.end_pauses(grid.now);
                grid.run_late_calls_twice(job);
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
        let has_room = |id: NodeId, node: &Node| node.room(id).is_some_and(|room| room.slots_of(slot) > 0);
        let room = || self.nodes.iter().any(|(id, node)| has_room(*id, node) && !job.is_refused_by(*id));
        // This one is taken out while it is looked at.
        let others = self.jobs.values().any(|other| other.slots_held() > 0);
        if !others && !room() {
            return;
        }
        let now = self.now;
        let stuck: Vec<_> = job.leases.iter().filter(|(_, lease)| lease.is_stuck(now)).map(|(node, _)| node).collect();
        for node in stuck {
            job.leases.change(node, |lease| {
                lease.mark_stuck();
                lease.recalling = true;
            });
            self.actions.push(Action::ToNode(node, NodeCommand::RecallCalls(job.id)));
        }
    }

    /// Takes slots away from a job. Calls that run there go on; those that wait there come back.
    pub(super) fn revoke(&mut self, job: &mut Job, node: NodeId, slots: u64) {
        let (id, memory_bytes) = (job.id, job.slot().memory_bytes);
        let Some(position) = job.leases.position(node) else { return };
        job.leases.change_at(position, |lease| {
            lease.revoke(slots);
            if lease.slots_told.is_none() {
                return;
            }
            (lease.slots_told, lease.memory_bytes_told) = (Some(lease.slots), memory_bytes);
            self.actions.push(Action::ToNode(node, NodeCommand::SetSlots(id, lease.slots, memory_bytes)));
            if !lease.sent.is_empty() && !lease.recalling {
                lease.recalling = true;
                self.actions.push(Action::ToNode(node, NodeCommand::RecallCalls(id)));
            }
        });
        self.settle_at(job, node, position);
    }

    /// Gives back the slots of a lease that no call can be in any more.
    pub(super) fn settle(&mut self, job: &mut Job, node: NodeId) {
        if let Some(position) = job.leases.position(node) {
            self.settle_at(job, node, position);
        }
    }

    /// The same, of the lease at this position.
    pub(super) fn settle_at(&mut self, job: &mut Job, node: NodeId, position: usize) {
        let freed = job.leases.change_at(position, Lease::settle);
        self.give_back(node, job.slot(), freed);
    }

    /// Slots are held only for calls that are there. A job whose inputs come slowly shares the grid by that alone.
    pub(super) fn release_idle_slots(&mut self, job: &mut Job) {
        if job.leases.sums().idle == 0 || (job.has_pending() && !job.output_paused) {
            return;
        }
        for node in job.leases.idle() {
            job.leases.change(node, |lease| lease.revoke(lease.slots_idle()));
            self.settle(job, node);
        }
    }

    /// The job's slots are known to need more than before.
    pub(super) fn adjust_reservations(&mut self, job: &Job, before: Resources) {
        let after = job.slot();
        for (node, lease) in job.leases.iter().filter(|(_, lease)| lease.held > 0) {
            self.give_back(node, before, lease.held);
            self.take(node, after, lease.held);
        }
    }

    pub(super) fn memory_ceiling(&self) -> u64 {
        self.capacity.memory_bytes_max.unwrap_or(u64::MAX)
    }

    /// The nodes are others than before, and with them what a slot can reserve at most.
    pub(super) fn adjust_ceilings(&mut self) {
        let ceiling = self.memory_ceiling();
        let mut jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values_mut() {
            let before = job.slot();
            job.memory_bytes_ceiling = ceiling;
            if job.slot() != before {
                self.adjust_reservations(job, before);
                // One that needs less may fit where it did not.
                self.look_everywhere = true;
            }
        }
        self.jobs = jobs;
    }
}

fn wish(job: &Job) -> Wish {
    Wish { slot: job.slot(), held: job.slots_held(), wanted: job.slots_wanted(), served: job.served }
}

fn to_place((id, node): (&NodeId, &Node)) -> Place {
    Place { node: *id, capacity: node.spec.capacity, calls_max: node.spec.calls_max }
}
