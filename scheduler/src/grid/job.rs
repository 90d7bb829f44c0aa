//! A job: its inputs that wait, its leases, and what its client has not taken yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use burla_proto::{WireSize, batch_is_full};
use burla_types::{Attempt, GridError, JobId, NodeId, Resources, Usage};
use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::event::{Action, CallToRun, ClientUpdate, JobSpec, NodeCommand, Progress, ResentInput, Timestamp, Tries};
use super::leases::Leases;
use super::shown::Shown;

/// Memory that a slot reserves at first when the user asked for none. A Rust function starts with little over one MiB; what its
/// calls are seen to need counts from the first that ends.
const MEMORY_GUESS_BYTES: u64 = 128 << 20;

/// Bytes of a job that the scheduler holds before it stops taking inputs: inputs that wait or run, and updates that the client
/// has not taken. One input on top of them always fits, however large.
const HELD_BYTES_MAX: usize = 192 << 20;

/// Inputs of a job that the scheduler holds before it stops taking more, however small.
const HELD_INPUTS_MAX: usize = 200_000;

/// Bytes of updates that wait for the client before its calls must wait with what they print, and no more are started.
const UNTAKEN_BYTES_MAX: usize = 32 << 20;

/// Inputs that a job without any keeps room for, so that one that is given few at a time does not allocate each time.
const ROOM_KEPT: usize = 2048;

/// The weight of the newest call in the running mean of call times.
const CALL_TIME_WEIGHT: f64 = 0.1;

/// How long the calls of a job that an earlier scheduler had wait for nodes that may still run them. Nodes dial again within as
/// long.
const RECLAIM_TIME: Duration = Duration::from_secs(2);

/// Until when a job keeps off a node that refused it.
const NEVER: Timestamp = Timestamp(Duration::MAX);

/// A job that is open.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) opened: Timestamp,
    pub(crate) leases: Leases,
    pub(crate) inputs_closed: bool,
    /// What the client was last told it waits for.
    pub(crate) waiting_told: Option<String>,
    /// Something changed that what it waits for is told by.
    pub(crate) waiting_changed: bool,
    /// Whether it is among the jobs that want slots, as the grid lists them.
    pub(crate) wishes: bool,
    pub(crate) inputs_paused: bool,
    pub(crate) output_paused: bool,
    /// Whether a node has ever had room for it, under this scheduler or, as far as that can be known, one before.
    pub(crate) was_placed: bool,
    /// When it last had a slot; at first, when it was opened.
    pub(crate) served: Timestamp,
    /// What the client was last told.
    pub(crate) progress_told: Progress,
    pub(crate) calls_ended: u64,
    pub(crate) calls_failed: u64,
    /// Bytes of updates that the client has not taken.
    pub(crate) untaken_bytes: usize,
    /// Nodes that had trouble with it, and until when it keeps off them.
    avoided: BTreeMap<NodeId, Timestamp>,
    /// What the last trouble was, and how many there were since a call last ended.
    pub(crate) trouble: Option<String>,
    pub(crate) troubles: u32,
    /// What the last node said that refused it.
    pub(crate) refusal: Option<String>,
    /// Whether a node has told anything of its calls, and so has not refused it.
    pub(crate) was_taken_on: bool,
    /// Why it cannot go on.
    pub(crate) failed: Option<GridError>,
    /// Open calls of which a node may have an attempt that nobody waits for: it was thought lost, or another is in its place. Of
    /// these, late news may come.
    reopened: FxHashSet<u64>,
    /// The newest attempts at open calls of which an older one goes on, or may.
    newest: FxHashMap<u64, Attempt>,
    pub(crate) pending: VecDeque<CallToRun>,
    /// Calls that failed and are run again, from when on.
    pub(crate) delayed: BTreeMap<(Timestamp, u64), CallToRun>,
    /// Calls that run on two nodes.
    pub(crate) twins: FxHashMap<u64, [NodeId; 2]>,
    /// Lines that its open calls have shown.
    pub(crate) shown: Shown,
    /// Until when it waits for nodes that may still run its calls.
    pub(crate) waits_for_nodes: Option<Timestamp>,
    pub(crate) retried: u64,
    pub(crate) requeued: u64,
    /// What was last told of these two.
    tries_told: Tries,
    next_index: u64,
    /// Bytes and number of inputs that wait or run.
    held_bytes: usize,
    held: usize,
    /// The running mean of what calls took, in seconds.
    call_seconds: Option<f64>,
    /// What its calls that have ended took together.
    pub(crate) usage: Usage,
    memory_bytes_seen: u64,
    /// What the largest node has. Calls that were seen to need more still run there, one at a time, rather than nowhere.
    pub(crate) memory_bytes_ceiling: u64,
}

