//! A ledger in one file, for a scheduler on one machine.
//!
//! The file is a redb database: pages in copy-on-write trees, so that a commit is there whole or not at all, whenever the process or
//! the machine dies. It belongs to one process at a time. Everything that waits for the disk runs on tokio's threads for that.

mod store;

mod tables;

mod reserve;

#[cfg(test)]
mod disk;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::{self, JoinError};

use crate::memory::check_lengths;
use crate::{AppendError, Ledger, OpenError, Position, ReadError, SetError, Shard, Value};
use store::{Store, Trouble};

/// Clones are of the same file, as two schedulers have the same ledger.
#[derive(Debug, Clone)]
pub struct FileLedger {
    store: Arc<Store>,
    /// Whoever writes. The database has a lock too, but who waits for that one occupies a thread.
    writer: Arc<Mutex<()>>,
}

impl FileLedger {
    /// Opens a ledger, or makes an empty one where there is no file. Waits for the disk: not for an async task to call.
    ///
    /// One that a crash left behind is repaired in the time that it takes to read a list of its pages, however large it is.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Ok(Self::of(Store::open(path.into())?))
    }

    fn of(store: Store) -> Self {
        Self { store: Arc::new(store), writer: Arc::default() }
    }

    async fn read_with<T: Send + 'static>(
        &self,
        act: impl Fn(&redb::ReadTransaction) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.store.clone();
        let read = task::spawn_blocking(move || store.read(act)).await;
        Ok(read.map_err(ended)??)
    }

    async fn write_with<T: Send + 'static>(
        &self,
        act: impl Fn(&redb::WriteTransaction) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let store = self.store.clone();
        let writing = self.writer.clone().lock_owned().await;
        let write = task::spawn_blocking(move || {
            // For as long as the write takes, also when nobody waits for it any more.
            let _writing = writing;
            store.write(act)
        });
        write.await.map_err(ended)?
    }

    async fn remove_with(
        &self,
        act: impl Fn(&redb::WriteTransaction) -> Result<(), Trouble> + Send + 'static,
    ) -> Result<(), Trouble> {
        let store = self.store.clone();
        let writing = self.writer.clone().lock_owned().await;
        let write = task::spawn_blocking(move || {
            let _writing = writing;
            store.write_to_remove(act)
        });
        write.await.map_err(ended)?
    }
}

#[async_trait]
impl Ledger for FileLedger {
    async fn append(&self, shard: Shard, expected: Position, entries: Vec<Bytes>) -> Result<Position, AppendError> {
        check_lengths(&entries)?;
        Ok(self.write_with(move |write| tables::append(write, shard, expected, &entries)).await?)
    }

    async fn read(&self, shard: Shard, from: Position, bytes_max: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        self.read_with(move |read| tables::read(read, shard, from, bytes_max)).await
    }

    async fn entry(&self, shard: Shard, at: Position) -> Result<Option<Bytes>, ReadError> {
        self.read_with(move |read| tables::entry(read, shard, at)).await
    }

    async fn end(&self, shard: Shard) -> Result<Position, ReadError> {
        self.read_with(move |read| tables::end(read, shard)).await
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), AppendError> {
        Ok(self.remove_with(move |write| tables::trim(write, shard, before)).await?)
    }

    async fn remove(&self, shard: Shard, positions: Vec<Position>) -> Result<(), AppendError> {
        Ok(self.remove_with(move |write| tables::remove(write, shard, &positions)).await?)
    }

    async fn value(&self, name: &str) -> Result<Option<Value>, ReadError> {
        let name = name.to_owned();
        self.read_with(move |read| tables::value(read, &name)).await
    }

    async fn set_value(&self, name: &str, expected: Option<u64>, bytes: Bytes) -> Result<u64, SetError> {
        let name = name.to_owned();
        Ok(self.write_with(move |write| tables::set_value(write, &name, expected, &bytes)).await?)
    }

    async fn remove_value(&self, name: &str, expected: u64) -> Result<(), SetError> {
        let name = name.to_owned();
        Ok(self.write_with(move |write| tables::remove_value(write, &name, expected)).await?)
    }

    async fn values(&self, prefix: &str) -> Result<Vec<(String, Value)>, ReadError> {
        let prefix = prefix.to_owned();
        self.read_with(move |read| tables::values(read, &prefix)).await
    }
}

/// The runtime is going down, and took the thread with it before it began.
fn ended(error: JoinError) -> Trouble {
    Trouble::Panicked(error.to_string())
}
