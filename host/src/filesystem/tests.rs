//! The whole of it over a real folder, without a guest: what a guest would call is called here.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::filesystem::types::{DirectoryEntryStream, HostDirectoryEntryStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamError};

use super::*;
use crate::memory::NodeMemory;
use crate::sandbox::HostMemoryDenied;

const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;

type Fd = Resource<Descriptor>;

/// A call's half of a sandbox, whose directory is beside a file that is not its own.
struct Call {
    _base: TempDir,
    path: PathBuf,
    wasi: WasiCtx,
    table: ResourceTable,
    disk: Disk,
    memory: MemoryCap,
    node: Arc<NodeDisk>,
    root: u32,
}

impl Call {
    async fn new(bytes_max: u64) -> Self {
        Self::with_files(bytes_max, usize::MAX).await
    }

    /// With its folder for temporary files, which counts as an entry. The node has so many files beside the two of the directory itself.
    async fn with_files(bytes_max: u64, files_max: usize) -> Self {
        let mut call = Self::untouched(bytes_max, files_max).await;
        call.view().make_tmp().unwrap();
        call
    }

    async fn untouched(bytes_max: u64, files_max: usize) -> Self {
        let base = tempfile::tempdir().unwrap();
        let pool = Arc::new(ScratchPool::open(base.path()).unwrap());
        let node = Arc::new(NodeDisk::new(u64::MAX));
        let disk = Disk::new(bytes_max, Arc::clone(&node), Arc::new(NodeFiles::new(files_max.saturating_add(2))), pool);
        let (wasi, table, memory) = (WasiCtx::builder().build(), ResourceTable::new(), memory(1 << 30).await);
        let mut call = Self { _base: base, path: PathBuf::new(), wasi, table, disk, memory, node, root: 0 };
        assert!(!call.disk.home.is_made(), "before it is asked for, there is none");
        let directories = preopens::Host::get_directories(&mut call.view()).unwrap();
        call.root = directories[0].0.rep();
        call.path = call.disk.home.path().to_owned();
        std::fs::write(call.outside().join("secret"), "not the call's").unwrap();
        call
    }

