//! The store on a ledger in memory. Time stands still unless a test moves it.

mod damage;
mod history;
mod random;
mod speed;

use std::sync::atomic::{AtomicU64, Ordering};

use burla_ledger::{Fault, FaultyLedger, MemoryLedger, Position};
use burla_proto::v1::call_event::Event;
use burla_proto::v1::failure::{Failed, Kind};
use burla_proto::v1::{CallEvent, Failure, Job as EndedAs, OpenJob, Printed};

use super::*;

const FOREVER: Duration = Duration::from_secs(1 << 30);
const ALL: usize = usize::MAX;

/// What outlives a store.
struct Disk {
    memory: MemoryLedger,
    ledger: FaultyLedger,
    blobs: Blobs,
    config: StoreConfig,
    now_ms: Arc<AtomicU64>,
}

impl Disk {
    fn new() -> Self {
        let memory = MemoryLedger::new();
        let config = StoreConfig { retention: FOREVER, bytes_max: u64::MAX, history_jobs_max: 1000, skip_damaged: false };
        let (ledger, now_ms) = (FaultyLedger::new(Arc::new(memory.clone())), Arc::new(AtomicU64::new(1_000_000)));
        Self { memory, ledger, blobs: Blobs::memory(), config, now_ms }
    }

    async fn try_open(&self) -> Result<(Arc<Store>, Writer, Vec<RestoredJob>), StoreError> {
        let now_ms = Arc::clone(&self.now_ms);
        let clock = Clock(Arc::new(move || time_of(now_ms.load(Ordering::Relaxed))));
        recovery::open(Arc::new(self.ledger.clone()), self.blobs.clone(), self.config.clone(), clock).await
    }

    async fn open(&self) -> (Arc<Store>, Writer, Vec<RestoredJob>) {
        self.try_open().await.unwrap()
    }

    fn advance(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// What the entries are, in order.
    async fn records(&self) -> Vec<&'static str> {
        let entries = self.memory.read(SHARD, Position(0), ALL).await.unwrap();
        let name = |entry| match fact::Fact::decode(entry).unwrap() {
            fact::Fact::Epoch => "epoch",
            fact::Fact::JobOpened { .. } => "opened",
            fact::Fact::Inputs(..) => "inputs",
            fact::Fact::InputsClosed(_) => "closed",
            fact::Fact::Outcomes(..) => "outcomes",
            fact::Fact::Lines(..) => "lines",
            fact::Fact::JobTries(..) => "tries",
            fact::Fact::JobEnded { .. } => "ended",
            fact::Fact::JobExpired(_) => "expired",
            fact::Fact::JobForgotten(_) => "forgotten",
        };
        entries.into_iter().map(|(_, entry)| name(entry)).collect()
    }
}

fn id(byte: u8) -> JobId {
    JobId::from_bytes([byte; 16])
}

fn options(name: &str) -> OpenJob {
    OpenJob { name: name.to_owned(), ..OpenJob::default() }
}

fn ended_as(id: JobId) -> EndedAs {
    EndedAs { job_id: burla_proto::convert::job_id_bytes(id), opened_ms_ago: 5, ..EndedAs::default() }
}

fn input(index: u64) -> Bytes {
    format!("input {index}").into()
}

fn inputs(indices: std::ops::Range<u64>) -> Vec<Bytes> {
    indices.map(input).collect()
}

fn done(index: u64) -> (CallEvent, Option<Arc<str>>) {
    let usage = Some(v1::Usage { fuel: index, memory_peak_bytes: 7, ..v1::Usage::default() });
    (CallEvent { index, attempt: 1, event: Some(Event::Done(input(index))), usage }, Some("a".into()))
}

fn failed(index: u64) -> (CallEvent, Option<Arc<str>>) {
    let kind = Some(Kind::Failed(Failed { message: "no".into(), causes: vec![] }));
    let failure = Failure { kind, stderr_tail: String::new() };
    (CallEvent { index, attempt: 1, event: Some(Event::Failure(failure)), usage: None }, Some("b".into()))
}

