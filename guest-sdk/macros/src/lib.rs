//! The attribute `#[burla::function]`. Each step is a plain function on `proc_macro2` tokens, so that tests can call it:
//!
//! 1. `signature.rs` says what a function may look like, and what to write instead where it does not;
//! 2. `function.rs` expands one that does;
//! 3. `render.rs` writes a signature the way its author would.

mod function;
mod render;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a `fn` a Burla function, which `burla::remote_parallel_map` can run on a grid.
///
/// The name then stands for a value of a type of the same name. It can still be called as before, and it can be passed to
/// `remote_parallel_map`, which knows its input and output types:
///
/// ```
/// #[burla::function]
/// fn double(x: i64) -> i64 {
///     x * 2
/// }
///
/// assert_eq!(double(21), 42);
/// ```
///
/// Inputs and outputs are any owned types that implement serde's `Serialize` and `Deserialize`. A function of several parameters
/// takes tuples, one of none takes `()`. It returns `T`, or `Result<T, E>` where `E: Display`; an `Err` is the call's own
/// failure, and its chain of sources reaches the user.
///
/// `async`, generic and `unsafe` functions, methods, references and `impl Trait` are refused, each with what to write instead.
#[proc_macro_attribute]
pub fn function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(attribute.into(), item.into()).into()
}
