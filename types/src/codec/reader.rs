//! Reads values one after another. It knows the bytes of the format and nothing of serde, whose side is in
//! `deserializer.rs`.

use super::error::Malformed;
use super::format::{DEPTH_MAX, SOMES_MAX, extension, marker};

/// Bytes that are being read.
pub struct Reader<'de> {
    bytes: &'de [u8],
    position: usize,
    /// Where the value began that an error would be about.
    pub(super) subject: usize,
    /// A value that is not in the bytes by itself.
    pending: Pending,
    /// The next value is a key of a map, where a text may stand for a number.
    pub(super) key: bool,
    /// Arrays, maps and variants that are open.
    depth: u16,
    /// Options and newtypes around the next value that are in the type alone, counted at this position.
    wraps: u8,
    wraps_position: usize,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// An element of a sequence of `u8`.
    U8(u8),
    /// Nil with so many `Some`s around it.
    Somes(u8),
}

/// A value, or the beginning of an array or map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'de> {
    /// No value.
    Nil,
    /// So many `Some`s around nil, at least one.
    Somes(u8),
    /// A boolean.
    Bool(bool),
    /// An integer that is not negative.
    U64(u64),
    /// A negative integer.
    I64(i64),
    /// An integer that is larger than any of 64 bits.
    U128(u128),
    /// An integer that is smaller than any of 64 bits.
    I128(i128),
    /// A single float.
    F32(f32),
    /// A double float.
    F64(f64),
    /// A text.
    Text(&'de str),
    /// Bytes, as serde knows them.
    Binary(&'de [u8]),
    /// A sequence of `u8`.
    U8Sequence(&'de [u8]),
    /// An array: so many values follow.
    Array(usize),
    /// A map: so many keys follow, each with its value.
    Map(usize),
}

impl<'de> Reader<'de> {
    /// Begins with the first value.
    pub fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, position: 0, subject: 0, pending: Pending::Nothing, key: false, depth: 0, wraps: 0, wraps_position: 0 }
    }

    /// The next value if it is an integer that is not negative; any other stays to be read. Most numbers are such,
    /// and this is short enough to become part of whoever reads them.
    #[inline]
    pub(super) fn take_u64(&mut self) -> Option<u64> {
        if self.pending != Pending::Nothing {
            return None;
        }
        let rest = &self.bytes[self.position..];
        let (value, length) = match *rest {
            [byte @ 0..=0x7f, ..] => (byte.into(), 1),
            [marker::U8, byte, ..] => (byte.into(), 2),
            [marker::U16, a, b, ..] => (u16::from_be_bytes([a, b]).into(), 3),
            [marker::U32, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]).into(), 5),
            [marker::U64, a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 9),
            _ => return None,
        };
        self.take(length);
        Some(value)
    }

    /// The next value if it is a double float; any other stays to be read.
    #[inline]
    pub(super) fn take_f64(&mut self) -> Option<f64> {
        match self.bytes[self.position..] {
            [marker::F64, a, b, c, d, e, f, g, h, ..] if self.pending == Pending::Nothing => {
                self.take(9);
                Some(f64::from_bits(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
            }
            _ => None,
        }
    }

    /// The length of the array that comes next, if it is a short one; any other value stays to be read.
    #[inline]
    pub(super) fn take_short_array(&mut self) -> Option<usize> {
        let length = self.take_short(marker::FIXARRAY, 0xf)?;
        // Else the reader says that it is cut short.
        if length > self.values_max() {
            self.rewind();
            return None;
        }
        Some(length)
    }

    /// The same for a map.
    #[inline]
    pub(super) fn take_short_map(&mut self) -> Option<usize> {
        let length = self.take_short(marker::FIXMAP, 0xf)?;
        if 2 * length > self.values_max() {
            self.rewind();
            return None;
        }
        Some(length)
    }

    /// The next value if it is a short text; any other stays to be read, and one that is malformed.
    #[inline]
    pub(super) fn take_short_text(&mut self) -> Option<&'de str> {
        let length = self.take_short(marker::FIXSTR, 0x1f)?;
        match self.bytes[self.position..].get(..length).map(std::str::from_utf8) {
            Some(Ok(text)) => {
                self.position += length;
                Some(text)
            }
            _ => {
                self.rewind();
                None
            }
        }
    }

    /// The length in the next marker, if it is one of those that begin at `first` and hold a length.
    #[inline]
    fn take_short(&mut self, first: u8, length: u8) -> Option<usize> {
        match self.bytes.get(self.position) {
            Some(byte) if byte & !length == first && self.pending == Pending::Nothing => {
                self.take(1);
                Some(usize::from(byte & length))
            }
            _ => None,
        }
    }

    #[inline]
    fn take(&mut self, length: usize) {
        self.key = false;
        self.subject = self.position;
        self.position += length;
    }

    /// The next value or the beginning of it.
    pub fn token(&mut self) -> Result<Token<'de>, Malformed> {
        self.key = false;
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => {}
            Pending::U8(value) => return Ok(Token::U64(value.into())),
            Pending::Somes(0) => return Ok(Token::Nil),
            Pending::Somes(somes) => return Ok(Token::Somes(somes)),
        }
        self.subject = self.position;
        Ok(match self.array::<1>()?[0] {
            byte @ 0..=0x7f => Token::U64(byte.into()),
            byte @ marker::FIXMAP..marker::FIXARRAY => self.map((byte & 0xf).into())?,
            byte @ marker::FIXARRAY..marker::FIXSTR => self.elements((byte & 0xf).into())?,
            byte @ marker::FIXSTR..marker::NIL => self.text((byte & 0x1f).into())?,
            marker::NIL => Token::Nil,
            marker::FALSE => Token::Bool(false),
            marker::TRUE => Token::Bool(true),
            marker::BIN8 => Token::Binary(self.slice8()?),
            marker::BIN16 => Token::Binary(self.slice16()?),
            marker::BIN32 => Token::Binary(self.slice32()?),
            marker::F32 => Token::F32(f32::from_bits(u32::from_be_bytes(self.array()?))),
            marker::F64 => Token::F64(f64::from_bits(u64::from_be_bytes(self.array()?))),
            marker::U8 => Token::U64(u8::from_be_bytes(self.array()?).into()),
            marker::U16 => Token::U64(u16::from_be_bytes(self.array()?).into()),
            marker::U32 => Token::U64(u32::from_be_bytes(self.array()?).into()),
            marker::U64 => Token::U64(u64::from_be_bytes(self.array()?)),
            marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            marker::STR8 => self.long_text(1)?,
            marker::STR16 => self.long_text(2)?,
            marker::STR32 => self.long_text(4)?,
            marker::ARRAY16 => self.long_array(2)?,
            marker::ARRAY32 => self.long_array(4)?,
            marker::MAP16 => self.long_map(2)?,
            marker::MAP32 => self.long_map(4)?,
            byte @ 0xe0.. => Token::I64((byte as i8).into()),
            byte => self.extension(byte)?,
        })
    }

    /// Whether everything was read.
    pub fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// Passes over the next value. It may be as deep as a value that is read.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        let mut values = 1;
        // The values that are left in each array and map around those: `enter` bounds how many there are.
        let mut outer = Vec::new();
        loop {
            while values == 0 {
                let Some(left) = outer.pop() else { return Ok(()) };
                values = left;
                self.leave();
            }
            values -= 1;
            let inner = match self.token()? {
                Token::Array(length) => length,
                Token::Map(length) => 2 * length,
                _ => continue,
            };
            self.enter()?;
            outer.push(values);
            values = inner;
        }
    }

    /// The next value is nil, or `Some`s around it: takes the outermost off, and says whether there was one. `None`
    /// is for a value that is neither, which stays to be read.
    pub(super) fn take_option(&mut self) -> Result<Option<bool>, Malformed> {
        let is_nil_or_some = match self.pending {
            Pending::Nothing => {
                matches!(self.bytes[self.position..], [marker::NIL, ..] | [marker::FIXEXT1, extension::SOMES, ..])
            }
            Pending::Somes(_) => true,
            Pending::U8(_) => false,
        };
        if !is_nil_or_some {
            return Ok(None);
        }
        match self.token()? {
            Token::Somes(somes) => {
                self.suspend(Pending::Somes(somes - 1));
                Ok(Some(true))
            }
            _ => Ok(Some(false)),
        }
    }

    /// Goes back to the beginning of the value that was begun last.
    pub(super) fn rewind(&mut self) {
        self.position = self.subject;
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(Malformed::new(format!("it is nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Counts an option or newtype that takes nothing from the bytes. A type that holds itself in this way, such as
    /// `struct A(Option<Box<A>>)`, would otherwise never come to an end.
    #[inline]
    pub(super) fn wrap(&mut self) -> Result<(), Malformed> {
        if self.wraps_position != self.position {
            self.wraps_position = self.position;
            self.wraps = 0;
        }
        if self.wraps == SOMES_MAX {
            return Err(Malformed::new(format!("more than {SOMES_MAX} options and newtypes of its type are around one value")));
        }
        self.wraps += 1;
        Ok(())
    }

    /// Sets the value that comes next without being in the bytes by itself.
    #[inline]
    pub(super) fn suspend(&mut self, pending: Pending) {
        self.pending = pending;
        self.wraps = 0;
    }

    /// How many values may still come: each takes a byte.
    #[inline]
    pub(super) fn values_max(&self) -> usize {
        self.bytes.len() - self.position
    }

    fn extension(&mut self, byte: u8) -> Result<Token<'de>, Malformed> {
        let length = match byte {
            marker::EXT8 => self.length(1)?,
            marker::EXT16 => self.length(2)?,
            marker::EXT32 => self.length(4)?,
            marker::FIXEXT1 => 1,
            marker::FIXEXT2 => 2,
            marker::FIXEXT4 => 4,
            marker::FIXEXT8 => 8,
            marker::FIXEXT16 => 16,
            byte => return Err(Malformed::new(format!("the byte {byte:#04x} begins no value of MessagePack"))),
        };
        let kind = self.array::<1>()?[0];
        let content = self.slice(length)?;
        match (kind, content) {
            // In this form only, which is the one that `take_option` looks for.
            (extension::SOMES, &[somes @ 1..=SOMES_MAX]) if byte == marker::FIXEXT1 => Ok(Token::Somes(somes)),
            (extension::U8_SEQUENCE, _) => Ok(Token::U8Sequence(content)),
            (extension::U128, _) if length == 16 => {
                let value = content.try_into().map(u128::from_be_bytes).unwrap_or_default();
                Ok(u64::try_from(value).map_or(Token::U128(value), Token::U64))
            }
            (extension::I128, _) if length == 16 => {
                let value = content.try_into().map(i128::from_be_bytes).unwrap_or_default();
                Ok(wide(value))
            }
            _ => Err(Malformed::new(format!("an extension of type {} with {length} bytes has no meaning here", kind as i8))),
        }
    }

    fn long_text(&mut self, bytes: usize) -> Result<Token<'de>, Malformed> {
        let length = self.length(bytes)?;
        self.text(length)
    }

    fn long_array(&mut self, bytes: usize) -> Result<Token<'de>, Malformed> {
        let length = self.length(bytes)?;
        self.elements(length)
    }

    fn long_map(&mut self, bytes: usize) -> Result<Token<'de>, Malformed> {
        let length = self.length(bytes)?;
        self.map(length)
    }

    fn text(&mut self, length: usize) -> Result<Token<'de>, Malformed> {
        let bytes = self.slice(length)?;
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed::new(format!("a string is not UTF-8: {error}")))?;
        Ok(Token::Text(text))
    }

    /// A length that the bytes cannot hold is refused before anyone makes room for it.
    fn elements(&mut self, length: usize) -> Result<Token<'de>, Malformed> {
        if length > self.values_max() { Err(Malformed::cut_short()) } else { Ok(Token::Array(length)) }
    }

    fn map(&mut self, length: usize) -> Result<Token<'de>, Malformed> {
        if length > self.values_max() / 2 { Err(Malformed::cut_short()) } else { Ok(Token::Map(length)) }
    }

    fn slice8(&mut self) -> Result<&'de [u8], Malformed> {
        let length = self.length(1)?;
        self.slice(length)
    }

    fn slice16(&mut self) -> Result<&'de [u8], Malformed> {
        let length = self.length(2)?;
        self.slice(length)
    }

    fn slice32(&mut self) -> Result<&'de [u8], Malformed> {
        let length = self.length(4)?;
        self.slice(length)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Malformed> {
        let length = self.slice(bytes)?;
        Ok(length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn slice(&mut self, length: usize) -> Result<&'de [u8], Malformed> {
        let slice = self.bytes[self.position..].get(..length).ok_or_else(Malformed::cut_short)?;
        self.position += length;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes: &[u8; N] = self.bytes[self.position..].first_chunk().ok_or_else(Malformed::cut_short)?;
        self.position += N;
        Ok(*bytes)
    }
}

fn signed<'de>(value: i64) -> Token<'de> {
    u64::try_from(value).map_or(Token::I64(value), Token::U64)
}

/// An integer as the smallest token that holds it.
pub(super) fn wide<'de>(value: i128) -> Token<'de> {
    if let Ok(value) = u64::try_from(value) {
        Token::U64(value)
    } else if let Ok(value) = i64::try_from(value) {
        Token::I64(value)
    } else if let Ok(value) = u128::try_from(value) {
        Token::U128(value)
    } else {
        Token::I128(value)
    }
}
