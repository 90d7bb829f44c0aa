//! What every ledger has to do: one suite, run for each implementation by [`conformance!`](crate::conformance!).
//!
//! A check gets a ledger that was never used, as a [`Subject`]: the ledger, and what a test needs around it.

#![expect(clippy::unwrap_used, reason = "what is checked here fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    AppendError, Damage, ENTRY_BYTES_MAX, Fault, FaultyLedger, Ledger, Position, ReadError, SetError, Shard, Value,
    append_settled,
};

/// A ledger under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A handle to the ledger, of its own as another scheduler's would be.
    fn ledger(&self) -> Arc<dyn Ledger>;

    /// Does what a restart does. All handles that were given out have been dropped.
    async fn reopen(&mut self);

    /// Damages a stored entry, as a disk would. All handles that were given out have been dropped.
    async fn damage(&mut self, shard: Shard, at: Position, damage: Damage);
}

/// Makes a test of each check. `$open` is an async function, or closure, that gives a new [`Subject`].
#[macro_export]
macro_rules! conformance {
    ($open:expr) => {
        $crate::conformance! { $open =>
            entries_are_read_in_order,
            reading_stops_when_enough_is_read,
            shards_have_nothing_in_common,
            of_two_writers_one_is_refused,
            a_refused_append_changes_nothing,
            an_empty_append_asks_whether_one_owns_the_log,
            ambiguous_appends_are_settled,
            an_ambiguous_append_that_another_overtook_is_refused,
            of_appends_at_one_position_one_succeeds,
            groups_are_whole,
            trimmed_entries_are_gone,
            removed_entries_are_gone,
            positions_are_not_given_twice,
            large_entries_come_back,
            values_change_by_compare_and_set,
            values_are_listed_by_prefix,
            of_concurrent_sets_one_succeeds,
            a_restart_loses_nothing,
            damaged_entries_are_named,
        }
    };
    ($open:expr => $($check:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $check() {
            let mut subject = ($open)().await;
            $crate::conformance::$check(&mut subject).await;
        })*
    };
}

const SHARD: Shard = Shard(7);

/// More than any test's entries.
const ALL: usize = usize::MAX;

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

fn group(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(bytes).collect()
}

/// What is in a log from a position on.
async fn log(ledger: &dyn Ledger, from: u64) -> Vec<(u64, Bytes)> {
    let entries = ledger.read(SHARD, Position(from), ALL).await.unwrap();
    entries.into_iter().map(|(at, bytes)| (at.0, bytes)).collect()
}

pub async fn entries_are_read_in_order(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(0));
    assert_eq!(log(&*ledger, 0).await, []);
    assert_eq!(ledger.append(SHARD, Position(0), group(&["a", "b"])).await.unwrap(), Position(2));
    assert_eq!(ledger.append(SHARD, Position(2), group(&["", "d"])).await.unwrap(), Position(4));
    let all = [(0, bytes("a")), (1, bytes("b")), (2, bytes("")), (3, bytes("d"))];
    for from in 0..all.len() {
        assert_eq!(log(&*ledger, from as u64).await, all[from..]);
    }
    assert_eq!(log(&*ledger, 4).await, []);
    assert_eq!(log(&*ledger, u64::MAX).await, []);
    assert_eq!(ledger.entry(SHARD, Position(2)).await.unwrap(), Some(bytes("")));
    assert_eq!(ledger.entry(SHARD, Position(4)).await.unwrap(), None);
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(4));
}

pub async fn reading_stops_when_enough_is_read(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.append(SHARD, Position(0), vec![Bytes::from_static(&[1; 100]); 5]).await.unwrap();
    for (bytes_max, count) in [(0, 1), (99, 1), (100, 2), (299, 3), (ALL, 5)] {
        assert_eq!(ledger.read(SHARD, Position(0), bytes_max).await.unwrap().len(), count, "{bytes_max} bytes");
    }
}

