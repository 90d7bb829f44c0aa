//! The attribute `#[burla::function]`. Each step is a plain function on `proc_macro2` tokens, so that tests can call it:
//!
//! 1. `arguments.rs` reads the attribute, and `crate_path.rs` finds the crate `burla`;
//! 2. `signature.rs` says what a function may look like, and what to write instead where it does not;
//! 3. `form.rs` decides what the function's name stands for;
//! 4. `function.rs` writes the expansion; `conditions.rs` has the part about `#[cfg]`;
//! 5. `render.rs` writes a signature the way its author would.

mod arguments;
mod conditions;
mod crate_path;
mod form;
mod function;
mod render;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a `fn` a Burla function, which `burla::remote_parallel_map` can run on a grid.
///
/// The function stays what it is, and can be called and passed on by name as before:
///
/// ```
/// #[burla::function]
/// fn double(x: i64) -> i64 {
///     x * 2
/// }
///
/// let double = double(21);
/// assert_eq!(double, 42);
/// ```
///
/// Inputs and outputs are any owned types that implement serde's `Serialize` and `Deserialize`. A function of several parameters
/// takes tuples, one of none takes `()`. It returns `T`, or `Result<T, E>` where `E: Display`; an `Err` is the call's own
/// failure, and its chain of sources reaches the user.
///
/// `async`, generic and `unsafe` functions, methods, references and `impl Trait` are refused, each with what to write instead.
///
/// # Errors that implement serde's traits
///
/// A function that returns `Result<T, E>` where `E` implements both `Serialize` and `Deserialize`, such as `Result<u64, String>`,
/// becomes a constant that can be called, because rustc could not tell whether the `Result` is the output or holds it. The
/// constant's name cannot also be a variable's, and it is passed as `*parse` where a `fn` is wanted:
///
/// ```
/// #[burla::function]
/// fn parse(text: String) -> Result<u64, String> {
///     text.parse().map_err(|_| format!("`{text}` is not a number"))
/// }
///
/// let parsed = parse("7".to_owned());
/// assert_eq!(parsed, Ok(7));
/// let all: Vec<_> = ["1".to_owned(), "2".to_owned()].into_iter().map(*parse).collect();
/// assert_eq!(all, [Ok(1), Ok(2)]);
/// ```
///
/// Where the error type is one of your own that implements serde's traits, write `#[burla::function(fallible)]`. `anyhow::Result`,
/// and any error type without serde's traits, need neither.
///
/// # A renamed dependency
///
/// The attribute finds the crate `burla` under whatever name the package depends on it. Where another crate hands it on, say where
/// it is: `#[burla::function(crate = other::burla)]`.
#[proc_macro_attribute]
pub fn function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let burla = crate_path::crate_path(std::env::args());
    function::expand(&burla, attribute.into(), item.into()).into()
}
