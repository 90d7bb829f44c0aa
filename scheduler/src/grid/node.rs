//! What the grid knows of a node.

use burla_types::{NodeId, Resources};

use super::event::{NodeSpec, Timestamp};
use super::placement::Room;

/// A node of the grid, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    pub(crate) joined: Timestamp,
    /// It takes no more calls, and goes when those it has have ended.
    pub(crate) leaving: bool,
    taken: Resources,
    calls_taken: u64,
}

impl Node {
    pub(crate) fn new(spec: NodeSpec, joined: Timestamp) -> Self {
        Self { spec, joined, leaving: false, taken: Resources::default(), calls_taken: 0 }
    }

    /// Marks slots as taken.
    pub(crate) fn take(&mut self, slot: Resources, slots: u64) {
        self.taken = self.taken.plus(slot, slots);
        self.calls_taken += slots;
    }

    /// Marks slots as free again.
    pub(crate) fn give_back(&mut self, slot: Resources, slots: u64) {
        self.taken = self.taken.minus(slot, slots);
        self.calls_taken -= slots;
    }

    /// What jobs have of it.
    pub(crate) fn taken(&self) -> Resources {
        self.taken
    }

    /// Whether slots turned out to need more than they had reserved.
    pub(crate) fn is_overcommitted(&self) -> bool {
        let capacity = self.spec.capacity;
        self.taken.cpu_millis > capacity.cpu_millis || self.taken.memory_bytes > capacity.memory_bytes
    }

    /// What is left for anyone. Nothing rather than less where slots turned out to need more than they had reserved.
    pub(crate) fn room(&self, id: NodeId) -> Option<Room> {
        let calls_free = self.spec.calls_max.saturating_sub(self.calls_taken);
        let room = Room { node: id, free: self.spec.capacity.minus(self.taken, 1), calls_free };
        (!self.leaving && calls_free > 0).then_some(room)
    }

    /// Whether a slot would fit if nothing else ran.
    pub(crate) fn could_fit(&self, slot: Resources) -> bool {
        self.spec.calls_max > 0 && self.spec.capacity.slots_of(slot) > 0
    }
}
