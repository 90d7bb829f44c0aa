//! What is in the file, and what a transaction does with it.
//!
//! An entry that is not there has been removed, and that is written down, as ranges of positions that grow together: a gap of which
//! nothing is written is damage.

use std::path::Path;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::store::{Trouble, redb_error};
use crate::frame::{self, HEADER_BYTES, Place};
use crate::{OpenError, Position, ReadError, Shard, Value};

/// The layout of these tables. A file of another is refused.
pub(super) const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Frames, by shard and position.
pub(super) const ENTRIES: TableDefinition<'_, (u16, u64), &[u8]> = TableDefinition::new("entries");
/// Where an entry of a shard was removed: from a position up to another, which is not among them. No two of them touch.
const REMOVED: TableDefinition<'_, (u16, u64), u64> = TableDefinition::new("removed");
/// The end of each shard that was ever appended to, framed.
const ENDS: TableDefinition<'_, u16, &[u8]> = TableDefinition::new("ends");
/// A revision and bytes, framed together, by name.
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

/// In `META`.
pub(super) const META_FORMAT: &str = "format";
const META_COMMITS: &str = "commits";
const META_REVISION: &str = "revision";

/// A revision, before the bytes of a value.
const REVISION_BYTES: usize = 8;

pub(super) fn make(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    write.open_table(ENTRIES)?;
    write.open_table(REMOVED)?;
    write.open_table(ENDS)?;
    write.open_table(VALUES)?;
    Ok(())
}

/// Refuses a file that is of another version, or not a ledger.
pub(super) fn check(read: &ReadTransaction, path: &Path) -> Result<(), OpenError> {
    let format = || {
        read.open_table(META)
            .map_err(redb::Error::from)?
            .get(META_FORMAT)
            .map_err(redb::Error::from)
            .map(|f| f.map(|f| f.value()))
    };
    let tables = || {
        read.open_table(ENTRIES)?;
        read.open_table(REMOVED)?;
        read.open_table(ENDS)?;
        read.open_table(VALUES).map(drop)
    };
    let failed = |error| redb_error(path, error);
    match format().map_err(failed)? {
        Some(FORMAT) => tables().map_err(|error: redb::TableError| failed(error.into())),
        Some(found) => Err(OpenError::Version { path: path.to_owned(), found, known: FORMAT }),
        None => Err(OpenError::NotALedger { path: path.to_owned(), source: "it does not say its format".into() }),
    }
}

/// Counts the transaction that is to be committed, from 1.
pub(super) fn count_commit(write: &WriteTransaction) -> Result<u64, Trouble> {
    count(&mut write.open_table(META)?, META_COMMITS)
}

pub(super) fn commits(read: &ReadTransaction) -> Result<u64, Trouble> {
    Ok(read.open_table(META)?.get(META_COMMITS)?.map_or(0, |commits| commits.value()))
}

fn count(meta: &mut Table<'_, &str, u64>, name: &str) -> Result<u64, Trouble> {
    let next = meta.get(name)?.map_or(0, |last| last.value()) + 1;
    meta.insert(name, next)?;
    Ok(next)
}

pub(super) fn append(write: &WriteTransaction, shard: Shard, expected: Position, entries: &[Bytes]) -> Result<Position, Trouble> {
    let mut ends = write.open_table(ENDS)?;
    let mut log = write.open_table(ENTRIES)?;
    let mut end = end_in(&ends, &log, shard)?;
    if end != expected {
        return Err(Trouble::Refused { end });
    }
    for bytes in entries {
        // Written into its page, without a copy that has header and bytes.
        let mut page = log.insert_reserve((shard.0, end.0), HEADER_BYTES + bytes.len())?;
        let (header, rest) = page.as_mut().split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&frame::header(Place::Entry(shard, end), bytes));
        rest.copy_from_slice(bytes);
        end = end.after(1);
    }
    if end != expected {
        ends.insert(shard.0, &*frame::seal(Place::End(shard), &end.0.to_le_bytes()))?;
    }
    Ok(end)
}