pub async fn shards_have_nothing_in_common(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    for shard in [Shard(0), SHARD, Shard(u16::MAX)] {
        ledger.append(shard, Position(0), vec![bytes(shard.to_string())]).await.unwrap();
    }
    ledger.trim(Shard(0), Position(1)).await.unwrap();
    assert_eq!(ledger.read(Shard(0), Position(0), ALL).await.unwrap(), []);
    assert_eq!(log(&*ledger, 0).await, [(0, bytes("7"))]);
    assert_eq!(ledger.entry(Shard(u16::MAX), Position(0)).await.unwrap(), Some(bytes("65535")));
    assert_eq!(ledger.end(Shard(8)).await.unwrap(), Position(0));
}

pub async fn of_two_writers_one_is_refused(subject: &mut impl Subject) {
    let (old, new) = (subject.ledger(), subject.ledger());
    let end = old.append(SHARD, Position(0), group(&["old"])).await.unwrap();
    new.append(SHARD, end, group(&["epoch of the new"])).await.unwrap();
    let refused = old.append(SHARD, end, group(&["late"])).await;
    assert!(matches!(refused, Err(AppendError::Refused { end: Position(2) })), "{refused:?}");
    assert_eq!(log(&*old, 0).await, [(0, bytes("old")), (1, bytes("epoch of the new"))]);
}

pub async fn a_refused_append_changes_nothing(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.append(SHARD, Position(0), group(&["a", "b"])).await.unwrap();
    for expected in [0, 1, 3, u64::MAX] {
        let refused = ledger.append(SHARD, Position(expected), group(&["c"])).await;
        assert!(matches!(refused, Err(AppendError::Refused { end: Position(2) })), "{expected}: {refused:?}");
    }
    assert_eq!(log(&*ledger, 0).await, [(0, bytes("a")), (1, bytes("b"))]);
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(2));
}

pub async fn an_empty_append_asks_whether_one_owns_the_log(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    assert_eq!(ledger.append(SHARD, Position(0), vec![]).await.unwrap(), Position(0));
    ledger.append(SHARD, Position(0), group(&["a"])).await.unwrap();
    assert_eq!(ledger.append(SHARD, Position(1), vec![]).await.unwrap(), Position(1));
    assert!(matches!(ledger.append(SHARD, Position(0), vec![]).await, Err(AppendError::Refused { end: Position(1) })));
}

pub async fn ambiguous_appends_are_settled(subject: &mut impl Subject) {
    let ledger = FaultyLedger::new(subject.ledger());
    let ways: [&[Fault]; 4] = [
        &[Fault::AmbiguousApplied],
        &[Fault::AmbiguousLost],
        &[Fault::AmbiguousLost, Fault::AmbiguousApplied],
        // That a second try failed tells nothing of the first.
        &[Fault::AmbiguousApplied, Fault::Full, Fault::Failed],
    ];
    let mut end = Position(0);
    for (way, faults) in ways.iter().enumerate() {
        ledger.inject(faults.iter().cloned());
        let entries = vec![bytes(format!("{way}.0")), bytes(format!("{way}.1"))];
        let settled = append_settled(&ledger, SHARD, end, entries.clone()).await.unwrap();
        assert_eq!(settled, end.after(2), "{faults:?}");
        assert_eq!(ledger.faults_left(), 0);
        let there = log(&ledger, end.0).await;
        assert_eq!(there, [(end.0, entries[0].clone()), (end.0 + 1, entries[1].clone())]);
        end = settled;
    }
}

pub async fn an_ambiguous_append_that_another_overtook_is_refused(subject: &mut impl Subject) {
    let (ledger, other) = (FaultyLedger::new(subject.ledger()), subject.ledger());
    // The other's entries are there in the place of ours: none that is the same, or only the first.
    for (round, others) in [["x", "y"], ["ours 1", "y"]].into_iter().enumerate() {
        let first = Position(round as u64 * 2);
        other.append(SHARD, first, group(&others)).await.unwrap();
        ledger.inject([Fault::AmbiguousLost]);
        let refused = append_settled(&ledger, SHARD, first, group(&["ours 0", "ours 1"])).await;
        assert!(matches!(refused, Err(AppendError::Refused { end }) if end == first.after(2)), "{refused:?}");
    }
    // Ours are there, and the other's behind them.
    let told = Arc::new(Notify::new());
    ledger.inject([Fault::AmbiguousApplied, Fault::Held(told.clone())]);
    let ours = group(&["ours 4", "ours 5"]);
    let settling = append_settled(&ledger, SHARD, Position(4), ours);
    let overtaking = async {
        while other.end(SHARD).await.unwrap() < Position(6) {
            tokio::task::yield_now().await;
        }
        other.append(SHARD, Position(6), group(&["z"])).await.unwrap();
        told.notify_one();
    };
    let (settled, ()) = futures_util::join!(settling, overtaking);
    assert_eq!(settled.unwrap(), Position(6));
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(7));
}