fn printed(index: u64, stderr: bool, first_line: u64, text: &'static str) -> CallEvent {
    let printed = Printed { stderr, data: text.into(), first_line };
    CallEvent { index, attempt: 1, event: Some(Event::Printed(printed)), usage: None }
}

fn events(outcomes: &[(CallEvent, Option<Arc<str>>)]) -> Vec<CallEvent> {
    outcomes.iter().map(|(event, _)| event.clone()).collect()
}

#[tokio::test]
async fn what_is_told_can_be_read_once_it_is_written_and_after_a_restart() {
    let disk = Disk::new();
    let (store, mut writer, restored) = disk.open().await;
    assert_eq!(restored, []);
    store.open_job(id(1), options("one"));
    let job = store.job(id(1)).unwrap();
    store.add_inputs(id(1), 0, inputs(0..3));
    store.add_lines(id(1), vec![printed(1, false, 0, "hello\n")]);
    store.add_outcomes(id(1), vec![done(1), failed(2)]);
    let ticket = store.close_inputs(id(1));
    assert_eq!(*job.kept.borrow(), Kept::default());
    assert_eq!(store.read_inputs(id(1), 0, ALL).await.unwrap(), []);
    assert!(*store.written().borrow() < ticket && store.bytes_waiting() > 0);

    assert!(writer.write().await.unwrap());
    assert_eq!(*store.written().borrow(), ticket);
    assert_eq!(store.bytes_waiting(), 0);
    let kept = Kept { opened: true, inputs: 3, inputs_closed: true, outcomes: 2, lines: 1, ended: false, expired: false };
    assert_eq!(*job.kept.borrow(), kept);

    let (store, _writer, restored) = disk.open().await;
    let mut ended = Indices::default();
    assert!(ended.insert(1) && ended.insert(2));
    let expected = RestoredJob {
        id: id(1),
        options: options("one"),
        opened: time_of(1_000_000),
        inputs: 3,
        inputs_closed: true,
        ended,
        calls_failed: 1,
        usage: burla_types::Usage { fuel: 1, memory_bytes_peak: 7, ..Default::default() },
        failures: [("failed".to_owned(), 1)].into(),
        nodes: ["a".to_owned(), "b".to_owned()].into(),
        tries: Tries::default(),
        lines_shown: HashMap::new(),
    };
    assert_eq!(restored, [expected]);
    let job = store.job(id(1)).unwrap();
    assert_eq!(*job.kept.borrow(), kept);
    assert_eq!(store.read_inputs(id(1), 1, ALL).await.unwrap(), [(1, input(1)), (2, input(2))]);
    let outcomes = v1::KeptEvents { first: 1, events: events(&[failed(2)]) };
    assert_eq!(store.read_outcomes(id(1), 1, ALL).await.unwrap(), outcomes);
    let lines = v1::KeptEvents { first: 0, events: vec![printed(1, false, 0, "hello\n")] };
    assert_eq!(store.read_lines(id(1), 0, ALL).await.unwrap(), lines);
    assert!(matches!(store.read_inputs(id(2), 0, ALL).await, Err(StoreError::NotKept(_))));
}

#[tokio::test]
async fn how_many_tries_were_made_again_outlives_the_scheduler() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    store.note_tries(id(1), Tries { retried: 0, requeued: 1 });
    store.note_tries(id(1), Tries { retried: 2, requeued: 4 });
    assert!(writer.write().await.unwrap());
    let (store, mut writer, restored) = disk.open().await;
    assert_eq!(restored[0].tries, Tries { retried: 2, requeued: 4 });
    store.note_tries(id(1), Tries { retried: 2, requeued: 5 });
    store.note_tries(id(2), Tries { retried: 1, requeued: 1 });
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.records().await, ["opened", "epoch", "tries"], "only the last is kept, and of kept jobs");
    assert_eq!(store.bytes_waiting(), 0);
    assert_eq!(disk.open().await.2[0].tries.requeued, 5);
}