    fn view(&mut self) -> FilesystemView<'_> {
        let wasi = WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table };
        FilesystemView { wasi, disk: &mut self.disk, memory: &mut self.memory }
    }

    fn root(&self) -> Fd {
        Resource::new_borrow(self.root)
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The folder that its directory is in.
    fn outside(&self) -> &Path {
        self.path.parent().unwrap()
    }

    async fn open_as(&mut self, path: &str, oflags: OpenFlags, flags: DescriptorFlags) -> Result<Fd, ErrorCode> {
        let root = self.root();
        code(self.view().open_at(root, PathFlags::SYMLINK_FOLLOW, path.to_owned(), oflags, flags).await)
    }

    async fn open(&mut self, path: &str, oflags: OpenFlags) -> Result<Fd, ErrorCode> {
        self.open_as(path, oflags, DescriptorFlags::READ | DescriptorFlags::WRITE).await
    }

    async fn create(&mut self, path: &str) -> Result<Fd, ErrorCode> {
        self.open(path, OpenFlags::CREATE).await
    }

    async fn open_folder(&mut self, path: &str) -> Result<Fd, ErrorCode> {
        self.open_as(path, OpenFlags::DIRECTORY, DescriptorFlags::READ).await
    }

    /// Makes a file of so many bytes, and closes it.
    async fn file(&mut self, path: &str, size: u64) -> Result<(), ErrorCode> {
        let fd = self.create(path).await?;
        let filled = self.fill(&fd, size).await;
        self.close(fd);
        filled
    }

    async fn fill(&mut self, fd: &Fd, size: u64) -> Result<(), ErrorCode> {
        self.write(fd, 0, size as usize).await.map(|count| assert_eq!(count, size))
    }

    async fn write(&mut self, fd: &Fd, offset: u64, count: usize) -> Result<u64, ErrorCode> {
        code(self.view().write(again(fd), vec![b'x'; count], offset).await)
    }

    async fn set_size(&mut self, fd: &Fd, size: u64) -> Result<(), ErrorCode> {
        code(self.view().set_size(again(fd), size).await)
    }

    fn close(&mut self, fd: Fd) {
        HostDescriptor::drop(&mut self.view(), fd).unwrap();
    }

    async fn mkdir(&mut self, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        code(self.view().create_directory_at(root, path.to_owned()).await)
    }

    async fn rmdir(&mut self, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        code(self.view().remove_directory_at(root, path.to_owned()).await)
    }

    async fn unlink(&mut self, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        code(self.view().unlink_file_at(root, path.to_owned()).await)
    }

    async fn rename(&mut self, old: &str, new: &str) -> Result<(), ErrorCode> {
        let (old_root, new_root) = (self.root(), self.root());
        code(self.view().rename_at(old_root, old.to_owned(), new_root, new.to_owned()).await)
    }

    async fn link(&mut self, old: &str, new: &str) -> Result<(), ErrorCode> {
        let (old_root, new_root) = (self.root(), self.root());
        code(self.view().link_at(old_root, PathFlags::empty(), old.to_owned(), new_root, new.to_owned()).await)
    }

    async fn symlink(&mut self, target: &str, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        code(self.view().symlink_at(root, target.to_owned(), path.to_owned()).await)
    }

    async fn exists(&mut self, path: &str) -> Result<(), ErrorCode> {
        let root = self.root();
        code(self.view().stat_at(root, PathFlags::empty(), path.to_owned()).await).map(drop)
    }

    async fn list(&mut self) -> FsResult<Resource<DirectoryEntryStream>> {
        let root = self.root();
        self.view().read_directory(root).await
    }

    fn reader(&mut self, fd: &Fd, offset: u64) -> Resource<DynInputStream> {
        self.view().read_via_stream(again(fd), offset).unwrap()
    }

    fn writer(&mut self, fd: &Fd, offset: u64) -> Resource<DynOutputStream> {
        self.view().write_via_stream(again(fd), offset).unwrap()
    }

    fn appender(&mut self, fd: &Fd) -> Resource<DynOutputStream> {
        self.view().append_via_stream(again(fd)).unwrap()
    }

    fn stream(&mut self, stream: &Resource<DynOutputStream>, count: usize) -> Result<(), StreamError> {
        self.table.get_mut(stream).unwrap().write(Bytes::from(vec![b'y'; count]))
    }

    /// The bytes and entries of its accounts.
    fn accounted(&self) -> (u64, u64) {
        (self.node.held_bytes(), self.disk.accounts.lock().entries())
    }

    /// The same of what there is. What is open and has no name cannot be found.
    fn found(&self) -> (u64, u64) {
        let (mut files, mut entries) = (HashMap::new(), 0);
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                entries += 1;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.is_file() {
                    files.insert(metadata.ino(), metadata.len().next_multiple_of(BLOCK));
                }
            }
        }
        (files.values().sum(), entries)
    }

    fn check(&self) {
        assert_eq!(self.accounted(), self.found());
    }
}

async fn memory(bytes_max: u64) -> MemoryCap {
    let reservation = NodeMemory::new(1 << 40, || u64::MAX).reserve(0).await.unwrap();
    MemoryCap::new(bytes_max, reservation)
}

/// What the guest is told. Panics where the call would end.
fn code<T>(result: FsResult<T>) -> Result<T, ErrorCode> {
    result.map_err(|error| error.downcast().unwrap())
}

/// What ends the call.
fn trap<T>(result: FsResult<T>) -> wasmtime::Error {
    match result {
        Ok(_) => panic!("the call goes on"),
        Err(error) => error.downcast().unwrap_err(),
    }
}

fn again(fd: &Fd) -> Fd {
    Resource::new_borrow(fd.rep())
}

