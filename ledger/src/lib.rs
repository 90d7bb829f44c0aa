//! The log in which a scheduler keeps jobs, so that they outlive it.
//!
//! 1. What has to outlive a scheduler is written as *entries*, appended to the log of a *shard* in groups: all of a group or none of
//!    it, on the disk before the append returns ([`Ledger::append`]). An entry holds a segment, a batch of inputs or outcomes, and
//!    never a single call: a million calls a second are then some thousand appends, and a disk does that.
//! 2. Who appends says where the log ends, and is refused where it is wrong. That compare-and-set is all that keeps two schedulers
//!    apart: one that was taken for dead and lives on finds the log longer than it knows, and can commit nothing. It needs no
//!    clock, and no lock that has to be given back.
//! 3. An append whose answer never came is settled by asking again with the same expectation ([`append_settled`]).
//! 4. Where an entry comes to be too large, its bytes are a blob that the entry names ([`Blobs`]).
//! 5. What is no longer needed is removed, by position or from the beginning. Positions are never given twice, so a position that
//!    somebody remembers is the entry they knew, or none.
//! 6. Every entry carries a checksum over its bytes and its place ([`frame`]). What is damaged is told, by name, and never skipped.
//!
//! [`FileLedger`] is a file on one machine; [`MemoryLedger`] keeps nothing. What they have to have in common, and one that runs on
//! several machines too, is tested by `conformance`.

mod position;

mod error;

mod settle;

pub mod frame;

mod memory;

mod faults;

mod file;

mod blobs;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

use async_trait::async_trait;
use bytes::Bytes;

pub use blobs::{BLOB_BYTES_MAX, BlobError, BlobRef, Blobs};
pub use error::{AppendError, Cause, OpenError, ReadError, SetError};
pub use faults::{Fault, FaultyLedger};
pub use file::FileLedger;
pub use memory::{Damage, MemoryLedger};
pub use position::{Position, Shard};
pub use settle::append_settled;

/// The longest entry. Segments of more than 128 KiB are blobs, so what comes near to this is a mistake, which is better refused
/// than found out when the log is read again after a crash.
pub const ENTRY_BYTES_MAX: usize = 16 << 20;

/// A log for each shard, and small values by name.
///
/// A future that is dropped before it ends leaves it open whether it happened, as [`AppendError::Ambiguous`] does.
#[async_trait]
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Appends entries behind `expected`, all or none, and returns the position after the last. Durable when it returns.
    async fn append(&self, shard: Shard, expected: Position, entries: Vec<Bytes>) -> Result<Position, AppendError>;

    /// Entries from `from` on, in order, until `bytes_max` is passed; at least one if there is any.
    async fn read(&self, shard: Shard, from: Position, bytes_max: usize) -> Result<Vec<(Position, Bytes)>, ReadError>;

    /// One entry, `None` where it was removed or never there.
    async fn entry(&self, shard: Shard, at: Position) -> Result<Option<Bytes>, ReadError>;

    /// The position that the next append has to expect.
    async fn end(&self, shard: Shard) -> Result<Position, ReadError>;

    /// Removes all entries before a position. The end stays where it is, however far behind it the position lies.
    async fn trim(&self, shard: Shard, before: Position) -> Result<(), AppendError>;

    /// Removes these entries, wherever they are. Positions are never given twice.
    async fn remove(&self, shard: Shard, positions: Vec<Position>) -> Result<(), AppendError>;

    /// Leases and members: small values under a name, changed by compare-and-set on a revision.
    async fn value(&self, name: &str) -> Result<Option<Value>, ReadError>;

    /// Sets a value whose revision is `expected`, or that is not there where that is `None`, and returns its new revision.
    async fn set_value(&self, name: &str, expected: Option<u64>, bytes: Bytes) -> Result<u64, SetError>;

    /// Removes a value whose revision is `expected`.
    async fn remove_value(&self, name: &str, expected: u64) -> Result<(), SetError>;

    /// The values whose names begin with `prefix`, by name.
    async fn values(&self, prefix: &str) -> Result<Vec<(String, Value)>, ReadError>;
}

/// What is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Larger with every change, and never given twice, also when the value is removed in between.
    pub revision: u64,
    pub bytes: Bytes,
}
