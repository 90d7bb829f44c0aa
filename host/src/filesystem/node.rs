//! What all calls of a node share: the space on its disk, and the files that its process may have open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The bytes that the files of all calls may take together.
#[derive(Debug)]
pub(crate) struct NodeDisk {
    capacity_bytes: u64,
    held_bytes: AtomicU64,
}

impl NodeDisk {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, held_bytes: AtomicU64::new(0) }
    }

    /// What calls hold of it.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Takes so much, if it is there.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.capacity_bytes);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The files that all calls may have open together.
#[derive(Debug)]
pub(crate) struct NodeFiles {
    capacity: usize,
    open: AtomicUsize,
}

impl NodeFiles {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, open: AtomicUsize::new(0) }
    }

    /// One of them, if there is one left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<NodeFile> {
        let fits = |open: usize| (open < self.capacity).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(NodeFile(Arc::clone(self)))
    }
}

/// One of the node's open files, until this is dropped.
#[derive(Debug)]
pub(crate) struct NodeFile(Arc<NodeFiles>);

impl Drop for NodeFile {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
