//! `cargo burla new`: a project that runs.
//!
//! Cargo makes the package, and knows what that means inside a workspace; this puts a function in it, and the dependency.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::New;
use crate::error::CommandError;

/// The program that a new project starts with.
const MAIN: &str = include_str!("new/main.rs");

/// Where this command was built from.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../client");

/// The `burla` of the same sources, while they are there: new projects use it, so that the two fit together; else the published one.
pub(super) fn sources() -> Option<PathBuf> {
    Path::new(SOURCES).canonicalize().ok()
}

#[expect(clippy::print_stderr, reason = "people are told on stderr")]
pub(super) fn new(arguments: &New) -> Result<(), CommandError> {
    let name = arguments.name.display().to_string();
    cargo(&name, &["new", "--bin", &name])?;
    let manifest = arguments.name.join("Cargo.toml");
    let manifest = manifest.display().to_string();
    let mut add = vec!["add", "--quiet", "--manifest-path", &manifest];
    let sources = sources().map(|path| path.display().to_string());
    let published = format!("burla@{}", env!("CARGO_PKG_VERSION"));
    match &sources {
        Some(path) => add.extend(["--path", path]),
        None => add.push(&published),
    }
    cargo(&name, &add)?;
    let main = arguments.name.join("src/main.rs");
    std::fs::write(&main, MAIN).map_err(|source| CommandError::File { act: "write", path: main, source })?;
    eprintln!("     Created a project with a function in {name}/src/main.rs");
    eprintln!("         Run it with `cd {name}` and `cargo burla run`");
    Ok(())
}

fn cargo(name: &str, arguments: &[&str]) -> Result<(), CommandError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).status();
    let status = status.map_err(|source| CommandError::Start { program: "cargo".to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(CommandError::New { name: name.to_owned() }) }
}