pub async fn of_appends_at_one_position_one_succeeds(subject: &mut impl Subject) {
    const WRITERS: usize = 8;
    const ROUNDS: u64 = 10;
    for round in 0..ROUNDS {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let ledger = subject.ledger();
                tokio::spawn(async move { ledger.append(SHARD, Position(round), vec![bytes(writer.to_string())]).await })
            })
            .collect();
        let mut winner = None;
        for (writer, append) in writers.into_iter().enumerate() {
            match append.await.unwrap() {
                Ok(end) => {
                    assert_eq!(end, Position(round + 1));
                    assert_eq!(winner.replace(writer), None, "two writers have position {round}");
                }
                Err(AppendError::Refused { end }) => assert_eq!(end, Position(round + 1)),
                Err(error) => panic!("{error:?}"),
            }
        }
        let there = subject.ledger().entry(SHARD, Position(round)).await.unwrap();
        assert_eq!(there, winner.map(|writer| bytes(writer.to_string())));
    }
}

pub async fn groups_are_whole(subject: &mut impl Subject) {
    const GROUP: u64 = 50;
    const GROUPS: u64 = 20;
    let (writing, reading) = (subject.ledger(), subject.ledger());
    let writer = tokio::spawn(async move {
        for nth in 0..GROUPS {
            let entries = (0..GROUP).map(|_| bytes(nth.to_string())).collect();
            writing.append(SHARD, Position(nth * GROUP), entries).await.unwrap();
        }
    });
    let mut seen = 0;
    while seen < GROUP * GROUPS {
        let there = log(&*reading, 0).await;
        seen = there.len() as u64;
        assert_eq!(seen % GROUP, 0, "part of a group is there");
        assert!(there.iter().enumerate().all(|(nth, (at, text))| *at == nth as u64 && *text == bytes((at / GROUP).to_string())));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();

    // One that is refused for one entry is refused for all.
    let too_long = Bytes::from(vec![0; ENTRY_BYTES_MAX + 1]);
    let failed = reading.append(SHARD, Position(seen), vec![bytes("short"), too_long]).await;
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    assert_eq!(reading.end(SHARD).await.unwrap(), Position(seen));
}

pub async fn trimmed_entries_are_gone(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.trim(SHARD, Position(5)).await.unwrap();
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(0));
    ledger.append(SHARD, Position(0), group(&["a", "b", "c"])).await.unwrap();
    ledger.trim(SHARD, Position(0)).await.unwrap();
    assert_eq!(log(&*ledger, 0).await.len(), 3);
    for _ in 0..2 {
        ledger.trim(SHARD, Position(2)).await.unwrap();
        assert_eq!(log(&*ledger, 0).await, [(2, bytes("c"))]);
        assert_eq!(ledger.entry(SHARD, Position(1)).await.unwrap(), None);
    }
    // Back does nothing, and too far does not move the end.
    ledger.trim(SHARD, Position(1)).await.unwrap();
    ledger.trim(SHARD, Position(u64::MAX)).await.unwrap();
    assert_eq!(log(&*ledger, 0).await, []);
    assert_eq!(ledger.append(SHARD, Position(3), group(&["d"])).await.unwrap(), Position(4));
    assert_eq!(log(&*ledger, 0).await, [(3, bytes("d"))]);
}

