//! The call's directory, as its guest has it: wasmtime-wasi's filesystem with accounts in between.
//!
//! wasmtime-wasi keeps a guest within its directory, and there it may do anything: one made a file of 4 TiB, another opened every
//! descriptor the node had, a third nested folders until taking them apart overflowed a stack. Here every operation is accounted
//! for before it is done, and corrected after it by what the file then is. What would be too much fails as it does on a full
//! disk, so that a guest can handle it; only too many open files end the call, since WASI has no error for them.
//!
//! Files are charged by their inode, whatever names they have, for as long as they take space: while they have a name, or while
//! somebody has them open. `accounts.rs` and `directories.rs` do the bookkeeping and no I/O; `node.rs` is what all calls share;
//! `file.rs` and `stream.rs` are open files; `host.rs` is the list of WASI's functions.
//!
//! No path of a guest is resolved here. wasmtime-wasi opens the folder that a path leads to, and only the last name is looked up
//! in it, without following it. Looking first and acting then is no race: a call runs one operation at a time, and nothing
//! of it is under way when its guest goes on.

mod accounts;
mod directories;
mod file;
mod host;
mod node;
mod path;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, Dir, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags};
use wasmtime_wasi::p2::{FsError, FsResult};
use wasmtime_wasi::{FsPerms, WasiCtx};

use self::accounts::{Accounts, DiskLimits, Entry, Inode, Kind, NoSpace, SharedAccounts};
use self::file::{OpenFile, Slot};
use crate::sandbox::{Held, MemoryCap, Sandbox};
use crate::scratch::{Home, ScratchPool};

pub(crate) use self::host::can_let_others_go;
pub(crate) use self::node::{NodeDisk, NodeFile, NodeFiles};

/// Files and folders that a call may have open. Programs have a handful; each is a descriptor of this process, of which all
/// calls share one lot.
const OPEN_FILES_MAX: usize = 128;

/// The folder for temporary files, which std and most programs take for granted.
const TMP: &str = "tmp";

/// Entries whose accounts are paid for at one time, with memory that counts as the call's. The first lot comes with every call.
const ENTRIES_PER_LOT: u64 = 1024;

/// What the accounts of one entry take: 33 bytes in a hash table, which doubles when seven eighths are in use, and has both
/// halves while it does.
const ENTRY_ACCOUNT_BYTES: u64 = 128;

/// The call has more files, or listings of folders, open than it may.
#[derive(Debug, thiserror::Error)]
#[error("the function has more than {max} files open at one time")]
pub(crate) struct TooManyOpenFiles {
    pub(crate) max: usize,
}

/// The node could not make the call's directory, which is no fault of the call.
#[derive(Debug, thiserror::Error)]
#[error("its node could not make the call's directory: {reason}")]
pub(crate) struct NoHome {
    reason: String,
}

impl NoHome {
    fn because(reason: impl std::fmt::Display) -> wasmtime::Error {
        Self { reason: reason.to_string() }.into()
    }
}

/// Links this in the place of wasmtime-wasi's own, over which it has to be allowed to shadow.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    types::add_to_linker::<Sandbox, HasFilesystem>(linker, Sandbox::limited_filesystem)?;
    preopens::add_to_linker::<Sandbox, HasFilesystem>(linker, Sandbox::limited_filesystem)
}

struct HasFilesystem;

impl HasData for HasFilesystem {
    type Data<'a> = FilesystemView<'a>;
}

/// What a call has on disk, and what of it is open. Whatever it holds of the node's, it gives back when this and the call's
/// streams are dropped.
pub(crate) struct Disk {
    accounts: SharedAccounts,
    /// The call's directory, from when its guest first asks for it.
    root: Option<Dir>,
    tmp_is_made: bool,
    /// By the numbers of the guest's descriptors. Those of the directory itself are not among them: they share one file, which is
    /// not the guest's.
    open: HashMap<u32, Open>,
    /// Cloned for every open file of the call, so that its count is theirs.
    slots: Arc<()>,
    node_files: Arc<NodeFiles>,
    /// What the host holds for listings that are being read, by their numbers.
    listings: HashMap<u32, Held>,
    /// What the host holds for the accounts, after the first lot.
    accounts_held: Vec<Held>,
    /// Last, so that everything in it is closed before it goes.
    home: Home,
}

