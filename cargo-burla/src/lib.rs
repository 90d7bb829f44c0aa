//! The command `cargo burla`. A build, step by step:
//!
//! 1. `cli.rs` reads what was asked, and `commands/` has a file for each verb;
//! 2. `project.rs` finds the package and the target that holds its functions;
//! 3. `package.rs` builds it for WebAssembly and checks that a node could run it;
//! 4. `report.rs` shows what came out;
//! 5. `run` also builds the program and starts it on a grid, which `embedded.rs` brings when none is configured.
//!
//! What goes wrong is a list with exit codes and hints (`error.rs`). Data goes to stdout, everything for people to stderr.

mod cli;
mod commands;
mod embedded;
mod error;
mod package;
mod project;
mod report;

pub use error::{CommandError, FailedCall, Input, exit_code};
pub use package::{Packaged, package};
pub use project::{Cargo, Project, Selection, Wanted};

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The whole command: parse, run, show the error, exit with its code.
pub fn main() -> ExitCode {
    // The node of an embedded grid starts this very binary to compile.
    if let Some(code) = burla_host::compile_if_asked() {
        return code;
    }
    let cli::Entry::Burla(arguments) = cli::Entry::parse_from(cli::as_cargo_calls_it(std::env::args_os()));
    // An embedded grid has little to say to the user of a program; what it warns of does matter.
    let filter = EnvFilter::builder().with_env_var("BURLA_LOG").with_default_directive(tracing::Level::WARN.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A line that cannot be written is lost. Otherwise tracing says so with `eprintln!`, which panics for the same
        // reason.
        .log_internal_errors(false)
        .init();
    match commands::run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            error.show();
            ExitCode::from(error.exit_code())
        }
    }
}
