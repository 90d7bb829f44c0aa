//! Which job gets a slot on which node. Two functions of what is wanted and what there is; they change nothing and remember
//! nothing. [`place`] gives away what is free, and [`rebalance`] says which slots jobs have to give up for others.
//!
//! Wanted properties, each a test in `placement/tests.rs`. Of `place`:
//!
//! - A. No node is given more than it has: neither CPUs, nor memory, nor calls.
//! - B. No job is given more slots than it wants.
//! - C. Nothing idles that someone wants: afterwards, no node has room for a slot of a job that wants more.
//! - D. What is free goes to the job with the smallest share first; of equals, to the one that has been without a slot longest.
//! - E. A job's slots are spread: of nodes alike, none gets two before another has one.
//!
//! Of `rebalance`:
//!
//! - F. Nobody gives up a slot while nobody goes short and no node has more slots than fit.
//! - G. Nobody is made poorer than the one it is done for: a slot is only taken from a job that keeps at least the share that the
//!   other then has, give or take a slot over several. The exception is H.
//! - H. Nobody goes without for long: a job without any slot gets one of a job that has had its own for a whole turn.
//! - I. It comes to rest: once what it asks for is done, it asks for no more, but for the turns of H.
//! - J. Jobs that want all they can get end up with equal shares, to within a slot.
//!
//! A share is the larger of a job's shares of the grid's CPUs and memory (dominant resource fairness, Ghodsi et al., NSDI 2011).
//! Nobody's running call is stopped: a slot that is given up is free when the call in it has ended.

use std::collections::BinaryHeap;

use burla_types::{NodeId, Resources};

use super::event::Timestamp;

#[cfg(test)]
mod tests;

/// A job, as far as slots go.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// What one slot occupies.
    pub(crate) slot: Resources,
    /// Slots it has already.
    pub(crate) held: u64,
    /// Slots it wants on top.
    pub(crate) wanted: u64,
    /// When it last had a slot.
    pub(crate) served: Timestamp,
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
        self.calls_free > 0 && self.free.cpu_millis >= slot.cpu_millis && self.free.memory_bytes >= slot.memory_bytes
    }

    pub(crate) fn slots_of(&self, slot: Resources) -> u64 {
        self.free.slots_of(slot).min(self.calls_free)
    }

    fn take(&mut self, slot: Resources) {
        self.free = self.free.minus(slot, 1);
        self.calls_free -= 1;
    }
}

/// Slots given to the job at this position of the wishes, on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) wish: usize,
    pub(crate) node: NodeId,
    pub(crate) slots: u64,
}

/// Gives away what is free. `total` is what the whole grid has, which shares are measured by; `barred` says whether a job
/// gets nothing on a node: its room is kept for another, or the job keeps off it.
pub(crate) fn place(
    mut wishes: Vec<Wish>,
    mut rooms: Vec<Room>,
    total: Resources,
    barred: impl Fn(usize, NodeId) -> bool,
) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    let mut candidates: Vec<Option<BinaryHeap<Candidate>>> = wishes.iter().map(|_| None).collect();
    while let Some(poorest) = poorest(&wishes, total) {
        let wish = &mut wishes[poorest];
        let candidates = candidates[poorest].get_or_insert_with(|| {
            let fitting = rooms.iter().enumerate().filter(|(_, room)| room.fits(wish.slot) && !barred(poorest, room.node));
            fitting.map(|(position, room)| Candidate { slots: room.slots_of(wish.slot), position, grant: None }).collect()
        });
        let Some(mut candidate) = roomiest(candidates, &rooms, wish.slot) else {
            wish.wanted = 0;
            continue;
        };
        let room = &mut rooms[candidate.position];
        room.take(wish.slot);
        wish.held += 1;
        wish.wanted -= 1;
        let grant = *candidate.grant.get_or_insert(grants.len());
        match grants.get_mut(grant) {
            Some(grant) => grant.slots += 1,
            None => grants.push(Grant { wish: poorest, node: room.node, slots: 1 }),
        }
        candidate.slots -= 1;
        candidates.push(candidate);
    }
    grants
}

/// A room that a job's slot may fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// Slots of the job that it had room for when this was last looked at. It has no more than those now.
    slots: u64,
    position: usize,
    /// Where among the grants the job's slots there are.
    grant: Option<usize>,
}

/// The room with the most left for a job, by the slots it could still give; of equals, the last.
fn roomiest(candidates: &mut BinaryHeap<Candidate>, rooms: &[Room], slot: Resources) -> Option<Candidate> {
    loop {
        let mut candidate = candidates.pop()?;
        let slots = rooms[candidate.position].slots_of(slot);
        if slots == candidate.slots && slots > 0 {
            return Some(candidate);
        }
        // Another job has had some of it since.
        if slots > 0 {
            candidate.slots = slots;
            candidates.push(candidate);
        }
    }
}

/// A node and all that it has.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) capacity: Resources,
    pub(crate) calls_max: u64,
}

/// Slots that the job at this position of the wishes has on the node at this position of the places, without those it is giving
/// up already.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) wish: usize,
    pub(crate) place: usize,
    pub(crate) slots: u64,
    /// Whether it has had them for a whole turn.
    pub(crate) turn_over: bool,
}

