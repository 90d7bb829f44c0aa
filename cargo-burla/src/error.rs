//! Everything that `cargo burla` can fail with: what it was doing, to what, and what to do about it. Scripts tell
//! failures apart by their exit codes, which are listed in [`exit_code`] and in `docs/cargo-burla.md`.

mod call;

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitStatus;

use burla::Stdout;
use burla_types::component::InvalidComponent;

pub use call::{FailedCall, Input};

/// The exit codes of `cargo burla`. `run` exits with the program's own code once the program was started; 2 is for
/// arguments that mean nothing, as everywhere.
pub mod exit_code {
    /// Anything else, such as a file that cannot be written.
    pub const OTHER: u8 = 1;
    /// The arguments mean nothing.
    pub const USAGE: u8 = 2;
    /// There is no such package, target or function, or there are several.
    pub const NO_SUCH_TARGET: u8 = 10;
    /// The WebAssembly target is not installed.
    pub const WASM_TARGET_MISSING: u8 = 11;
    /// Cargo could not build it.
    pub const BUILD_FAILED: u8 = 12;
    /// What was built, or given, is nothing that a node could run.
    pub const UNUSABLE_COMPONENT: u8 = 13;
    /// The grid of this machine could not be started, or the configured one not be reached.
    pub const GRID_FAILED: u8 = 14;
    /// A call failed, or several.
    pub const CALLS_FAILED: u8 = 15;
    /// A line of the inputs is no input, and no call failed.
    pub const BAD_INPUT: u8 = 16;
    /// The grid would not run the job, or not to its end.
    pub const JOB_FAILED: u8 = 17;
    /// `wait` waited for as long as it was to.
    pub const TIMED_OUT: u8 = 18;
    /// The job was canceled, as a shell has it for what Ctrl-C ended.
    pub const CANCELED: u8 = 130;
}

