//! What the grid keeps so that it need not look at everything, worked out anew and compared. For tests.

use std::collections::BTreeSet;

use super::Grid;
use super::nodes::{Capacity, shelf};

impl Grid {
    /// Panics where something that is kept is not what it stands for. To be called between events.
    pub(super) fn check_consistency(&self) {
        let mut capacity = Capacity::default();
        self.nodes.values().for_each(|node| capacity.add(node.spec.capacity));
        assert_eq!(capacity, self.capacity, "capacity");
        let rooms: BTreeSet<_> =
            self.nodes.iter().filter_map(|(id, node)| node.room(*id)).map(|room| (room.node, shelf(&room))).collect();
        let kept = self.shelves.iter().flat_map(|(shelf, nodes)| nodes.iter().map(|node| (*node, *shelf)));
        assert_eq!(rooms, kept.collect(), "nodes by the room they have");
        assert!(self.shelves.values().all(|nodes| !nodes.is_empty()), "a shelf without nodes");
        let overcommitted = self.nodes.values().filter(|node| node.is_overcommitted()).count();
        assert_eq!(overcommitted, self.overcommitted, "overcommitted nodes");
        let wishing: Vec<_> = self.jobs.values().filter(|job| job.slots_wanted() > 0).map(|job| job.id).collect();
        assert!(wishing.iter().eq(&self.wishing), "jobs that wish: {wishing:?}, kept: {:?}", self.wishing);
        assert!(self.reserved.keys().all(|node| self.nodes.contains_key(node)), "a reservation on a node that is gone");
        assert!(self.touched.is_empty() && !self.nodes_changed, "what an event left to be done");
        for job in self.jobs.values() {
            job.leases.check();
            assert_eq!(job.wishes, job.slots_wanted() > 0, "whether a job wishes");
            self.check_nothing_is_missed(job);
        }
    }

    /// What is not going to be looked at again by itself must be as it is meant to be.
    fn check_nothing_is_missed(&self, job: &super::Job) {
        for (id, node) in &self.nodes {
            let reserved = self.reserved.get(id).filter(|(other, _)| *other != job.id && self.jobs.contains_key(other));
            let is_barred = reserved.is_some() || job.avoids(*id);
            let fits = node.room(*id).is_some_and(|room| room.slots_of(job.slot()) > 0);
            let is_looked_at = self.look_everywhere || self.freed.contains(id);
            assert!(!job.wishes || !fits || is_barred || is_looked_at, "a slot that a job wants is free, and nobody looks");
        }
        let idle = job.leases.sums().idle;
        assert!(idle == 0 || (job.has_pending() && !job.output_paused), "slots are held for nothing");
        let keeps = |node: &burla_types::NodeId| {
            let kept = self.nodes.get(node).filter(|node| !node.leaving && !node.is_overcommitted());
            kept.is_some() && !self.reserved.contains_key(node) && !job.avoids(*node)
        };
        let wants_them = job.has_pending() && !job.output_paused && !job.has_too_many_slots();
        let may_keep = wants_them && job.leases.given_up().iter().any(keeps);
        assert!(!may_keep || self.recheck_given_up, "a slot is given up for nobody, and nobody looks");
        let waits = job.has_pending() && job.slots_held() == 0 && !job.output_paused;
        assert_eq!(waits.then(|| self.waiting_reason(job)), job.waiting_told, "what a job waits for");
    }
}
