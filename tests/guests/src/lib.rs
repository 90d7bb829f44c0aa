//! Functions for the whole-grid tests. They are in a library, which is what is built for wasm; the tests link it too, for the
//! types.

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what calls print is what is tested")]
pub mod behavior;
pub mod failing;
pub mod limits;
pub mod typed;
