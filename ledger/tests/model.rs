//! Whatever is done to a ledger, it is what a list of entries and a map of values would be. A failure prints what was done.

#![expect(clippy::unwrap_used, reason = "what is checked here fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use burla_ledger::{AppendError, FileLedger, Ledger, MemoryLedger, Position, SetError, Shard, Value};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

const SHARDS: u16 = 2;
const NAMES: [&str; 3] = ["a", "a/b", "b"];

#[derive(Debug, Clone)]
enum Step {
    /// At the end, or so far from it.
    Append {
        shard: u16,
        off: i64,
        lengths: Vec<usize>,
    },
    Trim {
        shard: u16,
        before: u64,
    },
    Remove {
        shard: u16,
        positions: Vec<u64>,
    },
    Set {
        name: usize,
        current: bool,
        length: usize,
    },
    RemoveValue {
        name: usize,
        current: bool,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let shard = 0..SHARDS;
    // Entries within a page, of several pages, and empty ones.
    let lengths = vec(prop_oneof![0..100usize, 3000..20_000usize], 0..8);
    prop_oneof![
        6 => (shard.clone(), prop_oneof![4 => Just(0i64), 1 => -3..4i64], lengths)
            .prop_map(|(shard, off, lengths)| Step::Append { shard, off, lengths }),
        1 => (shard.clone(), 0..40u64).prop_map(|(shard, before)| Step::Trim { shard, before }),
        2 => (shard, vec(0..60u64, 0..10)).prop_map(|(shard, positions)| Step::Remove { shard, positions }),
        2 => (0..NAMES.len(), any::<bool>(), 0..200usize).prop_map(|(name, current, length)| Step::Set { name, current, length }),
        1 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, current)| Step::RemoveValue { name, current }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    logs: BTreeMap<u16, Vec<Option<Bytes>>>,
    values: BTreeMap<String, Value>,
    revision: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_file_is_what_the_model_is(steps in vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        run(steps, || FileLedger::open(&path as &Path).unwrap());
    }

    #[test]
    fn memory_is_what_the_model_is(steps in vec(step(), 1..80)) {
        let ledger = MemoryLedger::new();
        run(steps, || ledger.clone());
    }
}

fn run<L: Ledger>(steps: Vec<Step>, open: impl Fn() -> L) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::default();
        let mut ledger = open();
        for step in steps {
            if matches!(step, Step::Reopen) {
                drop(ledger);
                ledger = open();
            }
            model.take(step, &ledger).await;
            model.compare(&ledger).await;
        }
    });
}

impl Model {
    async fn take(&mut self, step: Step, ledger: &impl Ledger) {
        match step {
            Step::Append { shard, off, lengths } => {
                let log = self.logs.entry(shard).or_default();
                let end = log.len() as u64;
                let expected = end.saturating_add_signed(off);
                let entries: Vec<_> = lengths.iter().map(|&length| Bytes::from(vec![end as u8 ^ length as u8; length])).collect();
                let appended = ledger.append(Shard(shard), Position(expected), entries.clone()).await;
                if expected == end {
                    assert_eq!(appended.unwrap(), Position(end).after(entries.len()));
                    log.extend(entries.into_iter().map(Some));
                } else {
                    assert!(matches!(appended, Err(AppendError::Refused { end: at }) if at == Position(end)), "{appended:?}");
                }
            }
            Step::Trim { shard, before } => {
                ledger.trim(Shard(shard), Position(before)).await.unwrap();
                self.logs.entry(shard).or_default().iter_mut().take(before as usize).for_each(|entry| *entry = None);
            }
            Step::Remove { shard, positions } => {
                ledger.remove(Shard(shard), positions.iter().copied().map(Position).collect()).await.unwrap();
                let log = self.logs.entry(shard).or_default();
                for at in positions {
                    if let Some(entry) = log.get_mut(at as usize) {
                        *entry = None;
                    }
                }
            }
            Step::Set { name, current, length } => {
                let name = NAMES[name];
                let there = self.values.get(name).map(|value| value.revision);
                let expected = if current { there } else { Some(self.revision + 1) };
                let bytes = Bytes::from(vec![1; length]);
                match ledger.set_value(name, expected, bytes.clone()).await {
                    Ok(revision) => {
                        assert!(current && revision > self.revision);
                        self.revision = revision;
                        self.values.insert(name.to_owned(), Value { revision, bytes });
                    }
                    Err(SetError::Refused { current: told }) => assert!(!current && told == there),
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::RemoveValue { name, current } => {
                let name = NAMES[name];
                let there = self.values.get(name).map(|value| value.revision);
                let expected = if current { there.unwrap_or(0) } else { self.revision + 1 };
                match ledger.remove_value(name, expected).await {
                    Ok(()) => assert_eq!(self.values.remove(name).map(|value| value.revision), Some(expected)),
                    Err(SetError::Refused { current: told }) => assert!(told == there && there != Some(expected)),
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::Reopen => {}
        }
    }

    async fn compare(&self, ledger: &impl Ledger) {
        for shard in 0..SHARDS {
            let log = self.logs.get(&shard).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(ledger.end(Shard(shard)).await.unwrap(), Position(log.len() as u64));
            let kept = log.iter().enumerate().filter_map(|(at, entry)| Some((Position(at as u64), entry.clone()?)));
            assert_eq!(ledger.read(Shard(shard), Position(0), usize::MAX).await.unwrap(), kept.collect::<Vec<_>>());
        }
        let values: Vec<_> = self.values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(ledger.values("").await.unwrap(), values);
        let below: Vec<_> = values.into_iter().filter(|(name, _)| name.starts_with("a/")).collect();
        assert_eq!(ledger.values("a/").await.unwrap(), below);
    }
}
