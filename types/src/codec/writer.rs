//! Writes values one after another. It knows the bytes of the format and nothing of serde, whose side is in
//! `serializer.rs`.

use super::error::EncodeError;
use super::format::{DEPTH_MAX, SOMES_MAX, extension, marker};

/// The content of an array or map that is moved when its header turns out to be shorter. It bounds what moving costs.
const MOVED_BYTES_MAX: usize = 1024;

/// The header of an array or map whose length is not known when it begins.
const LONG_HEADER_BYTES: usize = 5;

/// A value that is being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Arrays, maps and variants that are open.
    depth: u16,
    /// `Some`s directly around the value that comes next.
    somes: u8,
}

/// An array or map that has begun.
#[must_use = "it has to be closed"]
pub struct Open {
    kind: Kind,
    at: usize,
    claimed: Option<usize>,
    /// Elements of an array, or entries of a map, that were written so far.
    pub count: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Array,
    Map,
}

impl Writer {
    /// The bytes that were written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Announces a `Some` around the next value.
    pub(super) fn some(&mut self) -> Result<(), EncodeError> {
        if self.somes == SOMES_MAX {
            return Err(EncodeError::new(format!("more than {SOMES_MAX} options are nested in one another")));
        }
        self.somes += 1;
        Ok(())
    }

    /// Writes nil, or the `Some`s that are around it.
    pub fn nil(&mut self) {
        match std::mem::take(&mut self.somes) {
            0 => self.bytes.push(marker::NIL),
            somes => self.bytes.extend([marker::FIXEXT1, extension::SOMES, somes]),
        }
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.begin(if value { marker::TRUE } else { marker::FALSE });
    }

    /// Writes an integer that is not negative.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        match value {
            0..=0x7f => self.begin(value as u8),
            0x80..=0xff => self.fixed(marker::U8, [value as u8]),
            0x100..=0xffff => self.fixed(marker::U16, (value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.fixed(marker::U32, (value as u32).to_be_bytes()),
            _ => self.fixed(marker::U64, value.to_be_bytes()),
        }
    }

    /// Writes an integer.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        match value {
            0.. => self.u64(value as u64),
            -0x20..=-1 => self.begin(value as u8),
            -0x80..=-0x21 => self.fixed(marker::I8, [value as u8]),
            -0x8000..=-0x81 => self.fixed(marker::I16, (value as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.fixed(marker::I32, (value as i32).to_be_bytes()),
            _ => self.fixed(marker::I64, value.to_be_bytes()),
        }
    }

