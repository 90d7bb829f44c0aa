//! What stands before the bytes of everything that is stored: a version of this format, and a checksum.
//!
//! The checksum is over the bytes and over where they belong, so that an entry which has come to stand in another's place is found
//! out as well as one whose bytes have changed. A file system that lost the end of a file leaves zeros, which are of no version.

use std::fmt;

use bytes::Bytes;

use crate::{Position, Shard};

/// The version byte and the checksum.
pub const HEADER_BYTES: usize = 5;

/// Not zero, which is what lost bytes read as.
const VERSION: u8 = 1;

/// Where the bytes of a frame belong.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    Entry(Shard, Position),
    End(Shard),
    Value(&'a str),
}

/// What is to stand before these bytes.
pub fn header(place: Place<'_>, bytes: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [VERSION; HEADER_BYTES];
    header[1..].copy_from_slice(&checksum(place, bytes).to_le_bytes());
    header
}

/// Bytes with their header.
pub fn seal(place: Place<'_>, bytes: &[u8]) -> Bytes {
    [&header(place, bytes), bytes].concat().into()
}

/// The bytes of a frame, which are those that were stored at this place, or why they are not.
pub fn open<'f>(place: Place<'_>, frame: &'f [u8]) -> Result<&'f [u8], Damaged> {
    let Some((header, bytes)) = frame.split_first_chunk::<HEADER_BYTES>() else { return Err(Damaged::Short(frame.len())) };
    let [version, stored @ ..] = *header;
    if version != VERSION {
        return Err(Damaged::Version(version));
    }
    let (stored, found) = (u32::from_le_bytes(stored), checksum(place, bytes));
    if stored == found { Ok(bytes) } else { Err(Damaged::Checksum { stored, found }) }
}

/// Why a frame cannot be believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Damaged {
    Short(usize),
    Version(u8),
    Checksum { stored: u32, found: u32 },
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(bytes) => write!(f, "it ends after {bytes} bytes"),
            Self::Version(version) => write!(f, "its format is {version} where {VERSION} is known"),
            Self::Checksum { stored, found } => write!(f, "its checksum is {found:08x} where {stored:08x} was written"),
        }
    }
}

fn checksum(place: Place<'_>, bytes: &[u8]) -> u32 {
    // The first byte keeps an entry's place from being read as another kind's.
    let sum = match place {
        Place::Entry(shard, at) => place_sum(b'e', &[&shard.0.to_le_bytes(), &at.0.to_le_bytes()]),
        Place::End(shard) => place_sum(b'n', &[&shard.0.to_le_bytes()]),
        Place::Value(name) => place_sum(b'v', &[&(name.len() as u64).to_le_bytes(), name.as_bytes()]),
    };
    crc32c::crc32c_append(sum, bytes)
}

fn place_sum(kind: u8, parts: &[&[u8]]) -> u32 {
    parts.iter().fold(crc32c::crc32c(&[kind]), |sum, part| crc32c::crc32c_append(sum, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place::Entry(Shard(3), Position(7));

    #[test]
    fn a_frame_opens_where_it_was_sealed_and_nowhere_else() {
        let frame = seal(PLACE, b"bytes");
        assert_eq!(open(PLACE, &frame), Ok(&b"bytes"[..]));
        for other in
            [Place::Entry(Shard(3), Position(8)), Place::Entry(Shard(2), Position(7)), Place::End(Shard(3)), Place::Value("")]
        {
            assert!(matches!(open(other, &frame), Err(Damaged::Checksum { .. })), "{other:?}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_lost_end_is_found_out() {
        for bytes in [&b""[..], b"a", b"some bytes of an entry"] {
            let frame = seal(PLACE, bytes);
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(open(PLACE, &damaged).is_err(), "bit {bit} of {bytes:?}");
            }
            for length in 0..frame.len() {
                assert!(open(PLACE, &frame[..length]).is_err(), "{length} bytes of {bytes:?}");
            }
            assert_eq!(open(PLACE, &vec![0; frame.len()]), Err(Damaged::Version(0)));
        }
    }
}
