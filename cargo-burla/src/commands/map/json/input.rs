//! JSON becomes a function's input.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use burla_types::codec::Writer;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::wide_integers::{self, WideInteger};

/// One JSON value as a function's input.
pub(crate) fn from_json(text: &[u8]) -> Result<Bytes, String> {
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
    let mut input = Input { writer: Writer::default(), numbers: 0, wide: wide_integers::of(text)? };
    let mut reader = serde_json::Deserializer::from_str(text);
    // Its own limit is 128 levels. The codec has one as well, and the writer keeps to it.
    reader.disable_recursion_limit();
    input.deserialize(&mut reader).map_err(|error| reason(&error))?;
    reader.end().map_err(|error| reason(&error))?;
    Ok(input.writer.into_bytes().into())
}

fn reason(error: &serde_json::Error) -> String {
    let text = without_first_line(&error.to_string());
    if error.classify() == Category::Data { text } else { format!("it is not JSON: {text}") }
}

/// The place is said as the parser says it.
fn not_utf8(text: &[u8], at: usize) -> String {
    let mut lines = text[..at].split(|byte| *byte == b'\n');
    let (line, column) = (lines.clone().count(), lines.next_back().map_or(0, <[u8]>::len) + 1);
    let byte = text[at];
    without_first_line(&format!("it is not UTF-8: the byte {byte:#04x} begins no character at line {line} column {column}"))
}

/// A value is mostly on one line, whose number says nothing.
fn without_first_line(text: &str) -> String {
    text.replace(" at line 1 column ", " at column ")
}

/// An input that is being written while JSON is read.
struct Input {
    writer: Writer,
    /// Numbers that were read so far.
    numbers: usize,
    /// Integers that the parser gives as floats, in the order of the text.
    wide: VecDeque<WideInteger>,
}

impl Input {
    fn take_wide(&mut self) -> Option<WideInteger> {
        self.numbers += 1;
        self.wide.pop_front_if(|wide| wide.position + 1 == self.numbers)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Input {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Input {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.writer.nil();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.writer.bool(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.numbers += 1;
        self.writer.u64(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.numbers += 1;
        self.writer.i64(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        match self.take_wide() {
            None => self.writer.f64(value),
            Some(WideInteger { is_negative: false, magnitude, .. }) => self.writer.u128(magnitude),
            Some(WideInteger { is_negative: true, magnitude, .. }) => self.writer.i128(magnitude.wrapping_neg() as i128),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.writer.text(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut array = self.writer.open_array(None).map_err(A::Error::custom)?;
        while elements.next_element_seed(&mut *self)?.is_some() {
            array.count += 1;
        }
        self.writer.close(array).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut map = self.writer.open_map(None).map_err(A::Error::custom)?;
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.writer.text(&key).map_err(A::Error::custom)?;
            map.count += 1;
            entries.next_value_seed(&mut *self)?;
            // A map would keep one of the two and say nothing.
            if let Some(key) = keys.replace(key) {
                return Err(A::Error::custom(format!("an object has the key {key:?} twice")));
            }
        }
        self.writer.close(map).map_err(A::Error::custom)
    }
}
