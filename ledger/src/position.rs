//! Where an entry is.

use std::fmt;

/// One of the logs of a ledger. A job stays in one for its life, so that a scheduler owns jobs by owning a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

/// The place of an entry in its log, from 0, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position so many entries on. Appending one a nanosecond, the numbers last for six centuries.
    pub fn after(self, entries: usize) -> Self {
        Self(self.0 + entries as u64)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