impl Job {
    pub(crate) fn new(id: JobId, spec: JobSpec, opened: Timestamp, memory_bytes_ceiling: u64) -> Self {
        let before = spec.before;
        Self {
            id,
            spec,
            opened,
            leases: Leases::default(),
            inputs_closed: false,
            waiting_told: None,
            waiting_changed: false,
            wishes: false,
            inputs_paused: false,
            output_paused: false,
            was_placed: before.openings > 0,
            served: opened,
            progress_told: Progress::default(),
            calls_ended: before.calls_ended,
            calls_failed: before.calls_failed,
            untaken_bytes: 0,
            avoided: BTreeMap::new(),
            trouble: None,
            troubles: 0,
            refusal: None,
            was_taken_on: false,
            failed: None,
            reopened: FxHashSet::default(),
            newest: FxHashMap::default(),
            pending: VecDeque::new(),
            delayed: BTreeMap::new(),
            twins: FxHashMap::default(),
            shown: Shown::default(),
            waits_for_nodes: (before.openings > 0).then_some(Timestamp(opened.0 + RECLAIM_TIME)),
            retried: before.tries.retried,
            requeued: before.tries.requeued,
            tries_told: before.tries,
            next_index: 0,
            held_bytes: 0,
            held: 0,
            call_seconds: None,
            usage: before.usage,
            memory_bytes_seen: 0,
            memory_bytes_ceiling,
        }
    }

    /// What one slot occupies.
    pub(crate) fn slot(&self) -> Resources {
        let seen = self.memory_bytes_seen.max(MEMORY_GUESS_BYTES).min(self.memory_bytes_ceiling);
        let memory_bytes = self.spec.memory_bytes.unwrap_or(seen);
        Resources { cpu_millis: self.spec.cpu_millis, memory_bytes }
    }

    /// Slots it occupies, on all nodes.
    pub(crate) fn slots_held(&self) -> u64 {
        self.leases.sums().held
    }

    /// Whether it occupies more than it may: nodes came back with calls while others had their slots.
    pub(crate) fn has_too_many_slots(&self) -> bool {
        self.slots_held() > self.spec.parallelism_max
    }

    /// Inputs that the client has sent so far.
    pub(crate) fn inputs(&self) -> u64 {
        self.next_index
    }

    /// How much of it runs.
    pub(crate) fn progress(&self) -> Progress {
        Progress { running: self.leases.sums().running, nodes: self.leases.nodes_running() }
    }

    /// Slots it could use on top of those it has.
    pub(crate) fn slots_wanted(&self) -> u64 {
        if self.output_paused || self.waits_for_nodes.is_some() {
            return 0;
        }
        // A call that waits at a node has its slot there.
        let useful = (self.pending.len() as u64).saturating_sub(self.leases.sums().idle);
        useful.min(self.spec.parallelism_max.saturating_sub(self.slots_held()))
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.inputs_closed && self.held == 0
    }

    pub(crate) fn add_inputs(&mut self, inputs: Vec<Bytes>) {
        let attempt = self.first_attempt();
        for input in inputs {
            self.held_bytes += input.len();
            self.held += 1;
            self.pending.push_back(CallToRun { index: self.next_index, attempt, losses: 0, failures: 0, input });
            self.next_index += 1;
        }
    }

    /// Adds inputs that an earlier scheduler had; those between them and up to `next_index` have ended. Late news may come of
    /// them.
    pub(crate) fn add_resent(&mut self, inputs: Vec<ResentInput>, next_index: u64) {
        let attempt = self.first_attempt();
        for ResentInput { index, input, shown } in inputs {
            if index < self.next_index {
                continue;
            }
            self.held_bytes += input.len();
            self.held += 1;
            self.shown.set(index, shown);
            self.reopened.insert(index);
            self.pending.push_back(CallToRun { index, attempt, losses: 0, failures: 0, input });
            self.next_index = index + 1;
        }
        self.next_index = self.next_index.max(next_index);
    }