/// What has to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Slots to be given up.
    pub(crate) revocations: Vec<Grant>,
    /// Nodes whose room, once it is free, is for the job at this position of the wishes.
    pub(crate) reservations: Vec<(NodeId, usize)>,
}

/// Slots that are given up at most in one go. The next go is a tick away, and this bounds what one costs: each looks at every
/// node. At 20 goes a second, a grid of ten thousand slots is shared anew within two.
const REVOCATIONS_MAX: usize = 256;

/// Says which slots have to be given up: where a node has more than fit, and where a job goes short that has a smaller share than
/// others. `wishes` are all jobs, with what they hold when all that they are giving up is free. `is_barred` says whether a job
/// keeps off a place, and `is_stale` whether it has waited there for long enough.
pub(crate) fn rebalance(
    wishes: Vec<Wish>,
    places: &[Place],
    holdings: Vec<Holding>,
    total: Resources,
    is_barred: impl Fn(usize, usize) -> bool,
    is_stale: impl Fn(usize, usize) -> bool,
) -> Plan {
    let mut balance = Balance::new(wishes, places, holdings, total);
    (0..places.len()).for_each(|place| balance.relieve(place));
    while let Some(poorest) = poorest(&balance.wishes, total) {
        let usable = |place: &usize| !is_barred(poorest, *place) && balance.is_free_for(poorest, *place);
        let fresh = |place: &usize| usable(place) && !is_stale(poorest, *place);
        // Where it has waited for long is better than nowhere.
        let option = balance.cheapest(poorest, (0..places.len()).filter(fresh));
        let option = option.or_else(|| balance.cheapest(poorest, (0..places.len()).filter(usable)));
        match option {
            Some((place, victims)) => balance.hand_over(poorest, place, &victims),
            None => balance.wishes[poorest].wanted = 0,
        }
    }
    balance.plan
}

/// A plan in the making.
struct Balance<'a> {
    wishes: Vec<Wish>,
    places: &'a [Place],
    holdings: Vec<Holding>,
    /// The holdings of each place.
    of_place: Vec<Vec<usize>>,
    /// What is free on each place once everything that is being given up is.
    rooms: Vec<Room>,
    total: Resources,
    revoked: usize,
    plan: Plan,
}

impl<'a> Balance<'a> {
    fn new(wishes: Vec<Wish>, places: &'a [Place], holdings: Vec<Holding>, total: Resources) -> Self {
        let room = |place: &Place| Room { node: place.node, free: place.capacity, calls_free: place.calls_max };
        let mut rooms: Vec<_> = places.iter().map(room).collect();
        let mut of_place = vec![Vec::new(); places.len()];
        for (position, holding) in holdings.iter().enumerate() {
            of_place[holding.place].push(position);
            let room = &mut rooms[holding.place];
            room.free = room.free.minus(wishes[holding.wish].slot, holding.slots);
            room.calls_free = room.calls_free.saturating_sub(holding.slots);
        }
        Self { wishes, places, holdings, of_place, rooms, total, revoked: 0, plan: Plan::default() }
    }

    fn share(&self, wish: usize, held: u64) -> f64 {
        share_of(self.wishes[wish].slot, held, self.total)
    }

    /// Where slots turned out to need more than they had reserved, the richest give up slots until they fit; the last one stays
    /// if there is no other node for it.
    fn relieve(&mut self, place: usize) {
        let capacity = self.places[place].capacity;
        loop {
            let here = || self.of_place[place].iter().filter(|&&holding| self.holdings[holding].slots > 0);
            let used = here().fold(Resources::default(), |sum, &holding| {
                let Holding { wish, slots, .. } = self.holdings[holding];
                sum.plus(self.wishes[wish].slot, slots)
            });
            if used.cpu_millis <= capacity.cpu_millis && used.memory_bytes <= capacity.memory_bytes {
                return;
            }
            let share = |holding: usize| {
                let wish = self.holdings[holding].wish;
                self.share(wish, self.wishes[wish].held)
            };
            let Some(&richest) = here().max_by(|&&a, &&b| share(a).total_cmp(&share(b))) else { return };
            let slots: u64 = here().map(|&holding| self.holdings[holding].slots).sum();
            let slot = self.wishes[self.holdings[richest].wish].slot;
            let fits_elsewhere = self.places.iter().any(|place| place.capacity.slots_of(slot) > 0);
            if slots <= 1 && !fits_elsewhere {
                return;
            }
            self.give_up(richest);
        }
    }

    fn give_up(&mut self, holding: usize) {
        let Holding { wish, place, .. } = self.holdings[holding];
        self.holdings[holding].slots -= 1;
        self.wishes[wish].held -= 1;
        let node = self.places[place].node;
        match self.plan.revocations.iter_mut().find(|revoked| (revoked.wish, revoked.node) == (wish, node)) {
            Some(revoked) => revoked.slots += 1,
            None => self.plan.revocations.push(Grant { wish, node, slots: 1 }),
        }
        // Added up anew: where more was held than fits, what is given up is not yet free.
        let mut room = Room { node, free: self.places[place].capacity, calls_free: self.places[place].calls_max };
        for &holding in &self.of_place[place] {
            let Holding { wish, slots, .. } = self.holdings[holding];
            room.free = room.free.minus(self.wishes[wish].slot, slots);
            room.calls_free = room.calls_free.saturating_sub(slots);
        }
        self.rooms[place] = room;
        self.revoked += 1;
    }

