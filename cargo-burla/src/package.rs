//! The packager: a package's functions become a component that a node can run.
//!
//! The component is the library as a `cdylib` where functions are in the library, and the program itself otherwise; either way
//! rustc's wasm32-wasip2 target makes a component of it, and the guest SDK inside exports the handler. The program's `main` comes
//! along and is never called.

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use burla_types::Digest;
use burla_types::component::Description;
use cargo_metadata::{Message, TargetKind};

use crate::error::CommandError;
use crate::project::{Cargo, Project, Wanted};

/// What components are built for.
const WASM_TARGET: &str = "wasm32-wasip2";

/// The profile that components are built with. A workspace that has one of this name decides for itself.
const PROFILE: &str = "burla-component";

/// What the profile is where the workspace has none: optimised as one piece, and with the names of functions, which backtraces
/// are made of. They cost 20 KB; line numbers would cost two megabytes. A call costs more under fuel than in native code, so it
/// pays to see all that can be inlined, std included: `docs/decisions/011-close-to-native.md`.
const PROFILE_SETTINGS: &[&str] = &[
    r#"profile.burla-component.inherits="release""#,
    r#"profile.burla-component.strip="debuginfo""#,
    r#"profile.burla-component.lto="fat""#,
    "profile.burla-component.codegen-units=1",
];

/// Every node has SIMD, and back edges and calls are dear there, since each counts fuel. So loops are unrolled up to 150
/// instructions, as for most other targets, where LLVM stops at 30 for WebAssembly, and functions are inlined twice as far as
/// usual. Both are bounds of LLVM's own, not orders: forced unrolling need not end. Cargo adds this to the flags of the user's own
/// configuration, and leaves it out where `RUSTFLAGS` is set. Figures: `docs/decisions/011-close-to-native.md`.
const RUSTFLAGS: &str = concat!(
    r#"target.wasm32-wasip2.rustflags=["-Ctarget-feature=+simd128","#,
    r#""-Cllvm-args=-unroll-partial-threshold=150","-Cllvm-args=-inline-threshold=500"]"#,
);

/// A component on disk, and what is in it.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// Where it is.
    pub path: PathBuf,
    /// Its name to the grid.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: usize,
    /// What it says of itself.
    pub description: Description,
}

impl Packaged {
    /// Reads a component and checks that a node could run it.
    pub fn read(path: &Path) -> Result<Self, CommandError> {
        let bytes = std::fs::read(path).map_err(|source| CommandError::File { act: "read", path: path.to_owned(), source })?;
        let invalid = |source| CommandError::InvalidComponent { path: path.to_owned(), source };
        let description = Description::read(&bytes).map_err(invalid)?;
        let interfaces: Vec<_> = description.imports_not_offered().into_iter().map(str::to_owned).collect();
        if !interfaces.is_empty() {
            return Err(CommandError::ImportsNotOffered { path: path.to_owned(), interfaces });
        }
        if description.functions.is_empty() || !description.exports_handler() {
            return Err(CommandError::NoFunctions { what: path.display().to_string() });
        }
        Ok(Self { path: path.to_owned(), digest: Digest::of(&bytes), size_bytes: bytes.len(), description })
    }
}

/// Builds the package's functions into `target/burla/NAME.wasm`, named after the program, or after the package if they are in its
/// library.
pub fn package(project: &Project, cargo: &Cargo) -> Result<Packaged, CommandError> {
    ensure_wasm_target(project, cargo)?;
    let name = project.package.name.to_string();
    if project.wanted == Wanted::Lib && !project.has_lib() {
        return Err(CommandError::NoSuchTarget { package: name, wanted: "library".to_owned() });
    }
    if project.has_lib() {
        match build(project, cargo, &Part::Lib) {
            // Functions may be in the program, beside a library that has none.
            Err(CommandError::NoFunctions { .. }) if project.wanted != Wanted::Lib && project.bin()?.is_some() => {}
            packaged => return packaged,
        }
    }
    match project.bin()? {
        Some(bin) => build(project, cargo, &Part::Bin(bin)),
        None => Err(CommandError::NoSuchTarget { package: name, wanted: "library and no program".to_owned() }),
    }
}

/// What of a package is built.
enum Part {
    Lib,
    Bin(String),
}

