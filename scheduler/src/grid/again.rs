//! Tries that are made again: of calls that failed, as often as their user wants, and of calls that are late at the end of a job, on
//! a second node while the first goes on. Of two, the first to end counts, and the other is stopped.

use std::time::Duration;

use burla_proto::convert::CallReport;
use burla_types::{NodeId, Outcome};
use rustc_hash::FxHashMap;

use super::event::{Action, CallNews, CallToRun, NodeCommand, Timestamp};
use super::job::Job;
use super::{Grid, SentCall};

/// How many times as long as its job's calls take a call must have run to be late. At three times the mean, few calls of even
/// scattered lengths are.
const LATE_FACTOR: f64 = 3.0;

/// What no call is late before: running it again costs a slot, and whoever waits for a job hardly notices less.
const LATE_TIME_MIN: Duration = Duration::from_secs(1);

/// Calls of a job that get a second node at one tick, so that a tick stays short.
const TWINS_PER_TICK_MAX: usize = 16;

impl Job {
    /// Whether a call that ended like this is to be run again.
    pub(super) fn retries(&self, outcome: &Outcome, failures: u32) -> bool {
        let is_retried = match outcome {
            Outcome::Failed { .. } | Outcome::Panicked { .. } | Outcome::Trapped { .. } => true,
            Outcome::Exceeded(_) => self.spec.retries_exceeded,
            Outcome::Done(_) | Outcome::Refused { .. } | Outcome::Lost { .. } => false,
        };
        is_retried && failures < self.spec.retries
    }

    /// Runs a call again that failed, after a pause.
    pub(super) fn retry(&mut self, now: Timestamp, call: CallToRun) {
        self.retried += 1;
        let longest = self.spec.retry_pauses.after(call.failures);
        // Between half of it and all, by the index: calls that failed together do not come back together.
        let part = (call.index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as f64 / 512.0 + 0.5;
        self.delayed.insert((Timestamp(now.0 + longest.mul_f64(part)), call.index), call);
    }

    /// Calls whose pause is over wait for a slot from now on.
    pub(super) fn end_pauses(&mut self, now: Timestamp) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let call = entry.remove();
            self.pending.push_back(call);
        }
    }

    /// A copy of a call is gone from `node` without an end. Whether another still runs.
    pub(super) fn has_twin(&mut self, index: u64) -> bool {
        !self.twins.is_empty() && self.twins.remove(&index).is_some()
    }
}

impl Grid {
    /// A call has ended on a node, or is not to end at all: its other copy stops.
    pub(super) fn stop_twin(&mut self, job: &mut Job, index: u64, ended_on: NodeId) {
        if job.twins.is_empty() {
            return;
        }
        let Some(nodes) = job.twins.remove(&index) else { return };
        nodes.into_iter().filter(|node| *node != ended_on).for_each(|node| {
            self.stop_copy(job, node, index);
        });
    }

    /// Stops a call on a node, if it is there and open, and returns it.
    pub(super) fn stop_copy(&mut self, job: &mut Job, node: NodeId, index: u64) -> Option<CallToRun> {
        let call = job.leases.change(node, |lease| lease.supersede(index))??;
        self.actions.push(Action::ToNode(node, NodeCommand::StopCalls(job.id, vec![(index, call.attempt)])));
        Some(call)
    }

    /// Takes calls out of those that wait of which there is late news, all in one go.
    pub(super) fn take_late(&self, job: &mut Job, position: Option<usize>, news: &[CallNews]) -> FxHashMap<u64, CallToRun> {
        if !job.has_reopened() {
            return FxHashMap::default();
        }
        let is_open = |sent: &SentCall| sent.input.is_some();
        let is_here = |index| position.is_some_and(|at| job.leases.at(at).sent.get(&index).is_some_and(is_open));
        let is_late = |news: &&CallNews| match &news.report {
            CallReport::Ended { outcome, .. } => {
                !matches!(outcome, Outcome::Lost { .. }) && job.is_reopened(news.index) && !is_here(news.index)
            }
            CallReport::Printed { .. } => false,
        };
        let wanted = news.iter().filter(is_late).map(|news| news.index).collect();
        job.take_pending(&wanted)
    }

    /// Takes an open call out of where it runs, or has its pause, because it has ended on a node that was thought lost; `None` when
    /// it is not open any more.
    pub(super) fn take_open(&mut self, job: &mut Job, index: u64) -> Option<CallToRun> {
        if !job.is_reopened(index) {
            return None;
        }
        job.twins.remove(&index);
        let copies = job.leases.nodes().into_iter().filter_map(|node| self.stop_copy(job, node, index));
        let copies: Vec<_> = copies.collect();
        if let Some(call) = copies.into_iter().next() {
            return Some(call);
        }
        let key = job.delayed.keys().find(|(_, delayed)| *delayed == index).copied()?;
        job.delayed.remove(&key)
    }

    /// Gives calls that are late at the end of a job a second node, where nobody else wants its room.
    pub(super) fn run_late_calls_twice(&mut self, job: &mut Job) {
        let is_ending = job.inputs_closed && job.pending.is_empty() && job.delayed.is_empty();
        if !is_ending || job.output_paused || !self.wishing.is_empty() {
            return;
        }
        let Some(mean) = job.call_time() else { return };
        let late = mean.mul_f64(LATE_FACTOR).max(LATE_TIME_MIN);
        let is_late = |sent: &SentCall| sent.input.is_some() && self.now.0.saturating_sub(sent.since.0) >= late;
        let mut calls: Vec<(NodeId, u64)> = Vec::new();
        for (node, lease) in job.leases.iter().filter(|(_, lease)| lease.waiting() == 0) {
            let late = lease.sent.iter().filter(|(index, sent)| is_late(sent) && !job.twins.contains_key(index));
            calls.extend(late.map(|(index, _)| (node, *index)));
        }
        calls.sort_unstable_by_key(|(_, index)| *index);
        for (first, index) in calls.into_iter().take(TWINS_PER_TICK_MAX) {
            if job.slots_held() >= job.spec.parallelism_max || !self.run_twice(job, first, index) {
                return;
            }
        }
    }

    fn run_twice(&mut self, job: &mut Job, first: NodeId, index: u64) -> bool {
        let slot = job.slot();
        let is_usable = |id: &NodeId| {
            *id != first
                && !job.avoids(*id)
                && !self.reserved.contains_key(id)
                && job.leases.get(*id).is_none_or(|lease| !lease.recalling && lease.held == lease.slots && lease.waiting() == 0)
        };
        let mut rooms =
            self.shelves.values().rev().flatten().filter(|id| is_usable(id)).filter_map(|id| self.nodes.get(id)?.room(*id));
        let Some(room) = rooms.find(|room| room.slots_of(slot) > 0) else { return false };
        let Some(sent) = job.leases.get(first).and_then(|lease| lease.sent.get(&index)) else { return false };
        let Some(input) = sent.input.clone() else { return false };
        let attempt = job.next_attempt(index, sent.attempt);
        let call = CallToRun { index, attempt, losses: sent.losses, failures: sent.failures, input };
        job.remember_attempt(index, attempt);
        self.take(room.node, slot, 1);
        let position = job.leases.position_or_new(room.node);
        job.leases.change_at(position, |lease| lease.grant(self.now, 1));
        job.pending.push_front(call);
        job.fill(self.now, room.node, position, &mut self.actions);
        // It has a slot and nothing before it, so it was sent.
        debug_assert!(job.pending.is_empty(), "a second attempt that was not sent");
        job.twins.insert(index, [first, room.node]);
        job.requeued += 1;
        true
    }
}