    /// The number of a call's first try. Those of an earlier scheduler, of which nodes may still know, are below it: nobody is run
    /// that often.
    fn first_attempt(&self) -> Attempt {
        Attempt(Attempt::FIRST.0 + (self.spec.before.openings << 16))
    }

    /// The number of the next try at a call after this one. None is given twice, or what a node says of one would be taken for
    /// the other: a node may still have an attempt that was given up for an older one.
    pub(crate) fn next_attempt(&self, index: u64, attempt: Attempt) -> Attempt {
        self.newest.get(&index).map_or(attempt, |newest| attempt.max(*newest)).next()
    }

    /// A node was sent this attempt, or may have been, and an older one goes on.
    pub(crate) fn remember_attempt(&mut self, index: u64, attempt: Attempt) {
        let newest = self.newest.entry(index).or_insert(attempt);
        *newest = attempt.max(*newest);
    }

    /// Puts a call back that was sent and has not ended, before all that were never sent.
    pub(crate) fn requeue(&mut self, call: CallToRun) {
        self.pending.push_front(call);
    }

    /// Puts a call back whose node was lost.
    pub(crate) fn reopen(&mut self, call: CallToRun) {
        self.expect_late_news(call.index);
        self.requeue(call);
    }

    /// Late news may come of this call, which is open: what a node says of an attempt that nobody waits for counts.
    pub(crate) fn expect_late_news(&mut self, index: u64) {
        self.reopened.insert(index);
    }

    /// Keeps off a node for a while.
    pub(crate) fn avoid(&mut self, node: NodeId, until: Timestamp, trouble: String) {
        let avoided = self.avoided.entry(node).or_insert(until);
        *avoided = until.max(*avoided);
        self.trouble = Some(trouble);
        self.troubles += 1;
        self.waiting_changed = true;
    }

    /// Tells how many tries were made again, where that has changed.
    pub(crate) fn tell_tries(&mut self, actions: &mut Vec<Action>) {
        let tries = Tries { retried: self.retried, requeued: self.requeued };
        if tries != self.tries_told {
            self.tries_told = tries;
            actions.push(Action::ToClient(self.id, ClientUpdate::Tries(tries)));
        }
    }

    /// Whether it keeps off the node.
    pub(crate) fn avoids(&self, node: NodeId) -> bool {
        self.avoided.contains_key(&node)
    }

    /// How many nodes it keeps off.
    pub(crate) fn nodes_avoided(&self) -> usize {
        self.avoided.len()
    }

    /// Keeps off a node whose operator does not allow what the job asks for.
    pub(crate) fn avoid_for_good(&mut self, node: NodeId, refusal: String) {
        self.avoided.insert(node, NEVER);
        self.refusal = Some(refusal);
        self.waiting_changed = true;
    }

    /// Whether the node refused the job.
    pub(crate) fn is_refused_by(&self, node: NodeId) -> bool {
        self.avoided.get(&node) == Some(&NEVER)
    }

    /// Forgets troubles that are long past. Returns whether there were any.
    pub(crate) fn forgive(&mut self, now: Timestamp) -> bool {
        let before = self.avoided.len();
        self.avoided.retain(|_, until| *until > now);
        let forgave = self.avoided.len() < before;
        self.waiting_changed |= forgave;
        forgave
    }

    /// Whether late news may come of any call.
    pub(crate) fn has_reopened(&self) -> bool {
        !self.reopened.is_empty()
    }

    /// Whether late news may come of the call, since it was sent to a node that was thought lost.
    pub(crate) fn is_reopened(&self, index: u64) -> bool {
        !self.reopened.is_empty() && self.reopened.contains(&index)
    }

    /// Takes calls out of those that wait. One look at all of them, however many are taken.
    pub(crate) fn take_pending(&mut self, wanted: &FxHashSet<u64>) -> FxHashMap<u64, CallToRun> {
        let mut taken = FxHashMap::default();
        if wanted.is_empty() || self.pending.is_empty() {
            return taken;
        }
        self.pending.retain_mut(|call| {
            if wanted.contains(&call.index) {
                taken.insert(call.index, call.clone());
            }
            !taken.contains_key(&call.index)
        });
        taken
    }

    /// Whether the input of this call may still arrive.
    pub(crate) fn may_arrive(&self, index: u64) -> bool {
        !self.inputs_closed && index >= self.next_index
    }

    /// Its calls need all the memory they may have: one was stopped because the node had no more for it.
    pub(crate) fn reserve_all(&mut self) {
        self.memory_bytes_seen = self.memory_bytes_seen.max(self.spec.work.limits.memory_bytes_max);
        self.waiting_changed = true;
    }

