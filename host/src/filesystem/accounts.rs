//! What a call has on disk: bytes, entries, levels of folders. No I/O.
//!
//! An entry is room that is looked for first and taken once the operation is done: nothing else of the call happens in between.
//! Bytes are taken first, since all calls of the node take from the same, and what turns out not to be needed is given back.

use std::cell::Cell;
use std::collections::{HashMap, hash_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directories::Directories;
use super::node::NodeDisk;

/// The unit in which file systems give space to files: a page, on whatever has pages of 4 KiB. A file never takes more than its
/// size, rounded up to it, and is charged that much however sparse it is.
const BLOCK_BYTES: u64 = 4096;

/// For so many bytes there is one entry, as `mkfs.ext4` has it: an entry takes kernel memory and an inode, and seconds to be
/// removed with its like, even if it is empty.
const BYTES_PER_ENTRY: u64 = 16 << 10;

/// The least entries, so that a small disk is good for a few files.
const ENTRIES_LEAST: u64 = 64;

/// The most entries. A hundred thousand empty files take 3 s to be removed.
const ENTRIES_MOST: u64 = 1 << 20;

/// Levels of folders. Whatever walks a tree may need a descriptor or a stack frame for each; real trees have a dozen.
const DEPTH_MAX: u32 = 256;

/// What one call may have on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskLimits {
    pub(super) bytes_max: u64,
    pub(super) entries_max: u64,
    pub(super) depth_max: u32,
}

impl DiskLimits {
    pub(super) fn new(bytes_max: u64) -> Self {
        let entries_max = (bytes_max / BYTES_PER_ENTRY).clamp(ENTRIES_LEAST, ENTRIES_MOST);
        Self { bytes_max, entries_max, depth_max: DEPTH_MAX }
    }
}

/// What a file is known by: all of a call's are in one file system.
pub(super) type Inode = u64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) inode: Inode,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
}

/// The call, or its node, has no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSpace;

/// What there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Bytes,
    NodeBytes,
    Entries,
    Levels,
}

/// The accounts of one call.
#[derive(Debug)]
pub(super) struct Accounts {
    limits: DiskLimits,
    node: Arc<NodeDisk>,
    /// Every file that takes space, and no other: the kernel gives the inode of one that is gone to the next.
    files: HashMap<Inode, File>,
    directories: Directories,
    bytes: u64,
    entries: u64,
    bytes_written: u64,
    /// What there was no room for last.
    lacked: Cell<Option<Lack>>,
}

#[derive(Debug, Default)]
struct File {
    /// What it is charged, here and with the node.
    bytes: u64,
    /// Its hard links.
    names: u32,
    /// How many have it open.
    holders: u32,
}