pub(super) fn read(
    read: &ReadTransaction,
    shard: Shard,
    from: Position,
    bytes_max: usize,
) -> Result<Vec<(Position, Bytes)>, Trouble> {
    let log = read.open_table(ENTRIES)?;
    let removed = read.open_table(REMOVED)?;
    let end = end_in(&read.open_table(ENDS)?, &log, shard)?;
    let mut entries = Vec::new();
    let mut bytes_read = 0;
    let mut next = from;
    for item in log.range((shard.0, from.0)..=(shard.0, u64::MAX))? {
        let (key, frame) = item?;
        let at = Position(key.value().1);
        check_gap(&removed, shard, next, at)?;
        if at >= end {
            return Err(corrupt(shard, at, format!("the log ends at {end}")).into());
        }
        let bytes = opened(shard, at, frame.value())?;
        next = at.after(1);
        bytes_read += bytes.len();
        entries.push((at, bytes));
        if bytes_read > bytes_max {
            return Ok(entries);
        }
    }
    check_gap(&removed, shard, next, end)?;
    Ok(entries)
}

pub(super) fn entry(read: &ReadTransaction, shard: Shard, at: Position) -> Result<Option<Bytes>, Trouble> {
    let log = read.open_table(ENTRIES)?;
    if let Some(frame) = log.get((shard.0, at.0))? {
        return Ok(Some(opened(shard, at, frame.value())?));
    }
    if at < end_in(&read.open_table(ENDS)?, &log, shard)? {
        check_gap(&read.open_table(REMOVED)?, shard, at, at.after(1))?;
    }
    Ok(None)
}

pub(super) fn end(read: &ReadTransaction, shard: Shard) -> Result<Position, Trouble> {
    end_in(&read.open_table(ENDS)?, &read.open_table(ENTRIES)?, shard)
}

pub(super) fn trim(write: &WriteTransaction, shard: Shard, before: Position) -> Result<(), Trouble> {
    let mut log = write.open_table(ENTRIES)?;
    let end = end_in(&write.open_table(ENDS)?, &log, shard)?;
    let before = before.min(end);
    if before > Position(0) {
        log.retain_in((shard.0, 0)..(shard.0, before.0), |_, _| false)?;
        note_removed(&mut write.open_table(REMOVED)?, shard, Position(0), before)?;
    }
    Ok(())
}

pub(super) fn remove(write: &WriteTransaction, shard: Shard, positions: &[Position]) -> Result<(), Trouble> {
    let mut log = write.open_table(ENTRIES)?;
    let mut removed = write.open_table(REMOVED)?;
    for &at in positions {
        // Of what was never there, or is gone, there is nothing to write down.
        if log.remove((shard.0, at.0))?.is_some() {
            note_removed(&mut removed, shard, at, at.after(1))?;
        }
    }
    Ok(())
}

pub(super) fn value(read: &ReadTransaction, name: &str) -> Result<Option<Value>, Trouble> {
    let values = read.open_table(VALUES)?;
    let Some(frame) = values.get(name)? else { return Ok(None) };
    Ok(Some(opened_value(name, frame.value())?))
}

pub(super) fn values(read: &ReadTransaction, prefix: &str) -> Result<Vec<(String, Value)>, Trouble> {
    let values = read.open_table(VALUES)?;
    let mut found = Vec::new();
    for item in values.range(prefix..)? {
        let (name, frame) = item?;
        let name = name.value();
        if !name.starts_with(prefix) {
            break;
        }
        found.push((name.to_owned(), opened_value(name, frame.value())?));
    }
    Ok(found)
}

pub(super) fn set_value(write: &WriteTransaction, name: &str, expected: Option<u64>, bytes: &[u8]) -> Result<u64, Trouble> {
    let mut values = write.open_table(VALUES)?;
    let current = revision_in(&values, name)?;
    if current != expected {
        return Err(Trouble::RefusedValue { current });
    }
    let revision = count(&mut write.open_table(META)?, META_REVISION)?;
    let record = [&revision.to_le_bytes(), bytes].concat();
    values.insert(name, &*frame::seal(Place::Value(name), &record))?;
    Ok(revision)
}

