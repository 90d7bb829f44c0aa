//! What a component links: the [`Function`] trait, the registry of a component's functions, and the handler that a node calls.
//!
//! Users depend on the crate `burla`, which re-exports all of this. The life of a function:
//!
//! 1. [`macro@function`] turns a `fn` into a type that is a [`Function`], and can still be called;
//! 2. on wasm it also registers the function, and writes a [`FunctionInfo`] into the component's `burla:functions` section;
//! 3. for each call the node makes a fresh instance and enters the handler (`runtime.rs`), which finds the function by
//!    name, decodes the input, calls it, and encodes the output or the error (`failure.rs`).

mod failure;
mod registry;
#[cfg(target_family = "wasm")]
mod runtime;

pub use burla_guest_macros::function;
use burla_types::FunctionInfo;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use failure::Failure;

/// A function that can run on a grid: what `#[burla::function]` makes of a `fn`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Burla function",
    label = "this cannot run on a grid",
    note = "mark the `fn` with `#[burla::function]` and pass it by name, without calling it"
)]
pub trait Function: Copy + 'static {
    /// The type of the one parameter; of several, their tuple; of none, `()`.
    type Input: Serialize + DeserializeOwned + 'static;

    /// What the function returns; of a `Result<T, E>`, `T`.
    type Output: Serialize + DeserializeOwned + 'static;

    /// `crate::path::name`.
    const NAME: &'static str;

    #[doc(hidden)]
    const INFO: FunctionInfo;

    #[doc(hidden)]
    fn apply(input: Self::Input) -> Result<Self::Output, Failure>;
}

/// What the expansion of `#[burla::function]` names. Not for users: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use std::borrow::Cow;

    pub use burla_types::FunctionInfo;
    pub use inventory;

    pub use crate::failure::{CausesOfDisplay, CausesOfDyn, CausesOfDynSendSync, CausesOfError, Failure, Probe, ResultOf};
    pub use crate::registry::Registration;
}
