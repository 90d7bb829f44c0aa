//! Run any function on every input, at the same time, on many computers, as if it were local.
//!
//! ```no_run
//! use burla::remote_parallel_map;
//!
//! #[burla::function]
//! fn my_function(my_input: i64) -> i64 {
//!     println!("{my_input}");
//!     my_input * 2
//! }
//!
//! fn main() -> burla::Result<()> {
//!     let outputs = remote_parallel_map(my_function, [1, 2, 3]).run()?;
//!     println!("{outputs:?}");
//!     Ok(())
//! }
//! ```
//!
//! `cargo burla run` builds this twice, as a program for this machine and as a WebAssembly component for the grid, and runs the
//! program. What a call prints appears in your terminal; what it returns comes back, in the order of the inputs. Each call runs
//! in an instance and a directory of its own.
//!
//! A job, step by step:
//!
//! 1. [`remote_parallel_map`] collects the function, the inputs and the options (`map.rs`, `options.rs`);
//! 2. the component is found, and refused when it was built from other source than this program (`component.rs`, `sources.rs`);
//! 3. the grid is found ([`Grid`]), and dialed unless an earlier job's connection was kept (`connection.rs`); the job is opened
//!    with the component's digest, and again after an upload if the grid does not have it (`job.rs`);
//! 4. inputs go out as the grid takes them, outcomes come back (`calls.rs` for types, `raw_calls.rs` for bytes, `job.rs` for
//!    messages);
//! 5. what calls print is shown (`stdout.rs`), how far the job is (`progress.rs`), and how calls failed ([`Error`],
//!    [`CallError`]); Ctrl-C cancels it (`interrupt.rs`).
//!
//! A job that the grid keeps, so that the program may end, takes another way from step 4 on: its inputs are given to the grid's disk
//! ([`RemoteParallelMap::detach`]; `submission.rs`, `unkept.rs`), and any program follows it from there by its id ([`JobHandle`];
//! `handle.rs`, `detached.rs`, `follow.rs`). Where the connection breaks, both dial again and go on (`redial.rs`).
//!
//! On wasm this crate is only the guest SDK: a component holds functions and cannot start jobs, so steps 2 to 5 are not built.

#![warn(missing_docs)]

#[cfg(not(target_family = "wasm"))]
mod backoff;
mod block_on;
#[cfg(not(target_family = "wasm"))]
mod calls;
#[cfg(target_family = "wasm")]
#[path = "calls_in_component.rs"]
mod calls;
#[cfg(not(target_family = "wasm"))]
mod component;
#[cfg(not(target_family = "wasm"))]
mod connection;
#[cfg(not(target_family = "wasm"))]
mod detached;
#[cfg(target_family = "wasm")]
#[path = "detached_in_component.rs"]
mod detached;
mod error;
#[cfg(not(target_family = "wasm"))]
mod follow;
mod grid;
mod handle;
#[cfg(not(target_family = "wasm"))]
mod input_buffer;
#[cfg(not(target_family = "wasm"))]
mod input_source;
mod inputs;
#[cfg(not(target_family = "wasm"))]
mod interrupt;
#[cfg(not(target_family = "wasm"))]
mod job;
mod job_info;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod local_grid;
mod map;
#[cfg(not(target_family = "wasm"))]
mod namesakes;
mod node_info;
#[cfg(not(target_family = "wasm"))]
mod opening;
mod options;
mod outputs;
#[cfg(not(target_family = "wasm"))]
mod overview;
#[cfg(target_family = "wasm")]
#[path = "overview_in_component.rs"]
mod overview;
#[cfg(not(target_family = "wasm"))]
mod patience;
#[cfg(not(target_family = "wasm"))]
mod progress;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod raw;
#[cfg(not(target_family = "wasm"))]
mod raw_calls;
#[cfg(not(target_family = "wasm"))]
mod redial;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod sources;
mod stdout;
#[cfg(not(target_family = "wasm"))]
mod submission;
mod terminal;
#[cfg(not(target_family = "wasm"))]
mod unkept;

#[doc(hidden)]
pub use burla_guest::__private;
pub use burla_guest::{Function, IntoFunction, NotMarked, Value, function};

pub use burla_types::{Backtrace, JobId, Limit, Location, NodeId, OutputStream, ParseIdError, Usage};
pub use error::{CallError, CallErrorKind, CanceledBy, Error, Result};
pub use grid::{Grid, jobs, nodes};
pub use handle::{JobHandle, OutcomeStream, Outcomes, job};
pub use inputs::{FromStream, Inputs, IntoInputs, ThreadInputs, from_stream, from_thread};
pub use job_info::{JobInfo, JobOptions, JobState};
pub use map::{MapFuture, RemoteParallelMap, remote_parallel_map};
pub use node_info::NodeInfo;
pub use outputs::{CallEnd, CallStream, DetailedCallStream, DetailedGenerator, Generator, IndexedCallStream, IndexedGenerator};
pub use stdout::{Callback, Stdout};
