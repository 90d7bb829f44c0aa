//! Calls that nodes kept running while there was no scheduler to hear of them, or none that they could reach. A node says which ones
//! when it is back. Where the grid has their inputs, they go on as if nothing had happened; where it does not yet, because the job's
//! client has still to open it again or the input has still to be read from the disk, the claim waits, and so does what the node
//! says of such calls.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use burla_proto::convert::CallReport;
use burla_proto::{WireSize, batch_is_full};
use burla_types::{Attempt, JobId, NodeId, Resources};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Grid;
use super::event::{Action, CallNews, CallToRun, CallsReturned, HeldCalls, NodeCommand, Timestamp};
use super::job::Job;

/// How long a claim waits for its job: as long as an operator's clients have, by default, to come back to theirs.
const CLAIM_TIME: Duration = Duration::from_secs(60);

/// Bytes of news that wait for one job. What does not fit is dropped, and its calls are run again.
const NEWS_BYTES_MAX: usize = 32 << 20;

/// What nodes still run of a job whose inputs are not here.
#[derive(Debug)]
pub(super) struct Claims {
    calls: FxHashMap<u64, (NodeId, Attempt)>,
    /// What they occupy there.
    nodes: BTreeMap<NodeId, (Resources, u64)>,
    news: Vec<(NodeId, CallNews)>,
    news_bytes: usize,
    until: Timestamp,
}

impl Grid {
    /// A node is back, and runs these.
    pub(super) fn node_holds(&mut self, node: NodeId, held: Vec<HeldCalls>) {
        if !self.nodes.contains_key(&node) {
            return;
        }
        for HeldCalls { job, slot, calls } in held {
            if self.jobs.contains_key(&job) {
                self.with_job(job, |grid, job| {
                    let (early, here) = calls.into_iter().partition(|(index, _)| job.may_arrive(*index));
                    grid.claim(job.id, node, slot, early);
                    grid.adopt(job, node, here);
                });
            } else if self.ended.contains(&job) {
                self.actions.push(Action::ToNode(node, NodeCommand::StopJob(job)));
            } else {
                self.claim(job, node, slot, calls);
            }
        }
    }

    fn claim(&mut self, job: JobId, node: NodeId, slot: Resources, calls: Vec<(u64, Attempt)>) {
        if calls.is_empty() {
            return;
        }
        let (mut useless, mut claimed) = (Vec::new(), 0);
        let claims = self.claims_of(job);
        for (index, attempt) in calls {
            match claims.calls.entry(index) {
                Entry::Vacant(call) => {
                    call.insert((node, attempt));
                    claimed += 1;
                }
                // Another node runs it as well.
                Entry::Occupied(_) => useless.push((index, attempt)),
            }
        }
        claims.nodes.entry(node).or_insert((slot, 0)).1 += claimed;
        let slot = claims.nodes[&node].0;
        self.take(node, slot, claimed);
        self.tell_useless(job, node, useless);
    }

    fn claims_of(&mut self, job: JobId) -> &mut Claims {
        let until = Timestamp(self.now.0 + CLAIM_TIME);
        let new = || Claims { calls: FxHashMap::default(), nodes: BTreeMap::new(), news: Vec::new(), news_bytes: 0, until };
        let claims = self.claims.entry(job).or_insert_with(new);
        claims.until = until;
        claims
    }

    fn tell_useless(&mut self, job: JobId, node: NodeId, calls: Vec<(u64, Attempt)>) {
        if !calls.is_empty() {
            self.actions.push(Action::ToNode(node, NodeCommand::StopCalls(job, calls)));
        }
    }

