//! How close to native code functions compute: the same Rust code on a grid of one node and in this process.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-compute [-- KERNEL …]
//! ```
//!
//! A kernel is named by any part of its name; without one, all run. Bounded: 23 kernels of up to 150 ms, five rounds of two
//! repetitions native and two on the grid, half a minute.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use burla::remote_parallel_map;
use burla_kernels::{KERNELS, Measured, measure, repeat};
use burla_tests::{LocalGrid, component};

/// Rounds of each kernel, native and on the grid in turn; the median is what is quoted.
const ROUNDS: usize = 5;

/// Repetitions in one call. The first works in fresh memory, as a function that is called once does; the second in memory that
/// the first has touched.
const REPETITIONS: u32 = 2;

/// What the geometric mean and the worst of the ratios are to stay below.
const GOALS: (f64, f64) = (1.4, 2.2);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    component("burla-kernels");
    let mut grid = LocalGrid::without_nodes();
    grid.add_node(&["--cpus", "1"]);
    // Compiled and warm before anything is measured.
    on_grid(&grid, KERNELS[0].0, 1);

    println!("{:<28} {:>9} {:>9} {:>6} {:>11} {:>9}", "kernel", "native ms", "wasm ms", "ratio", "again ratio", "fuel, M");
    let mut ratios = Vec::new();
    for (name, _) in KERNELS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let (mut native, mut wasm, mut fuel) = (Rounds::default(), Rounds::default(), 0);
        for _ in 0..ROUNDS {
            let here = repeat(name, REPETITIONS).unwrap();
            let (there, took) = on_grid(&grid, name, REPETITIONS);
            assert_eq!(here.checksum, there.checksum, "{name}: the same code computes the same");
            native.add(&here);
            wasm.add(&there);
            fuel = took / u64::from(REPETITIONS);
        }
        let (first, again) = (wasm.first() / native.first(), wasm.again() / native.again());
        println!(
            "{name:<28} {:>9.1} {:>9.1} {first:>6.2} {again:>11.2} {:>9.0}",
            native.first() / 1e6,
            wasm.first() / 1e6,
            fuel as f64 / 1e6
        );
        ratios.push((first, *name));
    }
    let mean = (ratios.iter().map(|(ratio, _)| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let (worst, name) = ratios.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other)).expect("some kernel was wanted");
    let (mean_max, worst_max) = GOALS;
    println!("geometric mean {mean:.2} (goal {mean_max}), worst {worst:.2} (goal {worst_max}): {name}");
}

/// Runs a kernel in one call. Returns what it measured, and its fuel.
fn on_grid(grid: &LocalGrid, kernel: &str, repetitions: u32) -> (Measured, u64) {
    let call = remote_parallel_map(measure, [(kernel.to_owned(), repetitions)]).grid(&grid.grid);
    let end = call.generator().unwrap().detailed().next().expect("there is one call").unwrap();
    (end.result.unwrap().expect("there is such a kernel"), end.usage.fuel)
}

/// Nanoseconds of the first and the second repetition, a round each.
#[derive(Default)]
struct Rounds {
    first: Vec<u64>,
    again: Vec<u64>,
}

impl Rounds {
    fn add(&mut self, measured: &Measured) {
        self.first.push(measured.nanoseconds[0]);
        self.again.push(measured.nanoseconds[1]);
    }

    fn first(&self) -> f64 {
        median(&self.first)
    }

    fn again(&self) -> f64 {
        median(&self.again)
    }
}

fn median(nanoseconds: &[u64]) -> f64 {
    let mut sorted = nanoseconds.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}
