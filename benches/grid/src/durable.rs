//! What it costs to have a job kept: the same job attached and detached, in turns, in one run; and how long a scheduler takes to
//! start again with a large one.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-durable [-- CALLS [INPUTS]]
//! ```
//!
//! Bounded: five times `CALLS` tiny calls (200,000 unless given) attached and as many detached, and `INPUTS` inputs (5,000,000) that
//! are kept and not run, all on loopback.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use burla::remote_parallel_map;
use burla_tests::{LocalGrid, component};

/// Runs of each; the median is what is quoted.
const RUNS: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<i64>().expect("a number"));
    let calls = arguments.next().unwrap_or(200_000);
    let inputs = arguments.next().unwrap_or(5_000_000);
    component("burla-tiny");
    throughput(calls);
    recovery(inputs);
}

fn throughput(calls: i64) {
    let grid = LocalGrid::start(1);
    let map = |calls| remote_parallel_map(burla_tiny::doubles, 0..calls).grid(&grid.grid);
    // Compiled and warm before anything is measured.
    map(1000).run().unwrap();
    let (mut attached, mut detached, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        attached.push(rate(calls, || map(calls).run().unwrap()));
        let before = bytes_on_disk(&grid.data());
        detached.push(rate(calls, || map(calls).detach().unwrap().results().unwrap()));
        bytes.push((bytes_on_disk(&grid.data()) - before) / calls as f64);
    }
    let (attached, detached) = (median(attached), median(detached));
    println!("{calls} calls i64 -> i64, one node, median of {RUNS} runs in turns:");
    println!("  attached (.run())                     {attached:>9.0} calls/s");
    println!("  detached (.detach(), .results())      {detached:>9.0} calls/s");
    println!("  detached / attached                   {:>9.2}", detached / attached);
    println!("  bytes on disk per call                {:>9.0}", median(bytes));
}

fn recovery(inputs: i64) {
    let mut grid = LocalGrid::without_nodes();
    let started = Instant::now();
    let job = remote_parallel_map(burla_tiny::doubles, 0..inputs).grid(&grid.grid).detach().unwrap();
    println!(
        "{inputs} inputs kept in {:.1} s, {:.0} MiB on disk",
        started.elapsed().as_secs_f64(),
        bytes_on_disk(&grid.data()) / 1048576.0
    );
    grid.scheduler.crash();
    let started = Instant::now();
    grid.start_scheduler(&[]);
    let listening = started.elapsed();
    let info = job.info().unwrap();
    assert_eq!((info.inputs, info.inputs_closed), (u64::try_from(inputs).unwrap(), true));
    println!(
        "killed and started again: listens after {:.2} s, has the job after {:.2} s",
        listening.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    job.cancel().unwrap();
}

fn rate(calls: i64, run: impl FnOnce() -> Vec<i64>) -> f64 {
    let started = Instant::now();
    let outputs = run();
    let seconds = started.elapsed().as_secs_f64();
    assert!(outputs.iter().zip(0..calls).all(|(output, input)| *output == input * 2) && outputs.len() as i64 == calls);
    calls as f64 / seconds
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a folder takes on the disk.
fn bytes_on_disk(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { bytes_on_disk(&entry.path()) } else { metadata.blocks() as f64 * 512.0 }
    });
    bytes.sum()
}
