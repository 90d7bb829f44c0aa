//! What a durable append costs, beside a bare write and sync of as many bytes, and how long a file of 1 GiB takes to open after its
//! process was killed. `cargo bench -p burla-ledger`; `TMPDIR` says on which disk.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark tells its numbers, and ends where something fails")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burla_ledger::{FileLedger, Ledger, Position, Shard};
use bytes::Bytes;
use redb::{Database, TableDefinition};

/// In the child that is killed: its file, and whether its commits record what a quick repair needs.
const CHILD: &str = "BURLA_BENCH_COMMITS_CHILD";
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const GIB: usize = 1 << 30;
const MIB: usize = 1 << 20;
const SHARD: Shard = Shard(0);

fn main() {
    if let Ok(child) = std::env::var(CHILD) {
        let (quick_repair, path) = child.split_once(' ').unwrap();
        write_until_killed(Path::new(path), quick_repair == "true");
    }
    let folder = tempfile::tempdir().unwrap();
    for (bytes, count) in [(1 << 10, 1000), (128 << 10, 300), (MIB, 256)] {
        let bare = bare(&folder.path().join("bare"), bytes, count);
        let ledger = appends(&folder.path().join(format!("ledger-{bytes}")), bytes, count);
        println!("{:>5} KiB: bare write and sync {}; append {}", bytes >> 10, told(bare, bytes), told(ledger, bytes));
    }
    for quick_repair in [false, true] {
        let path = folder.path().join(format!("killed-{quick_repair}"));
        let wrote = fill_and_kill(&path, quick_repair);
        let began = Instant::now();
        let database = Database::open(&path).unwrap();
        println!("1 GiB, quick repair {quick_repair}: written in {wrote:.1?}, opened after a kill in {:.1?}", began.elapsed());
        drop(database);
    }
}

fn told(mut times: Vec<Duration>, bytes: usize) -> String {
    times.sort();
    let total: Duration = times.iter().sum();
    let rate = (bytes * times.len()) as f64 / total.as_secs_f64() / 1e6;
    format!("p50 {:.2?} p99 {:.2?} {rate:.0} MB/s", times[times.len() / 2], times[times.len() * 99 / 100])
}

fn bare(path: &Path, bytes: usize, count: u64) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let group = vec![7; bytes];
    let times = (0..count).map(|_| {
        let began = Instant::now();
        file.write_all(&group).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    times.collect()
}

fn appends(path: &Path, bytes: usize, count: u64) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ledger = FileLedger::open(path).unwrap();
    // A group is of entries of 128 KiB, as segments are.
    let entries: Vec<_> = vec![7; bytes].chunks(128 << 10).map(Bytes::copy_from_slice).collect();
    let mut end = Position(0);
    let times = (0..count).map(|_| {
        let began = Instant::now();
        end = runtime.block_on(ledger.append(SHARD, end, entries.clone())).unwrap();
        began.elapsed()
    });
    times.collect()
}

fn fill_and_kill(path: &Path, quick_repair: bool) -> Duration {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, format!("{quick_repair} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let wrote = began.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    wrote
}

fn write_until_killed(path: &Path, quick_repair: bool) -> ! {
    let database = Database::create(path).unwrap();
    let entry = vec![7u8; 128 << 10];
    for at in 0.. {
        let mut write = database.begin_write().unwrap();
        write.set_quick_repair(quick_repair);
        let mut table = write.open_table(TABLE).unwrap();
        for nth in 0..8 {
            table.insert(at * 8 + nth, &*entry).unwrap();
        }
        drop(table);
        write.commit().unwrap();
        if at as usize * MIB == GIB {
            println!("written");
        }
    }
    unreachable!("the positions have come to an end")
}
