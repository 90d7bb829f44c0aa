//! Runs cargo, and shows what it says: progress as always, errors, and each warning once, though the same source is
//! compiled for this machine and for WebAssembly.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{Artifact, CompilerMessage, Message};

use super::target::WASM_TARGET;
use super::{Part, profile};
use crate::error::CommandError;
use crate::project::{Cargo, Program, Project};

/// What cargo built of a component.
pub(super) struct Built {
    /// The component, in cargo's own folder.
    pub(super) component: PathBuf,
    /// The manifests of the local packages in it.
    pub(super) manifests: BTreeSet<PathBuf>,
}

/// What cargo said while it built.
#[derive(Default)]
struct Said {
    artifacts: Vec<Artifact>,
    /// Packages of others that do not compile.
    broken: BTreeSet<String>,
}

/// Builds a part of a package for WebAssembly.
pub(super) fn build_component(part: &Part<'_>, cargo: &Cargo) -> Result<Built, CommandError> {
    let project = part.project;
    let mut command = command(project, "rustc");
    command.args(["--package", &project.package.id.repr, "--target", WASM_TARGET]);
    profile::apply(&mut command, project, cargo)?;
    match part.program {
        None => command.args(["--lib", "--crate-type", "cdylib"]),
        Some(program) => command.arg(program.flag()).arg(program.name()),
    };
    command.args(&cargo.flags);
    let what = format!("{} for WebAssembly", part.what());
    let said = run(command, &what, cargo)?;
    let manifests = said.artifacts.iter().filter(|artifact| artifact.package_id.repr.starts_with("path+"));
    let manifests = manifests.map(|artifact| artifact.manifest_path.clone().into_std_path_buf()).collect();
    let is_ours = |artifact: &&Artifact| {
        artifact.package_id == project.package.id && artifact.target.name == part.crate_name && is_of(artifact, part.program)
    };
    let ours = said.artifacts.iter().filter(is_ours);
    let component = ours.clone().find_map(|artifact| artifact.filenames.iter().find(|file| file.extension() == Some("wasm")));
    let component = component.map(|file| file.clone().into_std_path_buf());
    if !cargo.quiet && ours.clone().any(|artifact| !artifact.fresh) {
        profile::tell_of_flags_left_out();
    }
    let component = component.ok_or(CommandError::BuildFailed { what, broken: Vec::new() })?;
    Ok(Built { component, manifests })
}

/// Builds the program for this machine, and returns where it is.
pub(crate) fn build_program(project: &Project, cargo: &Cargo, program: Program<'_>) -> Result<PathBuf, CommandError> {
    let mut command = command(project, "build");
    command.args(["--package", &project.package.id.repr]).arg(program.flag()).arg(program.name());
    command.args(&cargo.program_flags).args(&cargo.flags);
    let what = format!("the program `{}` of package `{}`", program.name(), project.package.name);
    // A dependency that does not compile for this machine either is another matter.
    let said = run(command, &what, cargo).map_err(|error| match error {
        CommandError::BuildFailed { what, .. } => CommandError::BuildFailed { what, broken: Vec::new() },
        other => other,
    })?;
    let is_ours = |artifact: &&Artifact| {
        artifact.package_id == project.package.id && artifact.target.name == program.name() && is_of(artifact, Some(program))
    };
    let executable = said.artifacts.iter().filter(is_ours).find_map(|artifact| artifact.executable.clone());
    executable.map(PathBuf::from).ok_or(CommandError::BuildFailed { what, broken: Vec::new() })
}

/// Runs `cargo test` with these variables.
pub(crate) fn test(
    project: &Project,
    cargo: &Cargo,
    arguments: &[OsString],
    variables: [(&str, OsString); 3],
) -> Result<ExitStatus, CommandError> {
    let mut command = command(project, "test");
    command.args(["--package", &project.package.id.repr]).args(&cargo.program_flags).args(&cargo.flags).args(arguments);
    command.envs(variables).status().map_err(start)
}

/// Cargo tells its subcommands which cargo it is, so that `cargo +toolchain burla` stays with that toolchain.
pub(super) fn command(project: &Project, verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(verb).arg("--manifest-path").arg(project.package.manifest_path.as_std_path());
    command
}

fn is_of(artifact: &Artifact, program: Option<Program<'_>>) -> bool {
    match program {
        Some(program) => artifact.target.kind == program.target.kind,
        None => !artifact.target.is_bin() && !artifact.target.is_example() && !artifact.target.is_custom_build(),
    }
}

