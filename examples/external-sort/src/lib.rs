//! What the grid runs: sorts more numbers than a call has memory for, with files in the call's own directory.
//!
//! 1. The numbers are made from a seed, one by one (`numbers.rs`);
//! 2. they are sorted in runs of [`RUN_BYTES`], and each run is written to a file (`runs.rs`);
//! 3. the runs are merged into one file, through small buffers (`merge.rs`);
//! 4. that file is read once more, to check it and to say what is in it.

mod merge;
mod numbers;
mod runs;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use merge::merge_into_one;
pub use numbers::{Checksum, random};
use runs::{Stored, write_runs};

/// How much of the numbers a call holds in memory at one time.
pub const RUN_BYTES: usize = 8 << 20;

/// What a call says of the numbers that it sorted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub count: u64,
    /// The least.
    pub first: u64,
    /// The greatest.
    pub last: u64,
    /// Depends on every number and on their order.
    pub checksum: u64,
    /// How many files of sorted runs were merged.
    pub runs: u64,
    /// How many entries the call's `/tmp` had when the call began.
    pub found_at_start: u64,
}

/// Sorts so many random numbers. All calls use the same file names; each has a directory of its own as `/`, and in it an
/// empty `/tmp`.
#[burla::function]
pub fn sort(seed: u64, count: u64) -> io::Result<Summary> {
    sort_in(Path::new("/tmp"), random(seed, count), RUN_BYTES / size_of::<u64>())
}

/// Sorts numbers with files in `folder`, holding `run_numbers` of them at one time.
fn sort_in(folder: &Path, numbers: impl Iterator<Item = u64>, run_numbers: usize) -> io::Result<Summary> {
    let found_at_start = std::fs::read_dir(folder)?.count() as u64;
    let mut made = Tally::default();
    let runs = write_runs(folder, numbers.inspect(|&number| made.add(number)), run_numbers)?;
    let run_files = runs.len() as u64;
    let sorted = merge_into_one(folder, runs)?;

    let (mut read, mut checksum) = (Tally::default(), Checksum::default());
    let mut ends: Option<(u64, u64)> = None;
    for number in Stored::open(&sorted)? {
        let number = number?;
        let (first, previous) = ends.unwrap_or((number, number));
        if number < previous {
            return Err(io::Error::other(format!("number {} of the sorted file is less than the one before it", read.count)));
        }
        ends = Some((first, number));
        read.add(number);
        checksum.add(number);
    }
    if read != made {
        return Err(io::Error::other(format!("the sorted file has other numbers: {read:?}, and there were {made:?}")));
    }
    let (first, last) = ends.ok_or_else(|| io::Error::other("there is nothing to sort"))?;
    Ok(Summary { count: read.count, first, last, checksum: checksum.value(), runs: run_files, found_at_start })
}

/// Tells two collections of numbers apart whatever their order, all but surely.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    count: u64,
    /// Modulo 2⁶⁴.
    sum: u64,
}

impl Tally {
    fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_hold_what_a_sort_in_memory_does() {
        // Less than a run, exactly some, many, and more than are merged at one time.
        for (count, run_numbers) in [(1, 10), (5, 10), (20, 10), (21, 10), (1000, 100), (1000, 3)] {
            let folder = tempfile::tempdir().unwrap();
            let summary = sort_in(folder.path(), random(7, count), run_numbers).unwrap();
            let mut numbers: Vec<u64> = random(7, count).collect();
            numbers.sort_unstable();
            let expected = Summary {
                count,
                first: numbers[0],
                last: numbers[numbers.len() - 1],
                checksum: Checksum::of(&numbers),
                runs: count.div_ceil(run_numbers as u64),
                found_at_start: 0,
            };
            assert_eq!(summary, expected, "{count} numbers in runs of {run_numbers}");
        }
    }

    #[test]
    fn what_another_left_would_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("another"), "").unwrap();
        assert_eq!(sort_in(folder.path(), random(1, 10), 3).unwrap().found_at_start, 1);
    }

    #[test]
    fn what_another_writes_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        sort_in(folder.path(), random(1, 10), 3).unwrap();
        let error = sort_in(folder.path(), random(1, 10), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn nothing_cannot_be_sorted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sort_in(folder.path(), random(1, 0), 3).is_err());
    }
}
