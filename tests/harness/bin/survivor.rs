//! A program that starts jobs, in a process of its own: what tests kill, suspend and start again. `burla_tests::survivor` says what
//! it can.

use std::process::ExitCode;

fn main() -> ExitCode {
    burla_tests::survivor::main(std::env::args().skip(1))
}
