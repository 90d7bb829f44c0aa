//! The private directory of a call: empty when it starts, and nothing of it left when it is over.
//!
//! Most calls never ask for theirs, and have none. Making and removing one takes 100–240 µs on ext4, more than all the rest of a call
//! that keeps a small file. So one that has few files in it, and at most one level of folders, is cleared where it is and serves again: as
//! new, since it is verified to be empty, as small as it was, and given the time of the call that gets it. Any other is taken apart, off
//! the hot path.
//!
//! A node that was killed cannot clean up after itself. Its folder is locked for as long as it lives, so that the next node that
//! starts beside it can tell, and takes apart what no one holds any more.
//!
//! Taking apart is done by hand. The usual recursion overflows the stack of its thread on a tree of 15,000 levels, or runs out of
//! descriptors; here every nested directory is first moved to the top, so that both stay constant.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::filesystem::{Charge, NodeFile, can_let_others_go};

/// Empty directories that are kept for the next calls, each with a descriptor. More are made as they are needed.
const IDLE_MAX: usize = 256;

/// Bytes and entries up to which a directory is cleared where it is, and serves again: a few unlinked files take less than a new directory
/// does, 43 µs on ext4 against 86. What takes longer is the cleaner's.
const CLEARED_BYTES_MAX: u64 = 1 << 20;
const CLEARED_ENTRIES_MAX: u64 = 16;

/// Directories that may wait to be taken apart. Past this the call that made the mess waits for it to be cleared, which holds
/// back calls that write faster than the disk can forget.
const TRASH_MAX: usize = 1024;

/// Makes private directories, and makes them go away.
pub(crate) struct ScratchPool {
    shared: Arc<Shared>,
    /// `None` once the pool is closed.
    cleaner: Mutex<Option<Cleaner>>,
}

/// The thread that takes directories apart, and the way to it.
struct Cleaner {
    trash: SyncSender<Trash>,
    thread: std::thread::JoinHandle<()>,
}

/// What the folders of nodes begin with, below that for all.
const BASE_PREFIX: &str = "burla-sandboxes-";

/// The same for one that is being made, and not locked yet.
const NEW_PREFIX: &str = "burla-new-";

/// A directory to be taken apart, and what it is charged until it is gone.
struct Trash {
    path: PathBuf,
    _charge: Option<Charge>,
}

struct Shared {
    /// Removed with everything in it when the node ends.
    base: PathBuf,
    base_dir: Dir,
    /// Says until then that the folder is in use.
    _lock: OwnedFd,
    next: AtomicU64,
    idle: Mutex<Vec<Entry>>,
}

/// An empty directory as it was when it was made, or last cleared.
struct Entry {
    path: PathBuf,
    /// Opened so that looking into it leaves no trace, which would be taken for a guest's.
    listing: rustix::fs::Dir,
    made: Stamp,
}

/// What the kernel changes about a directory whenever anything is done with it. `ctime` cannot be set by anyone.
#[derive(Clone, Copy, PartialEq)]
struct Stamp {
    modified: (i64, u64),
    changed: (i64, u64),
    accessed: (i64, u64),
    mode: u32,
    /// A directory that has had many entries stays large on some file systems.
    size: i64,
}

impl ScratchPool {
    /// Opens a pool in a new folder below `parent`.
    pub(crate) fn open(parent: &Path) -> io::Result<Self> {
        burla_blobs::make_private_dir(parent)?;
        let (base, lock) = make_base(parent)?;
        let base_dir = Dir::open_ambient_dir(&base, ambient_authority())?;
        base_dir.create_dir("trash")?;
        let shared = Arc::new(Shared { base, base_dir, _lock: lock, next: AtomicU64::new(0), idle: Mutex::default() });
        let (trash, receiver) = sync_channel::<Trash>(TRASH_MAX);
        let for_cleaner = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("burla-clean".to_owned()).spawn(move || {
            while let Ok(trash) = receiver.recv() {
                for_cleaner.take_apart(&trash.path);
            }
        })?;
        sweep(parent, &shared, &trash);
        Ok(Self { shared, cleaner: Mutex::new(Some(Cleaner { trash, thread })) })
    }

    /// An empty directory for one call.
    pub(crate) fn take(self: &Arc<Self>) -> io::Result<Scratch> {
        let idle = self.shared.idle().pop();
        let mut entry = match idle {
            Some(entry) => entry,
            None => self.shared.make()?,
        };
        entry.make_new()?;
        Ok(Scratch { entry: Some(entry), charge: None, pool: Arc::clone(self) })
    }