    /// Forgets an input whose call has ended.
    pub(crate) fn call_ended(&mut self, index: u64, input_bytes: usize, failed: bool) {
        if !self.reopened.is_empty() {
            self.reopened.remove(&index);
        }
        if !self.newest.is_empty() {
            self.newest.remove(&index);
        }
        self.shown.forget(index);
        self.waiting_changed |= self.trouble.is_some();
        (self.trouble, self.troubles) = (None, 0);
        self.held_bytes -= input_bytes;
        self.held -= 1;
        self.calls_ended += 1;
        self.calls_failed += u64::from(failed);
    }

    /// Learns from a call that ended. Returns whether a slot is now known to need more memory.
    pub(crate) fn learn(&mut self, usage: &Usage) -> bool {
        self.usage.add(usage);
        let seconds = usage.wall_time.as_secs_f64();
        self.call_seconds = Some(self.call_seconds.map_or(seconds, |mean| mean + (seconds - mean) * CALL_TIME_WEIGHT));
        if usage.memory_bytes_peak <= self.memory_bytes_seen {
            return false;
        }
        let before = self.slot();
        self.memory_bytes_seen = usage.memory_bytes_peak;
        let grew = self.slot() != before;
        self.waiting_changed |= grew;
        grew
    }

    /// How long its calls take; nothing before one has ended.
    pub(crate) fn call_time(&self) -> Option<Duration> {
        self.call_seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Sends a node what the lease at this position has room for: first of the job itself, if it does not know it, and of its
    /// slots.
    pub(crate) fn fill(&mut self, now: Timestamp, node: NodeId, position: usize, actions: &mut Vec<Action>) {
        let lease = self.leases.at(position);
        let wanted = if self.output_paused { 0 } else { lease.calls_wanted(self.call_time()) };
        let sends = wanted > 0 && !self.pending.is_empty();
        // More slots are for the calls that wait there already, too; fewer only matter to those that are sent now.
        let raises = lease.slots_told.is_some_and(|told| told < lease.slots);
        if !sends && !raises {
            return;
        }
        let memory_bytes = self.slot().memory_bytes;
        let mut tell = |command| actions.push(Action::ToNode(node, command));
        self.leases.change_at(position, |lease| {
            if lease.slots_told.is_none() {
                tell(NodeCommand::StartJob(self.id, self.spec.work.clone(), self.spec.cpu_millis));
            }
            if lease.slots_told != Some(lease.slots) || lease.memory_bytes_told != memory_bytes {
                (lease.slots_told, lease.memory_bytes_told) = (Some(lease.slots), memory_bytes);
                tell(NodeCommand::SetSlots(self.id, lease.slots, memory_bytes));
            }
            let expected = self.pending.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            let (mut calls, mut bytes) = (Vec::with_capacity(expected), 0);
            for _ in 0..wanted {
                if lease.is_full() {
                    break;
                }
                let Some(call) = self.pending.pop_front() else { break };
                if batch_is_full(bytes, &call.input) {
                    tell(NodeCommand::RunCalls(self.id, std::mem::take(&mut calls)));
                    bytes = 0;
                }
                bytes += call.input.wire_bytes();
                lease.send(now, &call);
                calls.push(call);
            }
            if !calls.is_empty() {
                tell(NodeCommand::RunCalls(self.id, calls));
            }
            if self.pending.is_empty() && self.pending.capacity() > ROOM_KEPT {
                self.pending = VecDeque::new();
            }
        });
    }

    /// Whether the client must hold its inputs back, with some room between the two answers so that they do not alternate.
    pub(crate) fn inputs_must_pause(&self) -> bool {
        let held = self.held_bytes + self.untaken_bytes;
        if self.inputs_paused {
            held > HELD_BYTES_MAX / 2 || self.held > HELD_INPUTS_MAX / 2
        } else {
            held > HELD_BYTES_MAX || self.held > HELD_INPUTS_MAX
        }
    }

    /// Whether calls must hold back what they print, and no more be started, because the client does not take it.
    pub(crate) fn output_must_pause(&self) -> bool {
        let bytes_max = if self.output_paused { UNTAKEN_BYTES_MAX / 2 } else { UNTAKEN_BYTES_MAX };
        self.untaken_bytes > bytes_max
    }
}