fn run(mut command: Command, what: &str, cargo: &Cargo) -> Result<Said, CommandError> {
    let format = if is_colored(cargo) { "json-diagnostic-rendered-ansi" } else { "json" };
    command.args(["--message-format", format]);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut said = Said::default();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
            match message {
                Message::CompilerArtifact(artifact) => said.artifacts.push(artifact),
                Message::CompilerMessage(message) => said.hear(&message, cargo.quiet),
                // What a proc-macro printed.
                Message::TextLine(line) => tell(&format!("{line}\n")),
                _ => {}
            }
        }
    }
    let status = child.wait().map_err(start)?;
    if !status.success() {
        return Err(CommandError::BuildFailed { what: what.to_owned(), broken: said.broken.into_iter().collect() });
    }
    Ok(said)
}

/// Whether cargo would color what it says: as `--color` has it, `CARGO_TERM_COLOR`, or the terminal.
fn is_colored(cargo: &Cargo) -> bool {
    let flag = cargo.flags.windows(2).find(|pair| pair[0] == "--color").map(|pair| pair[1].clone());
    match flag.or_else(|| std::env::var("CARGO_TERM_COLOR").ok()).as_deref() {
        Some("always") => true,
        Some("never") => false,
        _ => std::io::stderr().is_terminal(),
    }
}

impl Said {
    fn hear(&mut self, message: &CompilerMessage, quiet: bool) {
        let is_error = matches!(message.message.level, DiagnosticLevel::Error | DiagnosticLevel::Ice);
        if is_error && !message.package_id.repr.starts_with("path+") {
            self.broken.insert(package_name(&message.package_id.repr).to_owned());
        }
        let text = message.message.rendered.as_deref().unwrap_or(&message.message.message);
        if is_error || (!quiet && is_new(text)) {
            tell(text);
        }
    }
}

/// Whether this process has not shown the text yet. There are no more than rustc gives for one package, twice.
fn is_new(text: &str) -> bool {
    static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
}

/// `tokio` of `registry+https://github.com/rust-lang/crates.io-index#tokio@1.48.0`, and of `path+file:///tokio#1.48.0`.
fn package_name(id: &str) -> &str {
    let (url, fragment) = id.split_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next().unwrap_or(url),
    }
}

/// Shows a text above cargo's progress, which may stand in the last line and is drawn again.
fn tell(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let line_start = if stderr.is_terminal() { "\r\x1b[K" } else { "" };
    let _ = write!(stderr, "{line_start}{text}");
}

fn start(source: std::io::Error) -> CommandError {
    CommandError::Start { program: "cargo".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo says when a package does not compile.
    fn message(package_id: &str, level: &str) -> CompilerMessage {
        let target = serde_json::json!({"kind": ["lib"], "crate_types": ["lib"], "name": "x", "src_path": "/x/lib.rs"});
        let message = serde_json::json!({"message": "it is so", "level": level, "spans": [], "children": []});
        let message = serde_json::json!({"package_id": package_id, "target": target, "message": message});
        serde_json::from_value(message).expect("it is as cargo has it")
    }

    #[test]
    fn dependencies_that_do_not_compile_are_named() {
        let mut said = Said::default();
        let registry = "registry+https://github.com/rust-lang/crates.io-index#tokio@1.48.0";
        said.hear(&message(registry, "warning"), true);
        assert!(said.broken.is_empty(), "a warning breaks nothing");
        said.hear(&message(registry, "error"), true);
        said.hear(&message("path+file:///home/me/app#0.1.0", "error"), true);
        assert_eq!(said.broken.into_iter().collect::<Vec<_>>(), ["tokio"]);
    }

    #[test]
    fn a_warning_is_shown_once() {
        assert!(is_new("warning: of this test\n"));
        assert!(!is_new("warning: of this test\n"));
    }

    #[test]
    fn what_is_built_is_colored_as_cargo_is_told() {
        let cargo = |when: &str| Cargo { flags: vec!["--color".to_owned(), when.to_owned()], ..Cargo::default() };
        assert!(is_colored(&cargo("always")) && !is_colored(&cargo("never")));
    }

    #[test]
    fn packages_are_named_as_their_users_name_them() {
        assert_eq!(package_name("registry+https://github.com/rust-lang/crates.io-index#tokio@1.48.0"), "tokio");
        assert_eq!(package_name("git+https://example.com/mio?branch=x#1.0.0"), "mio?branch=x");
    }
}
