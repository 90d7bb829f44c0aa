//! WASI's functions on files: what is counted or limited before wasmtime-wasi does it, and what becomes of the accounts after.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
    HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::accounts::{Entry, NoSpace};
use super::file::OpenFile;
use super::path;
use super::stream::{FileReader, FileWriter, Position};
use super::{FilesystemView, NoHome, Open, TooManyOpenFiles};

/// What is written by one call of `descriptor.write`: a millisecond's worth. WASI allows to write less than was asked for.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Listings of folders that a call may be reading. wasmtime-wasi holds each as a whole, and a walk through a tree needs one a
/// level at most.
const DIRECTORY_STREAMS_MAX: usize = 16;

/// What an entry of a listing takes, with the longest name.
const LISTED_ENTRY_BYTES: u64 = 320;

/// The listing of a call with more entries than this may take some ten milliseconds. Others are then let go from its thread.
const LISTED_IN_PLACE_MAX: u64 = 4096;

impl preopens::Host for FilesystemView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.disk.make_home(self.wasi.ctx)?;
        let directories = preopens::Host::get_directories(&mut self.wasi)?;
        for (fd, _) in &directories {
            if let Descriptor::Dir(root) = self.wasi.table.get(fd)? {
                self.disk.know_root(root).map_err(NoHome::because)?;
            }
        }
        Ok(directories)
    }
}

