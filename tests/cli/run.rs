//! `run`.

use std::process::Stdio;

use burla_tests::{BUILD_PATIENCE, LocalGrid, ended_within, output, output_of_build, root};

use super::{assert_exit, cargo_burla, command, stderr, stdout};

#[test]
fn hello_prints_its_inputs_and_then_the_outputs() {
    let ran = cargo_burla(&["run", "--quiet", "-p", "hello"]);
    assert_exit(&ran, 0);
    assert_hello(&stdout(&ran));
}

/// 1, 2 and 3 in some order, and then the outputs.
fn assert_hello(text: &str) {
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("[2, 4, 6]"), "{text}");
    lines.sort_unstable();
    assert_eq!(lines, ["1", "2", "3"], "{text}");
}

#[test]
fn functions_in_a_library_run_from_an_async_main_with_arguments_and_features() {
    let ran = cargo_burla(&["run", "--quiet", "-p", "async-main", "--", "1", "2", "50"]);
    assert_exit(&ran, 0);
    assert_eq!(stdout(&ran), "[2, 4, 100] meanwhile\n");
    let ran = cargo_burla(&["run", "--quiet", "-p", "async-main", "--features", "triple", "--", "5"]);
    assert_exit(&ran, 0);
    assert_eq!(stdout(&ran), "[15] meanwhile\n");
    let ran = cargo_burla(&["run", "--quiet", "-p", "async-main"]);
    assert_eq!(stdout(&ran), "[] meanwhile\n");
}

#[test]
fn a_configured_grid_is_used() {
    let grid = LocalGrid::start(3);
    let run = || output_of_build(command(root(), &["run", "--quiet", "-p", "hello"]).env("BURLA_URL", grid.grid.url()));
    let ran = run();
    assert_exit(&ran, 0);
    assert_hello(&stdout(&ran));
    grid.scheduler.wait_for("job finished");
}

#[test]
fn a_grid_that_is_not_there_is_said_and_the_programs_code_is_passed_on() {
    let ran = output_of_build(command(root(), &["run", "--quiet", "-p", "hello"]).env("BURLA_URL", "http://127.0.0.1:1"));
    assert_exit(&ran, 1);
    assert!(stderr(&ran).contains("cannot reach the grid at http://127.0.0.1:1"), "{}", stderr(&ran));
    let ran = output_of_build(command(root(), &["run", "--quiet", "-p", "hello"]).env("BURLA_URL", "nonsense"));
    assert_exit(&ran, 1);
    assert!(stderr(&ran).contains("`nonsense` is not the address of a grid"), "{}", stderr(&ran));
}

#[test]
fn a_program_started_without_a_grid_says_how_to_start_it() {
    // Built, and its component with it, but started by hand.
    assert_exit(&cargo_burla(&["run", "--quiet", "-p", "hello"]), 0);
    let mut alone = std::process::Command::new(root().join("target/debug/hello"));
    let alone = output(alone.env_remove("BURLA_URL").env("XDG_RUNTIME_DIR", root().join("target/burla-tests")));
    assert_exit(&alone, 1);
    assert!(stderr(&alone).contains("cargo burla run"), "{}", stderr(&alone));
}

#[test]
fn a_reader_that_goes_away_ends_the_job_with_an_error() {
    let mut child =
        command(root(), &["run", "--quiet", "-p", "hello"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = ended_within(child, "the program whose reader has gone ends", BUILD_PATIENCE);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("cannot show what calls print"), "{}", stderr(&output));
}
