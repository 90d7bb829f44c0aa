//! The database: opened, made, and opened again after the disk has failed it.
//!
//! redb goes on with nothing after an I/O error until it is opened again, since it cannot know what is on the disk. Whoever meets
//! that closes the database here, and the next use opens it. A commit that failed may have happened all the same: each counts itself
//! in the file, and the count tells. What is then found in the file is on the disk: a commit is told by a header that is written only
//! after everything else has been synced, and opening writes and syncs that header again.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError, WriteTransaction};
use tempfile::NamedTempFile;

use super::reserve::Reserve;
use super::tables;
use crate::{AppendError, OpenError, Position, ReadError, SetError};

/// What redb may keep of the file in memory. Logs are written once and read once: only the inner pages of the trees are read often.
const CACHE_BYTES_MAX: usize = 32 << 20;

/// redb's own lock and pages, in one file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    reserve: Reserve,
    /// `None` after a failure, until it is used again. Locked for reading by all who use it, and for writing to open and close it.
    database: RwLock<Option<Database>>,
    #[cfg(test)]
    disk: super::disk::Faults,
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub(super) enum Trouble {
    Refused {
        end: Position,
    },
    RefusedValue {
        current: Option<u64>,
    },
    Corrupt(ReadError),
    Redb(redb::Error),
    /// Of the commit itself, which may have happened all the same.
    Commit(redb::Error),
    /// redb does where a file is damaged in a way that it did not expect.
    Panicked(String),
    /// The database was closed by an earlier failure, and does not open again.
    Closed(OpenError),
    /// The commit failed, and whether it happened could not be read.
    Unknown(Box<Trouble>),
}

impl Store {
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        make_if_missing(&path)?;
        let store = Self {
            reserve: Reserve::beside(&path),
            path,
            database: RwLock::new(None),
            #[cfg(test)]
            disk: Default::default(),
        };
        store.reopen()?;
        store.reserve.take();
        Ok(store)
    }

    /// The faults that the next writes meet.
    #[cfg(test)]
    pub(super) fn disk(&self) -> &super::disk::Faults {
        &self.disk
    }

    /// Runs a transaction that only reads; once more where an earlier failure had left the database to be opened again.
    pub(super) fn read<T>(&self, act: impl Fn(&ReadTransaction) -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.with_database(|database| act(&database.begin_read()?))
    }

    /// Runs a transaction and commits it, so that it is on the disk. `act` may run twice.
    pub(super) fn write<T>(&self, act: impl Fn(&WriteTransaction) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut committing = None;
        let committed = self.with_database(|database| {
            let mut write = database.begin_write()?;
            // Durable with the commit is what a transaction is unless it says otherwise. This makes the pages durable before the
            // header that names them, and opening after a crash quick: 2 ms where it takes 1.1 s for a GiB without.
            write.set_quick_repair(true);
            // Caught by itself, so that the transaction is not ended while a panic unwinds: that may panic once more, and abort.
            let done = caught(|| Ok((act(&write)?, tables::count_commit(&write)?)))?;
            committing = Some((done.1, done.0));
            write.commit().map_err(|error| Trouble::Commit(error.into()))
        });
        match (committed, committing) {
            (Ok(()), Some((_, done))) => Ok(done),
            (Err(trouble), None) => Err(trouble),
            (Err(trouble), Some((number, done))) => match self.read(tables::commits) {
                Ok(commits) if commits >= number => Ok(done),
                Ok(_) => Err(trouble),
                Err(_) => Err(Trouble::Unknown(Box::new(trouble))),
            },
            (Ok(()), None) => Err(Trouble::Panicked("a transaction ended without its commit".to_owned())),
        }
    }

    /// [`write`](Self::write) of what makes the ledger smaller, which finds space where nothing else does.
    pub(super) fn write_to_remove<T>(&self, act: impl Fn(&WriteTransaction) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let done = match self.write(&act) {
            Err(full) if full.is_no_space() && self.reserve.give_way() => self.write(&act)?,
            done => done?,
        };
        self.reserve.take();
        Ok(done)
    }

    /// Closes the database when it has become useless, and tries a second time where it was so before.
    fn with_database<T>(&self, mut act: impl FnMut(&Database) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut tried = false;
        loop {
            self.reopen().map_err(Trouble::Closed)?;
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have closed it since.
            let Some(open) = &*database else { continue };
            let result = caught(|| act(open));
            drop(database);
            let Err(trouble) = &result else { return result };
            if trouble.needs_reopening() {
                self.close();
            }
            if tried || !trouble.is_of_an_earlier() {
                return result;
            }
            tried = true;
        }
    }

    fn reopen(&self) -> Result<(), OpenError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(self.open_database()?);
        }
        Ok(())
    }

    fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes nothing after a failure, and what it says of a database that has failed is nothing new.
        let _ = caught(|| {
            drop(database);
            Ok(())
        });
    }

    /// Opens what is there, and never makes a new file: who removes a ledger that is in use is told of it.
    fn open_database(&self) -> Result<Database, OpenError> {
        let path = &*self.path;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| io_error(path, error))?;
        if file.metadata().map_err(|error| io_error(path, error))?.len() == 0 {
            return Err(OpenError::NotALedger { path: path.to_owned(), source: "it is empty".into() });
        }
        caught_opening(path, || {
            look_at_version(path)?;
            let backend = FileBackend::new(file).map_err(|error| database_error(path, error))?;
            #[cfg(test)]
            let backend = super::disk::FaultyDisk::new(backend, self.disk.clone());
            let database = builder().create_with_backend(backend).map_err(|error| database_error(path, error))?;
            let read = database.begin_read().map_err(|error| redb_error(path, error.into()))?;
            tables::check(&read, path)?;
            Ok(database)
        })
    }
}

