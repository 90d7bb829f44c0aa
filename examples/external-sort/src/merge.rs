//! Many sorted files become one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::path::{Path, PathBuf};

use crate::runs::{Stored, Writer};

/// How many files are merged at one time. Each has a buffer and an open file, and a call may have only so many of these.
const MERGED_MAX: usize = 32;

/// Merges the runs until one file is left, and returns where it is.
pub(crate) fn merge_into_one(folder: &Path, mut runs: Vec<PathBuf>) -> io::Result<PathBuf> {
    let mut merges = 0;
    loop {
        // The shortest come first, because what is merged goes to the end.
        let some: Vec<PathBuf> = runs.drain(..runs.len().min(MERGED_MAX)).collect();
        let merged = folder.join(format!("merged-{merges:04}"));
        merge(&some, &merged)?;
        merges += 1;
        if runs.is_empty() {
            return Ok(merged);
        }
        for path in some {
            std::fs::remove_file(path)?;
        }
        runs.push(merged);
    }
}

/// Takes the least of what the runs begin with, again and again.
fn merge(paths: &[PathBuf], merged: &Path) -> io::Result<()> {
    let mut runs = paths.iter().map(|path| Stored::open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (index, run) in runs.iter_mut().enumerate() {
        if let Some(number) = run.next() {
            heads.push(Reverse((number?, index)));
        }
    }
    let mut writer = Writer::create(merged)?;
    while let Some(mut least) = heads.peek_mut() {
        let Reverse((number, index)) = *least;
        writer.write(number)?;
        match runs[index].next() {
            Some(next) => *least = Reverse((next?, index)),
            None => {
                PeekMut::pop(least);
            }
        }
    }
    writer.finish()
}
