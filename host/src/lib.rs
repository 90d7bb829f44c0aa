//! Runs calls. A call, step by step:
//!
//! 1. a node dials its scheduler, and is told of jobs and their calls (`session.rs`, an edge file);
//! 2. the job's component is made ready once: from memory, from the compiled cache, or fetched and compiled in a child
//!    process (`executor.rs`, `compiled.rs`, `compiler.rs`, `engine.rs`);
//! 3. the job's calls wait in order until one of its slots on this node is free (`jobs.rs`);
//! 4. a call gets a fresh store (`sandbox.rs`), linked to WASI and the guest contract (`contract.rs`), an empty directory
//!    (`scratch.rs`), and runs on threads where nothing else does (`executor.rs`);
//! 5. what it prints leaves as whole lines while it runs (`output.rs`);
//! 6. how it ended becomes an outcome (`trap.rs`), which leaves with everything else there is to say (`outbound.rs`), and is kept until the
//!    scheduler has acknowledged it. When the connection breaks, calls go on, and the node dials again (`node.rs`).
//!
//! The executor knows no jobs and no networks, and wasmtime's types never leave it; `jobs.rs` knows no messages.

mod compiled;
mod compiler;
mod contract;
mod engine;
mod executor;
mod filesystem;
mod jobs;
pub mod machine;
mod memory;
mod metrics;
mod network;
mod node;
mod outbound;
mod output;
mod policy;
mod sandbox;
mod scratch;
mod session;
mod throttle;
mod trap;

pub use compiler::{CompileError, Compiler, CompilerConfig, MachineCode, compile_if_asked};
pub use executor::{Call, CallEnd, Executor, ExecutorConfig, PrepareError, PreparedComponent};
pub use metrics::Metrics;
pub use network::{Authorities, AuthoritiesError, NetworkPolicy};
pub use node::{NodeConfig, NodeError, run};
pub use output::Printer;
pub use policy::Policy;
