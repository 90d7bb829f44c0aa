//! The grid contract, `burla.v1`: how clients and nodes speak with a scheduler.
//!
//! The `.proto` files under `proto/burla/v1` are the contract and say what each message means; [`v1`] is generated from them.
//! Outside this crate only the edge files of client, scheduler and node see a generated type: [`convert`] turns them into the
//! words of `burla-types`, and [`status`] does the same for errors.

pub mod convert;
pub mod status;

mod batch;

pub use batch::{BATCH_BYTES, WireSize, batch_is_full};

/// The generated messages, clients and servers.
#[expect(clippy::allow_attributes_without_reason, reason = "generated code, committed as the generator writes it")]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    include!("generated/burla.v1.rs");
}

use burla_types::LIMIT_PAYLOAD_BYTES_MAX;

/// The largest message either side accepts: one payload of the largest size, and what stands around it.
pub const MESSAGE_BYTES_MAX: usize = LIMIT_PAYLOAD_BYTES_MAX + (1 << 20);

/// The bytes of a component in one message. HTTP/2 and the allocator like it smaller than a whole component, and a few dozen
/// messages for the largest component cost nothing.
pub const COMPONENT_CHUNK_BYTES: usize = 256 << 10;

/// The largest component a grid takes: twenty-five times the largest of the tests, 2.6 MB with image, regex and chrono in it.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// What HTTP/2 lets the sender of a stream have in flight. The default of 64 KiB stalls a 1 MB payload sixteen times.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection together.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The largest frame of HTTP/2 either side takes. With the default of 16 KiB, a 1 MB payload is sixty frames, each with its own
/// bookkeeping; this size still lets a PING through within a fraction of a millisecond.
pub const FRAME_BYTES_MAX: u32 = 256 << 10;

/// How often each side of a connection asks whether the other is still there: the heartbeat of nodes and clients. It is HTTP/2's
/// own PING, so that no message however large stands before it.
pub const HEARTBEAT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);

/// How long an answer may take before the other side counts as lost: three heartbeats. A machine that is merely busy answers
/// within a fraction of a second.
pub const HEARTBEAT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(6);
