//! What a component links: how a function is known, the registry of a component's functions, and the handler that a node calls.
//!
//! Users depend on the crate `burla`, which re-exports all of this. The life of a function:
//!
//! 1. [`macro@function`] leaves a `fn` as it is, and registers it beside it (`registry.rs`); `function.rs` finds its types and, by
//!    its type, its name;
//! 2. on wasm it also writes a [`FunctionInfo`](burla_types::FunctionInfo) into the component's `burla:functions` section
//!    (`section.rs`);
//! 3. for each call the node makes a fresh instance and enters the handler (`runtime.rs`), which finds the function by
//!    name, decodes the input, calls it, and encodes the output or the error (`returned.rs`, `failure.rs`).

mod failure;
mod function;
mod registry;
mod returned;
#[cfg(target_family = "wasm")]
mod runtime;
mod section;
mod value;

pub use burla_guest_macros::function;

pub use failure::Failure;
pub use function::{Function, IntoFunction, NotMarked};
pub use value::Value;

/// What the expansion of `#[burla::function]` names. Not for users: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use std::borrow::Cow;
    pub use std::vec::Vec;

    pub use burla_types::FunctionInfo;
    pub use inventory;

    pub use crate::failure::{CausesOfDisplay, CausesOfDyn, CausesOfDynSendSync, CausesOfError, CausesOfNothing, Failure, Probe};
    pub use crate::function::{Constant, Item, Itself, Parameters, Returns, ReturnsResult};
    pub use crate::registry::{
        CallError, Registration, check_error, decode_0, decode_1, decode_2, decode_3, decode_4, decode_5, decode_6, decode_7,
        decode_8, decode_9, decode_10, decode_11, decode_12, encode,
    };
    pub use crate::returned::{NoResult, Returned};
    pub use crate::section::line;
    pub use crate::value::ErrorText;
}
