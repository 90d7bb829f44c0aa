//! The verbs of `cargo burla`, a file for each.

mod build;
mod inspect;
mod new;
mod run;

use std::process::ExitCode;

use crate::cli::Command;
use crate::error::CommandError;

pub(crate) fn run(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::New(arguments) => new::new(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Build(arguments) => build::build(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints a component, unless whoever reads it has stopped reading.
fn print(packaged: &crate::Packaged, json: bool) -> Result<(), CommandError> {
    match crate::report::print(packaged, json) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::File { act: "write", path: "stdout".into(), source })
        }
        _ => Ok(()),
    }
}
