//! The scheduler's core: a state, the time and an event give actions. No clock, no I/O, no tasks, no randomness; all of that is
//! the driver's.
//!
//! Invariants:
//!
//! - an input is in exactly one place: it waits in its job, or was sent to one node, or has ended;
//! - a call ends once: when the attempt that is open ends, or an earlier one on a node that was thought lost;
//! - what a node has given to leases is the sum of the slots they occupy, and slots are only held where there are calls for them;
//! - a job never occupies more slots than its `max_parallelism`, over all nodes together.
//!
//! An event costs as much as what it is about, not as much as there are nodes or jobs: sums and indices are kept, and what could
//! only have changed with something else is looked at again when that has changed. `consistency.rs` says what has to be so.

mod again;
mod balance;
mod claims;
#[cfg(test)]
mod consistency;
pub mod event;
mod job;
mod lease;
mod leases;
mod node;
mod nodes;
pub mod overview;
mod placement;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use burla_proto::WireSize;
use burla_proto::convert::CallReport;
use burla_types::{GridError, JobId, NodeId, Outcome, Resources, Usage};
use rustc_hash::FxHashSet;

use claims::Claims;
use event::{
    Action, CallNews, CallToRun, CallUpdate, CallsReturned, ClientUpdate, Event, JobSpec, JobSummary, NodeCommand, NodeLost,
    NodeSpec, ReturnReason, Timestamp,
};
use job::Job;
use lease::SentCall;
use node::Node;
use nodes::{Capacity, Shelf};

/// How many times a call may lose its node before it counts as lost itself: it may well be what kills them.
const LOSSES_MAX: u32 = 3;

/// How long a job keeps off a node that lost one of its calls by its own fault. Long enough for others to do the work; where there
/// are none, three tries have some time between them.
const AVOID_TIME: Duration = Duration::from_secs(1);

/// How many times nodes may fail to make a job's component ready, with no call ended in between, before the job fails: by then
/// each of them, or the same again and again, has had trouble with it.
const TROUBLES_MAX: u32 = 8;

/// Jobs that are over and are remembered, for nodes that come back and still run something of one. Older ones are taken for jobs
/// that may be opened again, and stopped somewhat later.
const ENDED_JOBS_MAX: usize = 4096;

/// After how long without a node jobs that wait are told how long it has been. A job that waits for a week says so eight times.
const NODELESS_STEPS: [Duration; 8] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(3 * 24 * 60 * 60),
    Duration::from_secs(7 * 24 * 60 * 60),
];

/// All nodes and all open jobs.
#[derive(Debug, Default)]
pub struct Grid {
    now: Timestamp,
    nodes: BTreeMap<NodeId, Node>,
    /// In boxes, since a job is taken out while it is worked on.
    jobs: BTreeMap<JobId, Box<Job>>,
    actions: Vec<Action>,
    /// What nodes still run of jobs whose inputs are not here.
    claims: BTreeMap<JobId, Claims>,
    /// Jobs that are over, and in which order they ended.
    ended: FxHashSet<JobId>,
    ended_in_order: VecDeque<JobId>,
    /// What the nodes have together.
    capacity: Capacity,
    /// Nodes by the room they have. Of nodes alike, which most are, those with as many slots taken are together.
    shelves: BTreeMap<Shelf, BTreeSet<NodeId>>,
    /// How many nodes have slots that need more than the node has.
    overcommitted: usize,
    /// The jobs for which slots are being freed on nodes, and since when. Nobody else gets them.
    reserved: BTreeMap<NodeId, (JobId, Timestamp)>,
    /// Jobs that want more slots than they have.
    wishing: BTreeSet<JobId>,
    /// Nodes that have more room than when slots were last given away. The others have none for any job that wishes.
    freed: Vec<NodeId>,
    /// Something else happened after which any node may have room for a job that wishes.
    look_everywhere: bool,
    /// Jobs that this event was about.
    touched: Vec<JobId>,
    /// Something happened after which any job may keep slots that it is giving up.
    recheck_given_up: bool,
    /// The nodes are others, and with them what jobs may wait for.
    nodes_changed: bool,
    /// Since when no node is connected, where one was.
    nodeless_since: Option<Timestamp>,
    /// How many of [`NODELESS_STEPS`] have gone by since then.
    nodeless_steps: usize,
    /// Something happened that may leave a job short of what others have too much of.
    out_of_balance: bool,
    /// Something happened after which a job may have no node left that would run it.
    check_refusals: bool,
    /// Calls that lost their node and wait for another, since they were last counted.
    requeued: u64,
}

