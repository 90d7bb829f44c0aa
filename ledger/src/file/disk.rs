//! A disk that fails as a test wants it.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// What happens to writes, shared by all that have the disk open.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many writes succeed before one fails. Counts on below zero.
    writes_left: AtomicI64,
    mode: AtomicU8,
}

/// redb's own, the first page.
const HEADER_BYTES: u64 = 4096;

const WORKS: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;
/// Only syncs fail.
const UNSYNCED: u8 = 3;

impl Faults {
    /// From so many writes on, there is no space for more. The header has its place since the file was made.
    pub(super) fn full_after(&self, writes: i64) {
        self.set(FULL, writes);
    }

    /// From so many writes and syncs on, each fails.
    pub(super) fn broken_after(&self, writes: i64) {
        self.set(BROKEN, writes);
    }

    /// From so many syncs on, each fails.
    pub(super) fn unsynced_after(&self, syncs: i64) {
        self.set(UNSYNCED, syncs);
    }

    pub(super) fn works(&self) {
        self.set(WORKS, 0);
    }

    fn set(&self, mode: u8, writes: i64) {
        self.0.writes_left.store(writes, Ordering::SeqCst);
        self.0.mode.store(mode, Ordering::SeqCst);
    }

    fn meet(&self, modes: &[u8]) -> io::Result<()> {
        let mode = self.0.mode.load(Ordering::SeqCst);
        if !modes.contains(&mode) || self.0.writes_left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        // The numbers of ENOSPC and EIO.
        Err(io::Error::from_raw_os_error(if mode == FULL { 28 } else { 5 }))
    }
}

#[derive(Debug)]
pub(super) struct FaultyDisk {
    file: FileBackend,
    faults: Faults,
}

impl FaultyDisk {
    pub(super) fn new(file: FileBackend, faults: Faults) -> Self {
        Self { file, faults }
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.meet(&[FULL, BROKEN])?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.meet(&[BROKEN, UNSYNCED])?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.meet(if offset < HEADER_BYTES { &[BROKEN] } else { &[FULL, BROKEN] })?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
