//! A file that is open: the only place where bytes reach a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use rustix::io::Errno;

use super::accounts::{Inode, NoSpace, SharedAccounts};
use super::node::NodeFile;

/// One open file of the call, and of the node, until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_call: Arc<()>,
    _of_node: NodeFile,
}

impl Slot {
    pub(super) fn new(of_call: Arc<()>, of_node: NodeFile) -> Self {
        Self { _of_call: of_call, _of_node: of_node }
    }
}

/// A regular file that is open. Its descriptor and the streams over it share this: while one of them is there, so is the file,
/// whether it still has a name or not.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: Arc<File>,
    inode: Inode,
    accounts: SharedAccounts,
    _slot: Slot,
}

impl OpenFile {
    /// Takes account of a file that was just opened.
    pub(super) fn new(file: Arc<File>, accounts: SharedAccounts, slot: Slot) -> io::Result<Self> {
        let metadata = file.metadata()?;
        accounts.lock().open(metadata.ino(), metadata.len());
        Ok(Self { file, inode: metadata.ino(), accounts, _slot: slot })
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Writes some of these bytes, at least one, and returns how many.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // Writing nothing makes no file longer, wherever it is written.
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.accounts.lock().grow(self.inode, end)?;
        let written = self.file.write_at(bytes, offset);
        let count = written.as_ref().map_or(0, |count| *count);
        self.accounts.lock().wrote(count as u64);
        if count < bytes.len() {
            self.settle();
        }
        written
    }

    pub(super) fn set_size(&self, size: u64) -> io::Result<()> {
        self.accounts.lock().grow(self.inode, size)?;
        let set = self.file.set_len(size);
        self.settle();
        set
    }

    /// Gives back what it turned out not to need. Where its size cannot be had, it stays charged for what it might be.
    fn settle(&self) {
        if let Ok(size) = self.size() {
            self.accounts.lock().settle(self.inode, size);
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.accounts.lock().close(self.inode);
    }
}

impl From<NoSpace> for io::Error {
    fn from(_: NoSpace) -> Self {
        Errno::NOSPC.into()
    }
}
