//! The codec: how the user's values become bytes, and come back equal.
//!
//! The bytes are MessagePack with four extensions, so that nothing of serde's data model is lost. Other languages and
//! the command line read and write them without the Rust type:
//!
//! - Structs are maps by field name. Enums are tagged from outside: a variant without a value is a text, any other is
//!   a map of one entry.
//! - `None`, `()` and unit structs are nil. `Some(value)` is the value, unless that is nil or such a `Some` itself:
//!   then it is an extension that counts the `Some`s.
//! - Integers of more than 64 bits are an extension of 16 bytes. Floats keep their width and each of their bits.
//! - A sequence of `u8`, such as `Vec<u8>`, is an extension with a byte each. What serde calls bytes is `bin`.
//! - Keys of maps are values of any type. A number, boolean or character may also be read from a text, since JSON has
//!   no other keys.
//!
//! The codec calls itself human-readable: addresses, UUIDs and times are texts, as they are in JSON. Only the guest
//! SDK, the client and the command line read the bytes; the scheduler and the nodes pass them on.

mod access;
mod deserializer;
mod error;
mod format;
mod path;
mod reader;
mod serializer;
#[cfg(test)]
mod tests;
mod u8_sequence;
mod writer;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{DecodeError, EncodeError, Malformed};
pub use format::{DEPTH_MAX, SOMES_MAX};
pub use reader::{Reader, Token};
pub use writer::{Open, Writer};

/// Encodes one value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    value.serialize(&mut writer)?;
    Ok(writer.into_bytes())
}

/// Decodes one value, which must be all that the bytes hold.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    match T::deserialize(&mut reader) {
        Ok(value) if reader.is_at_end() => Ok(value),
        Ok(_) => Err(DecodeError::TrailingBytes),
        Err(error) => Err(DecodeError::Malformed(error.at(&path::to(bytes, reader.subject)))),
    }
}