/// redb writes when it is closed, and panics where what it reads for that is damaged.
impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// Makes an empty ledger under another name, and gives it its own when it is whole.
fn make_if_missing(path: &Path) -> Result<(), OpenError> {
    let failed = |error| io_error(path, error);
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    burla_blobs::make_private_dir(folder).map_err(failed)?;
    let made = NamedTempFile::new_in(folder).map_err(failed)?;
    caught_opening(path, || {
        let database = builder().create(made.path()).map_err(|error| database_error(path, error))?;
        let mut write = database.begin_write().map_err(|error| redb_error(path, error.into()))?;
        write.set_quick_repair(true);
        tables::make(&write).map_err(|error| redb_error(path, error))?;
        write.commit().map_err(|error| redb_error(path, error.into()))?;
        database.close().map_err(|error| database_error(path, error))
    })?;
    match made.persist_noclobber(path) {
        Ok(file) => file.sync_all().map_err(failed)?,
        // Another process was quicker, and has it open or will say so.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Looks at the version before anything is written. A file that was not closed cannot be opened for reading alone: opening it writes
/// that it is in use, as the version that wrote it would, and [`tables::check`] looks at the version after that.
fn look_at_version(path: &Path) -> Result<(), OpenError> {
    match builder().open_read_only(path) {
        Ok(database) => tables::check(&database.begin_read().map_err(|error| redb_error(path, error.into()))?, path),
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(database_error(path, error)),
    }
}

fn caught<T>(act: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| Err(Trouble::Panicked(panic_text(&*panic))))
}

fn caught_opening<T>(path: &Path, act: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(OpenError::Corrupt { path: path.to_owned(), source: panic_text(&*panic).into() }))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the database panicked").to_owned()
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    redb_error(path, error.into())
}

pub(super) fn redb_error(path: &Path, error: redb::Error) -> OpenError {
    let path_buf = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => OpenError::InUse { path: path_buf },
        redb::Error::Io(error) => io_error(path, error),
        redb::Error::Corrupted(_) | redb::Error::RepairAborted => OpenError::Corrupt { path: path_buf, source: error.into() },
        redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => OpenError::NotALedger { path: path_buf, source: error.into() },
        other => OpenError::Failed { path: path_buf, source: other.into() },
    }
}

fn io_error(path: &Path, error: io::Error) -> OpenError {
    let (path, kind, source) = (path.to_owned(), error.kind(), error.into());
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path, source },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::NoSpace { path, source },
        // In redb's words: it does not begin as one of its files does.
        io::ErrorKind::InvalidData => OpenError::NotALedger { path, source },
        io::ErrorKind::UnexpectedEof => OpenError::Corrupt { path, source },
        _ => OpenError::Failed { path, source },
    }
}

impl Trouble {
    fn needs_reopening(&self) -> bool {
        use redb::Error::{Backend, DatabaseClosed, Io, LockPoisoned, PreviousIo};
        matches!(
            self,
            Self::Panicked(_) | Self::Commit(_) | Self::Redb(Io(_) | Backend(_) | PreviousIo | DatabaseClosed | LockPoisoned(_))
        )
    }

    /// Whether it only tells of an earlier failure, so that nothing was done yet.
    fn is_of_an_earlier(&self) -> bool {
        matches!(self, Self::Redb(redb::Error::PreviousIo | redb::Error::DatabaseClosed))
    }

    fn is_no_space(&self) -> bool {
        match self {
            Self::Redb(redb::Error::Io(error)) | Self::Commit(redb::Error::Io(error)) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Closed(error) => matches!(error, OpenError::NoSpace { .. }),
            _ => false,
        }
    }

    fn into_cause(self) -> crate::Cause {
        match self {
            Self::Corrupt(error) => error.into(),
            Self::Redb(error) | Self::Commit(error) => error.into(),
            Self::Closed(error) => error.into(),
            Self::Panicked(text) => text.into(),
            Self::Unknown(trouble) => trouble.into_cause(),
            Self::Refused { end } => AppendError::Refused { end }.into(),
            Self::RefusedValue { current } => SetError::Refused { current }.into(),
        }
    }
}

impl From<Trouble> for ReadError {
    fn from(trouble: Trouble) -> Self {
        let damaged = |reason| Self::CorruptRecord { what: "the file".to_owned(), reason };
        match trouble {
            Trouble::Corrupt(error) => error,
            Trouble::Redb(redb::Error::Corrupted(reason)) | Trouble::Panicked(reason) => damaged(reason),
            Trouble::Redb(error @ (redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. })) => {
                damaged(error.to_string())
            }
            other => Self::Failed(other.into_cause()),
        }
    }
}

impl From<Trouble> for AppendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused { end } => Self::Refused { end },
            Trouble::Unknown(trouble) => Self::Ambiguous(trouble.into_cause()),
            full if full.is_no_space() => Self::Full(full.into_cause()),
            other => Self::Failed(other.into_cause()),
        }
    }
}

impl From<Trouble> for SetError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::RefusedValue { current } => Self::Refused { current },
            other => Self::Failed(other.into_cause()),
        }
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self::Corrupt(error)
    }
}

/// What the steps of a transaction fail with, each in a type of its own.
macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}

from_redb!(redb::Error, StorageError, redb::TableError, redb::TransactionError);
