//! A job's leases, and what is asked of all of them together. The sums and indices are kept up to date with each change, since
//! every event asks for them; walking over the leases would make an event cost as much as there are nodes.

use std::collections::BTreeSet;

use burla_types::NodeId;

use super::lease::Lease;

/// What a lease adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Slots, without those that are being given up.
    pub(crate) slots: u64,
    /// Slots that are occupied.
    pub(crate) held: u64,
    /// Slots that no call is in.
    pub(crate) idle: u64,
    /// Calls that can be running.
    pub(crate) running: u64,
}

impl Sums {
    fn of(lease: &Lease) -> Self {
        Self { slots: lease.slots, held: lease.held, idle: lease.slots_idle(), running: lease.running() }
    }
}

/// The leases of a job, by node. They change through [`change`](Self::change) and [`change_at`](Self::change_at) alone.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Sorted by node. A position is found once for an event and used from then on; it holds until a lease is added or removed.
    leases: Vec<(NodeId, Box<Lease>)>,
    sums: Sums,
    /// Nodes where calls run.
    nodes_running: u64,
    /// Where it has slots.
    open: BTreeSet<NodeId>,
    /// Where a slot is without a call.
    idle: BTreeSet<NodeId>,
    /// Where it is giving slots up.
    given_up: BTreeSet<NodeId>,
}

impl Leases {
    pub(crate) fn position(&self, node: NodeId) -> Option<usize> {
        self.search(node).ok()
    }

    fn search(&self, node: NodeId) -> Result<usize, usize> {
        self.leases.binary_search_by(|(other, _)| other.cmp(&node))
    }

    /// The position of a lease that is added if it is not there.
    pub(crate) fn position_or_new(&mut self, node: NodeId) -> usize {
        self.search(node).unwrap_or_else(|position| {
            self.leases.insert(position, (node, Box::default()));
            position
        })
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Lease> {
        self.position(node).map(|at| self.at(at))
    }

    pub(crate) fn at(&self, position: usize) -> &Lease {
        &self.leases[position].1
    }

    /// Changes the lease on a node, if there is one.
    pub(crate) fn change<R>(&mut self, node: NodeId, act: impl FnOnce(&mut Lease) -> R) -> Option<R> {
        self.position(node).map(|at| self.change_at(at, act))
    }

    /// Changes the lease at a position.
    pub(crate) fn change_at<R>(&mut self, position: usize, act: impl FnOnce(&mut Lease) -> R) -> R {
        let (node, lease) = &mut self.leases[position];
        let before = Sums::of(lease);
        let result = act(lease);
        let after = Sums::of(lease);
        if before != after {
            let node = *node;
            self.account(node, before, after);
        }
        result
    }

    pub(crate) fn remove(&mut self, node: NodeId) -> Option<Box<Lease>> {
        let position = self.position(node)?;
        let (_, lease) = self.leases.remove(position);
        self.account(node, Sums::of(&lease), Sums::default());
        Some(lease)
    }

    fn account(&mut self, node: NodeId, before: Sums, after: Sums) {
        let sums = &mut self.sums;
        sums.slots = sums.slots + after.slots - before.slots;
        sums.held = sums.held + after.held - before.held;
        sums.idle = sums.idle + after.idle - before.idle;
        sums.running = sums.running + after.running - before.running;
        self.nodes_running = self.nodes_running + u64::from(after.running > 0) - u64::from(before.running > 0);
        list(&mut self.open, node, before.slots > 0, after.slots > 0);
        list(&mut self.idle, node, before.idle > 0, after.idle > 0);
        list(&mut self.given_up, node, before.held > before.slots, after.held > after.slots);
    }

    pub(crate) fn sums(&self) -> Sums {
        self.sums
    }

    /// How many nodes calls run on.
    pub(crate) fn nodes_running(&self) -> u64 {
        self.nodes_running
    }

    /// The nodes where it has slots.
    pub(crate) fn open(&self) -> Vec<NodeId> {
        self.open.iter().copied().collect()
    }

    /// The nodes where a slot is without a call.
    pub(crate) fn idle(&self) -> Vec<NodeId> {
        self.idle.iter().copied().collect()
    }

    /// The nodes where it is giving slots up.
    pub(crate) fn given_up(&self) -> &BTreeSet<NodeId> {
        &self.given_up
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Lease)> {
        self.leases.iter().map(|(node, lease)| (*node, &**lease))
    }

    /// All nodes that it has had slots on.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.leases.iter().map(|(node, _)| *node).collect()
    }

    /// Adds up anew what is kept, and compares.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert!(self.leases.is_sorted_by(|(a, _), (b, _)| a < b), "leases are sorted");
        let mut anew = Self::default();
        for (node, lease) in self.iter() {
            anew.account(node, Sums::default(), Sums::of(lease));
            let sent_bytes: usize = lease.sent.values().filter_map(|sent| sent.input.as_ref()).map(|input| input.len()).sum();
            assert_eq!(lease.sent_bytes, sent_bytes, "bytes of what was sent");
        }
        assert_eq!((anew.sums, anew.nodes_running), (self.sums, self.nodes_running), "sums of leases");
        assert_eq!((&anew.open, &anew.idle, &anew.given_up), (&self.open, &self.idle, &self.given_up), "indices of leases");
    }
}

fn list(index: &mut BTreeSet<NodeId>, node: NodeId, before: bool, after: bool) {
    match (before, after) {
        (false, true) => {
            index.insert(node);
        }
        (true, false) => {
            index.remove(&node);
        }
        _ => {}
    }
}
