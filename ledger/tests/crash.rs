//! A process that appends is killed, again and again: what it was told to be there is there, groups are whole, and nothing else is.

#![expect(clippy::unwrap_used, reason = "what is checked here fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, UNIX_EPOCH};

use burla_ledger::{FileLedger, Ledger, Position, Shard};
use bytes::Bytes;

/// In the child: the file that it appends to.
const LEDGER: &str = "BURLA_TEST_CRASH_LEDGER";

const SHARD: Shard = Shard(2);
const ROUNDS: u32 = 24;
/// Groups that are acknowledged before the child is killed, at most.
const GROUPS_MAX: u64 = 40;
const ROUND_TIME_MAX: Duration = Duration::from_secs(30);

/// What is at a position follows from it: its group begins where a length says, which is in each of its entries.
fn entry(first: u64, count: u64, at: u64) -> Bytes {
    let length = (at * 37 % 3000) as usize;
    let mut text = format!("{first} {count} {at} ").into_bytes();
    text.resize(text.len() + length, b'x');
    text.into()
}

/// The child's life: appends groups behind what is there, and prints the end after each.
#[tokio::test]
async fn the_child_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(LEDGER) else { return };
    let ledger = FileLedger::open(path).unwrap();
    let mut end = ledger.end(SHARD).await.unwrap();
    println!("\nfrom {end}");
    loop {
        let count = end.0 * 7919 % 23 + 1;
        let group = (end.0..end.0 + count).map(|at| entry(end.0, count, at)).collect();
        end = ledger.append(SHARD, end, group).await.unwrap();
        println!("end {end}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let seed = UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut random = seed;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let began = Instant::now();
        acknowledged = run_and_kill(&path, random % GROUPS_MAX, acknowledged);
        let opened = Instant::now();
        let ledger = FileLedger::open(&path).unwrap();
        let opened = opened.elapsed();
        let end = check(&ledger, acknowledged).await;
        println!("round {round}: {acknowledged} acknowledged, {end} there, opened in {opened:?}");
        acknowledged = end;
        assert!(began.elapsed() < ROUND_TIME_MAX, "seed {seed}: round {round} took {:?}", began.elapsed());
    }
    assert!(acknowledged > 0);
}

/// Lets a child append until it has acknowledged some groups, and kills it while it goes on. Returns the last acknowledged end.
fn run_and_kill(path: &Path, groups: u64, mut acknowledged: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_appends_until_it_is_killed", "--nocapture"])
        .env(LEDGER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(child.stdout.take().unwrap());
    let mut groups_left = groups;
    let mut killed = false;
    // Up to the end of its output, since it may have acknowledged more before it died.
    loop {
        let line = match lines.recv_timeout(ROUND_TIME_MAX) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("the child has printed nothing for {ROUND_TIME_MAX:?}; {acknowledged} entries were acknowledged");
            }
        };
        if let Some(from) = line.strip_prefix("from ") {
            assert!(from.parse::<u64>().unwrap() >= acknowledged, "the child began at {from}, behind {acknowledged}");
        } else if let Some(end) = line.strip_prefix("end ") {
            // The last line may be cut off anywhere, and then says less than it would.
            acknowledged = acknowledged.max(end.parse().unwrap_or(0));
        } else {
            continue;
        }
        groups_left = groups_left.saturating_sub(1);
        if groups_left == 0 && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    // It was killed, or has closed its output, which it does when it ends.
    let status = child.wait().unwrap();
    assert!(killed, "the child ended by itself: {status}");
    acknowledged
}

/// The lines of a child, read by a thread, so that waiting for the next has a limit.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Checks every entry, and returns the end.
async fn check(ledger: &FileLedger, acknowledged: u64) -> u64 {
    let entries = ledger.read(SHARD, Position(0), usize::MAX).await.unwrap();
    let end = ledger.end(SHARD).await.unwrap().0;
    assert!(end >= acknowledged, "{acknowledged} were acknowledged and {end} are there");
    assert_eq!(entries.len() as u64, end);
    let mut first = 0;
    while first < end {
        let count = first * 7919 % 23 + 1;
        assert!(first + count <= end, "the group at {first} is not whole");
        for at in first..first + count {
            assert!(entries[at as usize] == (Position(at), entry(first, count, at)), "entry {at} is another");
        }
        first += count;
    }
    end
}