/// What a call's files take of its node's disk, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Charge {
    accounts: SharedAccounts,
}

impl Charge {
    /// Whether what is there is no more than this.
    pub(crate) fn is_at_most(&self, bytes: u64, entries: u64) -> bool {
        let accounts = self.accounts.lock();
        accounts.bytes() <= bytes && accounts.entries() <= entries
    }
}

/// What a descriptor of the guest has open.
enum Open {
    File(Arc<OpenFile>),
    Directory { _slot: Slot },
}

impl Disk {
    /// The disk of a call that may have so many bytes there, in a directory out of `pool`.
    pub(crate) fn new(bytes_max: u64, node: Arc<NodeDisk>, node_files: Arc<NodeFiles>, pool: Arc<ScratchPool>) -> Self {
        Self {
            accounts: SharedAccounts::new(Accounts::new(DiskLimits::new(bytes_max), node)),
            root: None,
            tmp_is_made: false,
            open: HashMap::new(),
            slots: Arc::default(),
            node_files,
            listings: HashMap::new(),
            accounts_held: Vec::new(),
            home: Home::new(pool),
        }
    }

    /// All bytes that reached a file so far.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.accounts.lock().bytes_written()
    }

    /// Makes the call's directory, if this is the first time that its guest asks for it, and shows it to `wasi` as `/`.
    fn make_home(&mut self, wasi: &mut WasiFilesystemCtx) -> wasmtime::Result<()> {
        if self.home.is_made() {
            return Ok(());
        }
        // What the call's files take is the node's burden until they are gone, however the call ends.
        let charge = Charge { accounts: self.accounts.clone() };
        let no_files = || NoHome::because("the node has too many files open");
        let files = [self.node_files.take().ok_or_else(no_files)?, self.node_files.take().ok_or_else(no_files)?];
        let path = self.home.make(charge, files).map_err(NoHome::because)?;
        // There is no other way to a `WasiFilesystemCtx` with a directory in it.
        let mut with_home = WasiCtx::builder();
        // Calls run on threads of their own, so that a file operation can run where it is; handing each to another thread takes twice as
        // long.
        with_home
            .allow_blocking_current_thread(true)
            .preopened_dir(path, "/", FsPerms::ReadWrite)
            .map_err(|error| NoHome::because(format!("{error:#}")))?;
        wasi.clone_from(with_home.build().filesystem());
        Ok(())
    }

    /// What there was no room for last, in words, if anything.
    pub(crate) fn lacked(&self) -> Option<String> {
        self.accounts.lock().lacked()
    }

    fn know_root(&mut self, root: &Dir) -> io::Result<()> {
        if self.root.is_none() {
            let inode = root.dir.metadata()?.ino();
            self.accounts.lock().add_root(inode);
            self.root = Some(root.clone());
        }
        Ok(())
    }

    /// The right to open one more file.
    fn slot(&self) -> FsResult<Slot> {
        // One is this itself.
        if Arc::strong_count(&self.slots) > OPEN_FILES_MAX {
            return Err(FsError::trap(TooManyOpenFiles { max: OPEN_FILES_MAX }));
        }
        // WASI has no "too many open files"; this is the one resource of the machine that it has an error for.
        let of_node = self.node_files.take().ok_or(ErrorCode::InsufficientMemory)?;
        Ok(Slot::new(Arc::clone(&self.slots), of_node))
    }
}

/// The filesystem of a call, while one operation of it runs.
pub(crate) struct FilesystemView<'a> {
    pub(crate) wasi: WasiFilesystemCtxView<'a>,
    pub(crate) disk: &'a mut Disk,
    pub(crate) memory: &'a mut MemoryCap,
}