    /// Lets calls that run on a node be the job's calls there. Those that are of no use, since their call has ended, or an older
    /// attempt at it runs, or the job may not have so many, occupy a slot until they have stopped.
    fn adopt(&mut self, job: &mut Job, node: NodeId, calls: Vec<(u64, Attempt)>) {
        if calls.is_empty() {
            return;
        }
        let wanted: FxHashSet<u64> = calls.iter().map(|(index, _)| *index).collect();
        let mut pending = job.take_pending(&wanted);
        let mut useless = Vec::new();
        let is_leaving = self.nodes.get(&node).is_some_and(|node| node.leaving);
        let position = job.leases.position_or_new(node);
        for (index, attempt) in calls {
            let has_room = job.slots_held() < job.spec.parallelism_max;
            let call = match pending.remove(&index) {
                Some(call) if has_room => Some(call),
                Some(call) => {
                    job.requeue(call);
                    None
                }
                None => self.take_younger(job, index, attempt),
            };
            if let Some(call) = &call {
                job.remember_attempt(index, call.attempt);
                job.expect_late_news(index);
                job.requeued = job.requeued.saturating_sub(u64::from(call.losses > 0));
            }
            self.take(node, job.slot(), 1);
            let (now, is_useless) = (self.now, call.is_none());
            job.leases.change_at(position, |lease| {
                lease.grant(now, 1);
                match call {
                    // What it was thought to have lost it has not.
                    Some(call) => lease.send(now, &CallToRun { attempt, losses: call.losses.saturating_sub(1), ..call }),
                    None => {
                        lease.add_useless(now, index, attempt);
                        useless.push((index, attempt));
                    }
                }
                if is_useless || is_leaving {
                    lease.revoke(1);
                }
            });
        }
        job.was_placed = true;
        job.was_taken_on = true;
        let memory_bytes = job.slot().memory_bytes;
        let slots = job.leases.change_at(position, |lease| {
            (lease.slots_told, lease.memory_bytes_told) = (Some(lease.slots), memory_bytes);
            lease.slots
        });
        let mut tell = |command| self.actions.push(Action::ToNode(node, command));
        tell(NodeCommand::StartJob(job.id, job.spec.work.clone(), job.spec.cpu_millis));
        tell(NodeCommand::SetSlots(job.id, slots, memory_bytes));
        if job.output_paused {
            tell(NodeCommand::SetOutputPaused(job.id, true));
        }
        self.tell_useless(job.id, node, useless);
    }

    /// Takes a call from where a younger attempt at it runs or waits.
    fn take_younger(&mut self, job: &mut Job, index: u64, attempt: Attempt) -> Option<CallToRun> {
        if job.twins.contains_key(&index) {
            return None;
        }
        let has_younger = |sent: &super::SentCall| sent.input.is_some() && sent.attempt.0 > attempt.0;
        let mut elsewhere = job.leases.iter().filter(|(_, lease)| lease.sent.get(&index).is_some_and(has_younger));
        let node = elsewhere.next().map(|(node, _)| node)?;
        drop(elsewhere);
        let is_full = job.slots_held() >= job.spec.parallelism_max;
        if is_full && job.leases.get(node).is_some_and(|lease| lease.waiting() > 0) {
            // The younger may wait behind another, which would go on in its place and be one too many.
            return None;
        }
        let call = job.leases.change(node, |lease| lease.supersede(index))??;
        if is_full {
            // The call has a slot where it is now; that one is not for another. Said first, so that none begins there instead.
            self.revoke(job, node, 1);
        }
        self.tell_useless(job.id, node, vec![(index, call.attempt)]);
        Some(call)
    }

    /// Inputs of a job arrived that may be claimed: what nodes said of them counts from now on.
    pub(super) fn inputs_were_claimed(&mut self, job: &mut Job) {
        let Some(claims) = self.claims.get_mut(&job.id) else { return };
        let here = |index: u64| !job.may_arrive(index);
        let mut by_node: BTreeMap<NodeId, Vec<(u64, Attempt)>> = BTreeMap::new();
        claims.calls.retain(|index, (node, attempt)| {
            if here(*index) {
                by_node.entry(*node).or_default().push((*index, *attempt));
            }
            !here(*index)
        });
        let mut released = Vec::new();
        for (node, calls) in &by_node {
            if let Some(taken) = claims.nodes.get_mut(node) {
                taken.1 -= calls.len() as u64;
                released.push((*node, taken.0, calls.len() as u64));
            }
        }
        let (news, later) = std::mem::take(&mut claims.news).into_iter().partition(|(_, news)| here(news.index));
        claims.news = later;
        claims.news_bytes = claims.news.iter().map(|(_, news)| news.report.wire_bytes()).sum();
        let news: Vec<(NodeId, CallNews)> = news;
        if claims.calls.is_empty() && claims.news.is_empty() {
            self.claims.remove(&job.id);
        }
        for (node, slot, slots) in released {
            self.give_back(node, slot, slots);
        }
        for (node, mut calls) in by_node {
            calls.sort_unstable_by_key(|(index, _)| *index);
            self.adopt(job, node, calls);
        }
        for (node, news) in news {
            self.calls_reported(job, node, vec![news]);
        }
    }