#[tokio::test]
async fn what_gathers_is_written_together_and_in_a_safe_order() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    for index in 0..5 {
        store.add_inputs(id(1), index, inputs(index..index + 1));
        store.add_outcomes(id(1), vec![done(index)]);
        store.add_lines(id(1), vec![printed(index, true, 0, "x\n")]);
    }
    disk.ledger.inject([Fault::None, Fault::None]);
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.ledger.faults_left(), 1, "one append");
    assert_eq!(disk.records().await, ["epoch", "opened", "inputs", "lines", "outcomes"]);
    let read = store.read_outcomes(id(1), 0, ALL).await.unwrap();
    assert_eq!(read.events.iter().map(|event| event.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn each_call_has_one_outcome_and_each_input_is_kept_once() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    store.add_inputs(id(1), 0, inputs(0..4));
    assert_eq!(store.add_outcomes(id(1), vec![done(2), done(2), done(4)]).dropped, [2, 4]);
    store.add_inputs(id(1), 2, inputs(2..5));
    let before = store.add_inputs(id(1), 0, inputs(0..5));
    assert_eq!(store.add_inputs(id(1), 7, inputs(7..8)), before, "a gap is not kept");
    assert!(writer.write().await.unwrap());

    let (store, mut writer, restored) = disk.open().await;
    assert_eq!(restored[0].inputs, 5);
    assert_eq!(store.add_outcomes(id(1), vec![failed(2), done(4)]).dropped, [2]);
    store.end_job(id(1), ended_as(id(1)));
    assert_eq!(store.add_outcomes(id(1), vec![done(0)]).dropped, [0], "nobody wants it any more");
    assert!(writer.write().await.unwrap());
    let indices: Vec<_> = store.read_outcomes(id(1), 0, 0).await.unwrap().events.iter().map(|event| event.index).collect();
    assert_eq!(indices, [2], "at least one segment, and no more than asked for");
    let all = store.read_outcomes(id(1), 0, ALL).await.unwrap();
    assert_eq!(all.events, events(&[done(2), done(4)]));
    let inputs: Vec<_> = (0..5).map(|index| (index, input(index))).collect();
    assert_eq!(store.read_inputs(id(1), 0, ALL).await.unwrap(), inputs);
}

#[tokio::test]
async fn large_segments_are_blobs_which_expire_with_their_job() {
    let mut disk = Disk::new();
    disk.config.retention = Duration::from_secs(1);
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    let sizes = [1, 3 << 20, 3 << 20, 3 << 20, 9 << 20, 1, 200 << 10];
    let inputs: Vec<_> = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
    store.add_inputs(id(1), 0, inputs.clone());
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.records().await, ["epoch", "opened", "inputs", "inputs", "inputs", "inputs"]);
    assert_eq!(disk.blobs.list().await.unwrap().len(), 4);
    assert!(store.bytes_kept() > 18 << 20);

    let orphan = disk.blobs.put("left-1-0", Bytes::from_static(b"by a write that was cut off")).await.unwrap();
    let (store, mut writer, _) = disk.open().await;
    let read = store.read_inputs(id(1), 0, ALL).await.unwrap();
    assert_eq!(read, (0..).zip(inputs).collect::<Vec<_>>());
    store.end_job(id(1), ended_as(id(1)));
    assert!(writer.write().await.unwrap());
    assert!(!disk.blobs.list().await.unwrap().contains(&orphan.name));
    assert_eq!(disk.blobs.list().await.unwrap().len(), 4);

    let kept = store.job(id(1)).unwrap().kept;
    disk.advance(Duration::from_secs(1));
    store.expire_due(time_of(disk.now_ms.load(Ordering::Relaxed)));
    assert!(writer.write().await.unwrap());
    assert!(disk.blobs.list().await.unwrap().is_empty());
    assert_eq!(disk.records().await, ["epoch", "ended", "expired"]);
    assert!(kept.borrow().expired && store.job(id(1)).is_none());
    assert!(store.ended_job(id(1)).unwrap().expired);
    assert_eq!(store.bytes_kept(), 0);
}

