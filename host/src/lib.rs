//! Runs calls. A call, step by step:
//!
//! 1. a node dials its scheduler, and is told of jobs and their calls (`session.rs`, an edge file);
//! 2. the job's component is made ready once: from memory, from the compiled cache, or fetched and compiled (`executor.rs`,
//!    `compiled.rs`, `engine.rs`);
//! 3. the job's calls wait in order until one of its slots on this node is free (`jobs.rs`);
//! 4. a call gets a fresh store (`sandbox.rs`), linked to WASI and the guest contract (`contract.rs`), an empty directory
//!    (`scratch.rs`), and runs on threads where nothing else does (`executor.rs`);
//! 5. what it prints leaves as whole lines while it runs (`output.rs`);
//! 6. how it ended becomes an outcome (`trap.rs`), which leaves with everything else there is to say (`outbound.rs`).
//!
//! The executor knows no jobs and no networks, and wasmtime's types never leave it; `jobs.rs` knows no messages.

mod compiled;
mod contract;
mod engine;
mod executor;
mod jobs;
pub mod machine;
mod memory;
mod metrics;
mod node;
mod outbound;
mod output;
mod sandbox;
mod scratch;
mod session;
mod trap;

pub use executor::{Call, CallEnd, Executor, PrepareError, PreparedComponent};
pub use metrics::Metrics;
pub use node::{NodeConfig, NodeError, run};
pub use output::Printer;
