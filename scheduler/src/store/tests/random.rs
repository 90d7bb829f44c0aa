//! Random histories against a plain model: what was written is there after any restart, and nothing else.

use std::collections::BTreeMap;

use burla_ledger::Fault;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RETENTION: Duration = Duration::from_secs(10);
const HISTORY_JOBS_MAX: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    Inputs {
        job: u8,
        count: u64,
        again: u64,
        large: bool,
    },
    Close(u8),
    Outcomes(u8, Vec<(u64, bool)>),
    Lines(u8, u64),
    /// Also of jobs that are not kept.
    End(u8),
    Advance(Duration),
    Write(Fault),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let job = 0..5u8;
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Full),
        1 => Just(Fault::Failed),
        1 => Just(Fault::AmbiguousApplied),
        1 => Just(Fault::AmbiguousLost),
    ];
    prop_oneof![
        2 => job.clone().prop_map(Step::Open),
        4 => (job.clone(), 1..5u64, 0..3u64, prop::bool::weighted(0.1))
            .prop_map(|(job, count, again, large)| Step::Inputs { job, count, again, large }),
        1 => job.clone().prop_map(Step::Close),
        4 => (job.clone(), vec((0..12u64, any::<bool>()), 0..6)).prop_map(|(job, calls)| Step::Outcomes(job, calls)),
        2 => (job.clone(), 0..12u64).prop_map(|(job, index)| Step::Lines(job, index)),
        2 => job.prop_map(Step::End),
        1 => (1..8u64).prop_map(|seconds| Step::Advance(Duration::from_secs(seconds))),
        4 => fault.prop_map(Step::Write),
        2 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug, Default)]
struct Model {
    kept: BTreeMap<u8, ModelJob>,
    /// When they ended, and whether what was kept is gone.
    ended: BTreeMap<u8, (u64, bool)>,
}

#[derive(Clone, Debug, Default)]
struct ModelJob {
    inputs: Vec<Bytes>,
    closed: bool,
    outcomes: Vec<CallEvent>,
    lines: Vec<CallEvent>,
}

impl Model {
    fn open(&mut self, job: u8) -> Option<&mut ModelJob> {
        self.kept.get_mut(&job).filter(|_| !self.ended.contains_key(&job))
    }

    fn expire(&mut self, now_ms: u64) {
        for (job, (ended, expired)) in &mut self.ended {
            if *ended + RETENTION.as_millis() as u64 <= now_ms && self.kept.remove(job).is_some() {
                *expired = true;
            }
        }
        let unkept = self.ended.iter().filter(|(job, _)| !self.kept.contains_key(job));
        let mut unkept: Vec<_> = unkept.map(|(job, (ended, _))| (*ended, *job)).collect();
        unkept.sort_unstable();
        let too_many = unkept.len().saturating_sub(HISTORY_JOBS_MAX);
        for (_, job) in unkept.drain(..too_many) {
            self.ended.remove(&job);
        }
    }
}

struct Run {
    disk: Disk,
    store: Arc<Store>,
    writer: Writer,
    told: Model,
    written: Model,
}

impl Run {
    async fn begin() -> Self {
        let mut disk = Disk::new();
        disk.config.retention = RETENTION;
        disk.config.history_jobs_max = HISTORY_JOBS_MAX;
        let (store, writer, _) = disk.open().await;
        Self { disk, store, writer, told: Model::default(), written: Model::default() }
    }

    fn now_ms(&self) -> u64 {
        self.disk.now_ms.load(Ordering::Relaxed)
    }

    async fn take(&mut self, step: Step) {
        self.disk.advance(Duration::from_millis(1));
        let now_ms = self.now_ms();
        match step {
            Step::Open(job) => {
                self.store.open_job(id(job), options("kept"));
                if !self.told.ended.contains_key(&job) {
                    self.told.kept.entry(job).or_default();
                }
            }
            Step::Inputs { job, count, again, large } => {
                let open = self.told.open(job).filter(|job| !job.closed);
                let next = open.as_ref().map_or(0, |job| job.inputs.len() as u64);
                let first = next.saturating_sub(again);
                let size = if large { 150 << 10 } else { 3 };
                let new = |index| if index < next { Bytes::new() } else { Bytes::from(vec![index as u8; size]) };
                let inputs: Vec<_> = (first..next + count).map(new).collect();
                if let Some(job) = open {
                    job.inputs.extend_from_slice(&inputs[(next - first) as usize..]);
                }
                self.store.add_inputs(id(job), first, inputs);
            }
            Step::Close(job) => {
                self.store.close_inputs(id(job));
                if let Some(job) = self.told.open(job) {
                    job.closed = true;
                }
            }
            Step::Outcomes(job, calls) => {
                let outcomes: Vec<_> = calls.iter().map(|(index, ok)| if *ok { done(*index) } else { failed(*index) }).collect();
                let dropped = self.store.add_outcomes(id(job), outcomes.clone()).dropped;
                let mut expected = Vec::new();
                let mut open = self.told.open(job);
                for (event, _) in outcomes {
                    match &mut open {
                        Some(job)
                            if event.index < job.inputs.len() as u64
                                && job.outcomes.iter().all(|before| before.index != event.index) =>
                        {
                            job.outcomes.push(event);
                        }
                        _ => expected.push(event.index),
                    }
                }
                assert_eq!(dropped, expected);
            }
            Step::Lines(job, index) => {
                let line = printed(index, index % 2 == 0, 0, "line\n");
                self.store.add_lines(id(job), vec![line.clone()]);
                if let Some(job) = self.told.open(job) {
                    job.lines.push(line);
                }
            }
            Step::End(job) => {
                self.store.end_job(id(job), ended_as(id(job)));
                let is_over = self.told.kept.contains_key(&job) && self.told.ended.contains_key(&job);
                if !is_over {
                    self.told.ended.insert(job, (now_ms, false));
                }
            }
            Step::Advance(time) => self.disk.advance(time),
            Step::Write(fault) => self.write(fault).await,
            Step::Restart => self.restart().await,
        }
    }

