//! One of a job's slots on this node: a task that runs one call after another, and tells how they ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use burla_proto::convert::CallReport;
use burla_types::{Attempt, OutputStream};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::watch;

use super::{Job, WaitingCall};
use crate::executor::{Call, CallEnd, Executor, PreparedComponent};
use crate::metrics::Metrics;
use crate::outbound::{CallNews, Outbound, Report, ReturnReason};
use crate::output::Printer;

/// How long a slot runs calls before it tells how they ended, and lets other tasks of the thread have a turn: the same millisecond after which a guest that
/// computes is made to yield.
const TURN: Duration = Duration::from_millis(1);

/// What all slots have in common.
#[derive(Clone)]
pub(super) struct Slots {
    pub(super) executor: Arc<Executor>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) running: Arc<watch::Sender<usize>>,
}

/// One of a job's slots on this node, while it runs calls.
pub(super) struct Slot {
    job: Arc<Job>,
    place: usize,
    slots: Slots,
}

/// How a slot is done with a call.
enum CallIs {
    /// It has ended.
    Ended(Report),
    /// It alone was to stop, and its future is dropped.
    Stopped,
    /// Its job is over, and so is the slot.
    Over,
}

impl Slot {
    /// A slot at a place of its job.
    pub(super) fn new(job: &Arc<Job>, place: usize, slots: &Slots) -> Self {
        slots.running.send_modify(|running| *running += 1);
        Self { job: Arc::clone(job), place, slots: slots.clone() }
    }

    /// Runs calls until none waits.
    pub(super) async fn run(self, component: PreparedComponent) {
        self.run_each(|call, memory_bytes_reserved| self.run_call(&component, call, memory_bytes_reserved)).await;
    }

    /// Runs calls with `run_call` until none waits.
    pub(super) async fn run_each<F: Future<Output = Report>>(&self, run_call: impl Fn(WaitingCall, u64) -> F) {
        let job = &*self.job;
        let mut turn_started = Instant::now();
        let mut over = std::pin::pin!(job.over.cancelled());
        let mut stop_asked = std::pin::pin!(job.stop_asked.notified());
        let mut told = Told { slot: self, reports: Vec::new() };
        while let Some((call, memory_bytes_reserved)) = job.next_call(self.place) {
            let this = (call.index, call.attempt);
            let call_is = {
                let mut run = std::pin::pin!(run_call(call, memory_bytes_reserved));
                let call_is = std::future::poll_fn(|context| {
                    // A tiny call is done at its first poll, and costs no look at whether its job is over or it is to stop, but for two flags.
                    if !job.over.is_cancelled()
                        && !job.is_stopping(this)
                        && let Poll::Ready(report) = run.as_mut().poll(context)
                    {
                        return Poll::Ready(CallIs::Ended(report));
                    }
                    // What has ended does not wait for what goes on.
                    told.tell();
                    if over.as_mut().poll(context).is_ready() {
                        return Poll::Ready(CallIs::Over);
                    }
                    // Looked at after the wait for it has begun, so that what is asked in between is not missed.
                    while !job.is_stopping(this) {
                        if stop_asked.as_mut().poll(context).is_pending() {
                            return Poll::Pending;
                        }
                        stop_asked.set(job.stop_asked.notified());
                    }
                    Poll::Ready(CallIs::Stopped)
                });
                call_is.await
            };
            match call_is {
                CallIs::Ended(report) => told.reports.push(report),
                CallIs::Stopped => {
                    self.slots.metrics.calls_stopped.inc();
                    told.reports.push(Report::Returned(job.id, vec![this], ReturnReason::Stopped));
                }
                CallIs::Over => {
                    if job.gives_back.load(Ordering::Relaxed) {
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

    async fn run_call(&self, component: &PreparedComponent, call: WaitingCall, memory_bytes_reserved: u64) -> Report {
        let WaitingCall { index, attempt, input } = call;
        let call = Call {
            component: component.clone(),
            function: Arc::clone(&self.job.function),
            input,
            limits: self.job.work.limits.clone(),
            network: Arc::clone(&self.job.network),
            env: Arc::clone(&self.job.env),
            memory_bytes_reserved,
        };
        let printer = CallPrinter::new(&self.job, &self.slots.outbound, index, attempt);
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

impl Drop for Slot {
    fn drop(&mut self) {
        self.job.lock().leave_place(self.place);
        self.slots.running.send_modify(|running| *running -= 1);
    }
}

/// What a slot has to tell, until it does: before anything that may take a while, and after a turn at the latest. Telling it call by call
/// would wake the session's thread for each, which takes as long as a tiny call.
struct Told<'a> {
    slot: &'a Slot,
    /// One for each call that the slot took and has not told the end of, in order.
    reports: Vec<Report>,
}

impl Told<'_> {
    fn tell(&mut self) {
        if !self.reports.is_empty() {
            self.slot.job.tell(self.slot.place, &self.slot.slots.outbound, &mut self.reports);
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// What one attempt prints, on its way to the scheduler.
pub(super) struct CallPrinter {
    job: Arc<Job>,
    outbound: Arc<Outbound>,
    index: u64,
    attempt: Attempt,
    /// Lines that left, of each stream. A piece of a line counts as none until that with its newline has left.
    stdout_lines: AtomicU64,
    stderr_lines: AtomicU64,
}

impl CallPrinter {
    pub(super) fn new(job: &Arc<Job>, outbound: &Arc<Outbound>, index: u64, attempt: Attempt) -> Self {
        let (job, outbound) = (Arc::clone(job), Arc::clone(outbound));
        Self { job, outbound, index, attempt, stdout_lines: AtomicU64::new(0), stderr_lines: AtomicU64::new(0) }
    }
}

impl Printer for CallPrinter {
    fn print(&self, stream: OutputStream, lines: Bytes) {
        if self.job.work.wants_output {
            let printed = match stream {
                OutputStream::Stdout => &self.stdout_lines,
                OutputStream::Stderr => &self.stderr_lines,
            };
            let newlines = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
            // A stream's lines come one after another, under the lock of what cuts them.
            let first_line = printed.fetch_add(newlines, Ordering::Relaxed);
            self.outbound.push(Report::Call(CallNews {
                job: self.job.id,
                index: self.index,
                attempt: self.attempt,
                report: CallReport::Printed { stream, first_line, lines },
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
