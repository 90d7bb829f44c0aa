//! A ledger whose appends go wrong as a test wants it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time;

use crate::{AppendError, Ledger, Position, ReadError, SetError, Shard, Value};

/// Around any ledger. Clones share their faults.
#[derive(Debug, Clone)]
pub struct FaultyLedger {
    inner: Arc<dyn Ledger>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

/// What becomes of an append.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It happens, and its answer is lost.
    AmbiguousApplied,
    /// It does not happen, and its answer is lost.
    AmbiguousLost,
    /// There is no space for it.
    Full,
    /// It is made, and fails.
    Failed,
    /// It happens after a while.
    Delay(Duration),
    /// It happens once it is told to, by [`Notify::notify_one`].
    Held(Arc<Notify>),
    /// It is as if there were no fault, for those that come after it.
    None,
}

impl FaultyLedger {
    pub fn new(inner: Arc<dyn Ledger>) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// The next appends meet these, one each, after those that were asked for before.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// How many faults no append has met.
    pub fn faults_left(&self) -> usize {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn next_fault(&self) -> Fault {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None)
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn append(&self, shard: Shard, expected: Position, entries: Vec<Bytes>) -> Result<Position, AppendError> {
        let no_answer = || AppendError::Ambiguous("the test lost the answer".into());
        match self.next_fault() {
            Fault::AmbiguousApplied => {
                self.inner.append(shard, expected, entries).await?;
                return Err(no_answer());
            }
            Fault::AmbiguousLost => return Err(no_answer()),
            Fault::Full => return Err(AppendError::Full(io::Error::from(io::ErrorKind::StorageFull).into())),
            Fault::Failed => return Err(AppendError::Failed("the test failed the append".into())),
            Fault::Delay(delay) => time::sleep(delay).await,
            Fault::Held(told) => told.notified().await,
            Fault::None => {}
        }
        self.inner.append(shard, expected, entries).await
    }

    async fn read(&self, shard: Shard, from: Position, bytes_max: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        self.inner.read(shard, from, bytes_max).await
    }

    async fn entry(&self, shard: Shard, at: Position) -> Result<Option<Bytes>, ReadError> {
        self.inner.entry(shard, at).await
    }

    async fn end(&self, shard: Shard) -> Result<Position, ReadError> {
        self.inner.end(shard).await
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), AppendError> {
        self.inner.trim(shard, before).await
    }

    async fn remove(&self, shard: Shard, positions: Vec<Position>) -> Result<(), AppendError> {
        self.inner.remove(shard, positions).await
    }

    async fn value(&self, name: &str) -> Result<Option<Value>, ReadError> {
        self.inner.value(name).await
    }

    async fn set_value(&self, name: &str, expected: Option<u64>, bytes: Bytes) -> Result<u64, SetError> {
        self.inner.set_value(name, expected, bytes).await
    }

    async fn remove_value(&self, name: &str, expected: u64) -> Result<(), SetError> {
        self.inner.remove_value(name, expected).await
    }

    async fn values(&self, prefix: &str) -> Result<Vec<(String, Value)>, ReadError> {
        self.inner.values(prefix).await
    }
}