#[tokio::test]
async fn a_file_is_charged_for_what_it_is() {
    let mut call = Call::new(MIB).await;
    let file = call.create("file").await.unwrap();
    assert_eq!(call.accounted(), (0, 2));
    assert_eq!(call.write(&file, 0, 1).await, Ok(1));
    assert_eq!(call.accounted(), (BLOCK, 2));
    let end = call.appender(&file);
    call.stream(&end, 5000).unwrap();
    call.check();
    assert_eq!(call.accounted(), (2 * BLOCK, 2));
    let middle = call.writer(&file, 3 * BLOCK);
    call.stream(&middle, 10).unwrap();
    call.stream(&middle, 10).unwrap();
    assert_eq!(call.accounted(), (4 * BLOCK, 2));
    assert_eq!(std::fs::metadata(call.path().join("file")).unwrap().len(), 3 * BLOCK + 20);
    assert_eq!(call.set_size(&file, 1).await, Ok(()));
    assert_eq!(call.accounted(), (BLOCK, 2));
    let cut = call.open("file", OpenFlags::TRUNCATE).await.unwrap();
    assert_eq!(call.accounted(), (0, 2));
    call.close(cut);
    call.check();
    assert_eq!(call.disk.bytes_written(), 5021);
}

#[tokio::test]
async fn what_is_written_can_be_read() {
    let mut call = Call::new(MIB).await;
    let file = call.create("file").await.unwrap();
    call.fill(&file, 100_000).await.unwrap();
    let reader = call.reader(&file, 10);
    let mut read = |size| call.table.get_mut(&reader).unwrap().read(size);
    assert_eq!(read(5).unwrap(), Bytes::from_static(b"xxxxx"));
    assert_eq!(read(0).unwrap().len(), 0);
    assert_eq!(read(100_000).unwrap().len(), 64 << 10);
    assert_eq!(read(100_000).unwrap().len(), 100_000 - 15 - (64 << 10));
    assert!(matches!(read(1), Err(StreamError::Closed)));
}

#[tokio::test]
async fn what_is_too_much_fails_as_on_a_full_disk_and_the_call_goes_on() {
    let mut call = Call::new(MIB).await;
    let file = call.create("file").await.unwrap();
    let full = ErrorCode::InsufficientSpace;
    assert_eq!(call.set_size(&file, 4 << 40).await, Err(full));
    assert_eq!(call.set_size(&file, u64::MAX).await, Err(full));
    assert_eq!(call.write(&file, 4 << 40, 1).await, Err(full));
    assert_eq!(call.write(&file, u64::MAX, 1).await, Err(full));
    assert_eq!(call.accounted(), (0, 2));
    assert_eq!(call.set_size(&file, MIB).await, Ok(()));
    assert_eq!(call.accounted(), (MIB, 2));
    let end = call.appender(&file);
    let Err(StreamError::LastOperationFailed(error)) = call.stream(&end, 1) else { panic!("it was written") };
    let error = call.table.push(error).unwrap();
    assert_eq!(types::Host::filesystem_error_code(&mut call.view(), error).unwrap(), Some(full));
    assert!(matches!(call.stream(&end, 1), Err(StreamError::Closed)));
    assert_eq!(call.set_size(&file, MIB - 1).await, Ok(()));
    assert_eq!(call.accounted(), (MIB, 2));
    let end = call.appender(&file);
    call.stream(&end, 1).unwrap();
    call.check();
}

#[tokio::test]
async fn a_stream_takes_no_more_at_once_than_it_says() {
    let mut call = Call::new(MIB).await;
    let file = call.create("file").await.unwrap();
    let stream = call.writer(&file, 0);
    let permit = call.table.get_mut(&stream).unwrap().check_write().unwrap();
    assert!(matches!(call.stream(&stream, permit + 1), Err(StreamError::Trap(_))));
    call.stream(&stream, permit).unwrap();
    let writer = call.table.get_mut(&stream).unwrap();
    writer.write_zeroes(10).unwrap();
    writer.blocking_write_and_flush(Bytes::from_static(b"z")).await.unwrap();
    assert_eq!(call.disk.bytes_written(), permit as u64 + 11);
}

