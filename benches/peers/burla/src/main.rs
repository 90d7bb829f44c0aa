//! The jobs that `benches/peers/run.py` compares, on the grid at `BURLA_URL`.
//!
//! Every object of JSON on stdout is a job that ended; `peers.py` beside it writes the same. It ends when its stdin does, so that
//! whoever started it sees every line of the calls first.

#![expect(clippy::print_stdout, reason = "results go to stdout, and calls print")]

use std::io::Read;
use std::time::Instant;

use burla::remote_parallel_map;

/// Calls before anything but the start is measured.
const WARM_UP_CALLS: i64 = 1_000;
const TINY_CALLS: i64 = 200_000;
const LATENCY_CALLS: i64 = 500;
const PRINT_CALLS: i64 = 1_000;
const ECHO_INPUTS: usize = 200;
const ECHO_BYTES: usize = 1_000_000;

#[burla::function]
fn double(number: i64) -> i64 {
    number * 2
}

#[burla::function]
fn say(number: i64) -> i64 {
    println!("line {number}");
    number
}

#[burla::function]
fn echo(text: String) -> String {
    text
}

fn main() -> burla::Result<()> {
    let first = remote_parallel_map(double, [21]).run()?;
    assert_eq!(first, [42]);
    println!(r#"{{"job": "first", "version": "{}"}}"#, env!("CARGO_PKG_VERSION"));
    if std::env::args().nth(1).as_deref() == Some("--first") {
        return Ok(());
    }
    remote_parallel_map(double, 0..WARM_UP_CALLS).run()?;

    let (doubled, seconds) = timed(|| remote_parallel_map(double, 0..TINY_CALLS).run())?;
    assert!(doubled.iter().zip(0..).all(|(output, input)| *output == input * 2), "each is its input doubled");
    println!(r#"{{"job": "tiny", "calls": {TINY_CALLS}, "seconds": {seconds}}}"#);

    let mut latencies = Vec::new();
    for number in 0..LATENCY_CALLS {
        latencies.push(timed(|| remote_parallel_map(double, [number]).run())?.1);
    }
    println!(r#"{{"job": "latency", "seconds": {latencies:?}}}"#);

    // Texts that differ, as nobody could keep one for all.
    let texts: Vec<String> = (0..ECHO_INPUTS).map(text).collect();
    let inputs = texts.clone();
    let (outputs, seconds) = timed(|| remote_parallel_map(echo, inputs).run())?;
    assert!(outputs == texts, "each is its input");
    println!(r#"{{"job": "echo", "inputs": {ECHO_INPUTS}, "bytes": {ECHO_BYTES}, "seconds": {seconds}}}"#);

    println!(r#"{{"job": "prints begin"}}"#);
    remote_parallel_map(say, 0..PRINT_CALLS).run()?;
    println!(r#"{{"job": "prints", "calls": {PRINT_CALLS}}}"#);

    // Whatever is read or goes wrong, it is the end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn text(number: usize) -> String {
    let number = number.to_string();
    "0".repeat(ECHO_BYTES - number.len()) + &number
}

fn timed<T>(work: impl FnOnce() -> burla::Result<T>) -> burla::Result<(T, f64)> {
    let started = Instant::now();
    let output = work()?;
    Ok((output, started.elapsed().as_secs_f64()))
}