impl types::Host for FilesystemView<'_> {
    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.wasi, error)
    }

    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl HostDescriptor for FilesystemView<'_> {
    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        mut oflags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        self.begin(&path)?;
        let mut flags = without_sync(flags);
        let slot = self.disk.slot()?;
        let is_full = oflags.contains(OpenFlags::CREATE) && self.disk.accounts.lock().room_for_entry().is_err();
        if is_full {
            // What exists can be opened all the same.
            if oflags.contains(OpenFlags::EXCLUSIVE) {
                return Err(NoSpace.into());
            }
            oflags &= !OpenFlags::CREATE;
            if !flags.contains(DescriptorFlags::WRITE) {
                // As wasmtime-wasi opens what it might have to make.
                flags |= DescriptorFlags::READ | DescriptorFlags::WRITE;
            }
        }
        let is_missing = |error: &FsError| matches!(error.downcast_ref(), Some(ErrorCode::NoEntry));
        let opened = match self.wasi.open_at(fd, path_flags, path, oflags, flags).await {
            Err(error) if is_full && is_missing(&error) => return Err(NoSpace.into()),
            opened => opened?,
        };
        let open = match self.wasi.table.get(&opened)? {
            Descriptor::File(file) => {
                let file = OpenFile::new(Arc::clone(&file.file), self.disk.accounts.clone(), slot).map_err(FsError::trap)?;
                Open::File(Arc::new(file))
            }
            Descriptor::Dir(_) => Open::Directory { _slot: slot },
        };
        self.disk.open.insert(opened.rep(), open);
        Ok(opened)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        let number = fd.rep();
        HostDescriptor::drop(&mut self.wasi, fd)?;
        self.disk.open.remove(&number);
        Ok(())
    }

    async fn write(&mut self, fd: Resource<Descriptor>, mut bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        bytes.truncate(WRITE_BYTES_MAX);
        let count = self.file(&fd)?.write_at(&bytes, offset)?;
        Ok(count as u64)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Position::At(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Position::End)
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FsResult<()> {
        Ok(self.file(&fd)?.set_size(size)?)
    }

    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynInputStream>> {
        if matches!(self.wasi.table.get(&fd)?, Descriptor::Dir(_)) {
            return Err(ErrorCode::IsDirectory.into());
        }
        let reader: DynInputStream = Box::new(FileReader::new(self.file(&fd)?, offset));
        Ok(self.wasi.table.push(reader)?)
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.begin(&path)?;
        let place = self.locate(&fd, &path).await?;
        let parent = place.parent()?;
        self.disk.accounts.lock().room_for_directory(parent)?;
        self.wasi.create_directory_at(fd, path).await?;
        let made = place.made()?;
        self.disk.accounts.lock().add_directory(made, parent);
        Ok(())
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.begin(&path)?;
        let entry = self.locate(&fd, &path).await?.entry()?;
        self.wasi.remove_directory_at(fd, path).await?;
        self.removed(entry);
        Ok(())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.begin(&path)?;
        let entry = self.locate(&fd, &path).await?.entry()?;
        self.wasi.unlink_file_at(fd, path).await?;
        self.removed(entry);
        Ok(())
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path_flags: PathFlags,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.begin(&old_path)?;
        self.begin(&new_path)?;
        let linked = self.locate(&fd, &old_path).await?.entry()?;
        self.disk.accounts.lock().room_for_entry()?;
        self.wasi.link_at(fd, old_path_flags, old_path, new_fd, new_path).await?;
        if let Some(linked) = linked {
            self.disk.accounts.lock().add_name(linked);
        }
        Ok(())
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        self.begin(&path)?;
        path::check_length(&target)?;
        // It may lead there.
        self.make_tmp()?;
        self.disk.accounts.lock().room_for_entry()?;
        self.wasi.symlink_at(fd, target, path).await?;
        self.disk.accounts.lock().add_symlink();
        Ok(())
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.begin(&old_path)?;
        self.begin(&new_path)?;
        // wasmtime-wasi would say the same, after resolving the other path in vain.
        let moved = self.locate(&fd, &old_path).await?.entry()?.ok_or(ErrorCode::NoEntry)?;
        let place = self.locate(&new_fd, &new_path).await?;
        let (parent, replaced) = (place.parent()?, place.entry()?);
        self.disk.accounts.lock().room_to_move(moved, parent)?;
        self.wasi.rename_at(fd, old_path, new_fd, new_path).await?;
        self.disk.accounts.lock().rename(moved, parent, replaced);
        Ok(())
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        self.make_tmp()?;
        if self.disk.listings.len() >= DIRECTORY_STREAMS_MAX {
            return Err(FsError::trap(TooManyOpenFiles { max: DIRECTORY_STREAMS_MAX }));
        }
        let entries = self.disk.accounts.lock().entries();
        let held = self.memory.hold((entries + 1) * LISTED_ENTRY_BYTES).map_err(FsError::trap)?;
        let listing = if entries > LISTED_IN_PLACE_MAX && can_let_others_go() {
            tokio::task::block_in_place(|| Handle::current().block_on(self.wasi.read_directory(fd)))?
        } else {
            self.wasi.read_directory(fd).await?
        };
        self.disk.listings.insert(listing.rep(), held);
        Ok(listing)
    }

    /// Does nothing, for any descriptor: what is gone with the call need not be safe on disk, and a guest could make the node's
    /// disk wait.
    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.wasi.table.get(&fd)?;
        Ok(())
    }

    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.sync(fd).await
    }

    /// Does nothing: a guest could have read ahead what it never reads.
    async fn advise(&mut self, fd: Resource<Descriptor>, _offset: u64, _length: u64, _advice: Advice) -> FsResult<()> {
        self.file(&fd)?;
        Ok(())
    }

    // What follows is left to wasmtime-wasi.

    async fn stat_at(&mut self, fd: Resource<Descriptor>, path_flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        self.begin(&path)?;
        self.wasi.stat_at(fd, path_flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.begin(&path)?;
        self.wasi.set_times_at(fd, path_flags, path, accessed, modified).await
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.begin(&path)?;
        self.wasi.readlink_at(fd, path).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.begin(&path)?;
        self.wasi.metadata_hash_at(fd, path_flags, path).await
    }

    async fn read(&mut self, fd: Resource<Descriptor>, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.wasi.read(fd, length, offset).await
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.wasi.stat(fd).await
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.wasi.get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        self.wasi.get_type(fd).await
    }

    async fn set_times(&mut self, fd: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        self.wasi.set_times(fd, accessed, modified).await
    }

    async fn is_same_object(&mut self, one: Resource<Descriptor>, other: Resource<Descriptor>) -> wasmtime::Result<bool> {
        self.wasi.is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash(fd).await
    }
}

impl HostDirectoryEntryStream for FilesystemView<'_> {
    async fn read_directory_entry(&mut self, listing: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(listing).await
    }

    fn drop(&mut self, listing: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        let number = listing.rep();
        HostDirectoryEntryStream::drop(&mut self.wasi, listing)?;
        self.disk.listings.remove(&number);
        Ok(())
    }
}

impl FilesystemView<'_> {
    /// A name is gone, if wasmtime-wasi had something to remove.
    fn removed(&self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.disk.accounts.lock().remove_name(entry);
        }
    }

    fn writer(&mut self, fd: &Resource<Descriptor>, position: Position) -> FsResult<Resource<DynOutputStream>> {
        let writer: DynOutputStream = Box::new(FileWriter::new(self.file(fd)?, position));
        Ok(self.wasi.table.push(writer)?)
    }
}

/// What makes writes wait for the disk. What is gone with the call is not worth it.
fn without_sync(flags: DescriptorFlags) -> DescriptorFlags {
    let sync =
        DescriptorFlags::FILE_INTEGRITY_SYNC | DescriptorFlags::DATA_INTEGRITY_SYNC | DescriptorFlags::REQUESTED_WRITE_SYNC;
    flags & !sync
}

/// Whether this thread has others that can take over what else waits for it.
pub(crate) fn can_let_others_go() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}
