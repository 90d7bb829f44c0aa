//! The profile and the flags that components are compiled with. The user's settings win over these, wherever they are.

use std::process::{Command, Stdio};

use crate::error::CommandError;
use crate::project::{Cargo, Project};

/// The profile that components are built with.
pub(super) const PROFILE: &str = "burla-component";

/// The profile's settings where the user has none: optimized as one piece, with the names of functions, which
/// backtraces are made of, and with checks that stop a call whose integers overflow, as they stop a program that was
/// built with `dev`. Names cost 20 KB; line numbers would cost two megabytes. A call costs more under fuel than in
/// native code, so it pays to see all that can be inlined, std included: `docs/decisions/011-close-to-native.md`.
///
/// They are settings of `release`, which the profile inherits from, so that each key that the user gives to the profile
/// itself wins, and a profile that inherits from `dev` has none of them.
const SETTINGS: &[&str] = &[
    r#"profile.release.strip="debuginfo""#,
    r#"profile.release.lto="fat""#,
    "profile.release.codegen-units=1",
    "profile.release.overflow-checks=true",
];

/// Makes the profile one that inherits from `release`, where the user has not said what it inherits from.
const INHERITS: &str = r#"profile.burla-component.inherits="release""#;

/// The flags, and the option of LLVM that each of them sets, if it does: LLVM takes an option once, so ours gives way.
///
/// Every node has SIMD, and back edges and calls are dear there, since each counts fuel. So loops are unrolled up to
/// 150 instructions, as for most other targets, where LLVM stops at 30 for WebAssembly, and functions are inlined twice
/// as far as usual. Both are bounds of LLVM's own, not orders: forced unrolling need not end. Figures:
/// `docs/decisions/011-close-to-native.md`.
const RUSTFLAGS: &[(&str, &str)] = &[
    ("-Ctarget-feature=+simd128", ""),
    ("-Cllvm-args=-unroll-partial-threshold=150", "-unroll-partial-threshold"),
    ("-Cllvm-args=-inline-threshold=500", "-inline-threshold"),
];

/// The variable with the user's flags for components. Cargo puts them before ours, and those of the user's
/// configuration first.
const RUSTFLAGS_VARIABLE: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// Variables with flags for every target. They are meant for the program, and cargo would take them in place of ours.
const NATIVE_RUSTFLAGS: [&str; 2] = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"];

/// Has the command build with the profile and the flags. Ours come first: of two `--config` for one key, cargo takes
/// the later.
pub(super) fn apply(command: &mut Command, project: &Project, cargo: &Cargo) -> Result<(), CommandError> {
    apply_in(command, project, cargo, |_| {})
}

/// The same where cargo is to be asked in another folder or with other variables.
pub(super) fn apply_in(
    command: &mut Command,
    project: &Project,
    cargo: &Cargo,
    prepare: impl FnOnce(&mut Command),
) -> Result<(), CommandError> {
    command.args(["--profile", cargo.component_profile.as_deref().unwrap_or(PROFILE)]);
    let users = std::env::var(RUSTFLAGS_VARIABLE).unwrap_or_default();
    // By the variable, which cargo adds to the flags of a configuration file however those are written. A `--config` with
    // a list is refused beside a file that has one text.
    command.env(RUSTFLAGS_VARIABLE, all_rustflags(&users));
    for variable in NATIVE_RUSTFLAGS {
        command.env_remove(variable);
    }
    if cargo.component_profile.is_none() {
        command.args(SETTINGS.iter().flat_map(|setting| ["--config", setting]));
        if !is_defined(project, cargo, prepare)? {
            command.args(["--config", INHERITS]);
        }
    }
    Ok(())
}

/// Tells, where a component was compiled, that flags in the environment were left out of it.
pub(super) fn tell_of_flags_left_out() {
    if NATIVE_RUSTFLAGS.iter().any(|variable| std::env::var_os(variable).is_some_and(|flags| !flags.is_empty())) {
        crate::commands::tell(&format!("RUSTFLAGS is for the program; flags for its component go into {RUSTFLAGS_VARIABLE}"));
    }
}

/// The user's flags and ours, as the variable holds them.
pub(super) fn all_rustflags(users: &str) -> String {
    format!("{users} {}", rustflags(users))
}

fn rustflags(users: &str) -> String {
    let ours = RUSTFLAGS.iter().filter(|(_, option)| option.is_empty() || !users.contains(option));
    ours.map(|(flag, _)| *flag).collect::<Vec<_>>().join(" ")
}

/// Asks cargo, which has the last word on manifests, configuration, variables and `--config`, whether the profile is
/// defined with what it inherits from. `clean` is the cheapest of its commands that reads profiles; this one removes
/// nothing, and looks into a folder that is not there.
fn is_defined(project: &Project, cargo: &Cargo, prepare: impl FnOnce(&mut Command)) -> Result<bool, CommandError> {
    let mut command = super::cargo::command(project, "clean");
    command.args(["--dry-run", "--quiet", "--profile", PROFILE, "--target-dir"]).arg(project.build_dir.join("burla/none"));
    command.args(config_flags(&cargo.flags)).stdout(Stdio::null()).stderr(Stdio::null());
    prepare(&mut command);
    let status = command.status().map_err(|source| CommandError::Start { program: "cargo".to_owned(), source })?;
    Ok(status.success())
}

/// Those of the flags that have to do with configuration, each with its value.
fn config_flags(flags: &[String]) -> impl Iterator<Item = &String> {
    flags.windows(2).filter(|pair| matches!(pair[0].as_str(), "--config" | "-Z")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_llvm_is_given_once() {
        let all = rustflags("-Ctarget-cpu=x");
        for (flag, _) in RUSTFLAGS {
            assert!(all.contains(flag), "{all}");
        }
        let flags = rustflags("-Cllvm-args=-inline-threshold=100");
        assert!(!flags.contains("inline-threshold") && flags.contains("unroll-partial-threshold=150"), "{flags}");
    }
}
