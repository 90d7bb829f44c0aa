//! The words that the parts of Burla share, in the order in which a call meets them:
//!
//! 1. a [`Digest`] names a component by its bytes; [`FunctionInfo`] is what a component says of each of its functions;
//! 2. [`JobId`], [`NodeId`] and [`Attempt`] say who runs what, and which try it is;
//! 3. [`Limits`] bound one call, and [`Resources`] are the slot it occupies on a node;
//! 4. an [`Outcome`] says how the call ended;
//! 5. a [`GridError`] says why the grid would not run it at all;
//! 6. [`codec`] turns the user's values into bytes and back.
//!
//! This crate builds for wasm32 and knows nothing that talks: no tokio, tonic, prost or wasmtime.

pub mod codec;
#[cfg(feature = "component")]
pub mod component;
mod digest;
mod error;
mod function;
mod ids;
mod limits;
mod network;
mod outcome;
mod peer;
pub mod text;

pub use digest::{Digest, DigestMismatch, ParseDigestError};
pub use error::{GridError, with_causes};
pub use function::{FUNCTION_SECTION, FunctionInfo};
pub use ids::{Attempt, JobId, NodeId, ParseIdError};
pub use limits::{
    CPU_MILLIS_MAX, CPU_MILLIS_MIN, DISK_BYTES_DEFAULT, DISK_BYTES_MAX, ENV_BYTES_MAX, InvalidLimit, LIMIT_PAYLOAD_BYTES_MAX,
    Limits, MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX, NAME_BYTES_MAX, Resources, cpu_millis_from_cpus, disk_bytes_from_gib,
    env_bytes, memory_bytes_from_gib,
};
pub use network::{
    AddressRange, NETWORK_GRANTS_MAX, NON_PUBLIC_RANGES, NetworkGrant, ParseAddressRangeError, ParseNetworkGrantError, host_name,
    is_public,
};
pub use outcome::{Backtrace, Exceeded, Limit, Location, Outcome, OutputStream, Usage};
pub use peer::{PROTOCOL_MAX, PROTOCOL_MIN, Peer};

/// The version that a client and a node state to the scheduler, and that all three must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