    async fn write(&mut self, fault: Fault) {
        let faults = (!matches!(fault, Fault::None)).then_some(fault);
        if self.store.bytes_waiting() == 0 {
            return;
        }
        self.disk.ledger.inject(faults);
        if !self.writer.write().await.unwrap() {
            assert!(self.store.trouble().borrow().is_some());
            return;
        }
        let now_ms = self.now_ms();
        self.store.expire_due(time_of(now_ms));
        assert!(self.writer.write().await.unwrap());
        self.told.expire(now_ms);
        self.written = self.told.clone();
        assert_eq!(self.store.bytes_waiting(), 0);
        self.check(&self.store, &self.written).await;
        let entries = self.disk.records().await;
        assert_eq!(entries.len(), self.store.state().index.entries(), "{entries:?}");
    }

    async fn restart(&mut self) {
        let (store, writer, restored) = self.disk.open().await;
        {
            let (before, after) = (self.store.state(), store.state());
            assert_eq!(before.index.snapshot(), after.index.snapshot());
        }
        self.check(&store, &self.written).await;
        let open = self.written.kept.iter().filter(|(job, _)| !self.written.ended.contains_key(job));
        let restored: BTreeMap<_, _> = restored.into_iter().map(|job| (job.id.as_bytes()[0], job)).collect();
        assert!(open.clone().map(|(job, _)| job).eq(restored.keys()));
        for (job, model) in open {
            let restored = &restored[job];
            assert_eq!((restored.inputs, restored.inputs_closed), (model.inputs.len() as u64, model.closed));
            let mut ended: Vec<_> = model.outcomes.iter().map(|event| event.index).collect();
            ended.sort_unstable();
            assert_eq!(restored.ended.iter().collect::<Vec<_>>(), ended);
            let failed = model.outcomes.iter().filter(|event| matches!(event.event, Some(Event::Failure(_)))).count() as u64;
            assert_eq!(restored.calls_failed, failed);
            assert_eq!(restored.usage.fuel, model.outcomes.iter().filter_map(|event| Some(event.usage?.fuel)).sum::<u64>());
            let printed = model.lines.iter().filter(|line| !ended.contains(&line.index));
            let printed: HashMap<_, _> =
                printed.map(|line| (line.index, if line.index % 2 == 0 { [0, 1] } else { [1, 0] })).collect();
            assert_eq!(restored.lines_shown, printed);
        }
        (self.store, self.writer, self.told) = (store, writer, self.written.clone());
    }

    async fn check(&self, store: &Store, model: &Model) {
        for (number, job) in &model.kept {
            let kept = *store.job(id(*number)).unwrap().kept.borrow();
            let (inputs, outcomes) = (job.inputs.len() as u64, job.outcomes.len() as u64);
            let (lines, ended) = (job.lines.len() as u64, model.ended.contains_key(number));
            let inputs_closed = job.closed;
            assert_eq!(kept, Kept { opened: true, inputs, inputs_closed, outcomes, lines, ended, expired: false });
            let numbered: Vec<_> = (0..).zip(job.inputs.iter().cloned()).collect();
            assert_eq!(store.read_inputs(id(*number), 0, ALL).await.unwrap(), numbered);
            assert_eq!(store.read_outcomes(id(*number), 0, ALL).await.unwrap().events, job.outcomes);
            assert_eq!(store.read_lines(id(*number), 0, ALL).await.unwrap().events, job.lines);
        }
        let history: BTreeMap<_, _> = store.history().iter().map(|job| (job.job_id[0], job.expired)).collect();
        assert_eq!(history, model.ended.iter().map(|(job, (_, expired))| (*job, *expired)).collect());
    }
}

proptest! {
    // 256 cases, or `PROPTEST_CASES`.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_there_after_a_restart(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut run = Run::begin().await;
            for step in steps {
                run.take(step).await;
            }
            run.restart().await;
        });
    }
}