pub async fn removed_entries_are_gone(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.append(SHARD, Position(0), group(&["0", "1", "2", "3", "4", "5", "6"])).await.unwrap();
    let removed = [&[5, 1][..], &[3, 3, 1, 99], &[2], &[], &[6]];
    let mut left: BTreeSet<u64> = (0..7).collect();
    for positions in removed {
        ledger.remove(SHARD, positions.iter().copied().map(Position).collect()).await.unwrap();
        for position in positions {
            left.remove(position);
        }
        let there: Vec<_> = left.iter().map(|at| (*at, bytes(at.to_string()))).collect();
        for from in 0..8 {
            assert_eq!(log(&*ledger, from).await, *there.iter().filter(|(at, _)| *at >= from).cloned().collect::<Vec<_>>());
            assert_eq!(ledger.entry(SHARD, Position(from)).await.unwrap().is_some(), left.contains(&from));
        }
    }
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(7));
}

pub async fn positions_are_not_given_twice(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.append(SHARD, Position(0), group(&["a", "b", "c"])).await.unwrap();
    ledger.remove(SHARD, vec![Position(2)]).await.unwrap();
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(3));
    ledger.trim(SHARD, Position(3)).await.unwrap();
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(3));
    drop(ledger);
    subject.reopen().await;
    let ledger = subject.ledger();
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(3));
    assert!(matches!(ledger.append(SHARD, Position(0), group(&["a"])).await, Err(AppendError::Refused { end: Position(3) })));
    // Removing in advance does nothing to what comes there.
    ledger.remove(SHARD, vec![Position(3)]).await.unwrap();
    ledger.append(SHARD, Position(3), group(&["d"])).await.unwrap();
    assert_eq!(log(&*ledger, 0).await, [(3, bytes("d"))]);

    let first = ledger.set_value("v", None, bytes("1")).await.unwrap();
    ledger.remove_value("v", first).await.unwrap();
    drop(ledger);
    subject.reopen().await;
    let second = subject.ledger().set_value("v", None, bytes("2")).await.unwrap();
    assert!(second > first, "{second} after {first}");
}

pub async fn large_entries_come_back(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    let large: Vec<_> = (0..3u8).map(|nth| Bytes::from_iter((0..1 << 20).map(|at: u32| (at >> 4) as u8 ^ nth))).collect();
    ledger.append(SHARD, Position(0), large.clone()).await.unwrap();
    let largest = Bytes::from(vec![0xa5; ENTRY_BYTES_MAX]);
    ledger.append(SHARD, Position(3), vec![largest.clone()]).await.unwrap();
    for (at, entry) in large.iter().chain([&largest]).enumerate() {
        assert!(ledger.entry(SHARD, Position(at as u64)).await.unwrap().as_ref() == Some(entry), "entry {at} is another");
    }
    assert_eq!(ledger.read(SHARD, Position(0), 1 << 20).await.unwrap().len(), 2);
}

pub async fn values_change_by_compare_and_set(subject: &mut impl Subject) {
    let (one, other) = (subject.ledger(), subject.ledger());
    assert_eq!(one.value("lease").await.unwrap(), None);
    let absent = one.set_value("lease", Some(1), bytes("x")).await;
    assert!(matches!(absent, Err(SetError::Refused { current: None })), "{absent:?}");
    assert!(matches!(one.remove_value("lease", 1).await, Err(SetError::Refused { current: None })));

    let first = one.set_value("lease", None, bytes("one")).await.unwrap();
    let taken = other.set_value("lease", None, bytes("other")).await;
    assert!(matches!(taken, Err(SetError::Refused { current: Some(current) }) if current == first), "{taken:?}");
    let second = other.set_value("lease", Some(first), bytes("other")).await.unwrap();
    assert!(second > first);
    let late = one.set_value("lease", Some(first), bytes("one")).await;
    assert!(matches!(late, Err(SetError::Refused { current: Some(current) }) if current == second), "{late:?}");
    let late = one.remove_value("lease", first).await;
    assert!(matches!(late, Err(SetError::Refused { current: Some(current) }) if current == second), "{late:?}");
    assert_eq!(one.value("lease").await.unwrap(), Some(Value { revision: second, bytes: bytes("other") }));

    one.remove_value("lease", second).await.unwrap();
    assert_eq!(other.value("lease").await.unwrap(), None);
    assert!(other.set_value("lease", None, bytes("")).await.unwrap() > second);
}