#[tokio::test]
async fn a_large_write_is_cut_short() {
    let mut call = Call::new(10 * MIB).await;
    let file = call.create("file").await.unwrap();
    assert_eq!(call.write(&file, 0, 3 << 20).await, Ok(MIB));
    call.check();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_takes_nothing() {
    let mut call = Call::new(MIB).await;
    call.file("file", 1).await.unwrap();
    let file = call.open_as("file", OpenFlags::empty(), DescriptorFlags::READ).await.unwrap();
    assert_eq!(call.write(&file, 0, 10_000).await, Err(ErrorCode::BadDescriptor));
    assert_eq!(call.set_size(&file, 10_000).await, Err(ErrorCode::Invalid));
    call.check();
    let folder = call.open_folder("tmp").await.unwrap();
    assert_eq!(call.write(&folder, 0, 1).await, Err(ErrorCode::BadDescriptor));
    assert_eq!(code(call.view().read_via_stream(again(&folder), 0)).err(), Some(ErrorCode::IsDirectory));
}

#[tokio::test]
async fn a_file_is_there_as_long_as_it_has_a_name() {
    let mut call = Call::new(MIB).await;
    call.file("one", 10).await.unwrap();
    call.link("one", "other").await.unwrap();
    assert_eq!(call.accounted(), (BLOCK, 3));
    assert_eq!(call.link("one", "other").await, Err(ErrorCode::Exist));
    assert_eq!(call.rename("one", "other").await, Ok(()));
    call.check();
    call.unlink("one").await.unwrap();
    assert_eq!(call.accounted(), (BLOCK, 2));
    call.unlink("other").await.unwrap();
    assert_eq!(call.accounted(), (0, 1));
    assert_eq!(call.unlink("other").await, Err(ErrorCode::NoEntry));
    call.check();
}

#[tokio::test]
async fn a_file_is_there_as_long_as_it_is_open() {
    let mut call = Call::with_files(MIB, 1).await;
    let file = call.create("file").await.unwrap();
    call.fill(&file, 10).await.unwrap();
    let (reader, writer) = (call.reader(&file, 0), call.writer(&file, 0));
    call.unlink("file").await.unwrap();
    assert_eq!(call.accounted(), (BLOCK, 1));
    call.close(file);
    call.stream(&writer, 5000).unwrap();
    assert_eq!(call.accounted(), (2 * BLOCK, 1));
    call.table.delete(writer).unwrap();
    assert_eq!(call.create("other").await.err(), Some(ErrorCode::InsufficientMemory));
    assert_eq!(call.accounted(), (2 * BLOCK, 1));
    call.table.delete(reader).unwrap();
    assert_eq!(call.accounted(), (0, 1));
    call.create("other").await.unwrap();
    call.check();
}

#[tokio::test]
async fn what_is_renamed_over_is_gone() {
    let mut call = Call::new(MIB).await;
    call.file("one", 10).await.unwrap();
    call.file("other", 2 * BLOCK).await.unwrap();
    call.rename("one", "other").await.unwrap();
    assert_eq!(call.accounted(), (BLOCK, 2));
    call.mkdir("folder").await.unwrap();
    call.mkdir("empty").await.unwrap();
    call.rename("other", "folder/file").await.unwrap();
    assert!(call.rename("empty", "folder").await.is_err());
    assert_eq!(call.rename("folder", "folder/self").await, Err(ErrorCode::Invalid));
    assert_eq!(call.rename("missing", "folder").await, Err(ErrorCode::NoEntry));
    call.check();
    call.rename("folder/", "empty").await.unwrap();
    call.mkdir("empty/folder").await.unwrap();
    call.check();
    assert_eq!(call.accounted(), (BLOCK, 4));
}

#[tokio::test]
async fn entries_of_every_kind_have_a_limit() {
    let mut call = Call::new(100 * (16 << 10)).await;
    call.mkdir("folder").await.unwrap();
    call.file("file", 1).await.unwrap();
    call.link("file", "link").await.unwrap();
    call.symlink("file", "symlink").await.unwrap();
    for number in 5..100 {
        call.file(&format!("file{number}"), 0).await.unwrap();
    }
    assert_eq!(call.accounted(), (BLOCK, 100));
    let full = Err(ErrorCode::InsufficientSpace);
    assert_eq!(call.file("more", 1).await, full);
    assert_eq!(call.open("file", OpenFlags::CREATE | OpenFlags::EXCLUSIVE).await.map(drop), full);
    assert_eq!(call.mkdir("more").await, full);
    assert_eq!(call.link("file", "more").await, full);
    assert_eq!(call.symlink("file", "more").await, full);
    call.check();
    // What exists is not made.
    call.file("file", 2 * BLOCK).await.unwrap();
    let read_only = call.open_as("symlink", OpenFlags::CREATE, DescriptorFlags::READ).await.unwrap();
    assert_eq!(call.write(&read_only, 0, 1).await, Ok(1));
    call.rename("file5", "file6").await.unwrap();
    call.file("more", 1).await.unwrap();
    call.unlink("symlink").await.unwrap();
    call.mkdir("one-more").await.unwrap();
    assert_eq!(call.file("more-yet", 1).await, full);
    call.rmdir("one-more").await.unwrap();
    call.file("more-yet", 1).await.unwrap();
    call.check();
}

#[tokio::test]
async fn a_symlink_makes_the_file_it_points_to() {
    let mut call = Call::new(MIB).await;
    call.symlink("tmp/target", "symlink").await.unwrap();
    call.file("symlink", 1).await.unwrap();
    assert_eq!(call.accounted(), (BLOCK, 3));
    call.check();
    call.link("symlink", "other").await.unwrap();
    call.unlink("symlink").await.unwrap();
    call.unlink("other").await.unwrap();
    call.unlink("tmp/target").await.unwrap();
    assert_eq!(call.accounted(), (0, 1));
}

#[tokio::test]
async fn folders_have_a_depth() {
    let mut call = Call::new(MIB << 10).await;
    let deep = |levels: usize| vec!["d"; levels].join("/");
    for levels in 1..=256 {
        call.mkdir(&deep(levels)).await.unwrap();
    }
    assert_eq!(call.mkdir(&deep(257)).await, Err(ErrorCode::InsufficientSpace));
    call.file(&format!("{}/file", deep(256)), 1).await.unwrap();
    call.mkdir("a").await.unwrap();
    call.mkdir("a/a").await.unwrap();
    assert_eq!(call.rename("a", &format!("{}/a", deep(255))).await, Err(ErrorCode::InsufficientSpace));
    call.rename("a", &format!("{}/a", deep(254))).await.unwrap();
    assert_eq!(call.mkdir(&format!("{}/a/a/a", deep(254))).await, Err(ErrorCode::InsufficientSpace));
    // A file is no level.
    call.rename(&format!("{}/file", deep(256)), "file").await.unwrap();
    call.rename("file", &format!("{}/file", deep(256))).await.unwrap();
    call.check();
}

#[tokio::test]
async fn nothing_is_made_in_a_folder_that_is_gone() {
    let mut call = Call::new(MIB).await;
    call.mkdir("folder").await.unwrap();
    let folder = call.open_folder("folder").await.unwrap();
    call.rmdir("folder").await.unwrap();
    assert!(call.view().create_directory_at(again(&folder), "inner".to_owned()).await.is_err());
    let flags = DescriptorFlags::WRITE;
    let made = call.view().open_at(again(&folder), PathFlags::empty(), "file".to_owned(), OpenFlags::CREATE, flags).await;
    assert!(made.is_err());
    call.check();
}

#[tokio::test]
async fn names_and_paths_have_a_length() {
    let mut call = Call::new(MIB).await;
    let name = "n".repeat(256);
    let too_long = Err(ErrorCode::NameTooLong);
    assert_eq!(call.file(&name, 1).await, too_long);
    assert_eq!(call.mkdir(&name).await, too_long);
    assert_eq!(call.symlink("target", &name).await, too_long);
    assert_eq!(call.symlink(&"t/".repeat(2048), "symlink").await, too_long);
    assert_eq!(call.rename("tmp", &name).await, too_long);
    assert_eq!(call.exists(&"./".repeat(2048)).await, too_long);
    // Some file systems take no more than this.
    call.symlink(&"t/".repeat(500), "symlink").await.unwrap();
    call.file(&"n".repeat(255), 1).await.unwrap();
    call.check();
}

#[tokio::test]
async fn there_is_a_tmp_for_who_looks() {
    let mut call = Call::untouched(MIB, usize::MAX).await;
    call.file("file", 0).await.unwrap();
    assert_eq!(call.accounted(), (0, 1), "who does not look for it has none");
    assert_eq!(call.exists("tmp").await, Ok(()));
    assert_eq!(call.accounted(), (0, 2));
    call.unlink("file").await.unwrap();
    call.rmdir("tmp").await.unwrap();
    assert_eq!(call.exists("tmp").await, Err(ErrorCode::NoEntry));
    call.check();
}

#[tokio::test]
async fn a_listing_names_everything_and_is_held_until_it_is_dropped() {
    let mut call = Call::untouched(MIB, usize::MAX).await;
    let listing = call.list().await.unwrap();
    let only = call.view().read_directory_entry(Resource::new_borrow(listing.rep())).await.unwrap().unwrap();
    assert_eq!(only.name, "tmp");
    assert!(call.view().read_directory_entry(Resource::new_borrow(listing.rep())).await.unwrap().is_none());
    let mut listings = vec![listing];
    while listings.len() < 16 {
        listings.push(call.list().await.unwrap());
    }
    let error = trap(call.list().await);
    assert_eq!(error.downcast_ref::<TooManyOpenFiles>().unwrap().max, 16);
    for listing in listings {
        HostDirectoryEntryStream::drop(&mut call.view(), listing).unwrap();
    }
    assert!(call.disk.listings.is_empty());
    call.memory = memory(100).await;
    assert!(trap(call.list().await).is::<HostMemoryDenied>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_listing_works_on_any_runtime() {
    large_listing().await;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::thread::spawn(move || runtime.block_on(large_listing())).join().unwrap();
}

async fn large_listing() {
    let mut call = Call::new(MIB << 10).await;
    for number in 0..5000 {
        call.mkdir(&number.to_string()).await.unwrap();
    }
    let listing = call.list().await.unwrap();
    let mut names = 0;
    while call.view().read_directory_entry(Resource::new_borrow(listing.rep())).await.unwrap().is_some() {
        names += 1;
    }
    assert_eq!(names, 5001);
    // The first thousand come with the call.
    assert_eq!(call.disk.accounts_held.len(), 4);
}

#[tokio::test]
async fn open_files_have_a_limit() {
    let mut call = Call::new(MIB).await;
    let mut open = Vec::new();
    for _ in 0..127 {
        open.push(call.create("file").await.unwrap());
    }
    open.push(call.open_folder("tmp").await.unwrap());
    let root = call.root();
    let opened = call.view().open_at(root, PathFlags::empty(), "file".into(), OpenFlags::empty(), DescriptorFlags::READ).await;
    assert_eq!(trap(opened).downcast_ref::<TooManyOpenFiles>().unwrap().max, 128);
    call.close(open.pop().unwrap());
    call.create("file").await.unwrap();
    call.check();
}

#[tokio::test]
async fn files_of_the_node_come_back_when_they_are_closed() {
    let mut call = Call::with_files(MIB, 2).await;
    let file = call.create("file").await.unwrap();
    call.open_folder("tmp").await.unwrap();
    assert_eq!(call.create("other").await.err(), Some(ErrorCode::InsufficientMemory));
    call.check();
    call.close(file);
    assert_eq!(call.open("missing", OpenFlags::empty()).await.err(), Some(ErrorCode::NoEntry));
    call.create("other").await.unwrap();
}

#[tokio::test]
async fn nothing_waits_for_the_disk() {
    let mut call = Call::new(MIB).await;
    let sync = DescriptorFlags::FILE_INTEGRITY_SYNC | DescriptorFlags::DATA_INTEGRITY_SYNC;
    let flags = DescriptorFlags::WRITE | DescriptorFlags::REQUESTED_WRITE_SYNC | sync;
    let file = call.open_as("file", OpenFlags::CREATE, flags).await.unwrap();
    let flags = call.view().get_flags(again(&file)).await.unwrap();
    assert!(!flags.intersects(sync | DescriptorFlags::REQUESTED_WRITE_SYNC));
    for fd in [again(&file), call.root()] {
        assert!(call.view().sync(again(&fd)).await.is_ok());
        assert!(call.view().sync_data(fd).await.is_ok());
    }
    assert!(call.view().advise(again(&file), 0, 0, types::Advice::WillNeed).await.is_ok());
}

#[tokio::test]
async fn nobody_leaves_the_directory() {
    let mut call = Call::new(MIB).await;
    symlink("/etc", call.path().join("etc")).unwrap();
    symlink("..", call.path().join("up")).unwrap();
    call.symlink("../secret", "secret").await.unwrap();
    call.file("file", 1).await.unwrap();
    let refused = Err(ErrorCode::NotPermitted);
    assert_eq!(call.symlink("/etc/passwd", "passwd").await, refused);
    for path in ["../secret", "/etc/passwd", "tmp/../../secret", "etc/passwd", "up/secret", "secret", "up/call/file"] {
        assert_eq!(call.open(path, OpenFlags::empty()).await.map(drop), refused, "open {path}");
        assert_eq!(call.open(path, OpenFlags::CREATE | OpenFlags::TRUNCATE).await.map(drop), refused, "create {path}");
    }
    for path in ["../new", "/tmp/new", "tmp/../../new", "etc/new", "up/new", "up/call/new"] {
        assert_eq!(call.mkdir(path).await, refused, "mkdir {path}");
        assert_eq!(call.symlink("file", path).await, refused, "symlink {path}");
        assert_eq!(call.link("file", path).await, refused, "link {path}");
        assert_eq!(call.rename("file", path).await, refused, "rename {path}");
    }
    for path in ["../secret", "/etc/passwd", "etc/passwd", "up/secret"] {
        assert_eq!(call.unlink(path).await, refused, "unlink {path}");
        assert_eq!(call.rmdir(path).await, refused, "rmdir {path}");
        assert_eq!(call.link(path, "mine").await, refused, "link {path}");
        assert_eq!(call.rename(path, "mine").await, refused, "rename {path}");
        assert_eq!(call.exists(path).await, refused, "stat {path}");
    }
    for path in ["..", "up/..", "up/"] {
        assert!(call.rename(path, "mine").await.is_err(), "rename {path}");
        assert!(call.rmdir(path).await.is_err(), "rmdir {path}");
    }
    assert_eq!(std::fs::read_to_string(call.outside().join("secret")).unwrap(), "not the call's");
    assert!(!call.outside().join("new").exists());
    // Two symlinks were made behind the call's back.
    let (bytes, entries) = call.found();
    assert_eq!(call.accounted(), (bytes, entries - 2));
}

#[tokio::test]
async fn a_slash_makes_no_folder_of_a_symlink() {
    let mut call = Call::new(MIB).await;
    call.mkdir("folder").await.unwrap();
    call.file("file", 1).await.unwrap();
    call.symlink("folder", "symlink").await.unwrap();
    assert!(call.unlink("symlink/").await.is_err());
    assert!(call.rmdir("symlink/").await.is_err());
    assert!(call.rename("symlink/", "other").await.is_err());
    assert!(call.rename("file", "symlink/").await.is_err());
    assert!(call.link("file", "symlink/").await.is_err());
    assert!(call.mkdir("symlink/").await.is_err());
    assert!(call.unlink("folder/.").await.is_err());
    assert!(call.rmdir("folder/..").await.is_err());
    assert!(call.rename("folder/.", "other").await.is_err());
    assert!(call.mkdir("").await.is_err());
    assert!(call.unlink("").await.is_err());
    call.check();
    assert_eq!(call.accounted(), (BLOCK, 4));
}

#[tokio::test]
async fn a_call_that_is_over_holds_nothing() {
    let mut call = Call::new(MIB).await;
    let file = call.create("file").await.unwrap();
    call.fill(&file, 10).await.unwrap();
    let reader = call.reader(&file, 0);
    call.unlink("file").await.unwrap();
    let Call { table, disk, node, .. } = call;
    drop(disk);
    assert_eq!(node.held_bytes(), BLOCK);
    drop((table, reader));
    assert_eq!(node.held_bytes(), 0);
}

/// What guests do, with names that lead to each other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u64, u64),
    Resize(u64),
    Truncate,
    Mkdir,
    Rmdir,
    Unlink,
    Rename,
    Link,
    Symlink,
}

const NAMES: [&str; 8] = ["a", "b", "tmp", "tmp/a", "tmp/b", "tmp/b/a", "a/b", "./tmp/../b"];

fn acts() -> impl Strategy<Value = Vec<(Act, usize, usize)>> {
    let act = prop_oneof![
        3 => (0..40_000u64, 0..40_000u64).prop_map(|(offset, count)| Act::Write(offset, count)),
        1 => (0..100_000u64).prop_map(Act::Resize),
        1 => Just(Act::Truncate),
        2 => Just(Act::Mkdir),
        1 => Just(Act::Rmdir),
        1 => Just(Act::Unlink),
        3 => Just(Act::Rename),
        2 => Just(Act::Link),
        2 => Just(Act::Symlink),
    ];
    prop::collection::vec((act, 0..NAMES.len(), 0..NAMES.len()), 1..60)
}

impl Call {
    /// Whether it worked is of no matter here.
    async fn act(&mut self, act: Act, one: &str, other: &str) {
        let _ = match act {
            Act::Write(offset, count) => match self.create(one).await {
                Ok(file) => {
                    let written = self.write(&file, offset, count as usize).await;
                    self.close(file);
                    written.map(drop)
                }
                Err(error) => Err(error),
            },
            Act::Resize(size) => match self.open(one, OpenFlags::empty()).await {
                Ok(file) => {
                    let resized = self.set_size(&file, size).await;
                    self.close(file);
                    resized
                }
                Err(error) => Err(error),
            },
            Act::Truncate => self.open(one, OpenFlags::CREATE | OpenFlags::TRUNCATE).await.map(|file| self.close(file)),
            Act::Mkdir => self.mkdir(one).await,
            Act::Rmdir => self.rmdir(one).await,
            Act::Unlink => self.unlink(one).await,
            Act::Rename => self.rename(one, other).await,
            Act::Link => self.link(one, other).await,
            Act::Symlink => self.symlink(one, other).await,
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_accounts_are_as_the_folder_is(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut call = Call::new(100_000).await;
            for (act, one, other) in acts {
                call.act(act, NAMES[one], NAMES[other]).await;
                let (bytes, entries) = call.accounted();
                assert!(bytes <= 100_000 && entries <= 64);
                call.check();
            }
        });
    }
}
