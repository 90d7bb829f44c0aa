//! How the user's values become bytes: MessagePack, structs as maps with field names.
//!
//! Field names cost bytes, but make a payload readable without the Rust type, so that the command line and other languages can
//! produce and read it. Only the guest SDK and the client decode; the scheduler and the nodes pass bytes on.

use std::io::ErrorKind;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

/// Encodes one value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    rmp_serde::to_vec_named(value).map_err(EncodeError)
}

/// Decodes one value, which must be all that the bytes hold.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    // From the bytes where they are: a reader would hold every text once more, and a text may be a quarter of what a function has.
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut deserializer).map_err(DecodeError::Malformed)?;
    // Not `IgnoredAny`, which looks into an array that has begun, and finds the same end there.
    match <()>::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(value),
        _ => Err(DecodeError::TrailingBytes),
    }
}

/// A value whose `Serialize` refused.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as MessagePack")]
pub struct EncodeError(#[source] rmp_serde::encode::Error);

/// Bytes that are not one value of the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are not MessagePack, or of another type.
    #[error("the bytes are not a value of the expected type")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// They go on after the value.
    #[error("there are more bytes after the value")]
    TrailingBytes,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Circle { radius: f64 },
        Polygon(Vec<(i32, i32)>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        shapes: Vec<Shape>,
        maybe: Option<Option<String>>,
        map: BTreeMap<u64, char>,
        wide: (u64, i64, u128),
    }

    #[test]
    fn values_survive_the_round_trip() {
        let value = Everything {
            shapes: vec![Shape::Dot, Shape::Circle { radius: -0.5 }, Shape::Polygon(vec![(1, -2)])],
            maybe: Some(None).filter(|inner: &Option<String>| inner.is_some()),
            map: BTreeMap::from([(7, 'ß')]),
            wide: (u64::MAX, i64::MIN, u128::MAX),
        };
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<Everything>(&bytes).unwrap(), value);
    }

    #[test]
    fn structs_carry_their_field_names() {
        let bytes = encode(&Shape::Circle { radius: 1.0 }).unwrap();
        assert!(bytes.windows(6).any(|window| window == b"radius"));
    }

    #[test]
    fn what_is_not_the_type_is_refused() {
        let bytes = encode(&"text").unwrap();
        assert!(matches!(decode::<i64>(&bytes), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<i64>(&[]), Err(DecodeError::Malformed(_))));
        // Another value, half of one, and what is none.
        for trailing in [&[1, 2][..], &[1, 0xcd, 0], &[1, 0xc1], &[1, 0x91], &[1, 0xc0]] {
            assert!(matches!(decode::<i64>(trailing), Err(DecodeError::TrailingBytes)), "{trailing:?}");
        }
    }
}
