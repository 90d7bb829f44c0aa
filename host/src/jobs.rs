//! The jobs of this node: each has a component, some slots, and calls that wait for one.
//!
//! The scheduler decides how many slots a job has here and which calls it gets; this only keeps the order and the number. A slot
//! is a task that runs the job's calls one after another until none waits, so that a thousand tiny calls cost one task.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use burla_proto::convert::{CallReport, Work};
use burla_types::{Attempt, JobId, NetworkGrant, OutputStream, with_causes};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::executor::{Call, CallEnd, Executor, PrepareError, PreparedComponent};
use crate::metrics::Metrics;
use crate::outbound::{Blame, CallNews, Outbound, Report, ReturnReason};
use crate::output::Printer;
use crate::policy::Policy;

/// How long a slot runs calls before it tells how they ended, and lets other tasks of the thread have a turn: the same millisecond after which a guest that
/// computes is made to yield.
const TURN: Duration = Duration::from_millis(1);

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

    /// Takes on a job, and makes its component ready with `fetch` where it is not known here. Must be called within a tokio
    /// runtime.
    pub(crate) fn start<E, F>(&self, id: JobId, work: Work, fetch: impl Fn() -> F + Send + Sync + 'static)
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
    {
        let job = Arc::new(Job {
            id,
            function: work.function.as_str().into(),
            network: work.limits.network.as_slice().into(),
            env: work.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            work,
            over: CancellationToken::new(),
            gives_back: AtomicBool::new(false),
            output_paused: watch::Sender::new(false),
            state: Mutex::default(),
        });
        self.lock().insert(id, Arc::clone(&job));
        let slots = self.slots();
        if let Err(reason) = self.policy.check(&job.work.limits) {
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

    /// The node is about to leave: gives back what has not begun, and waits for what has.
    pub(crate) async fn drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.outbound.push(Report::Leaving);
        let ids: Vec<_> = self.lock().keys().copied().collect();
        ids.into_iter().for_each(|id| self.recall(id));
        // The sender is `self`'s.
        let _ = self.slots_running.subscribe().wait_for(|slots| *slots == 0).await;
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

    /// The job is over: its calls end at once, wherever they are.
    pub(crate) fn stop(&self, id: JobId) {
        if let Some(job) = self.lock().remove(&id) {
            job.over.cancel();
            job.lock().waiting.clear();
        }
    }

    /// All jobs are over: their scheduler is gone.
    pub(crate) fn stop_all(&self) {
        for (_, job) in self.lock().drain() {
            job.over.cancel();
            job.lock().waiting.clear();
        }
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

    /// Starts as many slots as there are calls for.
    fn fill_slots(self: &Arc<Self>, slots: &Slots) {
        let mut state = self.lock();
        let Some(component) = state.component.clone() else { return };
        let free = state.slots.saturating_sub(state.slots_running).min(state.waiting.len() as u64);
        state.slots_running += free;
        drop(state);
        for _ in 0..free {
            let slot = Slot { job: Arc::clone(self), component: component.clone(), slots: slots.clone() };
            slots.running.send_modify(|running| *running += 1);
            slots.executor.handle().spawn(slot.run());
        }
    }

    /// The next call for a slot; `None` ends the slot. One lock for both, so that a call which arrives in between finds either
    /// this slot or room for another.
    fn next_call(&self) -> Option<(WaitingCall, u64)> {
        let mut state = self.lock();
        if state.slots_running <= state.slots
            && let Some(call) = state.waiting.pop_front()
        {
            return Some((call, state.memory_bytes_reserved));
        }
        state.slots_running -= 1;
        None
    }
}

/// What all slots have in common.
#[derive(Clone)]
struct Slots {
    executor: Arc<Executor>,
    outbound: Arc<Outbound>,
    metrics: Arc<Metrics>,
    running: Arc<watch::Sender<usize>>,
}

/// One of a job's slots on this node, while it runs calls.
struct Slot {
    job: Arc<Job>,
    component: PreparedComponent,
    slots: Slots,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.running.send_modify(|running| *running -= 1);
    }
}

impl Slot {
    async fn run(self) {
        let mut turn_started = Instant::now();
        let mut over = std::pin::pin!(self.job.over.cancelled());
        let mut told = Told { outbound: &self.slots.outbound, reports: Vec::new() };
        while let Some((call, memory_bytes_reserved)) = self.job.next_call() {
            let this = (call.index, call.attempt);
            let mut run = std::pin::pin!(self.run_call(call, memory_bytes_reserved));
            let report = std::future::poll_fn(|context| {
                // A tiny call is done at its first poll, and costs no look at whether its job is over.
                if !self.job.over.is_cancelled()
                    && let Poll::Ready(report) = run.as_mut().poll(context)
                {
                    return Poll::Ready(Some(report));
                }
                // What has ended does not wait for what goes on.
                told.tell();
                over.as_mut().poll(context).map(|()| None)
            });
            match report.await {
                Some(report) => told.reports.push(report),
                None => {
                    if self.job.gives_back.load(Ordering::Relaxed) {
                        told.reports.push(self.give_back(this, ReturnReason::GivenBack));
                    }
                    return;
                }
            }
            if turn_started.elapsed() >= TURN {
                told.tell();
                tokio::task::yield_now().await;
                turn_started = Instant::now();
            }
        }
    }

    fn give_back(&self, call: (u64, Attempt), reason: ReturnReason) -> Report {
        self.slots.metrics.calls_returned.inc();
        Report::Returned(self.job.id, vec![call], reason)
    }

    async fn run_call(&self, WaitingCall { index, attempt, input }: WaitingCall, memory_bytes_reserved: u64) -> Report {
        let call = Call {
            component: self.component.clone(),
            function: Arc::clone(&self.job.function),
            input,
            limits: self.job.work.limits.clone(),
            network: Arc::clone(&self.job.network),
            env: Arc::clone(&self.job.env),
            memory_bytes_reserved,
        };
        let printer = CallPrinter { job: Arc::clone(&self.job), outbound: Arc::clone(&self.slots.outbound), index, attempt };
        let end = AssertUnwindSafe(self.slots.executor.call(call, printer)).catch_unwind().await;
        // A bug of the node, not of the guest. The call must end all the same: someone waits for it.
        let end = end.unwrap_or_else(|_| CallEnd::lost("its node failed while it ran".to_owned()));
        if end.node_was_short {
            return self.give_back((index, attempt), ReturnReason::MemoryShort);
        }
        let report = CallReport::Ended { outcome: end.outcome, stderr_tail: end.stderr_tail, usage: end.usage };
        Report::Call(CallNews { job: self.job.id, index, attempt, report })
    }
}

/// What a slot has to tell, until it does: before anything that may take a while, and after a turn at the latest. Telling it call by call
/// would wake the session's thread for each, which takes as long as a tiny call.
struct Told<'a> {
    outbound: &'a Outbound,
    reports: Vec<Report>,
}

impl Told<'_> {
    fn tell(&mut self) {
        if !self.reports.is_empty() {
            self.outbound.push_all(self.reports.drain(..));
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// What one attempt prints, on its way to the scheduler.
struct CallPrinter {
    job: Arc<Job>,
    outbound: Arc<Outbound>,
    index: u64,
    attempt: Attempt,
}

impl Printer for CallPrinter {
    fn print(&self, stream: OutputStream, lines: Bytes) {
        if self.job.work.wants_output {
            self.outbound.push(Report::Call(CallNews {
                job: self.job.id,
                index: self.index,
                attempt: self.attempt,
                report: CallReport::Printed(stream, lines),
            }));
        }
    }

    fn is_ready(&self) -> bool {
        !self.job.work.wants_output || (!*self.job.output_paused.borrow() && self.outbound.has_room())
    }

    async fn ready(&self) {
        while !self.is_ready() {
            // The sender lives as long as the job, which this holds.
            let _ = self.job.output_paused.subscribe().wait_for(|paused| !paused).await;
            self.outbound.room().await;
        }
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
