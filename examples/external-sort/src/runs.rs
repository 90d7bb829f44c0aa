//! Runs: sorted numbers in files, eight little-endian bytes each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What is read or written of one file at one time. The merge has so much of each of its files.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes the numbers into files of `run_numbers` each, every one of them sorted.
pub(crate) fn write_runs(folder: &Path, mut numbers: impl Iterator<Item = u64>, run_numbers: usize) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    // Its capacity is the budget: it never grows, and serves every run.
    let mut run = Vec::with_capacity(run_numbers);
    loop {
        run.clear();
        run.extend(numbers.by_ref().take(run_numbers));
        if run.is_empty() {
            return Ok(paths);
        }
        run.sort_unstable();
        let path = folder.join(format!("run-{:04}", paths.len()));
        let mut writer = Writer::create(&path)?;
        for &number in &run {
            writer.write(number)?;
        }
        writer.finish()?;
        paths.push(path);
    }
}

/// A file of numbers that is being written.
pub(crate) struct Writer(BufWriter<File>);

impl Writer {
    /// Refuses a file that is there already: nobody else writes here.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(BUFFER_BYTES, File::create_new(path)?)))
    }

    pub(crate) fn write(&mut self, number: u64) -> io::Result<()> {
        self.0.write_all(&number.to_le_bytes())
    }

    /// A writer that is only dropped keeps its last error to itself.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The numbers of a file, one after the other.
pub(crate) struct Stored(BufReader<File>);

impl Stored {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)))
    }
}

impl Iterator for Stored {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<io::Result<u64>> {
        match self.0.fill_buf() {
            Ok([]) => None,
            Ok(_) => {
                let mut bytes = [0; size_of::<u64>()];
                Some(self.0.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes)))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
