//! Between JSON, which `cargo burla map` and `results` read and write, and the codec's bytes, which functions take
//! and return.
//!
//! A value is never changed on the way: it arrives exactly, or is refused with a reason. This module knows nothing of
//! the rest of the crate, since `fuzz/` compiles the folder by itself.

mod input;
mod output;
#[cfg(test)]
mod tests;
mod wide_integers;

use serde_json::{Value, json};

pub(crate) use input::from_json;
pub(crate) use output::to_json;

/// An object of `--indexed`, where `key` is what inputs are counted in: `line` or `index`.
pub(crate) fn output_object((key, number): (&str, u64), output: &[u8], usage: Option<&Value>) -> Vec<u8> {
    let usage = usage.map(|usage| format!(",\"usage\":{usage}")).unwrap_or_default();
    [format!("{{\"{key}\":{number},\"output\":").as_bytes(), output, usage.as_bytes(), b"}"].concat()
}

/// The same with an error, which has at least a `kind`, a `message` and `causes`.
pub(crate) fn error_object((key, number): (&str, u64), error: Value, usage: Option<&Value>) -> Vec<u8> {
    let mut object = json!({ key: number, "error": error });
    if let Some(usage) = usage {
        object["usage"] = usage.clone();
    }
    object.to_string().into_bytes()
}
