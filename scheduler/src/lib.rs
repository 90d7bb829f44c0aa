//! Decides who runs what. A job, step by step:
//!
//! 1. a client that was told that its component is missing uploads the bytes (`service/client_api.rs`, `components.rs`);
//! 2. a client opens a job on a stream and sends inputs; a node joined with a stream of its own (`service/node_api.rs`);
//! 3. each thing that happens becomes an event (`grid/event.rs`), which the driver hands to the grid one at a time (`driver.rs`);
//! 4. the grid gives the job slots on nodes (`grid/placement.rs`), and calls to the slots (`grid/lease.rs`);
//! 5. what nodes report goes to the client, until every call has ended (`grid.rs`, `grid/job.rs`).
//!
//! Inputs and outputs pass through as bytes; nothing here decodes one. The grid is plain code without clock, I/O or tasks;
//! generated types stop in `service/`.

mod components;
mod driver;
pub mod grid;
mod metrics;
mod service;
mod storage;
mod store;

pub use components::Components;
pub use metrics::Metrics;
pub use service::{ServeConfig, ServeError, serve};
pub use storage::Storage;
pub use store::{StoreConfig, StoreError};
