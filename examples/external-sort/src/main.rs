//! Sorts numbers on the grid, each call more of them than it has memory for, and compares with a sort in this machine's memory.
//!
//! ```text
//! external-sort [--calls N] [--numbers N]
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table goes to stdout, the times to stderr")]

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZero;
use std::time::Instant;

use burla::remote_parallel_map;
use external_sort::{Checksum, Summary, random, sort};

/// The memory of one call, in GiB: 16 MiB. A run takes half of it; the stack, the buffers and the rest have the other half.
const CALL_RAM_GIB: f64 = 1.0 / 64.0;

/// How many calls there are unless `--calls` says otherwise.
const CALLS: u64 = 8;

/// How many numbers each call sorts unless `--numbers` says otherwise: 32 MB, about twice its memory.
const NUMBERS: u64 = 4_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { calls, numbers } = Arguments::parse(std::env::args().skip(1))?;
    let started = Instant::now();
    let summaries = on_the_grid(calls, numbers)?;
    eprintln!("sorted on the grid in {:.2} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let checksums: Vec<u64> = (0..calls).map(|seed| checksum_in_memory(seed, numbers)).collect();
    eprintln!("sorted in memory, one after the other, in {:.2} s", started.elapsed().as_secs_f64());
    report(&summaries, &checksums)
}

/// The input's index is its seed, so the summaries come into order by it.
fn on_the_grid(calls: u64, numbers: u64) -> burla::Result<Vec<Summary>> {
    let inputs = (0..calls).map(move |seed| (seed, numbers));
    let sorted = remote_parallel_map(sort, inputs).func_ram(CALL_RAM_GIB).generator()?.indexed();
    let summaries = sorted.collect::<burla::Result<BTreeMap<u64, Summary>>>()?;
    Ok(summaries.into_values().collect())
}

/// The same numbers, sorted as anyone would.
fn checksum_in_memory(seed: u64, numbers: u64) -> u64 {
    let mut numbers: Vec<u64> = random(seed, numbers).collect();
    numbers.sort_unstable();
    Checksum::of(&numbers)
}

/// Prints a row for each call. That one differs is the program's error, told after the table.
fn report(summaries: &[Summary], checksums: &[u64]) -> Result<(), Box<dyn Error>> {
    println!("call    numbers             first              last          checksum  runs  found at start  in memory");
    let mut wrong = 0;
    for (call, (summary, checksum)) in summaries.iter().zip(checksums).enumerate() {
        let Summary { count, first, last, checksum: sorted, runs, found_at_start } = summary;
        let (is_same, is_empty) = (sorted == checksum, *found_at_start == 0);
        let verdict = if is_same { "the same" } else { "differs" };
        println!("{call:4} {count:10}  {first:016x}  {last:016x}  {sorted:016x}  {runs:4}  {found_at_start:14}  {verdict:>9}");
        wrong += usize::from(!is_same || !is_empty);
    }
    if wrong > 0 {
        return Err(format!("{wrong} calls found files of others, or sorted otherwise than memory").into());
    }
    let numbers: u64 = summaries.iter().map(|summary| summary.count).sum();
    println!(
        "\n{numbers} numbers sorted; every directory was empty at the start, and every checksum is that of a sort in memory"
    );
    Ok(())
}

struct Arguments {
    calls: u64,
    numbers: u64,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self { calls: CALLS, numbers: NUMBERS };
        while let Some(flag) = arguments.next() {
            let wanted = match flag.as_str() {
                "--calls" => &mut parsed.calls,
                "--numbers" => &mut parsed.numbers,
                _ => return Err(format!("unknown argument {flag}: there are --calls and --numbers")),
            };
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
            let number: NonZero<u64> = value.parse().map_err(|error| format!("{flag} {value}: {error}"))?;
            *wanted = number.get();
        }
        Ok(parsed)
    }
}
