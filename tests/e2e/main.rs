//! Jobs on grids of real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod daemons;
mod failures;
mod limits;
mod nodes;
mod operators;
mod output;
mod patience;
mod protocol;
mod sandbox;
mod sharing;
mod streams;
mod survival;