/// A failure of `cargo burla`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// `cargo metadata` failed.
    #[error("cannot read the project")]
    Metadata(#[source] cargo_metadata::Error),
    /// No manifest, so no package.
    #[error("there is no Cargo.toml in {folder} or above it", folder = .folder.display())]
    NoManifest {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A pattern, which may mean several packages.
    #[error("`{pattern}` is a pattern, and one package is needed")]
    PackagePattern {
        /// The pattern.
        pattern: String,
    },
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
    #[error("cannot build {what}{}", does_not_compile(.broken))]
    BuildFailed {
        /// What was being built.
        what: String,
        /// Packages from elsewhere that do not compile for WebAssembly.
        broken: Vec<String>,
    },
    /// Two functions of one component have one name.
    #[error("two functions are named `{name}`: {}", .places.join(" and "))]
    TwoFunctions {
        /// The name.
        name: String,
        /// The place and the signature of each.
        places: [String; 2],
    },
    /// The program is for another machine.
    #[error("cannot run {program}, which is built for another machine than this")]
    ForeignProgram {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
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
    /// No such function, or several.
    #[error("the component has {} `{wanted}`: it has {}", if .available.len() > 1 { "no single function" } else { "no function" }, .available.join(", "))]
    WhichFunction {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// A part of the inputs is no input.
    #[error("{} of the inputs cannot be used: {reason}", lines_text(.lines))]
    BadInput {
        /// The numbers of its lines, from 1.
        lines: RangeInclusive<u64>,
        /// What is wrong with it.
        reason: String,
        /// The function takes a text, so `--raw-input` may be meant.
        raw_input_helps: bool,
    },
    /// The inputs are text in an encoding that is not read.
    #[error("{path} is {encoding}, and inputs are UTF-8: convert it, e.g. with `iconv -f {encoding} -t UTF-8`")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Its encoding.
        encoding: &'static str,
    },
    /// A call failed.
    #[error("{}", .call.told_of(*.input))]
    CallFailed {
        /// Which call.
        input: Input,
        /// How it failed.
        call: Box<FailedCall>,
    },
    /// An output cannot be shown as JSON.
    #[error("the output of {counted_in} {number} cannot be written as JSON: {reason}")]
    Output {
        /// Whether inputs are counted as lines, from 1, or by index, from 0.
        counted_in: &'static str,
        /// Which it was.
        number: u64,
        /// Why not.
        reason: String,
    },
    /// Calls failed, or lines were no inputs, and the others went on.
    #[error("{}", some_failed(*.failed, *.bad_lines))]
    SomeFailed {
        /// Calls.
        failed: u64,
        /// Lines.
        bad_lines: u64,
        /// The function takes a text, so `--raw-input` may be meant.
        raw_input_helps: bool,
    },
    /// No job with this in its id, or several.
    #[error("{}", if .available.is_empty() { format!("no job {wanted} on the grid at {url}") } else { format!("several jobs have {wanted} in their ids: {}", .available.join(", ")) })]
    WhichJob {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
        /// The grid that was asked.
        url: String,
    },
    /// The grid does not know the job.
    #[error("no job {job} on the grid at {url}")]
    NoJob {
        /// The job.
        job: burla::JobId,
        /// The grid that was asked.
        url: String,
    },
    /// All jobs were to be canceled, and none is open.
    #[error("no job is open on the grid at {url}")]
    NoOpenJob {
        /// The grid that was asked.
        url: String,
    },
    /// Calls of a job failed, whose results were not asked for.
    #[error("job {job} is over, and {failed} of its {of} calls failed")]
    CallsFailed {
        /// The job.
        job: burla::JobId,
        /// Calls that failed.
        failed: u64,
        /// Calls that ended.
        of: u64,
    },
    /// A job is not over in time.
    #[error("job {job} is not over after {seconds} s")]
    TimedOut {
        /// The job.
        job: burla::JobId,
        /// How long was waited.
        seconds: f64,
    },
    /// The grid could not be measured.
    #[error("cannot measure {what}: {reason}")]
    Bench {
        /// What of it.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The job could not be run, or the grid not be asked.
    #[error("{0}")]
    Job(#[source] burla::Error),
}

impl CommandError {
    /// The code to exit with; see [`exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoManifest { .. } | Self::PackagePattern { .. } => exit_code::NO_SUCH_TARGET,
            Self::NoSuchPackage { .. } | Self::WhichPackage { .. } | Self::NoSuchTarget { .. } | Self::WhichBin { .. } => {
                exit_code::NO_SUCH_TARGET
            }
            Self::TwoFunctions { .. } => exit_code::UNUSABLE_COMPONENT,
            Self::ForeignProgram { .. } => exit_code::OTHER,
            Self::WasmTargetMissing | Self::InstallTarget(_) => exit_code::WASM_TARGET_MISSING,
            Self::BuildFailed { .. } => exit_code::BUILD_FAILED,
            Self::NoFunctions { .. } | Self::ImportsNotOffered { .. } | Self::InvalidComponent { .. } => {
                exit_code::UNUSABLE_COMPONENT
            }
            Self::Grid(_) => exit_code::GRID_FAILED,
            Self::WhichFunction { .. } => exit_code::NO_SUCH_TARGET,
            Self::CallFailed { .. } | Self::CallsFailed { .. } => exit_code::CALLS_FAILED,
            Self::WhichJob { .. } | Self::NoJob { .. } | Self::NoOpenJob { .. } => exit_code::JOB_FAILED,
            Self::TimedOut { .. } => exit_code::TIMED_OUT,
            Self::BadInput { .. } | Self::Encoding { .. } => exit_code::BAD_INPUT,
            Self::SomeFailed { failed: 0, .. } => exit_code::BAD_INPUT,
            Self::SomeFailed { .. } => exit_code::CALLS_FAILED,
            Self::Job(error) => match error {
                burla::Error::JobCanceled { .. } => exit_code::CANCELED,
                burla::Error::Call(_) => exit_code::CALLS_FAILED,
                burla::Error::NoGrid | burla::Error::InvalidUrl { .. } | burla::Error::Unreachable { .. } => {
                    exit_code::GRID_FAILED
                }
                burla::Error::InvalidLimit(_) | burla::Error::InvalidOption { .. } | burla::Error::InvalidGrant { .. } => {
                    exit_code::USAGE
                }
                _ => exit_code::JOB_FAILED,
            },
            Self::Bench { .. } => exit_code::JOB_FAILED,
            Self::Output { .. } => exit_code::OTHER,
            Self::Metadata(_) | Self::Start { .. } | Self::File { .. } | Self::New { .. } => exit_code::OTHER,
        }
    }

    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BadInput { raw_input_helps: true, .. } | Self::SomeFailed { raw_input_helps: true, bad_lines: 1.., .. } => {
                Some("if each line is a text, pass `--raw-input`; in JSON, a text has double quotes")
            }
            Self::WhichPackage { .. } => Some("name one with `-p`"),
            Self::NoJob { .. } => Some("`cargo burla jobs --ended` shows those it knows; name another grid with `--url`"),
            Self::WhichJob { available, .. } if available.is_empty() => {
                Some("`cargo burla jobs --ended` shows those it knows; name another grid with `--url`")
            }
            Self::WhichJob { .. } => Some("give more of its id"),
            Self::CallsFailed { .. } => {
                Some("where it was detached, `cargo burla results JOB --keep-going` shows how each ended")
            }
            Self::WhichBin { .. } => Some("name one with `--bin`, or set `default-run` in Cargo.toml"),
            Self::NoManifest { .. } => Some(
                "go to the folder of a project, name its Cargo.toml with `--manifest-path`, or make a project with \
                 `cargo burla new NAME`; `map` also takes the file of a component",
            ),
            Self::PackagePattern { .. } => Some("name the package with `-p NAME`"),
            Self::BuildFailed { broken, .. } if !broken.is_empty() => Some(
                "put what only the program needs under `[target.'cfg(not(target_family = \"wasm\"))'.dependencies]` in Cargo.toml, \
                 and functions into the package's library",
            ),
            Self::TwoFunctions { .. } => Some("rename one of them, or put it into a module"),
            Self::ForeignProgram { .. } => Some(
                "`--target` or cargo's setting `build.target` chose that machine; give `--target` with the target of this one, \
                 which `rustc -vV` shows as `host`",
            ),
            Self::WasmTargetMissing => {
                Some("run `rustup target add wasm32-wasip2`, or install the target the way your Rust was installed")
            }
            Self::InstallTarget(_) => Some("rustup says why; once that is mended, run `rustup target add wasm32-wasip2`"),
            Self::NoFunctions { .. } => Some("mark a `fn` with `#[burla::function]`"),
            Self::ImportsNotOffered { .. } => Some(
                "a dependency uses an interface that functions cannot have; `cargo tree --target wasm32-wasip2` shows which there are",
            ),
            Self::Start { program, .. } if program == "rustup" => Some("install the target the way your Rust was installed"),
            _ => None,
        }
    }

    /// Tells the user what went wrong with one of many, when the others go on.
    pub(crate) fn tell(&self) {
        let _ = write!(std::io::stderr(), "{}", self.notice());
    }

    /// Tells the user, once, with causes and hint.
    pub(crate) fn show(&self) {
        let _ = write!(std::io::stderr(), "{}", self.story());
    }

    fn notice(&self) -> String {
        // As in `story`.
        let told: &dyn std::error::Error = if let Self::Job(error) = self { error } else { self };
        let causes = self.call_causes().iter().map(|cause| format!(": {cause}")).collect::<String>();
        tame(&format!("burla: {}{causes}\n", burla_types::with_causes(told)))
    }

    /// What caused the error of a call that failed, nearest first.
    fn call_causes(&self) -> &[String] {
        if let Self::CallFailed { call, .. } = self { &call.causes } else { &[] }
    }

    fn story(&self) -> String {
        let mut story = format!("error: {self}\n");
        let causes = std::iter::successors(std::error::Error::source(self), |error| (*error).source());
        // The client's errors speak for themselves, and are told in its words.
        let repeats = usize::from(matches!(self, Self::Job(_)));
        for cause in causes.skip(repeats) {
            story += &format!("  caused by: {cause}\n");
        }
        for cause in self.call_causes() {
            story += &format!("  caused by: {cause}\n");
        }
        if let Self::CallFailed { call, .. } = self {
            story += &call.backtrace_lines();
        }
        if let Some(hint) = self.hint() {
            story += &format!("  hint: {hint}\n");
        }
        tame(&story)
    }
}

fn lines_text(lines: &RangeInclusive<u64>) -> String {
    let (first, last) = (lines.start(), lines.end());
    if first == last { format!("line {first}") } else { format!("lines {first} to {last}") }
}

fn does_not_compile(packages: &[String]) -> String {
    let packages: Vec<_> = packages.iter().map(|package| format!("`{package}`")).collect();
    let verb = if packages.len() == 1 { "does" } else { "do" };
    if packages.is_empty() { String::new() } else { format!(": {} {verb} not compile for it", packages.join(", ")) }
}

fn some_failed(failed: u64, bad_lines: u64) -> String {
    let counted = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let failed = (failed > 0).then(|| counted(failed, "call failed", "calls failed"));
    let bad = (bad_lines > 0).then(|| counted(bad_lines, "line could not be used", "lines could not be used"));
    failed.into_iter().chain(bad).collect::<Vec<_>>().join(" and ")
}

/// What is told may come from components, calls and peers, and must not be what a terminal obeys.
fn tame(text: &str) -> String {
    Stdout::neutralized(text).into_owned()
}

#[cfg(test)]
mod tests;
