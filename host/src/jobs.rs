//! The jobs of this node: each has a component, some slots, and calls that wait for one.
//!
//! The scheduler decides how many slots a job has here and which calls it gets; this only keeps the order and the number. A slot
//! is a task that runs the job's calls one after another until none waits, so that a thousand tiny calls cost one task.
//!
//! Calls that run do not depend on the session in which they came: it may end, and the next begins with which they are. Until then a call
//! is among those that run or its end is among the reports; it may be in both for a moment, and never in neither.

mod slot;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burla_proto::convert::Work;
use burla_types::{Attempt, JobId, NetworkGrant, Resources, with_causes};
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::slot::{Slot, Slots};
use crate::executor::{Executor, PrepareError, PreparedComponent};
use crate::metrics::Metrics;
use crate::outbound::{Blame, Outbound, Report, ReturnReason};
use crate::policy::Policy;

/// Times that a component's download is tried before its job fails.
const FETCH_TRIES: u32 = 4;

/// The wait between two of them.
const FETCH_DELAY: Duration = Duration::from_millis(500);

/// A call that waits for a slot.
pub(crate) struct WaitingCall {
    pub(crate) index: u64,
    pub(crate) attempt: Attempt,
    pub(crate) input: Bytes,
}

/// Calls of a job that run while a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldJob {
    pub(crate) job: JobId,
    /// What each of them occupies.
    pub(crate) slot: Resources,
    pub(crate) calls: Vec<(u64, Attempt)>,
}

/// All jobs of this node.
pub(crate) struct Jobs {
    name: String,
    policy: Arc<Policy>,
    executor: Arc<Executor>,
    outbound: Arc<Outbound>,
    metrics: Arc<Metrics>,
    jobs: Mutex<HashMap<JobId, Arc<Job>>>,
    /// Slots that run calls, of all jobs.
    slots_running: Arc<watch::Sender<usize>>,
    /// The node is about to leave: what it is sent goes back.
    leaving: AtomicBool,
}

struct Job {
    id: JobId,
    work: Work,
    function: Arc<str>,
    env: Arc<[(String, String)]>,
    network: Arc<[NetworkGrant]>,
    /// Cancelled when the job is over: running calls end, and slots with them.
    over: CancellationToken,
    /// Whether calls that end with that are given back, so that they run elsewhere.
    gives_back: AtomicBool,
    /// Whether what calls print must wait.
    output_paused: watch::Sender<bool>,
    /// Whether a call that runs is to stop. Looked at before each turn of a call, where the state's lock would cost too much.
    has_stopping: AtomicBool,
    /// Wakes the slots, to look whether it is their call.
    stop_asked: Notify,
    state: Mutex<JobState>,
}

#[derive(Default)]
struct JobState {
    /// `None` until it is ready.
    component: Option<PreparedComponent>,
    slots: u64,
    slots_running: u64,
    memory_bytes_reserved: u64,
    waiting: VecDeque<WaitingCall>,
    /// CPUs that each of its calls has.
    cpu_millis: u64,
    /// Its component could not be made ready, and the scheduler was told so. When it starts the job again, that is tried anew.
    is_unusable: bool,
    /// Of each slot by its place, the calls that it has taken and not told the end of, in order. A slot runs one call at a time, so
    /// only the last may still run, and telling of some removes as many from the front.
    running: Vec<Vec<(u64, Attempt)>>,
    /// Places of slots that have ended, for the next. There are as many places as there ever were slots at one time.
    free_places: Vec<usize>,
    /// Of the calls that run, those that are to stop.
    stopping: HashSet<(u64, Attempt)>,
}

