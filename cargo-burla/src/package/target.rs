//! The WebAssembly target: looked for before anything is built, and added where it is missing.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::CommandError;
use crate::project::{Cargo, Project};

/// What components are built for.
pub(super) const WASM_TARGET: &str = "wasm32-wasip2";

/// Asks rustc, not rustup, whether it has the target: Rust may have been installed in other ways.
pub(crate) fn ensure(project: &Project, cargo: &Cargo) -> Result<(), CommandError> {
    if is_installed(project)? {
        return Ok(());
    }
    if !cargo.install_target {
        return Err(CommandError::WasmTargetMissing);
    }
    if !cargo.quiet {
        crate::commands::tell(&format!("adding the WebAssembly target: rustup target add {WASM_TARGET}"));
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", WASM_TARGET]).current_dir(&project.workspace_root).stdout(Stdio::null());
    match rustup.status() {
        // A rustc that rustup does not manage has no more targets than before.
        Ok(status) if status.success() && is_installed(project)? => Ok(()),
        Ok(status) if !status.success() => Err(CommandError::InstallTarget(status)),
        Ok(_) | Err(_) => Err(CommandError::WasmTargetMissing),
    }
}

fn is_installed(project: &Project) -> Result<bool, CommandError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        // A `rust-toolchain.toml` of the project counts.
        .current_dir(&project.workspace_root)
        .output()
        .map_err(|source| CommandError::Start { program: rustc.to_string_lossy().into_owned(), source })?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(libraries.trim()).is_dir())
}