#[tokio::test]
async fn many_small_inputs_are_several_segments() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    store.add_inputs(id(1), 0, vec![Bytes::new(); 40_000]);
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.records().await, ["epoch", "opened", "inputs", "inputs", "inputs"]);
    assert_eq!(store.read_inputs(id(1), 20_000, ALL).await.unwrap().len(), 20_000);
}

#[tokio::test]
async fn lines_of_calls_that_run_again_are_counted() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    store.add_inputs(id(1), 0, inputs(0..3));
    store.add_lines(id(1), vec![printed(0, false, 0, "a\n"), printed(1, false, 0, "a\nb\n"), printed(1, true, 0, "e\n")]);
    assert!(writer.write().await.unwrap());
    store.add_lines(id(1), vec![printed(1, false, 2, "c\nno newline")]);
    store.add_outcomes(id(1), vec![done(0)]);
    assert!(writer.write().await.unwrap());
    let (_store, _writer, restored) = disk.open().await;
    assert_eq!(restored[0].lines_shown, HashMap::from([(1, [4, 1])]));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_out_and_nothing_is_lost() {
    let disk = Disk::new();
    let (store, writer, _) = disk.open().await;
    let writing = tokio::spawn(writer.run());
    disk.ledger.inject([Fault::Full, Fault::Full, Fault::AmbiguousApplied]);
    store.open_job(id(1), options("one"));
    store.add_inputs(id(1), 0, inputs(0..2));
    let mut trouble = store.trouble();
    trouble.wait_for(Option::is_some).await.unwrap();
    assert!(trouble.borrow().as_ref().unwrap().contains("no space left"), "{trouble:?}");
    let waited = store.bytes_waiting();
    let ticket = store.add_outcomes(id(1), vec![done(0)]).ticket;
    assert!(waited > 0 && store.bytes_waiting() > waited);
    trouble.wait_for(Option::is_none).await.unwrap();
    store.written().wait_for(|written| *written >= ticket).await.unwrap();
    assert_eq!(store.bytes_waiting(), 0);
    store.close();
    writing.await.unwrap().unwrap();
    let (_store, _writer, restored) = disk.open().await;
    assert_eq!((restored[0].inputs, restored[0].ended.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_closed_says_what_it_could_not_write() {
    let disk = Disk::new();
    let (store, writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    disk.ledger.inject([Fault::Failed, Fault::Failed]);
    let writing = tokio::spawn(writer.run());
    store.trouble().wait_for(Option::is_some).await.unwrap();
    store.close();
    let error = writing.await.unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Unwritten { bytes, .. } if *bytes > 0), "{error}");
}

#[tokio::test]
async fn a_scheduler_that_was_taken_over_writes_nothing_more() {
    let disk = Disk::new();
    let (old, old_writer, _) = disk.open().await;
    let (new, mut new_writer, _) = disk.open().await;
    old.open_job(id(1), options("old"));
    let error = old_writer.run().await.unwrap_err();
    assert!(matches!(error, StoreError::Superseded), "{error}");
    assert!(old.trouble().borrow().is_some());
    new.open_job(id(1), options("new"));
    assert!(new_writer.write().await.unwrap());
    let (_store, _writer, restored) = disk.open().await;
    assert_eq!(restored[0].options, options("new"));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_was_never_answered_is_found_to_be_there() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    // As often as it is tried before the ledger counts as out of reach; the last time it happens.
    disk.ledger.inject(vec![Fault::AmbiguousLost; 8]);
    disk.ledger.inject([Fault::AmbiguousApplied]);
    assert!(!writer.write().await.unwrap());
    assert_eq!(disk.ledger.faults_left(), 0);
    store.add_inputs(id(1), 0, inputs(0..1));
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.records().await, ["epoch", "opened", "inputs"]);
    assert!(store.trouble().borrow().is_none());
}
