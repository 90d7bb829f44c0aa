//! `new`: what it makes must run, inside a workspace and outside of one.

use std::path::Path;
use std::process::Command;

use burla_tests::{output, output_of_build, root};

use super::{assert_exit, cargo_burla_in, command, stdout};

/// Runs a new project. Its dependencies are those of this workspace, in a target directory that is kept, so that only the first
/// run of this test builds them.
fn runs(project: &Path, workspace: &Path) {
    std::fs::copy(root().join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    let target = root().join("target/new-projects");
    let ran = output_of_build(command(project, &["run", "--quiet"]).env("CARGO_TARGET_DIR", target));
    assert_exit(&ran, 0);
    assert!(stdout(&ran).ends_with("[2, 4, 6]\n"), "{}", stdout(&ran));
}

#[test]
fn a_new_project_runs_outside_a_workspace() {
    let folder = tempfile::tempdir().unwrap();
    assert_exit(&cargo_burla_in(folder.path(), &["new", "first-try"]), 0);
    let project = folder.path().join("first-try");
    // It may be moved.
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let client = root().join("client").canonicalize().unwrap();
    assert!(manifest.contains(&format!("path = {client:?}")), "{manifest}");
    runs(&project, &project);
    // A second of the same name is cargo's to refuse, and nothing is written over.
    let again = cargo_burla_in(folder.path(), &["new", "first-try"]);
    assert_exit(&again, 1);
}

#[test]
fn a_new_project_runs_inside_a_workspace() {
    let workspace = tempfile::tempdir().unwrap();
    std::fs::write(workspace.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = []\n").unwrap();
    assert_exit(&cargo_burla_in(workspace.path(), &["new", "member"]), 0);
    let members = std::fs::read_to_string(workspace.path().join("Cargo.toml")).unwrap();
    assert!(members.contains("member"), "{members}");
    runs(&workspace.path().join("member"), workspace.path());
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(workspace.path());
    assert!(stdout(&output(&mut cargo)).contains("\"name\":\"member\""));
}
