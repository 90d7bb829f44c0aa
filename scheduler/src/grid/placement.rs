//! Which job gets a slot on which node. A function of what is wanted and what is free; it changes nothing and remembers nothing.
//!
//! Wanted properties, each a test below:
//!
//! - A. No node is given more than it has: neither CPUs, nor memory, nor calls.
//! - B. No job is given more slots than it wants.
//! - C. Nothing idles that someone wants: afterwards, no node has room for a slot of a job that wants more.
//! - D. What is free goes to the job with the smallest share first.
//! - E. A job's slots are spread: of nodes alike, none gets two before another has one.
//!
//! Taking slots back from a job that has many is not done here: they come free when it has no inputs left.

use burla_types::{NodeId, Resources};

/// A job that wants slots.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// What one slot occupies.
    pub(crate) slot: Resources,
    /// Slots it has already.
    pub(crate) held: u64,
    /// Slots it wants on top.
    pub(crate) wanted: u64,
}

/// A node with room.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) node: NodeId,
    pub(crate) free: Resources,
    pub(crate) calls_free: u64,
}

impl Room {
    fn fits(&self, slot: Resources) -> bool {
        self.calls_free > 0 && self.free.slots_of(slot) > 0
    }
}

/// Slots given to the job at this position of the wishes, on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) wish: usize,
    pub(crate) node: NodeId,
    pub(crate) slots: u64,
}

/// Gives away what is free. `total` is what the whole grid has, which shares are measured by.
pub(crate) fn place(mut wishes: Vec<Wish>, mut rooms: Vec<Room>, total: Resources) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    loop {
        let candidates = (0..wishes.len()).filter(|&wish| wishes[wish].wanted > 0);
        let Some(poorest) = candidates.min_by(|&a, &b| share(&wishes[a], total).total_cmp(&share(&wishes[b], total))) else {
            return grants;
        };
        let slot = wishes[poorest].slot;
        let fitting = rooms.iter_mut().filter(|room| room.fits(slot));
        // The one with the most room left, by the slots it could still give.
        let Some(room) = fitting.max_by_key(|room| room.free.slots_of(slot).min(room.calls_free)) else {
            wishes[poorest].wanted = 0;
            continue;
        };
        room.free = room.free.minus(slot, 1);
        room.calls_free -= 1;
        wishes[poorest].held += 1;
        wishes[poorest].wanted -= 1;
        match grants.iter_mut().find(|grant| grant.wish == poorest && grant.node == room.node) {
            Some(grant) => grant.slots += 1,
            None => grants.push(Grant { wish: poorest, node: room.node, slots: 1 }),
        }
    }
}

/// The larger of a job's shares of the grid's CPUs and memory (dominant resource fairness, Ghodsi et al., NSDI 2011).
fn share(wish: &Wish, total: Resources) -> f64 {
    let of = |one: u64, all: u64| one as f64 * wish.held as f64 / all.max(1) as f64;
    of(wish.slot.cpu_millis, total.cpu_millis).max(of(wish.slot.memory_bytes, total.memory_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resources() -> impl Strategy<Value = Resources> {
        (1..8000u64, 1..64u64).prop_map(|(cpu_millis, memory_bytes)| Resources { cpu_millis, memory_bytes })
    }

    fn wishes() -> impl Strategy<Value = Vec<Wish>> {
        let wish = (resources(), 0..20u64, 0..20u64).prop_map(|(slot, held, wanted)| Wish { slot, held, wanted });
        prop::collection::vec(wish, 0..6)
    }

    fn rooms() -> impl Strategy<Value = Vec<Room>> {
        let room = (resources(), 0..10u64);
        prop::collection::vec(room, 0..6).prop_map(|rooms| {
            let numbered = rooms.into_iter().zip(0u8..);
            numbered
                .map(|((free, calls_free), number)| Room { node: NodeId::from_bytes([number; 16]), free, calls_free })
                .collect()
        })
    }

    fn total(rooms: &[Room]) -> Resources {
        rooms.iter().fold(Resources::default(), |sum, room| sum.plus(room.free, 1))
    }

    proptest! {
        #[test]
        fn nobody_gives_or_gets_too_much_and_nothing_idles(wishes in wishes(), rooms in rooms()) {
            let grants = place(wishes.clone(), rooms.clone(), total(&rooms));
            let mut left = rooms.clone();
            for room in &mut left {
                for grant in grants.iter().filter(|grant| grant.node == room.node) {
                    let slot = wishes[grant.wish].slot;
                    prop_assert!(room.free.slots_of(slot) >= grant.slots && room.calls_free >= grant.slots, "A");
                    room.free = room.free.minus(slot, grant.slots);
                    room.calls_free -= grant.slots;
                }
            }
            for (position, wish) in wishes.iter().enumerate() {
                let granted: u64 = grants.iter().filter(|grant| grant.wish == position).map(|grant| grant.slots).sum();
                prop_assert!(granted <= wish.wanted, "B");
                prop_assert!(granted == wish.wanted || left.iter().all(|room| !room.fits(wish.slot)), "C");
            }
        }

        #[test]
        fn equal_jobs_end_up_equal(jobs in 1..6usize, held in 0..4u64, slots in 1..40u64) {
            let slot = Resources { cpu_millis: 1000, memory_bytes: 1 };
            // The first has a head start; the others catch up before it gets more.
            let wishes: Vec<_> =
                (0..jobs).map(|job| Wish { slot, held: if job == 0 { held } else { 0 }, wanted: 100 }).collect();
            let free = Resources { cpu_millis: slots * 1000, memory_bytes: 1000 };
            let rooms = vec![Room { node: NodeId::from_bytes([1; 16]), free, calls_free: 1000 }];
            let grants = place(wishes.clone(), rooms, free);
            let after = |job: usize| {
                let granted = grants.iter().filter(|grant| grant.wish == job).map(|grant| grant.slots);
                wishes[job].held + granted.sum::<u64>()
            };
            let least = (0..jobs).map(after).min().unwrap();
            prop_assert!((1..jobs).all(|job| after(job) <= least + 1), "D");
            prop_assert!(after(0) <= held.max(least + 1), "D");
        }

        #[test]
        fn slots_are_spread_over_equal_nodes(nodes in 1..8u8, wanted in 0..40u64) {
            let slot = Resources { cpu_millis: 1000, memory_bytes: 1 };
            let free = Resources { cpu_millis: 8000, memory_bytes: 8 };
            let rooms = (0..nodes).map(|node| Room { node: NodeId::from_bytes([node; 16]), free, calls_free: 8 }).collect();
            let grants = place(vec![Wish { slot, held: 0, wanted }], rooms, free);
            let on = |node| grants.iter().find(|grant| grant.node == NodeId::from_bytes([node; 16])).map_or(0, |grant| grant.slots);
            let (least, most) = ((0..nodes).map(on).min().unwrap(), (0..nodes).map(on).max().unwrap());
            prop_assert!(most <= least + 1, "E");
        }
    }
}
