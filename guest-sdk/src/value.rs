//! The types that can travel between a program and its calls, and the messages for those that cannot.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose values can be an input or an output: any owned type that implements serde's two traits. Nobody implements this
/// trait by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input or an output of a call, because it does not implement serde's traits",
    label = "this type cannot travel to another machine",
    note = "write `#[derive(serde::Serialize, serde::Deserialize)]` above its definition; \
            for a type of another crate, turn on that crate's feature `serde`"
)]
pub trait Value: Serialize + DeserializeOwned + 'static {}

// Otherwise rustc reports each of serde's traits by itself, with a list of unrelated types that implement it.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

/// The error type of a function that returns a `Result`: the user reads its text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a Burla function, because it has no text",
    label = "this error type does not implement `std::fmt::Display`",
    note = "implement `std::fmt::Display` for it, or return `anyhow::Result`"
)]
pub trait ErrorText {}

#[diagnostic::do_not_recommend]
impl<E: Display + ?Sized> ErrorText for E {}
