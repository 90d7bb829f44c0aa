//! What the grid knows of all its nodes together, kept up to date as they come and go and as slots change hands.

use burla_types::{NodeId, Resources};

use super::Grid;
use super::event::NodeSpec;
use super::node::Node;

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

impl Grid {
    pub(super) fn add_node(&mut self, id: NodeId, spec: NodeSpec) {
        self.capacity.add(spec.capacity);
        self.nodes.insert(id, Node::new(spec, self.now));
        self.freed.push(id);
        self.nodes_changed = true;
    }

    pub(super) fn remove_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            self.overcommitted -= usize::from(node.is_overcommitted());
            self.capacity = Capacity::default();
            self.nodes.values().for_each(|node| self.capacity.add(node.spec.capacity));
        }
        self.reserved.remove(&id);
        self.nodes_changed = true;
    }

    /// Marks slots of a node as taken.
    pub(super) fn take(&mut self, id: NodeId, slot: Resources, slots: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let was_overcommitted = node.is_overcommitted();
        node.take(slot, slots);
        self.overcommitted += usize::from(!was_overcommitted && node.is_overcommitted());
    }

    /// Marks slots of a node as free again.
    pub(super) fn give_back(&mut self, id: NodeId, slot: Resources, slots: u64) {
        if slots == 0 {
            return;
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let was_overcommitted = node.is_overcommitted();
        node.give_back(slot, slots);
        if was_overcommitted && !node.is_overcommitted() {
            self.overcommitted -= 1;
            self.recheck_given_up = true;
        }
        self.freed.push(id);
    }
}
