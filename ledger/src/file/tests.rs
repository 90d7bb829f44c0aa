use std::fs;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTable};
use tempfile::TempDir;

use super::tables::{ENTRIES, FORMAT, META_FORMAT};
use super::*;
use crate::Damage;
use crate::conformance::Subject;

const SHARD: Shard = Shard(1);

/// A ledger in a folder of its own. `None` while it is closed.
struct InFolder {
    folder: TempDir,
    ledger: Option<FileLedger>,
}

impl InFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Some(FileLedger::open(folder.path().join("ledger")).unwrap());
        Self { folder, ledger }
    }
}

#[async_trait]
impl Subject for InFolder {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone().unwrap())
    }

    async fn reopen(&mut self) {
        self.ledger = None;
        self.ledger = Some(FileLedger::open(self.folder.path().join("ledger")).unwrap());
    }

    async fn damage(&mut self, shard: Shard, at: Position, damage: Damage) {
        self.ledger = None;
        let database = Database::open(self.folder.path().join("ledger")).unwrap();
        let write = database.begin_write().unwrap();
        let mut entries = write.open_table(ENTRIES).unwrap();
        let frame = entries.get((shard.0, at.0)).unwrap().unwrap().value().to_vec();
        entries.insert((shard.0, at.0), &*damage.done_to(&frame)).unwrap();
        drop(entries);
        write.commit().unwrap();
        drop(database);
        self.reopen().await;
    }
}

crate::conformance!(|| async { InFolder::new() });

fn group(first: u64, count: u64) -> Vec<Bytes> {
    (first..first + count).map(|nth| Bytes::from(format!("entry {nth}").repeat(20))).collect()
}

/// Checks that the log is the first `end` entries of [`group`].
async fn assert_log(ledger: &FileLedger, end: u64) {
    let entries = ledger.read(SHARD, Position(0), usize::MAX).await.unwrap();
    assert_eq!(entries, (0..end).map(Position).zip(group(0, end)).collect::<Vec<_>>());
    assert_eq!(ledger.end(SHARD).await.unwrap(), Position(end));
}

