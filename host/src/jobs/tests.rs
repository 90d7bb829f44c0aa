//! Jobs with calls that do nothing, in slots that are polled by hand.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::pin::{Pin, pin};

use burla_proto::convert::CallReport;
use burla_types::{Digest, Limits, Outcome, OutputStream, Usage};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use wasmtime_wasi::p2::OutputStream as _;

use super::slot::CallPrinter;
use super::*;
use crate::executor::ExecutorConfig;
use crate::network::NetworkPolicy;
use crate::outbound::{Batch, CallNews};
use crate::output::CallOutput;

pub(crate) fn job_id() -> JobId {
    JobId::from_bytes([1; 16])
}

pub(crate) struct Node {
    pub(crate) jobs: Jobs,
    pub(crate) outbound: Arc<Outbound>,
    metrics: Arc<Metrics>,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Arc::new(NetworkPolicy::default());
        let policy = Arc::new(Policy { network, disk_bytes_max: 1 << 20 });
        let config = ExecutorConfig {
            data_dir: folder.path().join("data"),
            sandbox_dir: folder.path().join("sandboxes"),
            threads: NonZero::<usize>::MIN,
            calls_max: 4,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 20,
            policy: Arc::clone(&policy),
        };
        let (outbound, metrics) = (Arc::new(Outbound::default()), Arc::new(Metrics::default()));
        let executor = Arc::new(Executor::new(config, Arc::clone(&metrics)).unwrap());
        let jobs = Jobs::new("n".to_owned(), policy, executor, Arc::clone(&outbound), Arc::clone(&metrics));
        Self { jobs, outbound, metrics, _folder: folder }
    }

    /// A node with a job of one slot and these calls, and its slot.
    fn with_calls(calls: std::ops::Range<u64>) -> (Self, Slot) {
        let node = Self::new();
        node.start(job_id(), 500);
        node.jobs.set_slots(job_id(), 1, 1 << 20);
        node.jobs.run(job_id(), calls.map(waiting));
        let job = node.job();
        let place = {
            let mut state = job.lock();
            state.slots_running += 1;
            state.take_place()
        };
        let slot = Slot::new(&job, place, &node.jobs.slots());
        (node, slot)
    }

    /// A node where this call runs until it is stopped, and its slot.
    pub(crate) fn with_endless_call(index: u64) -> (Self, Pin<Box<dyn Future<Output = ()>>>) {
        let (node, slot) = Self::with_calls(index..index + 1);
        let mut slot = async move { slot.run_each(|_, _| std::future::pending()).await }.boxed_local();
        assert!((&mut slot).now_or_never().is_none());
        (node, slot)
    }

    /// Its component never comes, so that it gets no slots but those of the test.
    fn start(&self, id: JobId, cpu_millis: u64) {
        self.jobs.start(id, work(), cpu_millis, std::future::pending::<io::Result<Bytes>>);
    }

    fn job(&self) -> Arc<Job> {
        Arc::clone(&self.jobs.lock()[&job_id()])
    }

    /// The calls that a session which begins now is told of.
    fn held(&self) -> Vec<u64> {
        self.jobs.begin_session().iter().flat_map(|held| &held.calls).map(|(index, _)| *index).collect()
    }

    fn told(&self) -> Option<Batch> {
        self.outbound.next_batch().now_or_never().flatten()
    }

    /// What was told of calls that ended, by index.
    fn told_ends(&self) -> Vec<u64> {
        let Some(Batch::Calls { calls, .. }) = self.told() else { return Vec::new() };
        calls.iter().map(|news| news.index).collect()
    }

    /// Which calls were told to be stopped.
    fn told_stopped(&self) -> Vec<u64> {
        let Some(Batch::Returned(_, calls, ReturnReason::Stopped)) = self.told() else { return Vec::new() };
        calls.iter().map(|(index, _)| *index).collect()
    }
}

fn work() -> Work {
    let limits = Limits {
        cpu_millis_max: 1000,
        memory_bytes_max: 1 << 20,
        fuel_max: None,
        wall_time_max: None,
        disk_bytes_max: None,
        network: Vec::new(),
    };
    let function = "hello::f".to_owned();
    Work { digest: Digest::of(b"hello"), function, limits, env: BTreeMap::new(), wants_output: true }
}

pub(crate) fn waiting(index: u64) -> WaitingCall {
    WaitingCall { index, attempt: Attempt::FIRST, input: Bytes::new() }
}

pub(crate) fn done(call: &WaitingCall) -> Report {
    let report = CallReport::Ended { outcome: Outcome::Done(Bytes::new()), stderr_tail: String::new(), usage: Usage::default() };
    Report::Call(CallNews { job: job_id(), index: call.index, attempt: call.attempt, report })
}