    fn give_back(&self, mut entry: Entry, charge: Option<Charge>) {
        let is_small = charge.as_ref().is_none_or(|charge| charge.is_at_most(CLEARED_BYTES_MAX, CLEARED_ENTRIES_MAX));
        if entry.is_untouched() || (is_small && entry.clear().unwrap_or(false)) {
            let mut idle = self.shared.idle();
            if idle.len() < IDLE_MAX {
                idle.push(entry);
                return;
            }
        }
        let Entry { path, listing, .. } = entry;
        drop(listing);
        let trash = self.cleaner().as_ref().map(|cleaner| cleaner.trash.clone());
        // Closed: whoever closed it removes everything.
        let Some(trash) = trash else { return };
        let thrown = trash.try_send(Trash { path, _charge: charge });
        if let Err(TrySendError::Full(trash) | TrySendError::Disconnected(trash)) = thrown {
            let take_apart = || self.shared.take_apart(&trash.path);
            if can_let_others_go() { tokio::task::block_in_place(take_apart) } else { take_apart() }
        }
    }
}

impl ScratchPool {
    /// Waits until everything that was thrown away is gone, and removes the rest. Blocks.
    pub(crate) fn close(&self) {
        let Some(Cleaner { trash, thread }) = self.cleaner().take() else { return };
        // The thread ends once it has taken apart what is still queued.
        drop(trash);
        let _ = thread.join();
        let base = &self.shared.base;
        if let Err(error) = std::fs::remove_dir_all(base) {
            tracing::warn!(%error, path = %base.display(), "cannot remove the folder of calls' directories");
        }
    }

    fn cleaner(&self) -> std::sync::MutexGuard<'_, Option<Cleaner>> {
        self.cleaner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScratchPool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a folder that is locked before anyone takes it for one that was left behind.
fn make_base(parent: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let new = tempfile::Builder::new().prefix(NEW_PREFIX).tempdir_in(parent)?;
    let lock = lock(new.path())?;
    let name = new.path().file_name().unwrap_or_default().to_string_lossy().replace(NEW_PREFIX, BASE_PREFIX);
    let base = parent.join(name);
    std::fs::rename(new.keep(), &base)?;
    Ok((base, lock))
}

/// Locks a folder that nobody has locked. The lock goes with the descriptor, however its process ends.
fn lock(folder: &Path) -> io::Result<OwnedFd> {
    let opened = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    Ok(opened)
}

/// Throws away what nodes have left that were killed.
fn sweep(parent: &Path, shared: &Shared, trash: &SyncSender<Trash>) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(BASE_PREFIX) || path == shared.base {
            continue;
        }
        // Its node lives, or it is someone else's. The lock is kept until it has another name.
        let Ok(_lock) = lock(&path) else { continue };
        let moved = shared.base.join(shared.unique());
        match std::fs::rename(&path, &moved) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removing what a node has left that was killed");
                // The thread lives as long as the pool, and the queue is empty. What does not fit goes with the pool.
                let _ = trash.try_send(Trash { path: moved, _charge: None });
            }
            Err(error) => tracing::warn!(%error, path = %path.display(), "cannot remove what a killed node has left"),
        }
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unique(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    fn make(&self) -> io::Result<Entry> {
        let name = self.unique();
        self.base_dir.create_dir(&name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.base_dir, &name, flags, Mode::empty())?;
        let listing = rustix::fs::Dir::new(opened)?;
        let made = Stamp::of(&listing)?;
        Ok(Entry { path: self.base.join(name), listing, made })
    }

    fn take_apart(&self, path: &Path) {
        if let Err(error) = self.try_take_apart(path) {
            tracing::error!(%error, path = %path.display(), "cannot remove a call's directory");
        }
    }

    /// Removes a tree with two descriptors and no recursion: files go at once, directories move up into `trash` and wait their
    /// turn.
    fn try_take_apart(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or_else(|| io::Error::other("a directory without a name"))?;
        let trash = self.base_dir.open_dir("trash")?;
        let first = self.unique();
        self.base_dir.rename(name, &trash, &first)?;
        let mut waiting = vec![first];
        while let Some(name) = waiting.pop() {
            let dir = trash.open_dir(&name)?;
            for entry in dir.entries()? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    let moved = self.unique();
                    dir.rename(entry.file_name(), &trash, &moved)?;
                    waiting.push(moved);
                } else {
                    dir.remove_file(entry.file_name())?;
                }
            }
            drop(dir);
            trash.remove_dir(&name)?;
        }
        Ok(())
    }
}

impl Entry {
    fn is_untouched(&mut self) -> bool {
        // The stamp alone would do, were clocks fine enough: what happens within the same tick leaves none. An entry would show.
        Stamp::of(&self.listing).is_ok_and(|now| now == self.made) && self.is_empty()
    }

