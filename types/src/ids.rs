//! Who runs what, and which try it is. Each is its own type, so that one cannot stand where another belongs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes an id that was made elsewhere. Nothing in this crate makes one: that needs a clock and randomness.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Takes 16 raw bytes, as they come over the wire.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 raw bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.simple(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_type! {
    /// One `remote_parallel_map`.
    JobId
}

id_type! {
    /// One session of a node with a scheduler. A node that reconnects is a new one.
    NodeId
}

/// The number of a try at a call, from 1. With the job and the index it names the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The first try.
    pub const FIRST: Self = Self(1);

    /// The try after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A text that should have been an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: expected 32 hexadecimal digits")]
pub struct ParseIdError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = JobId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "abc", "zzabababababababababababababababab"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }
}
