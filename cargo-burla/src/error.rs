//! Everything that `cargo burla` can fail with: what it was doing, to what, and what to do about it. Scripts tell failures apart
//! by their exit codes, which are listed in [`exit_code`] and in `docs/cargo-burla.md`.

use std::path::PathBuf;
use std::process::ExitStatus;

use burla_types::component::InvalidComponent;

/// The exit codes of `cargo burla`. `run` exits with the program's own code once the program was started; 2 is for arguments that
/// mean nothing, as everywhere.
pub mod exit_code {
    /// Anything else, such as a file that cannot be written.
    pub const OTHER: u8 = 1;
    /// There is no such package or target, or there are several.
    pub const NO_SUCH_TARGET: u8 = 10;
    /// The WebAssembly target is not installed.
    pub const WASM_TARGET_MISSING: u8 = 11;
    /// Cargo could not build it.
    pub const BUILD_FAILED: u8 = 12;
    /// What was built, or given, is nothing that a node could run.
    pub const UNUSABLE_COMPONENT: u8 = 13;
    /// The embedded grid could not be started.
    pub const GRID_FAILED: u8 = 14;
}

/// A failure of `cargo burla`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// `cargo metadata` failed.
    #[error("cannot read the project")]
    Metadata(#[source] cargo_metadata::Error),
    /// No package of that name.
    #[error("there is no package `{name}` in this workspace: it has {}", .available.join(", "))]
    NoSuchPackage {
        /// What was asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The folder belongs to several packages.
    #[error("this folder is a workspace of several packages: {}", .available.join(", "))]
    WhichPackage {
        /// What there is.
        available: Vec<String>,
    },
    /// No such target in the package.
    #[error("package `{package}` has no {wanted}")]
    NoSuchTarget {
        /// The package.
        package: String,
        /// What was asked for.
        wanted: String,
    },
    /// Several programs and no default.
    #[error("package `{package}` has several programs: {}", .available.join(", "))]
    WhichBin {
        /// The package.
        package: String,
        /// What there is.
        available: Vec<String>,
    },
    /// rustup has not installed the target.
    #[error("the WebAssembly target wasm32-wasip2 is not installed")]
    WasmTargetMissing,
    /// rustup could not install the target.
    #[error("cannot install the WebAssembly target: `rustup target add wasm32-wasip2` failed with {0}")]
    InstallTarget(ExitStatus),
    /// A tool could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Which.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Cargo said what is wrong.
    #[error("cannot build {what}")]
    BuildFailed {
        /// What was being built.
        what: String,
    },
    /// Nothing is marked as a function.
    #[error("{what} has no functions for a grid")]
    NoFunctions {
        /// What was looked into.
        what: String,
    },
    /// It needs what no node has.
    #[error("{path} imports what no node offers: {}", .interfaces.join(", "))]
    ImportsNotOffered {
        /// The component.
        path: PathBuf,
        /// The interfaces.
        interfaces: Vec<String>,
    },
    /// Not a component.
    #[error("{path} is not a component that a node could run")]
    InvalidComponent {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: InvalidComponent,
    },
    /// A file could not be read or written.
    #[error("cannot {act} {path}")]
    File {
        /// Read or write.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `cargo new` or `cargo add` said what is wrong.
    #[error("cannot make the project {name}")]
    New {
        /// Its name.
        name: String,
    },
    /// The embedded grid could not be started.
    #[error("cannot start a grid on this machine")]
    Grid(#[source] anyhow::Error),
}

impl CommandError {
    /// The code to exit with; see [`exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchPackage { .. } | Self::WhichPackage { .. } | Self::NoSuchTarget { .. } | Self::WhichBin { .. } => {
                exit_code::NO_SUCH_TARGET
            }
            Self::WasmTargetMissing | Self::InstallTarget(_) => exit_code::WASM_TARGET_MISSING,
            Self::BuildFailed { .. } => exit_code::BUILD_FAILED,
            Self::NoFunctions { .. } | Self::ImportsNotOffered { .. } | Self::InvalidComponent { .. } => {
                exit_code::UNUSABLE_COMPONENT
            }
            Self::Grid(_) => exit_code::GRID_FAILED,
            Self::Metadata(_) | Self::Start { .. } | Self::File { .. } | Self::New { .. } => exit_code::OTHER,
        }
    }

    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WhichPackage { .. } => Some("name one with `-p`"),
            Self::WhichBin { .. } => Some("name one with `--bin`, or set `default-run` in Cargo.toml"),
            Self::WasmTargetMissing => {
                Some("run `rustup target add wasm32-wasip2`, or pass `--install-target` and it is done for you")
            }
            Self::NoFunctions { .. } => Some("mark a `fn` with `#[burla::function]`"),
            Self::ImportsNotOffered { .. } => Some(
                "a dependency uses an interface that functions cannot have; `cargo tree --target wasm32-wasip2` shows which there are",
            ),
            Self::Start { program, .. } if program == "rustup" => Some("install the target the way your Rust was installed"),
            _ => None,
        }
    }

    /// Tells the user, once, with causes and hint.
    #[expect(clippy::print_stderr, reason = "people are told on stderr")]
    pub(crate) fn show(&self) {
        eprintln!("error: {self}");
        let causes = std::iter::successors(std::error::Error::source(self), |error| (*error).source());
        for cause in causes {
            eprintln!("  caused by: {cause}");
        }
        if let Some(hint) = self.hint() {
            eprintln!("  hint: {hint}");
        }
    }
}