impl FilesystemView<'_> {
    /// What every operation on a path begins with.
    fn begin(&mut self, path: &str) -> FsResult<()> {
        path::check(path)?;
        self.pay_for_accounts()?;
        // Making it takes longer than the small file that most calls with files are about.
        if path::may_meet(path, TMP) { self.make_tmp() } else { Ok(()) }
    }

    fn pay_for_accounts(&mut self) -> FsResult<()> {
        let lots = self.disk.accounts.lock().entries() / ENTRIES_PER_LOT;
        while (self.disk.accounts_held.len() as u64) < lots {
            let held = self.memory.hold(ENTRIES_PER_LOT * ENTRY_ACCOUNT_BYTES).map_err(FsError::trap)?;
            self.disk.accounts_held.push(held);
        }
        Ok(())
    }

    /// Makes the folder for temporary files, before the first operation that could find it missing.
    fn make_tmp(&mut self) -> FsResult<()> {
        let Some(root) = &self.disk.root else { return Ok(()) };
        if self.disk.tmp_is_made {
            return Ok(());
        }
        let tmp = Place { directory: root.clone(), name: TMP.to_owned() };
        let parent = tmp.parent()?;
        // There is always room for it: who only reads is not told that the disk is full.
        rustix::fs::mkdirat(&*tmp.directory.dir, TMP, Mode::from_raw_mode(0o777)).map_err(io::Error::from)?;
        let made = tmp.made()?;
        self.disk.accounts.lock().add_directory(made, parent);
        self.disk.tmp_is_made = true;
        Ok(())
    }

    /// The open file of a descriptor.
    fn file(&self, fd: &Resource<Descriptor>) -> FsResult<Arc<OpenFile>> {
        // Ends the call if there is no such descriptor.
        self.wasi.table.get(fd)?;
        match self.disk.open.get(&fd.rep()) {
            Some(Open::File(file)) => Ok(Arc::clone(file)),
            Some(Open::Directory { .. }) | None => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Where a path leads.
    async fn locate(&mut self, fd: &Resource<Descriptor>, path: &str) -> FsResult<Place> {
        let Descriptor::Dir(start) = self.wasi.table.get(fd)? else { return Err(ErrorCode::NotDirectory.into()) };
        let start = start.clone();
        let (parent, name) = path::split(path);
        let directory = if parent.is_empty() { start } else { self.open_directory(start, parent).await? };
        Ok(Place { directory, name: name.to_owned() })
    }

    /// Opens a folder as wasmtime-wasi does, in a table of its own: in the guest's it could be the one handle too many.
    async fn open_directory(&mut self, start: Dir, path: &str) -> FsResult<Dir> {
        let mut table = ResourceTable::new();
        let start = table.push(Descriptor::Dir(start))?;
        let mut wasi = WasiFilesystemCtxView { ctx: &mut *self.wasi.ctx, table: &mut table };
        let (oflags, flags) = (OpenFlags::DIRECTORY, DescriptorFlags::READ);
        let opened = wasi.open_at(start, PathFlags::SYMLINK_FOLLOW, path.to_owned(), oflags, flags).await?;
        match table.delete(opened)? {
            Descriptor::Dir(directory) => Ok(directory),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }
}

/// A name in a folder that is open, whether something has this name or not.
struct Place {
    directory: Dir,
    name: String,
}

impl Place {
    /// The folder it is in.
    fn parent(&self) -> FsResult<Inode> {
        Ok(self.directory.dir.metadata()?.ino())
    }

    /// What has this name now.
    fn entry(&self) -> FsResult<Option<Entry>> {
        match rustix::fs::statat(&*self.directory.dir, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Kind::File,
                    FileType::Directory => Kind::Directory,
                    _ => Kind::Symlink,
                };
                Ok(Some(Entry { inode: stat.st_ino, kind }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// The folder that was just made here.
    fn made(&self) -> FsResult<Inode> {
        let entry = self.entry()?.ok_or_else(|| FsError::trap(wasmtime::Error::msg("a folder that was just made is gone")))?;
        Ok(entry.inode)
    }
}

impl From<NoSpace> for FsError {
    fn from(_: NoSpace) -> Self {
        ErrorCode::InsufficientSpace.into()
    }
}