impl Jobs {
    /// The jobs of a node of this name and policy.
    pub(crate) fn new(
        name: String,
        policy: Arc<Policy>,
        executor: Arc<Executor>,
        outbound: Arc<Outbound>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            name,
            policy,
            executor,
            outbound,
            metrics,
            jobs: Mutex::default(),
            slots_running: Arc::new(watch::Sender::new(0)),
            leaving: AtomicBool::new(false),
        }
    }

    /// How many calls there may be here at one time.
    pub(crate) fn calls_max(&self) -> u32 {
        self.executor.calls_max()
    }

    /// A session begins: drops what has not begun, with the jobs of which nothing runs, and returns what does. From here on, calls that the
    /// session before sent begin no more: the scheduler has them run again, and may have sent them elsewhere already.
    pub(crate) fn begin_session(&self) -> Vec<HeldJob> {
        // First. Some reports end with the session before, and the calls that they are about must not be taken for running any
        // more by the time they are dropped. A slot tells of calls and lets go of them at once, so this order is enough.
        let batches = self.outbound.begin_session();
        if self.leaving.load(Ordering::Relaxed) {
            // Each session is told anew.
            self.outbound.push(Report::Leaving);
        }
        self.metrics.batches_sent_again.inc_by(batches as u64);
        let mut held = Vec::new();
        self.lock().retain(|_, job| {
            let held_job = job.begin_session();
            let is_held = !held_job.calls.is_empty();
            if is_held {
                self.metrics.calls_held.inc_by(held_job.calls.len() as u64);
                held.push(held_job);
            } else {
                // It may be fetching its component over a connection that is gone.
                job.over.cancel();
            }
            is_held
        });
        held
    }

    /// Takes on a job, and makes its component ready with `fetch` where it is not known here. One that is here already goes on.
    /// Must be called within a tokio runtime.
    pub(crate) fn start<E, F>(&self, id: JobId, work: Work, cpu_millis: u64, fetch: impl Fn() -> F + Send + Sync + 'static)
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
    {
        let mut jobs = self.lock();
        if let Some(job) = jobs.get(&id) {
            let mut state = job.lock();
            if !state.is_unusable {
                state.cpu_millis = cpu_millis;
                return;
            }
        }
        let job = Arc::new(Job {
            id,
            function: work.function.as_str().into(),
            network: work.limits.network.as_slice().into(),
            env: work.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            work,
            over: CancellationToken::new(),
            gives_back: AtomicBool::new(false),
            output_paused: watch::Sender::new(false),
            has_stopping: AtomicBool::new(false),
            stop_asked: Notify::new(),
            state: Mutex::new(JobState { cpu_millis, ..JobState::default() }),
        });
        jobs.insert(id, Arc::clone(&job));
        drop(jobs);
        let slots = self.slots();
        if let Err(reason) = self.policy.check(&job.work.limits) {
            job.lock().is_unusable = true;
            let reason = format!("node {} refuses it: {reason}", self.name);
            tracing::warn!(job = %id, %reason, "a job asks for more than this node allows");
            self.outbound.push(Report::Unusable { job: id, reason, blame: Blame::Policy });
            return;
        }
        tokio::spawn(async move {
            let (executor, outbound) = (&slots.executor, &slots.outbound);
            let prepared = prepare(executor, &job, fetch);
            let Some(prepared) = job.over.run_until_cancelled(prepared).await else { return };
            match prepared {
                Ok(component) => {
                    job.lock().component = Some(component);
                    job.fill_slots(&slots);
                }
                Err(error) => {
                    let blame = if matches!(error, PrepareError::Unusable { .. }) { Blame::Component } else { Blame::Node };
                    tracing::warn!(job = %id, error = %with_causes(&error), ?blame, "cannot make a component ready");
                    // First: the answer may be to start it again.
                    job.lock().is_unusable = true;
                    outbound.push(Report::Unusable { job: id, reason: with_causes(&error), blame });
                }
            }
        });
    }

    /// How many calls of the job may run here at one time from now on, and the memory that each has for certain. Calls that run
    /// already are not stopped.
    pub(crate) fn set_slots(&self, id: JobId, slots: u64, memory_bytes_reserved: u64) {
        self.with(id, |job| {
            let mut state = job.lock();
            (state.slots, state.memory_bytes_reserved) = (slots, memory_bytes_reserved);
            drop(state);
            job.fill_slots(&self.slots());
        });
    }

    /// Adds calls of the job, to be run in order as slots come free.
    pub(crate) fn run(&self, id: JobId, calls: impl IntoIterator<Item = WaitingCall>) {
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.with(id, |job| {
            job.lock().waiting.extend(calls);
            if !leaving {
                job.fill_slots(&self.slots());
            }
        });
        if leaving {
            self.recall(id);
        }
    }

    /// Gives back the calls of the job that have not begun. Answers in any case: someone waits for it.
    pub(crate) fn recall(&self, id: JobId) {
        let mut waiting = VecDeque::new();
        self.with(id, |job| waiting = std::mem::take(&mut job.lock().waiting));
        let calls: Vec<_> = waiting.into_iter().map(|call| (call.index, call.attempt)).collect();
        self.metrics.calls_returned.inc_by(calls.len() as u64);
        self.outbound.push(Report::Returned(id, calls, ReturnReason::GivenBack));
    }

    /// These calls are of no use any more: they stop, whether they run or wait, and are given back. One whose end a slot knows is
    /// not stopped any more: that is told.
    pub(crate) fn stop_calls(&self, id: JobId, calls: impl IntoIterator<Item = (u64, Attempt)>) {
        let calls: HashSet<_> = calls.into_iter().collect();
        self.with(id, |job| {
            let stopped = job.stop_calls(&calls);
            if !stopped.is_empty() {
                self.metrics.calls_stopped.inc_by(stopped.len() as u64);
                self.outbound.push(Report::Returned(id, stopped, ReturnReason::Stopped));
            }
        });
    }

    /// The node is about to leave: gives back what has not begun, and waits for what has.
    pub(crate) async fn drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.outbound.push(Report::Leaving);
        let ids: Vec<_> = self.lock().keys().copied().collect();
        ids.into_iter().for_each(|id| self.recall(id));
        // The sender is `self`'s.
        let _ = self.slots_running.subscribe().wait_for(|slots| *slots == 0).await;
    }

    /// Whether nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        *self.slots_running.borrow() == 0
    }

    /// The node leaves now: calls that still run are stopped, and given back.
    pub(crate) async fn hand_back(&self) {
        for job in self.lock().values() {
            job.gives_back.store(true, Ordering::Relaxed);
            job.over.cancel();
        }
        let _ = self.slots_running.subscribe().wait_for(|slots| *slots == 0).await;
    }

    fn slots(&self) -> Slots {
        Slots {
            executor: Arc::clone(&self.executor),
            outbound: Arc::clone(&self.outbound),
            metrics: Arc::clone(&self.metrics),
            running: Arc::clone(&self.slots_running),
        }
    }

    /// Makes what the job's calls print wait, or go on.
    pub(crate) fn set_output_paused(&self, id: JobId, paused: bool) {
        self.with(id, |job| {
            job.output_paused.send_replace(paused);
        });
    }

    /// The job is over: its calls end at once, wherever they are, and what there is to tell of them is not told.
    pub(crate) fn stop(&self, id: JobId) {
        if let Some(job) = self.lock().remove(&id) {
            job.over.cancel();
            job.lock().waiting.clear();
        }
        self.outbound.forget(id);
    }

    /// All jobs are over: their scheduler has been gone for too long, or the node ends. Returns whether there were any.
    pub(crate) fn stop_all(&self) -> bool {
        let jobs = std::mem::take(&mut *self.lock());
        for job in jobs.values() {
            job.over.cancel();
            job.lock().waiting.clear();
        }
        !jobs.is_empty()
    }

    /// A message about a job that is not here crossed one that stopped it, and means nothing any more.
    fn with(&self, id: JobId, act: impl FnOnce(&Arc<Job>)) {
        let job = self.lock().get(&id).cloned();
        if let Some(job) = job {
            act(&job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Jobs::begin_session`].
    fn begin_session(&self) -> HeldJob {
        let mut state = self.lock();
        state.waiting.clear();
        let calls = state.running.iter().flatten().copied().collect();
        let slot = Resources { cpu_millis: state.cpu_millis, memory_bytes: state.memory_bytes_reserved };
        drop(state);
        // The scheduler says so again, if it still is so.
        self.output_paused.send_replace(false);
        HeldJob { job: self.id, slot, calls }
    }

    /// Starts as many slots as there are calls for.
    fn fill_slots(self: &Arc<Self>, slots: &Slots) {
        let mut state = self.lock();
        let Some(component) = state.component.clone() else { return };
        let free = state.slots.saturating_sub(state.slots_running).min(state.waiting.len() as u64);
        state.slots_running += free;
        let places: Vec<_> = (0..free).map(|_| state.take_place()).collect();
        drop(state);
        for place in places {
            slots.executor.handle().spawn(Slot::new(self, place, slots).run(component.clone()));
        }
    }

    /// The next call for the slot of this place; `None` ends the slot. One lock for both, so that a call which arrives in between
    /// finds either this slot or room for another.
    fn next_call(&self, place: usize) -> Option<(WaitingCall, u64)> {
        let mut state = self.lock();
        if state.slots_running <= state.slots
            && let Some(call) = state.waiting.pop_front()
        {
            state.running[place].push((call.index, call.attempt));
            return Some((call, state.memory_bytes_reserved));
        }
        state.slots_running -= 1;
        None
    }

    /// Tells what a slot has to tell: one report for each of the calls that it took, in that order. One lock for telling and letting
    /// go of them, see [`Jobs::begin_session`].
    fn tell(&self, place: usize, outbound: &Outbound, reports: &mut Vec<Report>) {
        let mut state = self.lock();
        let JobState { running, stopping, .. } = &mut *state;
        let told = running[place].drain(..reports.len());
        outbound.push_all(reports.drain(..));
        if stopping.is_empty() {
            return;
        }
        for call in told {
            stopping.remove(&call);
        }
        self.has_stopping.store(!stopping.is_empty(), Ordering::Release);
    }

    /// Stops those of the calls that run, and removes and returns those that wait.
    fn stop_calls(&self, calls: &HashSet<(u64, Attempt)>) -> Vec<(u64, Attempt)> {
        let mut state = self.lock();
        let JobState { waiting, running, stopping, .. } = &mut *state;
        let mut stopped = Vec::new();
        waiting.retain(|call| {
            let call = (call.index, call.attempt);
            let stops = calls.contains(&call);
            if stops {
                stopped.push(call);
            }
            !stops
        });
        stopping.extend(running.iter().flatten().filter(|call| calls.contains(call)));
        self.has_stopping.store(!stopping.is_empty(), Ordering::Release);
        drop(state);
        self.stop_asked.notify_waiters();
        stopped
    }

    /// Whether a call that runs is to stop.
    fn is_stopping(&self, call: (u64, Attempt)) -> bool {
        self.has_stopping.load(Ordering::Acquire) && self.lock().stopping.contains(&call)
    }
}

impl JobState {
    /// A place for a slot that starts.
    fn take_place(&mut self) -> usize {
        self.free_places.pop().unwrap_or_else(|| {
            self.running.push(Vec::new());
            self.running.len() - 1
        })
    }

    /// The slot has ended, and told what it had to tell. What it took and did not tell of has ended with the job.
    fn leave_place(&mut self, place: usize) {
        self.running[place].clear();
        self.free_places.push(place);
    }
}

/// Makes the job's component ready. A download that fails is tried again: by then the scheduler may have the component, or the network be
/// well.
async fn prepare<E, F>(executor: &Arc<Executor>, job: &Job, fetch: impl Fn() -> F) -> Result<PreparedComponent, PrepareError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Result<Bytes, E>>,
{
    let mut tries_left = FETCH_TRIES;
    loop {
        tries_left -= 1;
        match executor.prepare(job.work.digest, fetch()).await {
            Err(error @ PrepareError::Fetch { .. }) if tries_left > 0 => {
                tracing::warn!(error = %with_causes(&error), "trying again");
                tokio::time::sleep(FETCH_DELAY).await;
            }
            prepared => return prepared,
        }
    }
}
