//! Whether anything is lost or repeated when processes are killed at random.
//!
//! ```text
//! cargo build -p burla-tests --bin survivor
//! cargo run -p burla-bench-grid --bin kill-rounds -- [--rounds 100] [--calls 20000] [--seed 1]
//! ```
//!
//! Bounded: each round ends within two minutes. Fails if a result of any round is missing, doubled or wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut rounds, mut calls, mut seed) = (100, 20_000, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.unwrap_or_else(|| panic!("{flag} needs a number"));
        match flag.as_str() {
            "--rounds" => rounds = value,
            "--calls" => calls = value,
            "--seed" => seed = value,
            other => panic!("`{other}` is none of --rounds, --calls and --seed"),
        }
    }
    if burla_tests::rounds::run(rounds, calls, seed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