impl Accounts {
    pub(super) fn new(limits: DiskLimits, node: Arc<NodeDisk>) -> Self {
        let directories = Directories::new(limits.depth_max);
        Self { limits, node, files: HashMap::new(), directories, bytes: 0, entries: 0, bytes_written: 0, lacked: Cell::new(None) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    fn lacks(&self, what: Lack) -> NoSpace {
        self.lacked.set(Some(what));
        NoSpace
    }

    /// What there was no room for last, in words. A guest sees only that there was none, and not even that where its libc asks no
    /// stream why it failed, as that of Rust 1.95 does not.
    pub(super) fn lacked(&self) -> Option<String> {
        let DiskLimits { bytes_max, entries_max, depth_max } = self.limits;
        Some(match self.lacked.get()? {
            Lack::Bytes => format!("its files may take {:.1} MiB together (.disk)", bytes_max as f64 / f64::from(1 << 20)),
            Lack::NodeBytes => "its node has no more room for the files of calls".to_owned(),
            Lack::Entries => format!("it may have {entries_max} files, folders and links (one for every 16 KiB of .disk)"),
            Lack::Levels => format!("its folders may be {depth_max} deep"),
        })
    }

    pub(super) fn wrote(&mut self, bytes: u64) {
        self.bytes_written += bytes;
    }

    /// Whether there is room for one more name.
    pub(super) fn room_for_entry(&self) -> Result<(), NoSpace> {
        if self.entries < self.limits.entries_max { Ok(()) } else { Err(self.lacks(Lack::Entries)) }
    }

    /// A file was opened, and is `size` bytes long. One that is not known was made by that.
    pub(super) fn open(&mut self, inode: Inode, size: u64) {
        let file = match self.files.entry(inode) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(unknown) => {
                self.entries += 1;
                unknown.insert(File { names: 1, ..File::default() })
            }
        };
        file.holders += 1;
        // Opening may have cut it.
        self.settle(inode, size);
    }

    /// Who opened it no longer has it open.
    pub(super) fn close(&mut self, inode: Inode) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.holders = file.holders.saturating_sub(1);
            self.forget_if_gone(inode);
        }
    }

    /// Takes what an open file needs to be `size` bytes long.
    pub(super) fn grow(&mut self, inode: Inode, size: u64) -> Result<(), NoSpace> {
        let bytes = size.checked_next_multiple_of(BLOCK_BYTES).ok_or_else(|| self.lacks(Lack::Bytes))?;
        let more = bytes.saturating_sub(self.files.get(&inode).ok_or(NoSpace)?.bytes);
        let free = self.limits.bytes_max.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        if more > free {
            return Err(self.lacks(Lack::Bytes));
        }
        if !self.node.take(more) {
            return Err(self.lacks(Lack::NodeBytes));
        }
        if let Some(file) = self.files.get_mut(&inode) {
            file.bytes += more;
        }
        self.bytes += more;
        Ok(())
    }

    /// Gives back what a file of `size` bytes does not need. It is never more than was taken for it: only [`grow`](Self::grow)
    /// lets it become longer.
    pub(super) fn settle(&mut self, inode: Inode, size: u64) {
        let Some(file) = self.files.get_mut(&inode) else { return };
        let bytes = size.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
        let less = file.bytes.saturating_sub(bytes);
        file.bytes -= less;
        self.bytes -= less;
        self.node.give_back(less);
    }

    /// A file or a symlink has one more name.
    pub(super) fn add_name(&mut self, entry: Entry) {
        self.entries += 1;
        if let Some(file) = self.files.get_mut(&entry.inode) {
            file.names += 1;
        }
    }

    /// A symlink was made. It is known by its entry alone.
    pub(super) fn add_symlink(&mut self) {
        self.entries += 1;
    }

    /// A name is gone, and with its last one what it stood for.
    pub(super) fn remove_name(&mut self, entry: Entry) {
        self.entries = self.entries.saturating_sub(1);
        match entry.kind {
            Kind::File => {
                if let Some(file) = self.files.get_mut(&entry.inode) {
                    file.names = file.names.saturating_sub(1);
                    self.forget_if_gone(entry.inode);
                }
            }
            Kind::Directory => self.directories.remove(entry.inode),
            Kind::Symlink => {}
        }
    }

    /// The call's directory itself, which is no entry.
    pub(super) fn add_root(&mut self, inode: Inode) {
        self.directories.add_root(inode);
    }

    /// Whether there is room for a folder in another.
    pub(super) fn room_for_directory(&self, parent: Inode) -> Result<(), NoSpace> {
        self.room_for_entry()?;
        if self.directories.may_add(parent) { Ok(()) } else { Err(self.lacks(Lack::Levels)) }
    }

    pub(super) fn add_directory(&mut self, inode: Inode, parent: Inode) {
        self.entries += 1;
        self.directories.add(inode, parent);
    }

    /// Whether what has this name may move to another folder: a folder may not become too deep, with all that is in it.
    pub(super) fn room_to_move(&self, moved: Entry, parent: Inode) -> Result<(), NoSpace> {
        let fits = moved.kind != Kind::Directory || self.directories.may_move(moved.inode, parent);
        if fits { Ok(()) } else { Err(self.lacks(Lack::Levels)) }
    }

    /// Something has moved to the folder `parent`, where its new name may have stood for something else.
    pub(super) fn rename(&mut self, moved: Entry, parent: Inode, replaced: Option<Entry>) {
        if let Some(replaced) = replaced {
            // Of two names for one file the kernel leaves both.
            if replaced.inode == moved.inode {
                return;
            }
            self.remove_name(replaced);
        }
        if moved.kind == Kind::Directory {
            self.directories.move_to(moved.inode, parent);
        }
    }

    fn forget_if_gone(&mut self, inode: Inode) {
        if let hash_map::Entry::Occupied(file) = self.files.entry(inode)
            && file.get().names == 0
            && file.get().holders == 0
        {
            let bytes = file.remove().bytes;
            self.bytes -= bytes;
            self.node.give_back(bytes);
        }
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        self.node.give_back(self.bytes);
    }
}

/// The accounts as the disk of a call and its open files share them.
#[derive(Clone, Debug)]
pub(super) struct SharedAccounts(Arc<Mutex<Accounts>>);