    /// Gives it the time of now, whatever it was used for before. Of its past only the time of its birth is left, which a guest can see.
    fn make_new(&mut self) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        rustix::fs::futimens(self.listing.fd()?, &Timestamps { last_access: now, last_modification: now })?;
        self.made = Stamp::of(&self.listing)?;
        Ok(())
    }

    /// Removes the files in it, and the folders that have nothing but files in them. Returns whether it is now as a new one: not where there
    /// are folders in these, or where it has become larger, or another in anything but its times.
    fn clear(&mut self) -> io::Result<bool> {
        if !clear_folder(&mut self.listing, true)? {
            return Ok(false);
        }
        let now = Stamp::of(&self.listing)?;
        Ok((now.mode, now.size) == (self.made.mode, self.made.size) && self.is_empty())
    }

    fn is_empty(&mut self) -> bool {
        self.listing.rewind();
        let mut entries = std::iter::from_fn(|| self.listing.read());
        entries.all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
    }
}

/// Removes the files of a folder, and of those in it one level deep where it is at the top. Returns whether nothing is left.
fn clear_folder(listing: &mut rustix::fs::Dir, is_top: bool) -> io::Result<bool> {
    listing.rewind();
    let mut names = Vec::new();
    while let Some(entry) = listing.read() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    let folder = listing.fd()?;
    for name in names {
        match rustix::fs::unlinkat(folder, &name, AtFlags::empty()) {
            Ok(()) => {}
            // What Linux and POSIX say of a directory.
            Err(Errno::ISDIR | Errno::PERM) if is_top => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(folder, &name, flags, Mode::empty())?;
                if !clear_folder(&mut rustix::fs::Dir::new(inner)?, false)? {
                    return Ok(false);
                }
                rustix::fs::unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

impl Stamp {
    fn of(listing: &rustix::fs::Dir) -> io::Result<Self> {
        let stat = listing.stat()?;
        Ok(Self {
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            accessed: (stat.st_atime, stat.st_atime_nsec),
            mode: stat.st_mode,
            size: stat.st_size,
        })
    }
}

/// The directory of one call. Dropping it makes it go away.
pub(crate) struct Scratch {
    entry: Option<Entry>,
    charge: Option<Charge>,
    pool: Arc<ScratchPool>,
}

impl Scratch {
    /// Where it is on this machine.
    pub(crate) fn path(&self) -> &Path {
        self.entry.as_ref().map_or(Path::new(""), |entry| &entry.path)
    }
}

/// The directory of one call, from when its guest first asks for it. Most never do, and then there is none: what a call does not use
/// costs it nothing.
pub(crate) struct Home {
    pool: Arc<ScratchPool>,
    scratch: Option<Scratch>,
    /// What its two descriptors count for: the one that it is looked at through, and the guest's.
    files: Option<[NodeFile; 2]>,
}

impl Home {
    pub(crate) fn new(pool: Arc<ScratchPool>) -> Self {
        Self { pool, scratch: None, files: None }
    }

    pub(crate) fn is_made(&self) -> bool {
        self.scratch.is_some()
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        self.scratch.as_ref().map_or(Path::new(""), Scratch::path)
    }

    /// Makes the directory, which is to be charged `charge` until it is gone, and counts as two open files of the node.
    pub(crate) fn make(&mut self, charge: Charge, files: [NodeFile; 2]) -> io::Result<&Path> {
        let mut scratch = self.pool.take()?;
        self.files = Some(files);
        scratch.hold(charge);
        Ok(self.scratch.insert(scratch).path())
    }
}

impl Scratch {
    /// Keeps this until the directory is gone.
    pub(crate) fn hold(&mut self, charge: Charge) {
        self.charge = Some(charge);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.pool.give_back(entry, self.charge.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn pool() -> (tempfile::TempDir, Arc<ScratchPool>) {
        let parent = tempfile::tempdir().unwrap();
        let pool = Arc::new(ScratchPool::open(parent.path()).unwrap());
        (parent, pool)
    }

    /// Waits until all that was thrown away has been taken apart, and returns what is left of it.
    fn left_in_trash(pool: &ScratchPool) -> usize {
        let Cleaner { trash, thread } = pool.cleaner().take().expect("the pool is open");
        drop(trash);
        thread.join().unwrap();
        fs::read_dir(pool.shared.base.join("trash")).unwrap().count()
    }

    #[test]
    fn a_directory_that_is_easily_cleared_serves_again_as_new() {
        let touches: [fn(&Path); 7] = [
            |_| {},
            |path| assert_eq!(fs::read_dir(path).unwrap().count(), 0),
            |path| fs::write(path.join("file"), "x").unwrap(),
            |path| fs::create_dir(path.join("folder")).unwrap(),
            |path| {
                let file = path.join("gone");
                fs::write(&file, "x").unwrap();
                fs::remove_file(file).unwrap();
            },
            |path| {
                let times = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH).set_modified(std::time::UNIX_EPOCH);
                fs::File::open(path).unwrap().set_times(times).unwrap();
            },
            |path| {
                std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
                fs::write(path.join("folder"), "").unwrap();
            },
        ];
        for (number, touch) in touches.into_iter().enumerate() {
            let (_parent, pool) = pool();
            let scratch = pool.take().unwrap();
            let path = scratch.path().to_owned();
            touch(&path);
            drop(scratch);
            let dropped = kernel_time(&pool);
            let again = pool.take().unwrap();
            assert_eq!(again.path(), path, "touch {number}");
            let found = fs::metadata(&path).unwrap();
            for time in
                [(found.mtime(), found.mtime_nsec()), (found.atime(), found.atime_nsec()), (found.ctime(), found.ctime_nsec())]
            {
                assert!(time >= dropped, "touch {number}: {time:?} is from before {dropped:?}");
            }
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "touch {number}");
        }
    }

    #[test]
    fn a_directory_that_is_not_easily_cleared_never_serves_again() {
        let touches: [fn(&Path); 3] = [
            |path| fs::create_dir_all(path.join("folder/in/it")).unwrap(),
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap(),
            |path| {
                // So many that its own size grows.
                let name = |number| path.join(format!("{number:0200}"));
                (0..100).for_each(|number| fs::write(name(number), "").unwrap());
                (0..100).for_each(|number| fs::remove_file(name(number)).unwrap());
            },
        ];
        for (number, touch) in touches.into_iter().enumerate() {
            let (_parent, pool) = pool();
            let scratch = pool.take().unwrap();
            let path = scratch.path().to_owned();
            let size = fs::metadata(&path).unwrap().size();
            touch(&path);
            if number == 2 && fs::metadata(&path).unwrap().size() == size {
                eprintln!("this file system makes folders small again: nothing to see of their size");
                continue;
            }
            drop(scratch);
            assert_ne!(pool.take().unwrap().path(), path, "touch {number}");
            assert_eq!(left_in_trash(&pool), 0);
            assert!(!path.exists());
        }
    }

    /// The time as the file system has it, which is behind the clock by a tick.
    fn kernel_time(pool: &ScratchPool) -> (i64, i64) {
        let probe = pool.shared.base.join("probe");
        fs::write(&probe, "").unwrap();
        let made = fs::metadata(&probe).unwrap();
        fs::remove_file(probe).unwrap();
        (made.ctime(), made.ctime_nsec())
    }

    #[test]
    fn nothing_is_left_of_a_closed_pool() {
        let (parent, pool) = pool();
        let in_use = pool.take().unwrap();
        fs::write(in_use.path().join("file"), "x").unwrap();
        drop(pool.take().unwrap());
        pool.close();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        drop(in_use);
    }

    #[test]
    fn what_a_killed_node_left_is_swept_and_what_a_living_one_has_is_not() {
        let (parent, living) = pool();
        let in_use = living.take().unwrap();
        fs::write(in_use.path().join("file"), "x").unwrap();
        // As it is when a process ends without a word: the folder is there, and the lock is not.
        let left = parent.path().join("burla-sandboxes-left");
        fs::create_dir_all(left.join("7/deep/er")).unwrap();
        fs::write(left.join("7/deep/file"), "x").unwrap();
        fs::create_dir(left.join("trash")).unwrap();
        let next = Arc::new(ScratchPool::open(parent.path()).unwrap());
        assert!(!left.exists());
        assert_eq!(left_in_trash(&next), 0);
        // No more than its trash folder.
        assert_eq!(fs::read_dir(&next.shared.base).unwrap().count(), 1);
        assert!(in_use.path().join("file").exists());
    }

    #[test]
    fn a_deep_tree_goes_away() {
        let (_parent, pool) = pool();
        let scratch = pool.take().unwrap();
        let path = scratch.path().to_owned();
        // Built from the inside out, since no path may be as long as this tree is deep.
        for _ in 0..5_000 {
            let inner = path.join("inner");
            let outer = path.join("outer");
            fs::create_dir(&outer).unwrap();
            if inner.exists() {
                fs::rename(&inner, outer.join("inner")).unwrap();
            }
            fs::rename(&outer, &inner).unwrap();
        }
        drop(scratch);
        assert_eq!(left_in_trash(&pool), 0);
        assert!(!path.exists());
    }
}
