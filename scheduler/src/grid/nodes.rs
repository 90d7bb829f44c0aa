//! What the grid knows of all its nodes together, kept up to date as they come and go and as slots change hands.

use std::collections::btree_map::Entry;

use burla_types::{NodeId, Resources};

use super::event::NodeSpec;
use super::node::Node;
use super::placement::Room;
use super::{Grid, NODELESS_STEPS};

/// All nodes' capacities together, and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// What all have.
    pub(crate) total: Resources,
    /// The largest node by CPUs, then memory; nothing when there are none.
    pub(crate) largest: Option<Resources>,
    /// The most memory that one has; nothing when there are none.
    pub(crate) memory_bytes_max: Option<u64>,
}

impl Capacity {
    pub(super) fn add(&mut self, one: Resources) {
        self.total = self.total.plus(one, 1);
        let size = |capacity: Resources| (capacity.cpu_millis, capacity.memory_bytes);
        self.largest = self.largest.filter(|largest| size(*largest) >= size(one)).or(Some(one));
        self.memory_bytes_max = self.memory_bytes_max.max(Some(one.memory_bytes));
    }
}

/// Room that nodes have in common: calls, CPUs, memory.
pub(super) type Shelf = (u64, u64, u64);

pub(super) fn shelf(room: &Room) -> Shelf {
    (room.calls_free, room.free.cpu_millis, room.free.memory_bytes)
}

impl Grid {
    pub(super) fn add_node(&mut self, id: NodeId, spec: NodeSpec) {
        self.capacity.add(spec.capacity);
        let node = Node::new(spec, self.now);
        self.shelve(None, node.room(id));
        self.nodes.insert(id, node);
        (self.nodeless_since, self.nodeless_steps) = (None, 0);
        self.freed.push(id);
        self.nodes_changed = true;
    }

    pub(super) fn remove_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            self.overcommitted -= usize::from(node.is_overcommitted());
            self.shelve(node.room(id), None);
            self.capacity = Capacity::default();
            self.nodes.values().for_each(|node| self.capacity.add(node.spec.capacity));
            if self.nodes.is_empty() {
                (self.nodeless_since, self.nodeless_steps) = (Some(self.now), 0);
            }
        }
        self.reserved.remove(&id);
        self.nodes_changed = true;
    }

    /// Has jobs told when there has been no node for another of the [`NODELESS_STEPS`].
    pub(super) fn count_nodeless_steps(&mut self) {
        let Some(since) = self.nodeless_since else { return };
        let time = self.now.0.saturating_sub(since.0);
        let steps = NODELESS_STEPS.iter().filter(|step| **step <= time).count();
        self.nodes_changed |= steps > self.nodeless_steps;
        self.nodeless_steps = steps;
    }

    /// Marks slots of a node as taken.
    pub(super) fn take(&mut self, id: NodeId, slot: Resources, slots: u64) {
        self.change_node(id, |node| node.take(slot, slots));
    }

    /// Marks slots of a node as free again.
    pub(super) fn give_back(&mut self, id: NodeId, slot: Resources, slots: u64) {
        if slots > 0 {
            self.change_node(id, |node| node.give_back(slot, slots));
            self.freed.push(id);
        }
    }

    /// Changes a node, if it is there, and what is kept of it.
    pub(super) fn change_node(&mut self, id: NodeId, act: impl FnOnce(&mut Node)) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let (was_overcommitted, before) = (node.is_overcommitted(), node.room(id));
        act(node);
        let (is_overcommitted, after) = (node.is_overcommitted(), node.room(id));
        self.shelve(before, after);
        self.overcommitted = self.overcommitted + usize::from(is_overcommitted) - usize::from(was_overcommitted);
        self.recheck_given_up |= was_overcommitted && !is_overcommitted;
    }

    fn shelve(&mut self, before: Option<Room>, after: Option<Room>) {
        if let Some(room) = before
            && let Entry::Occupied(mut nodes) = self.shelves.entry(shelf(&room))
        {
            nodes.get_mut().remove(&room.node);
            if nodes.get().is_empty() {
                nodes.remove();
            }
        }
        if let Some(room) = after {
            self.shelves.entry(shelf(&room)).or_default().insert(room.node);
        }
    }

    /// The nodes that can matter to jobs that wish: of those with the same room as many as there are slots to give, the last
    /// first, as slots are given. Where a job is barred from some, others are behind them.
    pub(super) fn roomiest(&self) -> Vec<Room> {
        let wishing = || self.wishing.iter().filter_map(|id| self.jobs.get(id));
        let slots = wishing().fold(0u64, |sum, job| sum.saturating_add(job.slots_wanted()));
        let barred = self.reserved.len() + wishing().map(|job| job.nodes_avoided()).sum::<usize>();
        let enough = usize::try_from(slots).unwrap_or(usize::MAX).saturating_add(barred);
        let mut rooms = Vec::new();
        for ((calls_free, cpu_millis, memory_bytes), nodes) in &self.shelves {
            let (calls_free, free) = (*calls_free, Resources { cpu_millis: *cpu_millis, memory_bytes: *memory_bytes });
            let room = |node: &NodeId| Room { node: *node, free, calls_free };
            rooms.extend(nodes.iter().rev().take(enough).map(room));
        }
        // Of equals, the last gets the slot.
        rooms.sort_unstable_by_key(|room| room.node);
        rooms
    }
}