impl Grid {
    /// Takes in what happened at `now`, and says what is to be done about it. Events about jobs and nodes that are gone mean
    /// nothing: they crossed the news of that.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        self.now = now;
        match event {
            Event::NodeJoined(id, spec, held) => {
                if self.nodes.contains_key(&id) {
                    // Its session broke, and it is back before that was noticed: it was not lost.
                    self.node_left(id);
                    self.actions.retain(|action| !matches!(action, Action::ToClient(_, ClientUpdate::NodeLost(_))));
                }
                self.node_joined(id, spec);
                self.node_holds(id, held);
            }
            Event::NodeLeaving(id) => self.node_leaving(id),
            Event::NodeLeft(id) => self.node_left(id),
            Event::JobOpened(id, spec) => self.job_opened(id, spec),
            Event::InputsArrived(id, inputs) => {
                self.with_job(id, |grid, job| {
                    // Its first inputs, or the first for a while, do not wait for the next tick.
                    grid.out_of_balance |= job.slots_held() == 0 && !job.has_pending();
                    // While others wait, no slot has room for these.
                    let may_send = !job.has_pending();
                    job.add_inputs(inputs);
                    grid.inputs_were_claimed(job);
                    if may_send {
                        grid.fill_all(job);
                    }
                });
            }
            Event::InputsResent(id, inputs, next_index) => {
                self.with_job(id, |grid, job| {
                    grid.out_of_balance |= job.slots_held() == 0 && !job.has_pending();
                    job.add_resent(inputs, next_index);
                    grid.inputs_were_claimed(job);
                    grid.fill_all(job);
                });
            }
            Event::InputsClosed(id) => self.with_job(id, |grid, job| {
                job.inputs_closed = true;
                // What is claimed beyond them has ended, and stops.
                grid.inputs_were_claimed(job);
            }),
            Event::CallsReported(node, id, news) => {
                if self.jobs.contains_key(&id) {
                    self.with_job(id, |grid, job| {
                        let news = grid.keep_early(id, node, news, |index| job.may_arrive(index));
                        grid.calls_reported(job, node, news);
                    });
                } else if !self.ended.contains(&id) {
                    self.keep_early(id, node, news, |_| true);
                }
            }
            Event::CallsReturned(node, id, returned) => {
                self.claims_returned(id, node, &returned);
                self.with_job(id, |grid, job| grid.calls_returned(job, node, &returned));
            }
            Event::NodeTroubled(node, id, reason) => self.with_job(id, |grid, job| grid.node_troubled(job, node, reason)),
            Event::NodeRefused(node, id, reason) => self.with_job(id, |grid, job| grid.node_refused(job, node, reason)),
            Event::JobFailed(id, error) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.end_job(job, Err(error));
                }
            }
            Event::ClientTook(id, bytes) => {
                // Where that lets calls go on, flow control sends them.
                self.with_job(id, |_, job| job.untaken_bytes = job.untaken_bytes.saturating_sub(bytes));
            }
            Event::JobAbandoned(id) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.stop_job(job);
                }
            }
            Event::Tick => self.time_went_by(),
        }
        if std::mem::take(&mut self.check_refusals) {
            self.end_refused();
        }
        self.place();
        if std::mem::take(&mut self.out_of_balance) {
            self.rebalance();
            // Slots that no call was in are free at once.
            self.place();
        }
        self.tell_who_waits();
        std::mem::take(&mut self.actions)
    }

    /// Whether nodes run calls of jobs whose inputs are not here.
    pub fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    /// How many calls lost their node and wait for another, since this was last asked.
    pub fn take_requeued(&mut self) -> u64 {
        std::mem::take(&mut self.requeued)
    }

    fn node_joined(&mut self, id: NodeId, spec: NodeSpec) {
        self.add_node(id, spec);
        self.adjust_ceilings();
        // Jobs that were opened before there was any node are checked now, as others were when they were opened. One that ran
        // before waits instead: the node that it ran on may come back.
        let waiting = self.jobs.values().filter(|job| !job.was_placed);
        let unfit: Vec<_> = waiting.filter_map(|job| Some((job.id, self.refusal(job.slot())?))).collect();
        for (id, error) in unfit {
            if let Some(job) = self.jobs.remove(&id) {
                self.end_job(job, Err(error));
            }
        }
    }

    /// The node keeps the calls that it runs, and gives the others back.
    fn node_leaving(&mut self, id: NodeId) {
        if !self.nodes.contains_key(&id) {
            return;
        }
        self.change_node(id, |node| node.leaving = true);
        self.check_refusals = true;
        self.nodes_changed = true;
        for job in self.jobs_on(id) {
            self.with_job(job, |grid, job| {
                let slots = job.leases.get(id).map_or(0, |lease| lease.slots);
                grid.revoke(job, id, slots);
            });
        }
    }

    fn node_left(&mut self, id: NodeId) {
        let name = self.nodes.get(&id).map(|node| node.spec.name.clone()).unwrap_or_default();
        self.remove_node(id);
        self.forget_claims_of(id);
        self.check_refusals = true;
        self.adjust_ceilings();
        self.out_of_balance = true;
        for job in self.jobs_on(id) {
            self.with_job(job, |grid, job| grid.lease_lost(job, id, &name));
        }
    }

    fn jobs_on(&self, node: NodeId) -> Vec<JobId> {
        self.jobs.values().filter(|job| job.leases.get(node).is_some()).map(|job| job.id).collect()
    }

    fn job_opened(&mut self, id: JobId, spec: JobSpec) {
        // Under an id that was used before, it is a job of its own.
        self.ended.remove(&id);
        let job = Box::new(Job::new(id, spec, self.now, self.memory_ceiling()));
        // One that was opened before waits: the node that it ran on may come back.
        let refusal = if job.was_placed { None } else { self.refusal(job.slot()) };
        match refusal {
            Some(error) => self.end_job(job, Err(error)),
            None => {
                self.jobs.insert(id, job);
            }
        }
    }

    /// Why no node could ever run a slot like this. While there is no node at all, one may still come.
    fn refusal(&self, slot: Resources) -> Option<GridError> {
        let largest = self.capacity.largest?;
        let fits = self.nodes.values().any(|node| node.could_fit(slot));
        (!fits).then_some(GridError::NoNodeFits { wanted: slot, largest })
    }

    /// Lets `act` work on a job, sees to its flow control, and ends it when it is finished.
    fn with_job(&mut self, id: JobId, act: impl FnOnce(&mut Self, &mut Job)) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        act(self, &mut job);
        self.control_flow(&mut job);
        // Where what it prints must wait from now on, it has no use for slots without a call.
        self.release_idle_slots(&mut job);
        if let Some(error) = job.failed.take() {
            self.end_job(job, Err(error));
        } else if job.is_finished() {
            let elapsed = self.now.0.saturating_sub(job.opened.0);
            let summary = JobSummary {
                calls: job.calls_ended,
                calls_failed: job.calls_failed,
                elapsed,
                usage: job.usage,
                retried: job.retried,
                requeued: job.requeued,
            };
            self.end_job(job, Ok(summary));
        } else {
            self.put_back(job);
        }
    }

    /// Puts a job back that was taken out and worked on.
    fn put_back(&mut self, mut job: Box<Job>) {
        job.tell_tries(&mut self.actions);
        let wishes = job.slots_wanted() > 0;
        if wishes != job.wishes {
            job.wishes = wishes;
            if wishes {
                self.wishing.insert(job.id);
                self.look_everywhere = true;
            } else {
                self.wishing.remove(&job.id);
            }
        }
        if self.touched.last() != Some(&job.id) {
            self.touched.push(job.id);
        }
        self.jobs.insert(job.id, job);
    }

    fn calls_reported(&mut self, job: &mut Job, node: NodeId, news: Vec<CallNews>) {
        let mut updates = Vec::with_capacity(news.len());
        // Found once: nothing below adds a lease or removes one.
        let position = job.leases.position(node);
        let mut late = self.take_late(job, position, &news);
        job.was_taken_on |= !news.is_empty();
        for mut news in news {
            if let CallReport::Printed { stream, first_line, lines } = news.report {
                let sent = position.and_then(|at| job.leases.at(at).sent.get(&news.index));
                let is_open_here = sent.is_some_and(|sent| sent.attempt == news.attempt && sent.input.is_some());
                // Where a late end counts, so does what was printed before it.
                if (is_open_here || job.is_reopened(news.index))
                    && let Some((first_line, lines)) = job.shown.take_new(news.index, news.attempt, stream, first_line, lines)
                {
                    let report = CallReport::Printed { stream, first_line, lines };
                    updates.push(CallUpdate { index: news.index, report });
                }
                continue;
            }
            let here = position.and_then(|at| job.leases.change_at(at, |lease| lease.end(self.now, news.index, news.attempt)));
            let lost = matches!(news.report, CallReport::Ended { outcome: Outcome::Lost { .. }, .. });
            if let (true, CallReport::Ended { usage, .. }) = (lost, &mut news.report) {
                // It took nothing of what its user asked for.
                *usage = Usage::default();
            }
            let (input, failures, attempt) = match here {
                // The node's own trouble, while another runs it as well.
                Some(_) if lost && job.has_twin(news.index) => {
                    self.keep_off(job, node, &news.report);
                    continue;
                }
                // The node's own trouble; another, or the same a while later, may do better.
                Some(SentCall { input: Some(input), attempt, losses, failures, .. }) if lost && losses + 1 < LOSSES_MAX => {
                    let (index, attempt, losses) = (news.index, job.next_attempt(news.index, attempt), losses + 1);
                    job.requeued += 1;
                    job.requeue(CallToRun { index, attempt, losses, failures, input });
                    self.keep_off(job, node, &news.report);
                    self.fill_others(job, node);
                    continue;
                }
                Some(SentCall { input: Some(input), failures, attempt, .. }) => {
                    self.stop_twin(job, news.index, node);
                    (input, failures, attempt)
                }
                Some(SentCall { input: None, .. }) | None if lost => continue,
                // Late news, of a node that was thought lost or an attempt that was given up for an older one. It counts when
                // nobody else was faster; else it only makes its slot free.
                Some(SentCall { input: None, .. }) | None => {
                    match late.remove(&news.index).or_else(|| self.take_open(job, news.index)) {
                        Some(call) => (call.input, call.failures, call.attempt),
                        None => continue,
                    }
                }
            };
            let failed = !matches!(news.report, CallReport::Ended { outcome: Outcome::Done(_), .. });
            let slot_before = job.slot();
            if let CallReport::Ended { usage, .. } = &news.report
                && !lost
                && job.learn(usage)
            {
                self.adjust_reservations(job, slot_before);
            }
            if failed
                && let CallReport::Ended { outcome, .. } = &news.report
                && job.retries(outcome, failures)
            {
                let (index, attempt, failures) = (news.index, job.next_attempt(news.index, attempt), failures + 1);
                job.retry(self.now, CallToRun { index, attempt, losses: 0, failures, input });
                continue;
            }
            job.call_ended(news.index, input.len(), failed);
            updates.push(CallUpdate { index: news.index, report: news.report });
        }
        late.into_values().for_each(|call| job.requeue(call));
        self.tell_client(job, updates);
        if let Some(position) = position {
            self.settle_at(job, node, position);
            job.fill(self.now, node, position, &mut self.actions);
        }
    }

    /// A node lost a call by its own fault: the job takes its slots there away, and keeps off it for a while.
    fn keep_off(&mut self, job: &mut Job, node: NodeId, report: &CallReport) {
        let CallReport::Ended { outcome: Outcome::Lost { reason }, .. } = report else { return };
        job.avoid(node, Timestamp(self.now.0 + AVOID_TIME), reason.clone());
        let slots = job.leases.get(node).map_or(0, |lease| lease.slots);
        self.revoke(job, node, slots);
    }

    /// A node could not make the component ready. What was sent there has not begun, and goes elsewhere.
    fn node_troubled(&mut self, job: &mut Job, node: NodeId, reason: String) {
        if job.troubles + 1 >= TROUBLES_MAX {
            job.failed = Some(GridError::InvalidComponent { reason });
            return;
        }
        job.avoid(node, Timestamp(self.now.0 + AVOID_TIME), reason);
        self.give_up_lease(job, node);
    }

    /// A node's operator does not allow what the job asks for. Nothing but a restart changes that, and then it is another node.
    fn node_refused(&mut self, job: &mut Job, node: NodeId, reason: String) {
        job.avoid_for_good(node, reason);
        self.check_refusals = true;
        self.give_up_lease(job, node);
    }

    /// Ends jobs that no node runs, because those that could refuse them. One that some node has taken on waits: it may be back.
    fn end_refused(&mut self) {
        let refused = self.jobs.values().filter(|job| !job.was_taken_on && self.is_refused_everywhere(job));
        let refused: Vec<_> = refused.map(|job| (job.id, job.refusal.clone().unwrap_or_default())).collect();
        for (id, reason) in refused {
            if let Some(job) = self.jobs.remove(&id) {
                self.end_job(job, Err(GridError::RefusedByPolicy { reason }));
            }
        }
    }

    /// Whether there are nodes that could run the job, and all of them refuse to.
    fn is_refused_everywhere(&self, job: &Job) -> bool {
        let slot = job.slot();
        let mut fitting = self.nodes.iter().filter(|(_, node)| !node.leaving && node.could_fit(slot)).peekable();
        fitting.peek().is_some() && fitting.all(|(id, _)| job.is_refused_by(*id))
    }

    /// Takes back what was sent to a node that has given the job up: none of it has begun.
    fn give_up_lease(&mut self, job: &mut Job, node: NodeId) {
        let Some(lease) = job.leases.remove(node) else { return };
        self.give_back(node, job.slot(), lease.held);
        self.actions.push(Action::ToNode(node, NodeCommand::StopJob(job.id)));
        let mut sent: Vec<_> = lease.sent.into_iter().collect();
        sent.sort_by_key(|(_, sent)| std::cmp::Reverse(sent.order));
        for (index, SentCall { attempt, losses, failures, input, .. }) in sent {
            if let Some(input) = input
                && !job.has_twin(index)
            {
                job.reopen(CallToRun { index, attempt: job.next_attempt(index, attempt), losses, failures, input });
            }
        }
        self.fill_all(job);
    }

    /// A node gave calls back. None of them counts as a loss or a failure: they have not begun, or it was the node that fell short.
    fn calls_returned(&mut self, job: &mut Job, node: NodeId, returned: &CallsReturned) {
        let open = job.leases.change(node, |lease| {
            lease.recalling &= returned.reason != ReturnReason::GivenBack;
            let mut open = Vec::with_capacity(returned.calls.len());
            for (index, attempt) in &returned.calls {
                let removed = lease.remove(*index, *attempt);
                if let Some(SentCall { attempt, losses, failures, input: Some(input), .. }) = removed {
                    open.push(CallToRun { index: *index, attempt, losses, failures, input });
                }
            }
            open
        });
        let Some(open) = open else { return };
        // From the back, so that the queue ends up in order.
        for call in open.into_iter().rev() {
            if !job.has_twin(call.index) {
                // Under a new number: the node may say once more, to another scheduler, that it gave the old one back.
                let attempt = job.next_attempt(call.index, call.attempt);
                job.requeue(CallToRun { attempt, ..call });
            }
        }
        if returned.reason == ReturnReason::MemoryShort {
            let before = job.slot();
            job.reserve_all();
            self.adjust_reservations(job, before);
            // Not to where there is no room for it: what the node has too much of is taken away first.
            self.revoke(job, node, 1);
            self.out_of_balance = true;
            self.fill_others(job, node);
        } else {
            self.settle(job, node);
            self.fill_all(job);
        }
    }

    /// A node is gone, and with it what it was doing: the calls are run elsewhere, unless it was not the first time.
    fn lease_lost(&mut self, job: &mut Job, node: NodeId, name: &str) {
        let Some(lease) = job.leases.remove(node) else { return };
        // A node runs calls in the order it gets them, so those beyond its slots had not begun, and have lost nothing.
        let begun = lease.slots_told.unwrap_or(0).max(lease.held);
        let mut lost: Vec<_> = lease.sent.into_iter().collect();
        lost.sort_by_key(|(_, sent)| sent.order);
        let (mut updates, mut reopened) = (Vec::new(), 0);
        // From the back, so that the queue ends up in order.
        for (position, (index, sent)) in lost.into_iter().enumerate().rev() {
            let Some(input) = sent.input else { continue };
            if job.has_twin(index) {
                job.expect_late_news(index);
                continue;
            }
            let losses = sent.losses + u32::from((position as u64) < begun);
            if losses < LOSSES_MAX {
                self.requeued += 1;
                job.requeued += 1;
                reopened += 1;
                let (attempt, failures) = (job.next_attempt(index, sent.attempt), sent.failures);
                job.reopen(CallToRun { index, attempt, losses, failures, input });
                continue;
            }
            job.call_ended(index, input.len(), true);
            let reason = format!("its node went away while it ran, {LOSSES_MAX} times in a row");
            let report =
                CallReport::Ended { outcome: Outcome::Lost { reason }, stderr_tail: String::new(), usage: Usage::default() };
            updates.push(CallUpdate { index, report });
        }
        if reopened > 0 || !updates.is_empty() {
            let lost = NodeLost { name: name.to_owned(), calls: reopened };
            self.actions.push(Action::ToClient(job.id, ClientUpdate::NodeLost(lost)));
        }
        self.tell_client(job, updates);
        self.fill_all(job);
    }

    fn tell_client(&mut self, job: &mut Job, updates: Vec<CallUpdate>) {
        if !updates.is_empty() {
            job.untaken_bytes += updates.iter().map(WireSize::held_bytes).sum::<usize>();
            self.actions.push(Action::ToClient(job.id, ClientUpdate::Calls(updates)));
        }
    }

    fn fill_all(&mut self, job: &mut Job) {
        for node in job.leases.open() {
            if !job.has_pending() {
                return;
            }
            self.fill(job, node);
        }
    }

    fn fill_others(&mut self, job: &mut Job, but: NodeId) {
        let nodes = job.leases.open();
        nodes.into_iter().filter(|node| *node != but).for_each(|node| self.fill(job, node));
    }

    fn fill(&mut self, job: &mut Job, node: NodeId) {
        if let Some(position) = job.leases.position(node) {
            job.fill(self.now, node, position, &mut self.actions);
        }
    }

    fn control_flow(&mut self, job: &mut Job) {
        let pause = job.inputs_must_pause();
        if pause != job.inputs_paused {
            job.inputs_paused = pause;
            self.actions.push(Action::SetInputsPaused(job.id, pause));
        }
        let pause = job.output_must_pause();
        if pause != job.output_paused {
            job.output_paused = pause;
            for node in job.leases.nodes() {
                job.leases.change(node, |lease| {
                    if lease.slots_told.is_none() {
                        return;
                    }
                    self.actions.push(Action::ToNode(node, NodeCommand::SetOutputPaused(job.id, pause)));
                    // What has not begun would end, too, and add to what the client leaves untaken.
                    if pause && lease.waiting() > 0 && !lease.recalling {
                        lease.recalling = true;
                        self.actions.push(Action::ToNode(node, NodeCommand::RecallCalls(job.id)));
                    }
                });
            }
            if !pause {
                self.fill_all(job);
            }
        }
    }

    /// Tells clients what their jobs wait for. Of jobs that the event was not about, that changes with the nodes alone.
    fn tell_who_waits(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        let nodes_changed = std::mem::take(&mut self.nodes_changed);
        if nodes_changed {
            touched = self.jobs.keys().copied().collect();
        }
        for id in touched.drain(..) {
            let Some(job) = self.jobs.get(&id) else { continue };
            let waits = job.has_pending() && job.slots_held() == 0 && !job.output_paused;
            if !waits && job.waiting_told.is_none() {
                continue;
            }
            if waits && job.waiting_told.is_some() && !job.waiting_changed && !nodes_changed {
                continue;
            }
            let reason = waits.then(|| self.waiting_reason(job));
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.waiting_changed = false;
            if reason != job.waiting_told {
                job.waiting_told.clone_from(&reason);
                self.actions.push(Action::ToClient(id, ClientUpdate::Waiting(reason)));
            }
        }
        self.touched = touched;
    }

    fn waiting_reason(&self, job: &Job) -> String {
        let slot = job.slot();
        if job.waits_for_nodes.is_some() {
            return "the scheduler was gone; nodes that still run its calls have a moment to say so".to_owned();
        }
        let cpus = |resources: Resources| resources.cpu_millis as f64 / 1000.0;
        let mib = |resources: Resources| resources.memory_bytes >> 20;
        let Some(largest) = self.capacity.largest else {
            return self.no_node_reason(job);
        };
        if let Some(refusal) = job.refusal.as_ref().filter(|_| self.is_refused_everywhere(job)) {
            return format!("no node that is there now runs it: {refusal}");
        }
        if let Some(trouble) = job.trouble.as_ref().filter(|_| self.nodes.keys().all(|node| job.avoids(*node))) {
            return format!("every node had trouble with it and is tried again in a moment: {trouble}");
        }
        let wanted = format!("{} CPUs and {} MiB", cpus(slot), mib(slot));
        let has = format!("the largest has {} and {}", cpus(largest), mib(largest));
        if self.nodes.values().all(|node| node.leaving) {
            return format!("no node has {wanted}; all {} are shutting down", self.nodes.len());
        }
        if self.nodes.values().any(|node| node.could_fit(slot)) {
            format!("no node has {wanted} free; {has}, busy")
        } else {
            format!("no node is large enough any more for a call with {wanted}; {has}")
        }
    }

    /// What a job waits for while no node is connected.
    fn no_node_reason(&self, job: &Job) -> String {
        const REMEDY: &str = "start one with `burla-node --scheduler URL`";
        match self.nodeless_since {
            Some(since) => {
                let time = rounded(self.now.0.saturating_sub(since.0));
                format!("no node is connected{time}; the job goes on when one comes back, or when you {REMEDY}")
            }
            // Under a scheduler that was there before.
            None if job.was_placed => format!("no node is connected since the scheduler started; {REMEDY}"),
            None => format!("no node has joined the grid; {REMEDY}"),
        }
    }

    fn end_job(&mut self, mut job: Box<Job>, result: Result<JobSummary, GridError>) {
        let id = job.id;
        job.tell_tries(&mut self.actions);
        self.stop_job(job);
        self.actions.push(Action::ToClient(id, ClientUpdate::Ended(result)));
    }

    /// Gives everything back that the job has, and tells its nodes.
    fn stop_job(&mut self, job: Box<Job>) {
        self.wishing.remove(&job.id);
        if self.ended_in_order.len() == ENDED_JOBS_MAX
            && let Some(oldest) = self.ended_in_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(job.id);
        self.ended_in_order.push_back(job.id);
        self.end_claims(job.id);
        // What was being freed for it is anyone's.
        self.look_everywhere = true;
        for (id, lease) in job.leases.iter() {
            if self.nodes.contains_key(&id) {
                self.give_back(id, job.slot(), lease.held);
                if lease.slots_told.is_some() {
                    self.actions.push(Action::ToNode(id, NodeCommand::StopJob(job.id)));
                }
            }
        }
    }
}

/// How long something has been so, in steps that grow: each new one is told to who waits. Empty below the first.
fn rounded(time: Duration) -> String {
    let seconds = NODELESS_STEPS.into_iter().rev().map(|step| step.as_secs()).find(|step| *step <= time.as_secs());
    match seconds {
        None => String::new(),
        Some(seconds @ 0..60) => format!(", for {seconds} s now"),
        Some(seconds @ 60..3600) => format!(", for {} min now", seconds / 60),
        Some(seconds) => format!(", for {} h now", seconds / 3600),
    }
}

impl WireSize for CallUpdate {
    fn payload_bytes(&self) -> usize {
        self.report.payload_bytes()
    }
}
