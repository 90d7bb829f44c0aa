//! Generates `guest-sdk/src/bindings.rs` from `wit/function.wit`. It is a package of its own, so that only this workspace compiles
//! the generator (`build.rs`), and not everybody who builds a component.

/// The Rust code for the world `function`.
pub const BINDINGS: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