/// Calls that end when they are let.
#[derive(Clone)]
struct Guests {
    begun: Arc<Mutex<Vec<u64>>>,
    ends: Arc<Semaphore>,
}

impl Guests {
    fn new() -> Self {
        Self { begun: Arc::default(), ends: Arc::new(Semaphore::new(0)) }
    }

    async fn call(&self, call: WaitingCall) -> Report {
        self.begun.lock().unwrap().push(call.index);
        self.ends.acquire().await.unwrap().forget();
        done(&call)
    }

    fn begun(&self) -> Vec<u64> {
        self.begun.lock().unwrap().clone()
    }
}

/// Lets a slot do what it can. More than one poll, since it lets others have a turn when the machine is slow.
fn advance(slot: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    (0..10).any(|_| slot.as_mut().now_or_never().is_some())
}

#[tokio::test]
async fn calls_that_run_outlive_a_session_and_those_that_wait_do_not() {
    let (node, slot) = Node::with_calls(0..2);
    let other = JobId::from_bytes([2; 16]);
    node.start(other, 500);
    node.jobs.run(other, [waiting(0)]);
    let guests = Guests::new();
    let mut slot = pin!(slot.run_each(|call, _| guests.call(call)));
    assert!(!advance(&mut slot));
    let slot_size = Resources { cpu_millis: 500, memory_bytes: 1 << 20 };
    let held = HeldJob { job: job_id(), slot: slot_size, calls: vec![(0, Attempt::FIRST)] };
    for _ in 0..2 {
        // The first session does not come about, which changes nothing.
        assert_eq!(node.jobs.begin_session(), std::slice::from_ref(&held));
    }
    assert_eq!(node.jobs.lock().len(), 1, "a job of which nothing runs is dropped");
    guests.ends.add_permits(2);
    assert!(advance(&mut slot));
    assert_eq!(guests.begun(), [0]);
    assert_eq!(node.told_ends(), [0]);
    assert!(node.held().is_empty() && node.jobs.lock().is_empty());
    assert_eq!(node.told_ends(), [0], "told again, since nobody acknowledged it");
    assert_eq!((node.metrics.calls_held.get(), node.metrics.batches_sent_again.get()), (2, 1));
}

#[tokio::test]
async fn a_call_is_held_until_its_end_is_told() {
    let (node, slot) = Node::with_calls(0..3);
    let held = Mutex::new(Vec::new());
    let run_call = async |call: WaitingCall, _| {
        match call.index {
            // The end of the first is not told yet: both are in one turn.
            1 => held.lock().unwrap().push(node.held()),
            // Told before the slot waits.
            2 => std::future::pending().await,
            _ => {}
        }
        node.job().lock().waiting.push_back(waiting(call.index + 1));
        done(&call)
    };
    node.job().lock().waiting.truncate(1);
    let mut slot = pin!(slot.run_each(run_call));
    assert!(!advance(&mut slot));
    assert_eq!(*held.lock().unwrap(), [vec![0, 1]]);
    assert_eq!(node.held(), [2]);
    assert_eq!(node.told_ends(), [0, 1]);
}

#[tokio::test]
async fn a_job_that_starts_again_goes_on() {
    let (node, slot) = Node::with_calls(0..1);
    let guests = Guests::new();
    let mut slot = pin!(slot.run_each(|call, _| guests.call(call)));
    assert!(!advance(&mut slot));
    node.start(job_id(), 700);
    assert_eq!(node.jobs.begin_session()[0].slot.cpu_millis, 700);
    node.start(job_id(), 700);
    node.jobs.run(job_id(), [waiting(1)]);
    guests.ends.add_permits(2);
    assert!(advance(&mut slot));
    assert_eq!(guests.begun(), [0, 1]);
    assert_eq!(node.told_ends(), [0, 1]);
}

#[tokio::test]
async fn a_job_that_was_unusable_is_tried_anew_when_it_starts_again() {
    let node = Node::new();
    for _ in 0..2 {
        let mut work = work();
        work.limits.disk_bytes_max = Some(1 << 30);
        node.jobs.start(job_id(), work, 500, std::future::pending::<io::Result<Bytes>>);
        assert!(matches!(node.told(), Some(Batch::Unusable { blame: Blame::Policy, .. })));
    }
}

