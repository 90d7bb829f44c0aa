//! Which version speaks, and whether two versions understand each other.

use std::fmt;

use crate::VERSION;

/// The oldest protocol that this version speaks.
pub const PROTOCOL_MIN: u32 = 3;

/// The newest protocol that this version speaks. It grows with every change of `proto/` that an older peer would not understand;
/// versions of Burla that share one work together.
pub const PROTOCOL_MAX: u32 = 3;

/// A client, node or scheduler, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The version of Burla, for people.
    pub version: String,
    /// The oldest protocol it speaks.
    pub protocol_min: u32,
    /// The newest protocol it speaks.
    pub protocol_max: u32,
}

impl Peer {
    /// This version.
    pub fn this() -> Self {
        Self { version: VERSION.to_owned(), protocol_min: PROTOCOL_MIN, protocol_max: PROTOCOL_MAX }
    }

    /// The newest protocol that both speak; `None` when they have none in common.
    pub fn common_protocol(&self, other: &Self) -> Option<u32> {
        let newest = self.protocol_max.min(other.protocol_max);
        (newest >= self.protocol_min.max(other.protocol_min)).then_some(newest)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, protocol_min: min, protocol_max: max } = self;
        if min == max {
            write!(f, "Burla {version} (protocol {max})")
        } else {
            write!(f, "Burla {version} (protocols {min} to {max})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(protocol_min: u32, protocol_max: u32) -> Peer {
        Peer { version: "1.2.3".to_owned(), protocol_min, protocol_max }
    }

    #[test]
    fn the_newest_common_protocol_is_spoken() {
        for (ours, theirs, common) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((2, 5), (1, 3), Some(3)),
            ((1, 1), (2, 3), None),
            ((4, 4), (1, 3), None),
            // Says of itself what cannot be.
            ((3, 1), (1, 3), None),
        ] {
            assert_eq!(peer(ours.0, ours.1).common_protocol(&peer(theirs.0, theirs.1)), common, "{ours:?} and {theirs:?}");
        }
    }
}