    /// Writes a wide integer that is not negative.
    pub fn u128(&mut self, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.u64(value),
            Err(_) => {
                self.header(marker::FIXEXT16, &[extension::U128]);
                self.bytes.extend(value.to_be_bytes());
            }
        }
    }

    /// Writes a wide integer.
    pub fn i128(&mut self, value: i128) {
        if let Ok(value) = u128::try_from(value) {
            return self.u128(value);
        }
        match i64::try_from(value) {
            Ok(value) => self.i64(value),
            Err(_) => {
                self.header(marker::FIXEXT16, &[extension::I128]);
                self.bytes.extend(value.to_be_bytes());
            }
        }
    }

    /// Writes a float, bit for bit.
    #[inline]
    pub fn f32(&mut self, value: f32) {
        self.fixed(marker::F32, value.to_bits().to_be_bytes());
    }

    /// Writes a float, bit for bit.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.fixed(marker::F64, value.to_bits().to_be_bytes());
    }

    /// Writes a text.
    #[inline]
    pub fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        match text.len() {
            length @ 0..=31 => self.begin(marker::FIXSTR | length as u8),
            length @ 32..=0xff => self.header(marker::STR8, &[length as u8]),
            length @ 0x100..=0xffff => self.header(marker::STR16, &(length as u16).to_be_bytes()),
            length => self.header(marker::STR32, &fits("a text", length)?.to_be_bytes()),
        }
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Writes bytes, as serde knows them.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match bytes.len() {
            length @ 0..=0xff => self.header(marker::BIN8, &[length as u8]),
            length @ 0x100..=0xffff => self.header(marker::BIN16, &(length as u16).to_be_bytes()),
            length => self.header(marker::BIN32, &fits("a byte array", length)?.to_be_bytes()),
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes a sequence of `u8`.
    pub fn u8_sequence(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match bytes.len() {
            length @ 0..=0xff => self.header(marker::EXT8, &[length as u8]),
            length @ 0x100..=0xffff => self.header(marker::EXT16, &(length as u16).to_be_bytes()),
            length => self.header(marker::EXT32, &fits("a sequence of u8", length)?.to_be_bytes()),
        }
        self.bytes.push(extension::U8_SEQUENCE);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Begins an array of so many elements, or of as many as will have been written when it is closed.
    #[inline]
    pub fn open_array(&mut self, length: Option<usize>) -> Result<Open, EncodeError> {
        let at = self.enter()?;
        match length {
            Some(length @ 0..=15) => self.begin(marker::FIXARRAY | length as u8),
            Some(length @ 16..=0xffff) => self.header(marker::ARRAY16, &(length as u16).to_be_bytes()),
            length => self.header(marker::ARRAY32, &fits("a sequence", length.unwrap_or(0))?.to_be_bytes()),
        }
        Ok(Open { kind: Kind::Array, at, claimed: length, count: 0 })
    }

    /// Begins a map of so many entries, or of as many as will have been written when it is closed.
    pub fn open_map(&mut self, length: Option<usize>) -> Result<Open, EncodeError> {
        let at = self.enter()?;
        match length {
            Some(length @ 0..=15) => self.begin(marker::FIXMAP | length as u8),
            Some(length @ 16..=0xffff) => self.header(marker::MAP16, &(length as u16).to_be_bytes()),
            length => self.header(marker::MAP32, &fits("a map", length.unwrap_or(0))?.to_be_bytes()),
        }
        Ok(Open { kind: Kind::Map, at, claimed: length, count: 0 })
    }

    /// Ends an array or map.
    #[inline]
    pub fn close(&mut self, open: Open) -> Result<(), EncodeError> {
        self.depth -= 1;
        match open.claimed {
            Some(claimed) if claimed == open.count => Ok(()),
            Some(claimed) => Err(miscounted(claimed, open.count)),
            None => self.write_length(&open),
        }
    }

    /// Ends the map of one entry in which a variant is.
    pub(super) fn close_variant(&mut self) {
        self.depth -= 1;
    }

    /// Replaces a long header: by a short one where few bytes have to be moved for it.
    fn write_length(&mut self, open: &Open) -> Result<(), EncodeError> {
        let content = open.at + LONG_HEADER_BYTES;
        if open.count <= 15 && self.bytes.len() - content <= MOVED_BYTES_MAX {
            let header = if open.kind == Kind::Array { marker::FIXARRAY } else { marker::FIXMAP };
            self.bytes[open.at] = header | open.count as u8;
            self.bytes.copy_within(content.., open.at + 1);
            self.bytes.truncate(self.bytes.len() + 1 - LONG_HEADER_BYTES);
            return Ok(());
        }
        let length = fits("a sequence or map", open.count)?;
        self.bytes[open.at + 1..content].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn enter(&mut self) -> Result<usize, EncodeError> {
        if self.depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        Ok(self.bytes.len())
    }

    /// A marker and what follows it, as one piece: appending twice would take twice as long.
    #[inline]
    fn fixed<const N: usize>(&mut self, marker: u8, rest: [u8; N]) {
        self.somes = 0;
        let mut piece = [0; 9];
        piece[0] = marker;
        piece[1..=N].copy_from_slice(&rest);
        self.bytes.extend_from_slice(&piece[..=N]);
    }

    #[inline]
    fn begin(&mut self, first: u8) {
        self.somes = 0;
        self.bytes.push(first);
    }

    fn header(&mut self, marker: u8, rest: &[u8]) {
        self.begin(marker);
        self.bytes.extend_from_slice(rest);
    }
}

#[cold]
fn too_deep() -> EncodeError {
    EncodeError::new(format!("it is nested more than {DEPTH_MAX} levels deep"))
}

#[cold]
fn miscounted(claimed: usize, count: usize) -> EncodeError {
    EncodeError::new(format!("the type's `Serialize` announced {claimed} elements and wrote {count}"))
}

/// MessagePack's lengths have 32 bits.
fn fits(what: &str, length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::new(format!("{what} of {length} elements is longer than 4294967295")))
}