fn build(project: &Project, cargo: &Cargo, part: &Part) -> Result<Packaged, CommandError> {
    let package = project.package.name.to_string();
    let (what, name) = match part {
        Part::Lib => (format!("the library of package `{package}`"), package),
        Part::Bin(bin) => (format!("the program `{bin}` of package `{package}`"), bin.clone()),
    };
    let mut command = cargo_command(project, cargo, "rustc");
    command.args(["--target", WASM_TARGET, "--profile", PROFILE, "--config", RUSTFLAGS]);
    if !has_own_profile(project) {
        command.args(PROFILE_SETTINGS.iter().flat_map(|setting| ["--config", setting]));
    }
    match part {
        Part::Lib => command.args(["--lib", "--crate-type", "cdylib"]),
        Part::Bin(bin) => command.args(["--bin", bin]),
    };
    let built = run_cargo(command, &format!("{what} for WebAssembly"), |artifact| {
        let is_lib = !artifact.target.kind.contains(&TargetKind::Bin);
        let is_ours = artifact.package_id == project.package.id && is_lib == matches!(part, Part::Lib);
        artifact
            .filenames
            .iter()
            .find(|file| is_ours && file.extension() == Some("wasm"))
            .map(|file| file.clone().into_std_path_buf())
    })?;
    // Checked before it is put where programs look for it, so that what is there can always be run.
    let packaged = Packaged::read(&built).map_err(|error| match error {
        CommandError::NoFunctions { .. } => CommandError::NoFunctions { what },
        other => other,
    })?;
    let path = project.components.join(format!("{name}.wasm"));
    copy(&built, &path).map_err(|source| CommandError::File { act: "write", path: path.clone(), source })?;
    Ok(Packaged { path, ..packaged })
}

/// Builds the program for this machine, and returns where it is.
pub(crate) fn build_program(project: &Project, cargo: &Cargo, bin: &str, release: bool) -> Result<PathBuf, CommandError> {
    let mut command = cargo_command(project, cargo, "build");
    command.args(["--bin", bin]);
    if release {
        command.arg("--release");
    }
    let what = format!("the program `{bin}` of package `{}`", project.package.name);
    run_cargo(command, &what, |artifact| {
        let is_ours = artifact.package_id == project.package.id && artifact.target.name == bin && artifact.target.is_bin();
        artifact.executable.as_ref().filter(|_| is_ours).map(|path| path.clone().into_std_path_buf())
    })
}

fn cargo_command(project: &Project, cargo: &Cargo, verb: &str) -> Command {
    // Cargo tells its subcommands which cargo it is, so that `cargo +toolchain burla` stays with that toolchain.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg(verb)
        .arg("--manifest-path")
        .arg(project.package.manifest_path.as_std_path())
        .args(["--package", &project.package.name, "--message-format", "json-render-diagnostics"])
        .args(&cargo.flags);
    command
}

/// Runs cargo, whose progress and errors the user sees as always, and picks the file that is wanted out of what it built.
fn run_cargo(
    mut command: Command,
    what: &str,
    mut pick: impl FnMut(&cargo_metadata::Artifact) -> Option<PathBuf>,
) -> Result<PathBuf, CommandError> {
    let start = |source| CommandError::Start { program: "cargo".to_owned(), source };
    let mut cargo = command.stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut picked = None;
    if let Some(stdout) = cargo.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
            if let Message::CompilerArtifact(artifact) = message {
                picked = pick(&artifact).or(picked);
            }
        }
    }
    let status = cargo.wait().map_err(start)?;
    picked.filter(|_| status.success()).ok_or_else(|| CommandError::BuildFailed { what: what.to_owned() })
}

fn has_own_profile(project: &Project) -> bool {
    let manifest = std::fs::read_to_string(project.workspace_root.join("Cargo.toml")).unwrap_or_default();
    let section = format!("[profile.{PROFILE}]");
    manifest.lines().any(|line| line.trim() == section)
}

/// Asks rustc, not rustup, whether it has the target: Rust may have been installed in other ways.
fn ensure_wasm_target(project: &Project, cargo: &Cargo) -> Result<(), CommandError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        // A `rust-toolchain.toml` of the project counts.
        .current_dir(&project.workspace_root)
        .output()
        .map_err(|source| CommandError::Start { program: rustc.to_string_lossy().into_owned(), source })?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    if !cargo.install_target {
        return Err(CommandError::WasmTargetMissing);
    }
    let status = Command::new("rustup")
        .args(["target", "add", WASM_TARGET])
        .current_dir(&project.workspace_root)
        .status()
        .map_err(|source| CommandError::Start { program: "rustup".to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(CommandError::InstallTarget(status)) }
}

/// Copies whole or not at all: a running program may be reading the file.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).tempfile_in(folder)?;
    file.write_all(&std::fs::read(from)?)?;
    file.persist(to)?;
    Ok(())
}
