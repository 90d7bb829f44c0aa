//! Kernels: small programs of the kinds that people compute with, the same Rust code for a node and for this machine.
//!
//! Each makes its own input from a fixed seed, works for 30 to 150 ms in native code, and returns a checksum, which has to be the
//! same everywhere. None has code of its own for some processor, and none of the crates does, except for memchr, which csv and
//! regex use: native it looks for AVX2, and for WebAssembly it has SIMD of its own.

pub mod collections;
pub mod floats;
pub mod formats;
pub mod integers;
mod random;

use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use random::Random;

/// A kernel: its name, and what runs it once and returns its checksum.
pub type Kernel = (&'static str, fn() -> u64);

/// All of them, in the order in which tables show them.
pub const KERNELS: &[Kernel] = &[
    ("matrix product, by rows", floats::matrix_product_by_rows),
    ("matrix product, by columns", floats::matrix_product_by_columns),
    ("heat stencil", floats::heat),
    ("n bodies", floats::n_bodies),
    ("spectral norm", floats::spectral_norm),
    ("Mandelbrot set", floats::mandelbrot),
    ("Fourier transform", floats::fourier),
    ("ray tracer", floats::ray_tracer),
    ("sieve", integers::sieve),
    ("game of life", integers::life),
    ("edit distance", integers::edit_distance),
    ("trial division", integers::trial_division),
    ("Miller-Rabin, 128 bits", integers::miller_rabin),
    ("sort of integers", collections::sort_integers),
    ("sort of texts", collections::sort_texts),
    ("word count, hash map", collections::word_count),
    ("B-tree map", collections::tree_map),
    ("SHA-256", formats::sha256),
    ("JSON", formats::json),
    ("CSV", formats::csv),
    ("regular expression", formats::regular_expression),
    ("DEFLATE", formats::deflate),
    ("numbers as text", formats::numbers_as_text),
];

/// What came of some repetitions of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// What it computed, each time.
    pub checksum: u64,
    /// How long each repetition took, in nanoseconds. The first has fresh memory, which costs page faults; the others reuse it.
    pub nanoseconds: Vec<u64>,
}

/// Runs a kernel some times over. `None` if there is none of this name.
pub fn repeat(kernel: &str, repetitions: u32) -> Option<Measured> {
    let (_, run) = KERNELS.iter().find(|(name, _)| *name == kernel)?;
    let mut measured = Measured { checksum: 0, nanoseconds: Vec::new() };
    for _ in 0..repetitions {
        let started = Instant::now();
        measured.checksum = run();
        measured.nanoseconds.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Some(measured)
}

/// The same, on a grid.
#[burla::function]
pub fn measure(kernel: String, repetitions: u32) -> Option<Measured> {
    repeat(&kernel, repetitions)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_kernel_computes_the_same_each_time() {
        let (name, run) = ("edit distance", integers::edit_distance as fn() -> u64);
        let measured = repeat(name, 2).expect("it is in the list");
        assert_eq!((measured.checksum, measured.nanoseconds.len()), (run(), 2));
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = KERNELS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), KERNELS.len());
        assert_eq!(repeat("none", 1), None);
    }
}
