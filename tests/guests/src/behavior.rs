//! What a well-behaved function does: prints, reads and writes files, looks at clocks and the environment.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

/// Prints `lines` lines of its own number, in pieces, the last one without a newline.
#[burla::function]
pub fn prints(number: u64, lines: u64) -> u64 {
    for line in 0..lines {
        print!("call {number} ");
        let _ = std::io::stdout().flush();
        print!("line {line}");
        if line + 1 < lines {
            println!();
        }
    }
    number
}

/// Prints one line to each stream.
#[burla::function]
pub fn prints_to_both(number: u64) {
    println!("out {number}");
    eprintln!("err {number}");
}

/// Writes a file, reads it back, and returns what its directory held before and after.
#[burla::function]
pub fn uses_its_directory(number: u64) -> std::io::Result<(Vec<String>, String, Vec<String>)> {
    let before = names()?;
    std::fs::create_dir_all("deep/er")?;
    std::fs::write("deep/er/file.txt", format!("written by {number}"))?;
    std::fs::rename("deep/er/file.txt", "/file.txt")?;
    let read = std::fs::read_to_string("file.txt")?;
    Ok((before, read, names()?))
}

fn names() -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir("/")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Tries to leave its directory; returns what it could read outside.
#[burla::function]
pub fn looks_outside() -> Vec<String> {
    let paths = ["../", "/..", "/etc/passwd", "/proc/self/environ", "../../etc/hostname"];
    let reads = |path: &&str| std::fs::read(path).is_ok() || (std::fs::read_dir(path).is_ok() && !path.contains(".."));
    paths.into_iter().filter(reads).map(str::to_owned).collect()
}

/// Returns its whole environment.
#[burla::function]
pub fn environment() -> Vec<(String, String)> {
    let mut variables: Vec<_> = std::env::vars().collect();
    variables.sort();
    variables
}

/// Sleeps, and returns how long by its own clock, with the wall clock's seconds.
#[burla::function]
pub fn sleeps(milliseconds: u64) -> (u64, u64) {
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(milliseconds));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), now)
}

/// Prints that it starts, sleeps, and returns an answer that depends on the number alone; [`answer`] says which.
#[burla::function]
pub fn answers(number: u64, milliseconds: u64) -> u64 {
    println!("start {number}");
    std::thread::sleep(Duration::from_millis(milliseconds));
    answer(number)
}

/// What [`answers`] returns.
pub fn answer(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1
}

/// The same with other answers: the number, and so many bytes of text.
#[burla::function]
pub fn answers_at_length(number: u64, milliseconds: u64, bytes: usize) -> (u64, String) {
    std::thread::sleep(Duration::from_millis(milliseconds));
    (number, text_of(number, bytes))
}

/// A text of so many bytes, another for each number, of which not much is left when it is compressed.
pub fn text_of(number: u64, bytes: usize) -> String {
    format!("{number:020} ").chars().cycle().take(bytes).collect()
}

/// Fails so often of a hundred times, as its node's randomness has it.
#[burla::function]
pub fn fails_by_chance(number: u64, percent: u32) -> Result<u64, String> {
    use rand::Rng;
    if rand::rng().random_range(0..100) < percent { Err(format!("{number} had no luck")) } else { Ok(number) }
}

/// Sleeps, and returns when it started and ended by the wall clock, in milliseconds: what calls ran at the same time.
#[burla::function]
pub fn occupies(milliseconds: u64) -> (u128, u128) {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let started = now();
    std::thread::sleep(Duration::from_millis(milliseconds));
    (started, now())
}

/// Takes this many MiB, keeps them for a while, and returns how many bytes those were.
#[burla::function]
pub fn holds_memory(mebibytes: usize, milliseconds: u64) -> usize {
    let held = std::hint::black_box(vec![1u8; mebibytes << 20]);
    std::thread::sleep(Duration::from_millis(milliseconds));
    held.len()
}

/// Counts how often it was called in this instance.
#[burla::function]
pub fn counts_calls() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Prints its number, and fails where it is asked to.
#[burla::function]
pub fn prints_and_may_fail(number: u64) -> Result<u64, String> {
    eprintln!("working on {number}");
    if number == 3 { Err("three is not allowed".to_owned()) } else { Ok(number) }
}