    /// Whether the place's room is not kept for another.
    fn is_free_for(&self, wish: usize, place: usize) -> bool {
        let node = self.places[place].node;
        self.plan.reservations.iter().all(|(reserved, other)| *reserved != node || *other == wish)
    }

    /// The place where the fewest slots have to be given up for one of this job's, and whose; where it is none, they are on their
    /// way. Of equals, the one where the richest give.
    fn cheapest(&self, poorest: usize, places: impl Iterator<Item = usize> + Clone) -> Option<(usize, Vec<usize>)> {
        let slot = self.wishes[poorest].slot;
        if let Some(place) = places.clone().find(|place| self.rooms[*place].fits(slot)) {
            return Some((place, Vec::new()));
        }
        if self.revoked >= REVOCATIONS_MAX {
            return None;
        }
        let share = |&holding: &usize| {
            let wish = self.holdings[holding].wish;
            self.share(wish, self.wishes[wish].held)
        };
        let poorest_victim = |victims: &[usize]| victims.iter().map(share).fold(f64::INFINITY, f64::min);
        let options = places.filter_map(|place| Some((place, self.victims(place, poorest)?)));
        options.min_by(|(_, a), (_, b)| a.len().cmp(&b.len()).then_with(|| poorest_victim(b).total_cmp(&poorest_victim(a))))
    }

    /// The holdings of a place that have to give up a slot, each as often as it is listed, so that one of this job's fits there.
    /// `None` when that cannot be asked of them.
    fn victims(&self, place: usize, poorest: usize) -> Option<Vec<usize>> {
        let (mut room, mut victims) = (self.rooms[place].clone(), Vec::new());
        let then = self.share(poorest, self.wishes[poorest].held + 1);
        while !room.fits(self.wishes[poorest].slot) {
            let left = |wish: usize| {
                let taken = victims.iter().filter(|&&victim: &&usize| self.holdings[victim].wish == wish).count();
                self.wishes[wish].held - taken as u64
            };
            let candidates = self.of_place[place].iter().filter(|&&holding| {
                let Holding { wish, slots, turn_over, .. } = self.holdings[holding];
                let taken = victims.iter().filter(|&&victim| victim == holding).count() as u64;
                let stays_richer = || self.share(wish, left(wish) - 1) + f64::EPSILON >= then;
                let can_ask = || stays_richer() || (self.wishes[poorest].held == 0 && turn_over);
                wish != poorest && slots > taken && can_ask()
            });
            let victim = *candidates.max_by(|&&a, &&b| {
                let (a, b) = (self.holdings[a].wish, self.holdings[b].wish);
                self.share(a, left(a)).total_cmp(&self.share(b, left(b))).then(b.cmp(&a))
            })?;
            room.free = room.free.plus(self.wishes[self.holdings[victim].wish].slot, 1);
            room.calls_free += 1;
            victims.push(victim);
        }
        Some(victims)
    }

    /// The victims give up their slots, and the place is kept for this job.
    fn hand_over(&mut self, poorest: usize, place: usize, victims: &[usize]) {
        victims.iter().for_each(|&victim| self.give_up(victim));
        self.rooms[place].take(self.wishes[poorest].slot);
        self.wishes[poorest].held += 1;
        self.wishes[poorest].wanted -= 1;
        let node = self.places[place].node;
        if !self.plan.reservations.contains(&(node, poorest)) {
            self.plan.reservations.push((node, poorest));
        }
        let own = self.of_place[place].iter().copied().find(|&holding| self.holdings[holding].wish == poorest);
        match own {
            Some(holding) => self.holdings[holding].slots += 1,
            None => {
                self.of_place[place].push(self.holdings.len());
                self.holdings.push(Holding { wish: poorest, place, slots: 1, turn_over: false });
            }
        }
    }
}

/// The job that is to get the next slot.
fn poorest(wishes: &[Wish], total: Resources) -> Option<usize> {
    let candidates = (0..wishes.len()).filter(|&wish| wishes[wish].wanted > 0);
    candidates.min_by(|&a, &b| {
        let (a, b) = (&wishes[a], &wishes[b]);
        share(a, total).total_cmp(&share(b, total)).then(a.served.cmp(&b.served))
    })
}

fn share(wish: &Wish, total: Resources) -> f64 {
    share_of(wish.slot, wish.held, total)
}

fn share_of(slot: Resources, slots: u64, total: Resources) -> f64 {
    let of = |one: u64, all: u64| one as f64 * slots as f64 / all.max(1) as f64;
    of(slot.cpu_millis, total.cpu_millis).max(of(slot.memory_bytes, total.memory_bytes))
}
