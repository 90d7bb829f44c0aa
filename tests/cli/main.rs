//! `cargo burla` as its users call it: the real binary, its output and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod build;
mod detached;
mod jobs;
mod map;
mod new;
mod project;
mod run;
mod up;

use std::path::Path;
use std::process::{Command, Output};

use burla_tests::{binary, output_of_build, root};

/// `cargo burla`, in this repository.
fn cargo_burla(arguments: &[&str]) -> Output {
    cargo_burla_in(root(), arguments)
}

/// `cargo burla`, in a folder. It may build something.
fn cargo_burla_in(folder: &Path, arguments: &[&str]) -> Output {
    output_of_build(&mut command(folder, arguments))
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("cargo-burla"));
    // Whatever grid whoever runs the tests has configured, or keeps up, is not theirs to use.
    command.args(arguments).current_dir(folder).env_remove("BURLA_URL").env_remove("BURLA_COMPONENT");
    command.env("XDG_RUNTIME_DIR", root().join("target/burla-tests"));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Fails with all there is to know when the command did not exit with this code.
#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", stdout(output), stderr(output));
}
