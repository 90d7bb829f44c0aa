//! The functions; the program is in `main.rs`.

/// Doubles a number, or triples it.
#[burla::function]
pub fn multiplies(number: i64) -> i64 {
    number * if cfg!(feature = "triple") { 3 } else { 2 }
}
