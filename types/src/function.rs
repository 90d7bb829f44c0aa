//! What a component says of each of its functions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The custom section that `#[burla::function]` writes into a component: one [`FunctionInfo`] as JSON per line. It can be read
/// without running the component, which neither a client nor a scheduler could do.
pub const FUNCTION_SECTION: &str = "burla:functions";

/// One function, as its source described it when it was compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// `crate::path::name`.
    pub name: Cow<'static, str>,
    /// The parameters and the return type as written: `(my_input: i64) -> i64`.
    pub signature: Cow<'static, str>,
    /// The doc comment, its lines joined; empty where there is none.
    pub doc: Cow<'static, str>,
    /// A fingerprint of the function's own tokens. A program and a component that disagree on it were built from different
    /// sources.
    pub source: Cow<'static, str>,
    /// Where its source is: `src/main.rs:12:1`. Empty in components that were built before this was written.
    #[serde(default)]
    pub place: Cow<'static, str>,
}
