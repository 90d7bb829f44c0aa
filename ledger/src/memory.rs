//! A ledger that is gone with its process: for tests, and for a grid that keeps no jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::frame::{self, HEADER_BYTES, Place};
use crate::{AppendError, ENTRY_BYTES_MAX, Ledger, Position, ReadError, SetError, Shard, Value};

/// Clones share what is in it, as two schedulers share a ledger. Entries are framed here too, so that tests can damage them.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<Shard, Log>,
    values: BTreeMap<String, Value>,
    /// The last that was given, to any value.
    revision: u64,
}

#[derive(Debug, Default)]
struct Log {
    end: Position,
    /// By position.
    frames: BTreeMap<Position, Bytes>,
}

/// What can become of an entry on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    FlippedBit,
    Truncated,
    /// The header is there, and of another version.
    UnknownVersion,
}

impl Damage {
    /// A frame as it is after the damage.
    pub fn done_to(self, frame: &[u8]) -> Bytes {
        let mut frame = frame.to_vec();
        match self {
            Self::FlippedBit => {
                if let Some(last) = frame.last_mut() {
                    *last ^= 1;
                }
            }
            Self::Truncated => frame.truncate(frame.len().saturating_sub(1)),
            Self::UnknownVersion => {
                if let Some(version) = frame.first_mut() {
                    *version = u8::MAX;
                }
            }
        }
        frame.into()
    }
}

impl MemoryLedger {
    pub fn new() -> Self {
        Self::default()
    }

    /// Damages an entry, for tests. Says whether it was there.
    pub fn damage(&self, shard: Shard, at: Position, damage: Damage) -> bool {
        let mut state = self.state();
        let Some(frame) = state.logs.get_mut(&shard).and_then(|log| log.frames.get_mut(&at)) else { return false };
        *frame = damage.done_to(frame);
        true
    }

    /// Nothing panics while it holds the lock and leaves something half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn append(&self, shard: Shard, expected: Position, entries: Vec<Bytes>) -> Result<Position, AppendError> {
        check_lengths(&entries)?;
        let mut state = self.state();
        let log = state.logs.entry(shard).or_default();
        if log.end != expected {
            return Err(AppendError::Refused { end: log.end });
        }
        for bytes in entries {
            log.frames.insert(log.end, frame::seal(Place::Entry(shard, log.end), &bytes));
            log.end = log.end.after(1);
        }
        Ok(log.end)
    }

    async fn read(&self, shard: Shard, from: Position, bytes_max: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let mut entries = Vec::new();
        let mut bytes_read = 0;
        if let Some(log) = self.state().logs.get(&shard) {
            for (&at, frame) in log.frames.range(from..) {
                let bytes = opened(shard, at, frame)?;
                bytes_read += bytes.len();
                entries.push((at, bytes));
                if bytes_read > bytes_max {
                    break;
                }
            }
        }
        Ok(entries)
    }

    async fn entry(&self, shard: Shard, at: Position) -> Result<Option<Bytes>, ReadError> {
        let state = self.state();
        state.logs.get(&shard).and_then(|log| log.frames.get(&at)).map(|frame| opened(shard, at, frame)).transpose()
    }

    async fn end(&self, shard: Shard) -> Result<Position, ReadError> {
        Ok(self.state().logs.get(&shard).map(|log| log.end).unwrap_or_default())
    }

    async fn trim(&self, shard: Shard, before: Position) -> Result<(), AppendError> {
        if let Some(log) = self.state().logs.get_mut(&shard) {
            log.frames = log.frames.split_off(&before);
        }
        Ok(())
    }

    async fn remove(&self, shard: Shard, positions: Vec<Position>) -> Result<(), AppendError> {
        if let Some(log) = self.state().logs.get_mut(&shard) {
            for at in positions {
                log.frames.remove(&at);
            }
        }
        Ok(())
    }

    async fn value(&self, name: &str) -> Result<Option<Value>, ReadError> {
        Ok(self.state().values.get(name).cloned())
    }

    async fn set_value(&self, name: &str, expected: Option<u64>, bytes: Bytes) -> Result<u64, SetError> {
        let mut state = self.state();
        let current = state.values.get(name).map(|value| value.revision);
        if current != expected {
            return Err(SetError::Refused { current });
        }
        state.revision += 1;
        let revision = state.revision;
        state.values.insert(name.to_owned(), Value { revision, bytes });
        Ok(revision)
    }

    async fn remove_value(&self, name: &str, expected: u64) -> Result<(), SetError> {
        let mut state = self.state();
        let current = state.values.get(name).map(|value| value.revision);
        if current != Some(expected) {
            return Err(SetError::Refused { current });
        }
        state.values.remove(name);
        Ok(())
    }

    async fn values(&self, prefix: &str) -> Result<Vec<(String, Value)>, ReadError> {
        let state = self.state();
        let from_prefix = state.values.range(prefix.to_owned()..);
        Ok(from_prefix
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect())
    }
}

/// Refuses a group of which an entry is too long.
pub(crate) fn check_lengths(entries: &[Bytes]) -> Result<(), AppendError> {
    match entries.iter().map(Bytes::len).find(|&bytes| bytes > ENTRY_BYTES_MAX) {
        Some(bytes) => Err(AppendError::Failed(
            format!(
                "an entry of {bytes} bytes is longer than the {ENTRY_BYTES_MAX} that one may have; put its bytes into a blob"
            )
            .into(),
        )),
        None => Ok(()),
    }
}

fn opened(shard: Shard, position: Position, frame: &Bytes) -> Result<Bytes, ReadError> {
    match frame::open(Place::Entry(shard, position), frame) {
        Ok(_) => Ok(frame.slice(HEADER_BYTES..)),
        Err(damaged) => Err(ReadError::Corrupt { shard, position, reason: damaged.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::Subject;

    #[async_trait]
    impl Subject for MemoryLedger {
        fn ledger(&self) -> Arc<dyn Ledger> {
            Arc::new(self.clone())
        }

        /// What it is there for is to be gone with its process, so that a restart here is another handle.
        async fn reopen(&mut self) {}

        async fn damage(&mut self, shard: Shard, at: Position, damage: Damage) {
            assert!(MemoryLedger::damage(self, shard, at, damage));
        }
    }

    crate::conformance!(|| async { MemoryLedger::new() });
}