pub(super) fn remove_value(write: &WriteTransaction, name: &str, expected: u64) -> Result<(), Trouble> {
    let mut values = write.open_table(VALUES)?;
    let current = revision_in(&values, name)?;
    if current != Some(expected) {
        return Err(Trouble::RefusedValue { current });
    }
    values.remove(name)?;
    Ok(())
}

fn revision_in(values: &Table<'_, &str, &[u8]>, name: &str) -> Result<Option<u64>, Trouble> {
    let Some(frame) = values.get(name)? else { return Ok(None) };
    Ok(Some(opened_value(name, frame.value())?.revision))
}

/// The end of a shard. One that was never appended to has no record, and no entries either.
fn end_in(
    ends: &impl ReadableTable<u16, &'static [u8]>,
    log: &impl ReadableTable<(u16, u64), &'static [u8]>,
    shard: Shard,
) -> Result<Position, Trouble> {
    let damaged = |reason| ReadError::CorruptRecord { what: format!("the end of shard {shard}"), reason };
    let Some(frame) = ends.get(shard.0)? else {
        return match log.range((shard.0, 0)..=(shard.0, u64::MAX))?.next() {
            Some(_) => Err(damaged("it is missing, and there are entries".to_owned()).into()),
            None => Ok(Position(0)),
        };
    };
    let bytes = frame::open(Place::End(shard), frame.value()).map_err(|error| damaged(error.to_string()))?;
    let end = bytes.try_into().map_err(|_| damaged(format!("it is of {} bytes", bytes.len())))?;
    Ok(Position(u64::from_le_bytes(end)))
}

/// Whether all entries from a position up to another were removed.
fn check_gap(removed: &impl ReadableTable<(u16, u64), u64>, shard: Shard, from: Position, to: Position) -> Result<(), Trouble> {
    if from >= to {
        return Ok(());
    }
    let removed_to = removed_around(removed, shard, from)?.map_or(from, |(_, to)| to);
    if removed_to < to {
        return Err(corrupt(shard, removed_to.max(from), "it is missing, and was not removed".to_owned()).into());
    }
    Ok(())
}

/// The last range that begins at a position or before.
fn removed_around(
    removed: &impl ReadableTable<(u16, u64), u64>,
    shard: Shard,
    at: Position,
) -> Result<Option<(Position, Position)>, Trouble> {
    let Some(last) = removed.range((shard.0, 0)..=(shard.0, at.0))?.next_back() else { return Ok(None) };
    let (from, to) = last?;
    Ok(Some((Position(from.value().1), Position(to.value()))))
}

/// Writes down that entries were removed, in one range with those that it touches.
fn note_removed(
    removed: &mut Table<'_, (u16, u64), u64>,
    shard: Shard,
    mut from: Position,
    mut to: Position,
) -> Result<(), Trouble> {
    // Those that begin within it, or where it ends, and the one before them. From the last to the first: each is taken once.
    while let Some((begins, ends)) = removed_around(removed, shard, to)? {
        if ends < from {
            break;
        }
        removed.remove((shard.0, begins.0))?;
        from = from.min(begins);
        to = to.max(ends);
    }
    removed.insert((shard.0, from.0), to.0)?;
    Ok(())
}

fn opened(shard: Shard, at: Position, frame: &[u8]) -> Result<Bytes, ReadError> {
    match frame::open(Place::Entry(shard, at), frame) {
        Ok(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Err(damaged) => Err(corrupt(shard, at, damaged.to_string())),
    }
}

fn opened_value(name: &str, frame: &[u8]) -> Result<Value, ReadError> {
    let damaged = |reason| ReadError::CorruptRecord { what: format!("the value {name:?}"), reason };
    let record = frame::open(Place::Value(name), frame).map_err(|error| damaged(error.to_string()))?;
    let (revision, bytes) =
        record.split_first_chunk::<REVISION_BYTES>().ok_or_else(|| damaged("it has no revision".to_owned()))?;
    Ok(Value { revision: u64::from_le_bytes(*revision), bytes: Bytes::copy_from_slice(bytes) })
}

fn corrupt(shard: Shard, position: Position, reason: String) -> ReadError {
    ReadError::Corrupt { shard, position, reason }
}