#[tokio::test]
async fn single_calls_stop_whether_they_run_or_wait() {
    let (node, slot) = Node::with_calls(0..3);
    let guests = Guests::new();
    let mut slot = pin!(slot.run_each(|call, _| guests.call(call)));
    assert!(!advance(&mut slot));
    let second_attempt = Attempt::FIRST.next();
    node.jobs.stop_calls(job_id(), [(0, Attempt::FIRST), (2, Attempt::FIRST), (1, second_attempt), (9, Attempt::FIRST)]);
    assert_eq!(node.told_stopped(), [2]);
    assert!(!advance(&mut slot));
    assert_eq!(guests.begun(), [0, 1], "the next runs, and its other attempt is none of its business");
    assert_eq!(node.told_stopped(), [0]);
    assert_eq!(node.held(), [1]);
    guests.ends.add_permits(1);
    assert!(advance(&mut slot));
    assert_eq!(node.told_ends(), [1]);
    assert_eq!(node.metrics.calls_stopped.get(), 2);
    let job = node.job();
    assert!(job.lock().stopping.is_empty() && !job.has_stopping.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_call_that_is_stopped_before_its_first_poll_does_not_run_and_one_that_has_ended_is_not_stopped() {
    let (node, slot) = Node::with_calls(0..2);
    let run_call = |call: WaitingCall, _| {
        if call.index == 1 {
            node.jobs.stop_calls(job_id(), [(0, Attempt::FIRST), (1, Attempt::FIRST)]);
        }
        async move {
            assert_eq!(call.index, 0, "the other was stopped");
            done(&call)
        }
    };
    let mut slot = pin!(slot.run_each(run_call));
    assert!(advance(&mut slot));
    assert_eq!(node.told_ends(), [0]);
    assert_eq!(node.told_stopped(), [1]);
    assert!(node.job().lock().stopping.is_empty());
}

#[tokio::test]
async fn a_slot_wakes_when_its_call_is_to_stop() {
    let (node, slot) = Node::with_calls(0..2);
    let (begun, mut begins) = mpsc::unbounded_channel();
    let slot = tokio::spawn(async move {
        let run_call = |call: WaitingCall, _| {
            let begun = begun.clone();
            async move {
                begun.send(call.index).unwrap();
                std::future::pending().await
            }
        };
        slot.run_each(run_call).await;
    });
    for index in 0..2 {
        assert_eq!(begins.recv().await, Some(index));
        // Asked of another first: each wakes every slot of the job.
        node.jobs.stop_calls(job_id(), [(7, Attempt::FIRST)]);
        node.jobs.stop_calls(job_id(), [(index, Attempt::FIRST)]);
    }
    tokio::time::timeout(Duration::from_secs(60), slot).await.expect("the slot was not woken").unwrap();
    assert_eq!((node.told_stopped(), node.told_stopped()), (vec![0], vec![1]));
}

#[tokio::test]
async fn a_job_that_is_over_tells_nothing_and_leaves_its_place() {
    let (node, slot) = Node::with_calls(0..2);
    let guests = Guests::new();
    let job = node.job();
    let mut slot = Box::pin(async move { slot.run_each(|call, _| guests.call(call)).await });
    assert!(!advance(&mut slot.as_mut()));
    assert!(node.jobs.stop_all());
    assert!(advance(&mut slot.as_mut()));
    drop(slot);
    assert!(node.told().is_none() && node.held().is_empty() && !node.jobs.stop_all());
    assert_eq!(job.lock().free_places, [0]);
    assert_eq!(*node.jobs.slots_running.borrow(), 0);
}

#[tokio::test]
async fn lines_are_counted_for_each_stream_and_pieces_are_not() {
    let (node, _slot) = Node::with_calls(0..0);
    let output = CallOutput::new(CallPrinter::new(&node.job(), &node.outbound, 0, Attempt::FIRST));
    let (mut stdout, mut stderr) = (output.stdout(), output.stderr());
    let piece = "x".repeat(60 << 10);
    for text in ["1\n2\n", "3", "\n", &piece, &piece, "4\n", "5\n", "6 has no end"] {
        for stream in [&mut stdout, &mut stderr].into_iter().take(if text == "3" || text == "\n" { 1 } else { 2 }) {
            stream.check_write().unwrap();
            stream.write(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        }
    }
    output.finish();
    let mut first_lines = BTreeMap::<_, Vec<_>>::new();
    while let Some(Batch::Calls { calls, .. }) = node.told() {
        for news in calls.iter() {
            let CallReport::Printed { stream, first_line, .. } = &news.report else { panic!("not printed: {news:?}") };
            first_lines.entry(*stream == OutputStream::Stderr).or_default().push(*first_line);
        }
    }
    // Of stdout: 1 and 2, 3, both pieces, 4, 5, 6.
    assert_eq!(first_lines[&false], [0, 2, 3, 3, 4, 5]);
    // Of stderr: 1 and 2, both pieces, 4, 5, 6.
    assert_eq!(first_lines[&true], [0, 2, 2, 3, 4]);
}
