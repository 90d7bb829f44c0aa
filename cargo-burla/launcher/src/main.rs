//! `cargo burla` in a clone of this repository, where an alias in `.cargo/config.toml` starts this. Step by step:
//!
//! 1. before the first build, which takes minutes, it looks for the WebAssembly target, and adds it where it is missing;
//! 2. it has cargo build `cargo-burla`, whose progress is shown only while there is something to compile;
//! 3. it becomes `cargo-burla`.

mod target;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// The command that this becomes, and its package.
const COMMAND: &str = "cargo-burla";

/// The exit code of `cargo burla` when something other than its own work goes wrong.
const OTHER: u8 = 1;

/// The exit code of `cargo burla` when the WebAssembly target is not installed.
const WASM_TARGET_MISSING: u8 = 11;

/// The exit code of `cargo burla` when cargo could not build something.
const BUILD_FAILED: u8 = 12;

/// The width of cargo's progress, which it cannot find out by itself when its stderr is read here.
const PROGRESS_COLUMNS: &str = "80";

fn main() -> ExitCode {
    let failed = |text: String, code| {
        tell(&text);
        ExitCode::from(code)
    };
    let command = match std::env::current_exe() {
        Ok(this) => this.with_file_name(COMMAND),
        Err(error) => return failed(format!("error: cannot find {COMMAND} beside this program: {error}"), OTHER),
    };
    if !command.exists()
        && let Err(reason) = target::ensure(&program("RUSTC", "rustc"), "rustup".as_ref(), tell)
    {
        return failed(reason, WASM_TARGET_MISSING);
    }
    match build() {
        Ok(true) => {}
        Ok(false) => return ExitCode::from(BUILD_FAILED),
        Err(error) => return failed(format!("error: cannot start cargo: {error}"), OTHER),
    }
    let error = Command::new(&command).args(std::env::args_os().skip(1)).exec();
    failed(format!("error: cannot start {}: {error}", command.display()), OTHER)
}

fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The program that a variable names. Cargo sets `CARGO` to itself.
fn program(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| OsString::from(default)).into()
}

/// Has cargo build the command, in the profile and the folder in which it has built this.
fn build() -> io::Result<bool> {
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.args(["build", "--package", COMMAND, "--bin", COMMAND]).stderr(Stdio::piped());
    if io::stderr().is_terminal() {
        let settings = [
            ("CARGO_TERM_COLOR", "always"),
            ("CARGO_TERM_PROGRESS_WHEN", "always"),
            ("CARGO_TERM_PROGRESS_WIDTH", PROGRESS_COLUMNS),
        ];
        cargo.envs(settings.into_iter().filter(|(setting, _)| std::env::var_os(setting).is_none()));
    }
    let mut child = cargo.spawn()?;
    if let Some(stderr) = child.stderr.take() {
        show(stderr, &mut io::stderr())?;
    }
    Ok(child.wait()?.success())
}

/// Passes on what cargo says but for the line in which it says that it has finished: where nothing was compiled, it is
/// the only one. A line of progress ends with a carriage return and is written over.
fn show(cargo: impl Read, stderr: &mut impl Write) -> io::Result<()> {
    let mut cargo = BufReader::new(cargo);
    let mut line = Vec::new();
    loop {
        let available = cargo.fill_buf()?;
        if available.is_empty() {
            return stderr.write_all(&line);
        }
        let end = available.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let taken = end.map_or(available.len(), |end| end + 1);
        line.extend_from_slice(&available[..taken]);
        cargo.consume(taken);
        if end.is_some() {
            if !has_finished(&line) {
                // Nobody may be reading, which is no reason not to build.
                let _ = stderr.write_all(&line).and_then(|()| stderr.flush());
            }
            line.clear();
        }
    }
}

fn has_finished(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.contains("Finished") && text.contains("profile [")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cargo: &str) -> String {
        let mut shown = Vec::new();
        show(cargo.as_bytes(), &mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn progress_is_shown_while_there_is_some() {
        let finished = "    Finished `dev` profile [optimized + debuginfo] target(s) in 0.21s\n";
        assert_eq!(shown(finished), "");
        let colored = "\u{1b}[1m\u{1b}[32m    Finished\u{1b}[0m `dev` profile [optimized + debuginfo] target(s) in 0.21s\n";
        assert_eq!(shown(colored), "");
        let progress = "   Compiling a v0.1.0\n    Building [==> ] 1/2: a\r";
        assert_eq!(shown(&format!("{progress}{finished}")), progress);
        assert_eq!(shown("error: it is\nbroken"), "error: it is\nbroken");
    }
}