pub async fn values_are_listed_by_prefix(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    for name in ["members/b", "members/a", "member", "members0", "leases/1"] {
        ledger.set_value(name, None, bytes(name)).await.unwrap();
    }
    let listed = async |prefix| -> Vec<String> {
        let values = ledger.values(prefix).await.unwrap();
        assert!(values.iter().all(|(name, value)| value.bytes == bytes(name)));
        values.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(listed("members/").await, ["members/a", "members/b"]);
    assert_eq!(listed("").await, ["leases/1", "member", "members/a", "members/b", "members0"]);
    assert_eq!(listed("x").await, Vec::<String>::new());
}

pub async fn of_concurrent_sets_one_succeeds(subject: &mut impl Subject) {
    let mut expected = None;
    for _ in 0..5 {
        let sets: Vec<_> = (0..8)
            .map(|writer: u8| {
                let ledger = subject.ledger();
                tokio::spawn(async move { ledger.set_value("lease", expected, bytes([writer])).await })
            })
            .collect();
        let mut won = Vec::new();
        for (writer, set) in sets.into_iter().enumerate() {
            match set.await.unwrap() {
                Ok(revision) => won.push((revision, bytes([writer as u8]))),
                Err(SetError::Refused { current }) => assert!(current > expected),
                Err(error) => panic!("{error:?}"),
            }
        }
        let [(revision, value)] = &*won else { panic!("{} writers have the lease", won.len()) };
        assert_eq!(subject.ledger().value("lease").await.unwrap(), Some(Value { revision: *revision, bytes: value.clone() }));
        expected = Some(*revision);
    }
}

pub async fn a_restart_loses_nothing(subject: &mut impl Subject) {
    let ledger = subject.ledger();
    ledger.append(SHARD, Position(0), group(&["a", "b", "c", "d"])).await.unwrap();
    ledger.remove(SHARD, vec![Position(2)]).await.unwrap();
    ledger.trim(SHARD, Position(1)).await.unwrap();
    let revision = ledger.set_value("lease", None, bytes("owner")).await.unwrap();
    drop(ledger);
    for _ in 0..2 {
        subject.reopen().await;
        let ledger = subject.ledger();
        assert_eq!(log(&*ledger, 0).await, [(1, bytes("b")), (3, bytes("d"))]);
        assert_eq!(ledger.end(SHARD).await.unwrap(), Position(4));
        assert_eq!(ledger.value("lease").await.unwrap(), Some(Value { revision, bytes: bytes("owner") }));
    }
    assert_eq!(subject.ledger().append(SHARD, Position(4), group(&["e"])).await.unwrap(), Position(5));
}

pub async fn damaged_entries_are_named(subject: &mut impl Subject) {
    let all = [Damage::FlippedBit, Damage::Truncated, Damage::UnknownVersion];
    for (nth, damage) in all.into_iter().enumerate() {
        let first = nth as u64 * 3;
        let ledger = subject.ledger();
        ledger.append(SHARD, Position(first), group(&["before", "damaged", "after"])).await.unwrap();
        drop(ledger);
        subject.damage(SHARD, Position(first + 1), damage).await;
        let ledger = subject.ledger();
        let error = ledger.entry(SHARD, Position(first + 1)).await.unwrap_err();
        let at_entry = |error: &ReadError| matches!(error, ReadError::Corrupt { shard: SHARD, position, .. } if *position == Position(first + 1));
        assert!(at_entry(&error), "{damage:?}: {error:?}");
        // Reading does not go past it, and what is around it can be had.
        let error = ledger.read(SHARD, Position(first), ALL).await.unwrap_err();
        assert!(at_entry(&error), "{damage:?}: {error:?}");
        assert_eq!(ledger.entry(SHARD, Position(first)).await.unwrap(), Some(bytes("before")));
        assert_eq!(log(&*ledger, first + 2).await, [(first + 2, bytes("after"))]);
    }
}
