//! How a ledger fails. Each text says what was being done and what to do; the cause is the source.

use std::error::Error;
use std::path::PathBuf;

use crate::{Position, Shard};

/// Why, in the words of whoever was asked: the file system, the database, a server.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An append, or a removal, that did not happen or of which that is not known.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else owns the log now. Nothing was changed.
    #[error(
        "the append was refused: the log ends at {end} by now, another scheduler writes it; take it over before appending again"
    )]
    Refused { end: Position },
    /// The answer never came, so it may have happened, and may still.
    #[error("the append was not answered, so it may have happened or not; append the same again at the same position")]
    Ambiguous(#[source] Cause),
    /// Nothing was changed. It may succeed once there is space.
    #[error("the ledger could not be written: there is no space left where it is; free some, it goes on by itself")]
    Full(#[source] Cause),
    /// Nothing was changed.
    #[error("the ledger could not be written; what was written before is kept")]
    Failed(#[source] Cause),
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "entry {position} of shard {shard} of the ledger is damaged: {reason}; restore the ledger from a copy, or move it away to begin with an empty one"
    )]
    Corrupt { shard: Shard, position: Position, reason: String },
    /// Something is damaged that is not an entry.
    #[error(
        "{what} in the ledger is damaged: {reason}; restore the ledger from a copy, or move it away to begin with an empty one"
    )]
    CorruptRecord { what: String, reason: String },
    #[error("the ledger could not be read")]
    Failed(#[source] Cause),
}

/// A value that was not set or removed, or of which that is not known.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Somebody else has changed the value: this is its revision, or it is not there. Nothing was changed.
    #[error(
        "the value was not changed: {}; read it before setting it again",
        .current.map_or_else(|| "it is not there".to_owned(), |current| format!("its revision is {current} by now"))
    )]
    Refused { current: Option<u64> },
    /// It may have happened or not: read the value to know.
    #[error("the value could not be changed, or it was not told that it was; read it before setting it again")]
    Failed(#[source] Cause),
}

/// A ledger that cannot be opened. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the ledger {} is in use by another process; stop that one, or give this one a folder of its own", .path.display())]
    InUse { path: PathBuf },
    #[error("the ledger {} cannot be written; let this user write the file and its folder, or choose another folder", .path.display())]
    ReadOnly { path: PathBuf, source: Cause },
    #[error("{} is not a ledger; move it away, or choose another folder", .path.display())]
    NotALedger { path: PathBuf, source: Cause },
    #[error("the ledger {} is damaged; restore it from a copy, or move it away to begin with an empty one", .path.display())]
    Corrupt { path: PathBuf, source: Cause },
    #[error("the ledger {} cannot be opened: there is no space left where it is; free some", .path.display())]
    NoSpace { path: PathBuf, source: Cause },
    #[error(
        "the ledger {} is of format {found}, and this version of Burla knows format {known} alone; run the version that wrote it, or choose another folder", .path.display()
    )]
    Version { path: PathBuf, found: u64, known: u64 },
    #[error("the ledger {} cannot be opened", .path.display())]
    Failed { path: PathBuf, source: Cause },
}