/// Fills a ledger until it says that it is full, and returns the end that it should have.
async fn fill(ledger: &FileLedger, mut end: u64, groups_max: u64) -> u64 {
    for _ in 0..groups_max {
        match ledger.append(SHARD, Position(end), group(end, 100)).await {
            Ok(after) => end = after.0,
            Err(AppendError::Full(_)) => return end,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it is not full after {groups_max} groups");
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_space() {
    let subject = InFolder::new();
    let ledger = subject.ledger.clone().unwrap();
    let disk = ledger.store.disk();
    let mut end = 0;
    // The space ends before each of the writes that a commit makes.
    for writes in 0..40 {
        disk.full_after(writes);
        let filled = fill(&ledger, end, 100).await;
        let again = ledger.append(SHARD, Position(filled), group(filled, 1)).await;
        assert!(matches!(again, Err(AppendError::Full(_))), "{again:?}");
        disk.works();
        assert_log(&ledger, filled).await;
        end = ledger.append(SHARD, Position(filled), group(filled, 1)).await.unwrap().0;
        assert_log(&ledger, end).await;
    }
    drop(ledger);
    let mut subject = subject;
    subject.reopen().await;
    assert_log(subject.ledger.as_ref().unwrap(), end).await;
}

#[tokio::test]
async fn when_writes_or_syncs_fail_an_append_happened_or_did_not_and_says_which() {
    let subject = InFolder::new();
    let ledger = subject.ledger.clone().unwrap();
    let disk = ledger.store.disk();
    let mut end = 0;
    let (mut refused, mut open) = (0, 0);
    for failure in 0..60 {
        match failure % 2 {
            0 => disk.broken_after(failure / 2),
            _ => disk.unsynced_after(failure / 6),
        }
        let appended = ledger.append(SHARD, Position(end), group(end, 10)).await;
        disk.works();
        match appended {
            Ok(after) => end = after.0,
            Err(AppendError::Failed(_)) => refused += 1,
            Err(AppendError::Ambiguous(_)) => {
                open += 1;
                end = crate::append_settled(&ledger, SHARD, Position(end), group(end, 10))
                    .await
                    .unwrap_or_else(|error| match error {
                        AppendError::Refused { end } => end,
                        error => panic!("{error:?}"),
                    })
                    .0;
            }
            Err(error) => panic!("{error:?}"),
        }
        assert_log(&ledger, end).await;
    }
    assert!(refused + open > 10, "{refused} failed and {open} were not answered");
}

#[tokio::test]
async fn values_survive_a_disk_that_fails() {
    let subject = InFolder::new();
    let ledger = subject.ledger.clone().unwrap();
    let mut revision = None;
    for writes in 0..20 {
        ledger.store.disk().full_after(writes);
        let set = ledger.set_value("lease", revision, Bytes::from(writes.to_string())).await;
        ledger.store.disk().works();
        let there = ledger.value("lease").await.unwrap();
        match set {
            Ok(new) => assert_eq!(there, Some(Value { revision: new, bytes: writes.to_string().into() })),
            Err(SetError::Failed(_)) => assert_eq!(there.as_ref().map(|value| value.revision), revision),
            Err(error) => panic!("{error:?}"),
        }
        revision = there.map(|value| value.revision);
    }
    assert!(revision.is_some());
}

#[tokio::test]
async fn a_file_system_without_space_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::of("size=8m", folder.path()) else { return };
    let ledger = FileLedger::open(folder.path().join("ledger")).unwrap();
    // What stands beside the ledger and goes away.
    let beside = folder.path().join("beside");
    fs::write(&beside, vec![1; 256 << 10]).unwrap();
    let end = fill(&ledger, 0, 1000).await;
    assert!(end > 0);
    assert_log(&ledger, end).await;
    drop(ledger);
    let ledger = FileLedger::open(folder.path().join("ledger")).unwrap();
    assert_log(&ledger, end).await;
    fs::remove_file(beside).unwrap();
    let more = ledger.append(SHARD, Position(end), group(end, 5)).await.unwrap();
    assert_log(&ledger, more.0).await;
    // Removing makes space too.
    let end = fill(&ledger, more.0, 1000).await;
    ledger.trim(SHARD, Position(end)).await.unwrap();
    ledger.append(SHARD, Position(end), group(end, 100)).await.unwrap();
}

/// A small file system, where this user may mount one; elsewhere `None`, and the test that wants it does nothing.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn of(options: &str, at: &'a Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("nothing can be mounted here, so this is not tested");
        }
        mounted.then_some(Self(at))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: the ledger is dropped after it.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::of("size=1m,ro", folder.path()) else { return };
    for path in [folder.path().join("ledger"), folder.path().join("below/ledger")] {
        let error = FileLedger::open(&path).unwrap_err();
        assert!(matches!(&error, OpenError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains(&*path.display().to_string()), "{error}");
    }
}

#[test]
fn a_ledger_in_use_is_told_and_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let open = FileLedger::open(&path).unwrap();
    let error = FileLedger::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(open);
    FileLedger::open(&path).unwrap();
}

#[test]
fn a_ledger_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/ledger");
    let _open = FileLedger::open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "the ledger and its reserve");
}

#[test]
fn what_is_not_a_ledger_is_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let foreign = || Database::create(&path).unwrap();
    for content in [&b""[..], b"text", &[0; 8192], &[0xff; 8192]] {
        fs::write(&path, content).unwrap();
        let error = FileLedger::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::NotALedger { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    drop(foreign());
    let before = fs::read(&path).unwrap();
    let error = FileLedger::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotALedger { .. }), "{error:?}");
    assert!(fs::read(&path).unwrap() == before, "the file has changed");
}

