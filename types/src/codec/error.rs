//! Why a value cannot be written or read, in words for people who may have sent JSON.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};
use serde::ser;

use crate::text::truncated;

/// The most of a wrong value that a message repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// The most of one message: the names of a hundred variants fit. serde repeats unknown names of any length in its own.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// A value that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(Box<str>);

impl EncodeError {
    pub(super) fn new(message: impl AsRef<str>) -> Self {
        Self(harmless(message.as_ref()))
    }
}

impl ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// Bytes that are not one value of the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are malformed, or of another type.
    #[error("{0}")]
    Malformed(Malformed),
    /// They go on after the value.
    #[error("there are more bytes after the value")]
    TrailingBytes,
}

/// The first fault of a value that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(Box<str>);

impl Malformed {
    pub(super) fn new(message: impl AsRef<str>) -> Self {
        Self(harmless(message.as_ref()))
    }

    /// The bytes end within a value.
    pub(super) fn cut_short() -> Self {
        Self::new("the bytes end in the middle of a value")
    }

    pub(super) fn length(expected: usize, found: usize) -> Self {
        Self::new(format!("expected an array of {expected} elements, found {found}"))
    }

    /// Adds where in the value the fault is. The empty path is the value itself.
    pub(super) fn at(self, path: &str) -> Self {
        if path.is_empty() { self } else { Self(format!("at `{}`: {}", harmless(path), self.0).into()) }
    }
}

impl de::Error for Malformed {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", Wanted(expected), Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        let text = expected.to_string();
        // "a tuple of size 2", "an array of length 2", "tuple struct T with 2 elements"
        let mut numbers = text.rsplit(' ').filter_map(|word| word.parse().ok());
        match numbers.next() {
            Some(number) => Self::length(number, found),
            None => Self::new(format!("expected {}, found {found} elements", Wanted(expected))),
        }
    }
}

/// The text as a message holds it: of bounded length, and without anything that a terminal would obey. Keys and names
/// in it come from whoever wrote the bytes. The bound holds before control characters become escapes such as `\u{1b}`,
/// which are six times as long at most.
fn harmless(text: &str) -> Box<str> {
    let mut shown = String::new();
    for char in truncated(text, MESSAGE_BYTES_MAX).chars() {
        match char {
            // The separators of lines and paragraphs, and what reverses the direction: `exe.txt` could be `txt.exe`.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.extend(char.escape_debug()),
            _ if char.is_control() => shown.extend(char.escape_debug()),
            _ => shown.push(char),
        }
    }
    shown.into()
}

/// A wanted type in the words of JSON, with Rust's name of it.
struct Wanted<'a>(&'a dyn Expected);

impl Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match &*text {
            "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
                write!(f, "an integer ({text})")
            }
            "f32" | "f64" => write!(f, "a number ({text})"),
            "a sequence" => f.write_str("an array"),
            "a map" => f.write_str("an object"),
            "unit" => f.write_str("null"),
            "a character" => f.write_str("a string of one character"),
            "option" => f.write_str("a value or null"),
            _ => match text.split_once(' ') {
                Some(("struct", _)) => write!(f, "an object ({text})"),
                Some(("tuple", _)) => write!(f, "an array ({text})"),
                Some(("unit", _)) => write!(f, "null ({text})"),
                Some(("enum", _)) => write!(f, "a variant of {text}"),
                _ => f.write_str(&text),
            },
        }
    }
}

/// A value that was found, in the words of JSON.
struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(value) => write!(f, "{value}"),
            Unexpected::Signed(value) => write!(f, "{value}"),
            Unexpected::Float(value) => write!(f, "{value:?}"),
            Unexpected::Char(value) => write!(f, "the string {:?}", value.encode_utf8(&mut [0; 4])),
            Unexpected::Str(value) => write!(f, "the string {:?}", truncated(value, SHOWN_BYTES_MAX)),
            Unexpected::Bytes(_) => f.write_str("bytes"),
            Unexpected::Unit | Unexpected::Option => f.write_str("null"),
            Unexpected::Seq | Unexpected::TupleVariant => f.write_str("an array"),
            Unexpected::Map | Unexpected::StructVariant => f.write_str("an object"),
            Unexpected::UnitVariant => f.write_str("a string alone"),
            Unexpected::NewtypeVariant => f.write_str("an object of one key"),
            Unexpected::Enum => f.write_str("a variant"),
            Unexpected::NewtypeStruct => f.write_str("a value of its own"),
            Unexpected::Other(what) => f.write_str(what),
        }
    }
}