impl SharedAccounts {
    pub(super) fn new(accounts: Accounts) -> Self {
        Self(Arc::new(Mutex::new(accounts)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILES: usize = 4;
    const BLOCKS_MAX: u64 = 8;
    const ENTRIES_MAX: u64 = 6;

    /// What a file is, as a test knows it.
    #[derive(Clone, Copy, Debug, Default)]
    struct Modeled {
        size: u64,
        names: u64,
        holders: u64,
    }

    impl Modeled {
        fn charge(&self) -> u64 {
            self.size.next_multiple_of(BLOCK_BYTES)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Open,
        Close,
        Resize(u64),
        Link,
        Unlink,
    }

    fn acts() -> impl Strategy<Value = Vec<(Act, usize)>> {
        let act = prop_oneof![
            Just(Act::Open),
            Just(Act::Close),
            (0..6 * BLOCK_BYTES).prop_map(Act::Resize),
            Just(Act::Link),
            Just(Act::Unlink),
        ];
        prop::collection::vec((act, 0..FILES), 0..80)
    }

    proptest! {
        #[test]
        fn accounts_are_as_the_files_are(acts in acts()) {
            let node = Arc::new(NodeDisk::new(u64::MAX));
            let limits = DiskLimits { bytes_max: BLOCKS_MAX * BLOCK_BYTES, entries_max: ENTRIES_MAX, depth_max: 1 };
            let mut accounts = Accounts::new(limits, Arc::clone(&node));
            let mut files = [Modeled::default(); FILES];
            for (act, number) in acts {
                let inode = number as Inode;
                let entry = Entry { inode, kind: Kind::File };
                let others = files.iter().enumerate().filter(|(other, _)| *other != number);
                let others: u64 = others.map(|(_, file)| file.charge()).sum();
                let file = &mut files[number];
                match act {
                    Act::Open => {
                        let is_new = file.names + file.holders == 0;
                        if !is_new || accounts.room_for_entry().is_ok() {
                            accounts.open(inode, file.size);
                            file.holders += 1;
                            file.names += u64::from(is_new);
                        }
                    }
                    Act::Close if file.holders > 0 => {
                        accounts.close(inode);
                        file.holders -= 1;
                    }
                    Act::Resize(size) if file.holders > 0 => {
                        let fits = others + size.next_multiple_of(BLOCK_BYTES) <= limits.bytes_max;
                        let grown = accounts.grow(inode, size);
                        prop_assert_eq!(grown.is_ok(), fits || size <= file.charge());
                        if grown.is_ok() {
                            accounts.settle(inode, size);
                            file.size = size;
                        }
                    }
                    Act::Link if file.names > 0 && accounts.room_for_entry().is_ok() => {
                        accounts.add_name(entry);
                        file.names += 1;
                    }
                    Act::Unlink if file.names > 0 => {
                        accounts.remove_name(entry);
                        file.names -= 1;
                    }
                    _ => {}
                }
                if file.names + file.holders == 0 {
                    *file = Modeled::default();
                }
                prop_assert_eq!(node.held_bytes(), files.iter().map(Modeled::charge).sum::<u64>());
                prop_assert_eq!(accounts.entries(), files.iter().map(|file| file.names).sum::<u64>());
                prop_assert!(accounts.entries() <= ENTRIES_MAX);
            }
            drop(accounts);
            prop_assert_eq!(node.held_bytes(), 0);
        }
    }

    #[test]
    fn a_size_that_is_no_size_is_too_much() {
        let node = Arc::new(NodeDisk::new(u64::MAX));
        let mut accounts = Accounts::new(DiskLimits::new(u64::MAX), node);
        accounts.open(1, 0);
        assert_eq!(accounts.grow(1, u64::MAX), Err(NoSpace));
    }

    #[test]
    fn what_the_node_does_not_have_no_call_gets() {
        let node = Arc::new(NodeDisk::new(3 * BLOCK_BYTES));
        let mut calls = [(); 2].map(|()| Accounts::new(DiskLimits::new(u64::MAX), Arc::clone(&node)));
        calls.iter_mut().for_each(|call| call.open(1, 0));
        assert_eq!(calls[0].grow(1, 2 * BLOCK_BYTES), Ok(()));
        assert_eq!(calls[1].grow(1, 2 * BLOCK_BYTES), Err(NoSpace));
        calls[0].settle(1, 1);
        assert_eq!(calls[1].grow(1, 2 * BLOCK_BYTES), Ok(()));
        assert_eq!(node.held_bytes(), 3 * BLOCK_BYTES);
    }

    #[test]
    fn entries_go_by_the_size_of_the_disk() {
        let entries = |bytes_max| DiskLimits::new(bytes_max).entries_max;
        assert_eq!([0, 4 << 30, u64::MAX].map(entries), [64, 1 << 18, 1 << 20]);
    }
}