#[test]
fn a_ledger_of_another_version_is_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    drop(FileLedger::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert(META_FORMAT, FORMAT + 1).unwrap();
    write.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let error = FileLedger::open(&path).unwrap_err();
    assert!(matches!(&error, OpenError::Version { found, known, .. } if (*found, *known) == (FORMAT + 1, FORMAT)), "{error:?}");
    assert!(error.to_string().contains(&*path.display().to_string()), "{error}");
    assert!(fs::read(&path).unwrap() == before, "the file has changed");
}

#[tokio::test]
async fn a_ledger_that_is_removed_while_in_use_is_not_made_anew() {
    let subject = InFolder::new();
    let ledger = subject.ledger.clone().unwrap();
    ledger.append(SHARD, Position(0), group(0, 5)).await.unwrap();
    fs::remove_file(subject.folder.path().join("ledger")).unwrap();
    ledger.store.disk().broken_after(0);
    assert!(ledger.append(SHARD, Position(5), group(5, 5)).await.is_err());
    ledger.store.disk().works();
    assert!(ledger.end(SHARD).await.is_err());
    assert!(ledger.append(SHARD, Position(0), group(0, 5)).await.is_err());
}

/// A file that was damaged from outside gives what was written, or an error: never other bytes, fewer entries, or a panic.
#[tokio::test]
async fn of_a_damaged_file_nothing_wrong_is_read() {
    const ROUNDS: u64 = 300;
    const ENTRIES_THERE: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = FileLedger::open(&path).unwrap();
    for first in (0..ENTRIES_THERE).step_by(50) {
        ledger.append(SHARD, Position(first), group(first, 50)).await.unwrap();
    }
    ledger.remove(SHARD, vec![Position(10), Position(70)]).await.unwrap();
    drop(ledger);
    let intact = fs::read(&path).unwrap();
    let mut written: Vec<_> = (0..ENTRIES_THERE).map(Position).zip(group(0, ENTRIES_THERE)).collect();
    written.retain(|(at, _)| ![10, 70].contains(&at.0));

    let seed = std::env::var("BURLA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = seed.unwrap_or_else(now);
    println!("seed {seed}, which BURLA_TEST_SEED gives again");
    let mut random = Random(seed);
    let (mut not_opened, mut not_read, mut whole) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut damaged = intact.clone();
        // Behind the header, of which each half is a whole and older or newer state, with a checksum of its own.
        for _ in 0..random.below(16) + 1 {
            let at = 4096 + random.below(intact.len() as u64 - 4096) as usize;
            damaged[at] ^= 1 << random.below(8);
        }
        if round % 4 == 0 {
            damaged.truncate(random.below(intact.len() as u64) as usize);
        }
        // Another file, of which nobody has the lock.
        let _ = fs::remove_file(&path);
        fs::write(&path, &damaged).unwrap();
        let Ok(ledger) = FileLedger::open(&path) else {
            not_opened += 1;
            continue;
        };
        match ledger.read(SHARD, Position(0), usize::MAX).await {
            Ok(entries) => {
                assert_eq!(entries, written, "seed {seed}, round {round}");
                whole += 1;
            }
            Err(_) => not_read += 1,
        }
        for (at, bytes) in &written {
            if let Ok(entry) = ledger.entry(SHARD, *at).await {
                assert_eq!(entry.as_ref(), Some(bytes), "seed {seed}, round {round}, entry {at}");
            }
        }
        if let Ok(end) = ledger.end(SHARD).await {
            assert_eq!(end, Position(ENTRIES_THERE), "seed {seed}, round {round}");
        }
        // Neither appended to nor closed: redb may abort the process where it writes into pages that are damaged.
        std::mem::forget(ledger);
    }
    println!("{not_opened} were not opened, {not_read} not read, {whole} as before");
    assert!(not_opened > 0 && not_read > 0);
}

/// Numbers that a seed gives again: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
