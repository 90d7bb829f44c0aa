//! The verbs of `cargo burla`, a file for each.

mod bench;
mod build;
mod detached;
mod inspect;
mod map;
mod new;
pub(crate) mod outputs;
mod run;
pub(crate) mod show;
mod test;
mod up;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use burla::Stdout;
use burla_host::machine;

use crate::cli::Command;
use crate::embedded::{ANY_PORT, EmbeddedGrid, Keeps};
use crate::error::CommandError;

pub(crate) fn run(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::New(arguments) => new::new(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Build(arguments) => build::build(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run::run(&arguments),
        Command::Test(arguments) => test::test(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Map(arguments) => map::map(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Up(arguments) => up::up(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Bench(arguments) => bench::bench(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Nodes(arguments) => show::nodes(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Jobs(arguments) => show::jobs(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Job(arguments) => show::job(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Wait(arguments) => detached::wait(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Results(arguments) => detached::results(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Logs(arguments) => detached::logs(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Cancel(arguments) => show::cancel(&arguments).map(|()| ExitCode::SUCCESS),
    }
}

/// Does something with the grid that was named, if one was.
fn on_this_grid<T>(url: Option<&str>, act: impl FnOnce(&str) -> Result<T, CommandError>) -> Result<T, CommandError> {
    match url.filter(|url| !url.is_empty()) {
        Some(url) => act(url),
        None => on_a_grid(act),
    }
}

/// Does something with a grid: the configured one, else the one that `up` keeps on this machine, else one that is there for as long
/// as this takes.
fn on_a_grid<T>(act: impl FnOnce(&str) -> Result<T, CommandError>) -> Result<T, CommandError> {
    // A configured address is used as it is; whoever dials it says what is wrong with it if something is.
    if let Some(url) = std::env::var("BURLA_URL").ok().filter(|url| !url.is_empty()).or_else(burla::local_grid::find) {
        return act(&url);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Grid(error.into()))?;
    let started = runtime.block_on(async {
        let mut grid = EmbeddedGrid::start(ANY_PORT, machine::capacity(), Keeps::Nothing).await?;
        let url = grid.url().await?;
        anyhow::Ok((grid, url))
    });
    let (grid, url) = started.map_err(CommandError::Grid)?;
    let done = act(&url);
    runtime.block_on(grid.stop());
    done
}

/// Tells people something. A stderr that is gone is nobody's to tell, and no reason to fail.
pub(crate) fn tell(text: &str) {
    tell_plainly(&told(text));
}

/// The text may name what others named, or say what a peer said.
fn told(text: &str) -> String {
    format!("burla: {}", Stdout::neutralized(text))
}

fn tell_plainly(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| unprintable(error.into()))?;
    print_text(&(text + "\n"))
}

fn print_text(text: &str) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(for_stdout(text).as_bytes()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(unprintable(source)),
        _ => Ok(()),
    }
}

/// The text as stdout gets it.
pub(crate) fn for_stdout(text: &str) -> Cow<'_, str> {
    shown(text, io::stdout().is_terminal())
}

/// On a terminal, the text without anything that a terminal would obey: JSON escapes control characters of ASCII only.
/// Elsewhere, the text as it is.
fn shown(text: &str, on_terminal: bool) -> Cow<'_, str> {
    if on_terminal { Stdout::neutralized(text) } else { Cow::Borrowed(text) }
}

fn unprintable(source: io::Error) -> CommandError {
    CommandError::File { act: "write", path: "stdout".into(), source }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_what_it_would_obey() {
        let json = serde_json::to_string("a\u{9b}2J\u{202e}b").unwrap();
        assert_eq!(shown(&json, true), r#""a\u{9b}2J\u{202e}b""#);
        assert_eq!(shown(&json, false), json, "a file or another program gets it as it is");
    }

    #[test]
    fn what_is_told_is_no_command() {
        assert_eq!(told("the node \x1b[2J\u{9b}1m is gone"), "burla: the node ␛[2J\\u{9b}1m is gone");
    }
}