    /// Keeps news of calls whose inputs may still arrive, and returns the others.
    pub(super) fn keep_early(
        &mut self,
        id: JobId,
        node: NodeId,
        news: Vec<CallNews>,
        is_early: impl Fn(u64) -> bool,
    ) -> Vec<CallNews> {
        if !news.iter().any(|news| is_early(news.index)) {
            return news;
        }
        let (early, rest) = news.into_iter().partition(|news| is_early(news.index));
        let early: Vec<CallNews> = early;
        let claims = self.claims_of(id);
        let mut freed = 0;
        for news in early {
            if matches!(news.report, CallReport::Ended { .. }) && claims.calls.get(&news.index) == Some(&(node, news.attempt)) {
                claims.calls.remove(&news.index);
                freed += 1;
            }
            let bytes = news.report.wire_bytes();
            if claims.news_bytes + bytes <= NEWS_BYTES_MAX || (claims.news.is_empty() && !batch_is_full(0, &news.report)) {
                claims.news_bytes += bytes;
                claims.news.push((node, news));
            }
        }
        self.unclaim(id, node, freed);
        rest
    }

    /// A node gave calls back that it had claimed.
    pub(super) fn claims_returned(&mut self, id: JobId, node: NodeId, returned: &CallsReturned) {
        let Some(claims) = self.claims.get_mut(&id) else { return };
        let before = claims.calls.len();
        for (index, attempt) in &returned.calls {
            if claims.calls.get(index) == Some(&(node, *attempt)) {
                claims.calls.remove(index);
            }
        }
        let freed = (before - claims.calls.len()) as u64;
        self.unclaim(id, node, freed);
    }

    fn unclaim(&mut self, id: JobId, node: NodeId, slots: u64) {
        let taken = self.claims.get_mut(&id).and_then(|claims| claims.nodes.get_mut(&node));
        if let Some(taken) = taken {
            taken.1 -= slots;
            let slot = taken.0;
            self.give_back(node, slot, slots);
        }
    }

    /// A node is gone, and with it what it claimed.
    pub(super) fn forget_claims_of(&mut self, node: NodeId) {
        self.claims.retain(|_, claims| {
            claims.calls.retain(|_, (of, _)| *of != node);
            claims.nodes.remove(&node);
            !claims.calls.is_empty() || !claims.news.is_empty()
        });
    }

    /// Nobody comes for these any more: the job is over, or was never opened again.
    pub(super) fn end_claims(&mut self, id: JobId) {
        let Some(claims) = self.claims.remove(&id) else { return };
        for (node, (slot, slots)) in claims.nodes {
            if slots > 0 {
                self.give_back(node, slot, slots);
                self.actions.push(Action::ToNode(node, NodeCommand::StopJob(id)));
            }
        }
    }

    /// Ends claims for which nobody came.
    pub(super) fn end_old_claims(&mut self) {
        let now = self.now;
        let old: Vec<_> = self.claims.iter().filter(|(_, claims)| claims.until <= now).map(|(id, _)| *id).collect();
        for id in old {
            if self.jobs.contains_key(&id) {
                // Its inputs still arrive, so its claims may still be of use.
                self.claims_of(id);
            } else {
                self.end_claims(id);
            }
        }
    }

    /// What claims occupy on a node.
    #[cfg(test)]
    pub(super) fn claimed_on(&self, node: NodeId) -> Resources {
        let claims = self.claims.values().filter_map(|claims| claims.nodes.get(&node));
        claims.fold(Resources::default(), |sum, (slot, slots)| sum.plus(*slot, *slots))
    }
}
