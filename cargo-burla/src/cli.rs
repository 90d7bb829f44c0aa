//! What can be asked of `cargo burla`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use burla_daemon::config::{Cpus, Gib};
use clap::{Args, Parser, Subcommand};

use crate::project::{Cargo, Selection, Wanted};

/// Cargo starts `cargo-burla burla …` for `cargo burla …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
pub(crate) enum Entry {
    Burla(Arguments),
}

/// Puts in the word that cargo would have, for `cargo-burla build` and for the alias of this repository.
pub(crate) fn as_cargo_calls_it(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    if arguments.get(1).is_none_or(|first| first != "burla") {
        arguments.insert(1.min(arguments.len()), "burla".into());
    }
    arguments
}

/// Run functions on a grid of computers.
#[derive(Debug, Args)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new project that runs.
    New(New),
    /// Package the functions of a package into a component.
    Build(Build),
    /// Package the functions, build the program, and run it on a grid.
    Run(Run),
    /// Show what is in a component.
    Inspect(Inspect),
    /// Run a function on every line of JSON of a file or of stdin, and print what it returns as lines of JSON.
    Map(Box<Map>),
    /// Keep a grid on this machine, which programs find by themselves.
    Up(Up),
    /// Measure the grid, each figure beside a bare baseline. It takes about half a minute.
    Bench(Bench),
    /// Show the nodes of the grid.
    Nodes(Show),
    /// Show the jobs of the grid.
    Jobs(Jobs),
    /// Show all that is known of a job.
    Job(Job),
    /// Wait until a job is over.
    Wait(Wait),
    /// Print what the calls of a detached job returned as lines of JSON, until it is over.
    Results(Results),
    /// Print what the calls of a detached job printed.
    Logs(Logs),
    /// Stop a job that runs on the grid.
    Cancel(Cancel),
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The project's name, and the folder to make.
    pub(crate) name: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) what: What,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) what: What,
    /// Build the program itself optimised, too. The component always is.
    #[arg(long)]
    pub(crate) release: bool,
    /// What the program is given.
    #[arg(last = true)]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The component's file.
    pub(crate) component: PathBuf,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Each line of the inputs is one input: a value as the function's parameter is in JSON, or an array of them where it has several.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Map {
    /// The component's file. Default: the package's functions, packaged as `build` does.
    pub(crate) component: Option<PathBuf>,
    /// The function's name, or enough of its end. May be left out as `-` where the component has only one.
    pub(crate) function: String,
    /// Where the inputs are. Default: stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    /// Have the grid keep the job, print its id, and end when the grid has all inputs: `results` prints what its calls return.
    #[arg(long, conflicts_with_all = ["as_finished", "indexed", "usage"])]
    pub(crate) detach: bool,
    /// How often a call is run again that fails by itself: with an error, a panic or a trap.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// The same for one that exceeds a limit.
    #[arg(long)]
    pub(crate) retry_exceeded: bool,
    /// CPUs per call.
    #[arg(long, value_name = "CPUS", default_value_t = 1.0)]
    pub(crate) func_cpu: f64,
    /// GiB of memory per call.
    #[arg(long, value_name = "GIB")]
    pub(crate) func_ram: Option<f64>,
    /// Calls that run at one time.
    #[arg(long, value_name = "CALLS")]
    pub(crate) max_parallelism: Option<usize>,
    /// Seconds that one call may take.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Instructions that one call may run, in wasmtime's units of fuel.
    #[arg(long, value_name = "UNITS")]
    pub(crate) fuel: Option<u64>,
    /// GiB that each call may write to its directory. Default: 4, or less where a node gives less.
    #[arg(long, value_name = "GIB")]
    pub(crate) disk: Option<f64>,
    /// What each call may reach over the network; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) allow_network: Vec<String>,
    /// An environment variable of every call.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,
    /// A name for people to recognise the job by.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Do not show what calls print. Else it goes to stderr.
    #[arg(long)]
    pub(crate) discard_prints: bool,
    /// Show progress on stderr, or do not. Default: on a terminal only.
    #[arg(long, value_name = "BOOL")]
    pub(crate) spinner: Option<bool>,
    #[command(flatten)]
    pub(crate) what: What,
}

/// How outputs are printed.
#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// Print outputs as calls finish, and not in the order of the inputs.
    #[arg(long)]
    pub(crate) as_finished: bool,
    /// Print each output as an object with the number of its line: {"line":1,"output":…} or {"line":1,"error":…}. `results`
    /// knows no lines, and has the position of the input, from 0: {"index":0,…}.
    #[arg(long)]
    pub(crate) indexed: bool,
    /// Go on when a line is no input or a call fails. It is reported, and the others are not lost.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Say at the end, on stderr, what all calls took, and with --indexed in each object what its call took.
    #[arg(long)]
    pub(crate) usage: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address of its scheduler, on this machine. Default: any free port.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// CPUs that calls may have together. Default: those of this machine.
    #[arg(long)]
    pub(crate) cpus: Option<Cpus>,
    /// GiB of memory that calls may have together. Default: 80 % of this machine's.
    #[arg(long, value_name = "GIB")]
    pub(crate) memory: Option<Gib>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Tiny calls whose rate is measured; more where these take less than two seconds.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=4_000_000))]
    pub(crate) calls: u64,
    /// Do a tenth of everything: figures are rougher.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Install the WebAssembly target with rustup if it is missing.
    #[arg(long)]
    pub(crate) install_target: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Those that have ended, too.
    #[arg(long)]
    pub(crate) ended: bool,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Args)]
pub(crate) struct Job {
    #[command(flatten)]
    pub(crate) job: WhichJob,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) job: WhichJob,
    /// Seconds to wait at most.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Show progress on stderr, or do not. Default: on a terminal only.
    #[arg(long, value_name = "BOOL")]
    pub(crate) spinner: Option<bool>,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

#[derive(Debug, Args)]
pub(crate) struct Results {
    #[command(flatten)]
    pub(crate) job: WhichJob,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    /// Show progress on stderr, or do not. Default: on a terminal only.
    #[arg(long, value_name = "BOOL")]
    pub(crate) spinner: Option<bool>,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

/// What calls wrote to their stdout goes to stdout, what they wrote to their stderr to stderr.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) job: WhichJob,
    /// Go on until the job is over. Else it ends when nothing has come for a second.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Put the index of its call before each line: [7] text.
    #[arg(long)]
    pub(crate) prefix: bool,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) job: WhichJob,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

#[derive(Debug, Args)]
pub(crate) struct WhichJob {
    /// The job's id, as `cargo burla jobs` shows it, or enough of its beginning.
    #[arg(value_name = "JOB", value_parser = parse_job)]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct WhichGrid {
    /// The address of the grid's scheduler. Default: the grid that `cargo burla up` keeps on this machine.
    #[arg(long, env = "BURLA_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "give seconds above 0, such as 30 or 0.5".to_owned())
}

/// The fewest digits of an id that can stand for it. Ids begin with the time, so those of one hour have more than this in common.
const JOB_DIGITS_MIN: usize = 4;

fn parse_job(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_lowercase();
    if !(JOB_DIGITS_MIN..=32).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("give the 32 hexadecimal digits of its id, or at least 4 of its beginning".to_owned());
    }
    Ok(digits)
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let variable = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    variable.ok_or_else(|| "give KEY=VALUE".to_owned())
}

/// Which package, and how cargo is to build it: the flags of cargo's own commands.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// The package to build. Default: the one in this folder.
    #[arg(short, long, value_name = "SPEC")]
    package: Option<String>,
    /// Functions are in the package's library. Default: there if it has any, else in the program.
    #[arg(long, conflicts_with = "bin")]
    lib: bool,
    /// The program to build. Functions are in it, unless the package's library has some.
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// The package's Cargo.toml.
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Features to build with, separated by commas or spaces.
    #[arg(short = 'F', long)]
    features: Vec<String>,
    /// Build with all features.
    #[arg(long)]
    all_features: bool,
    /// Build without the default feature.
    #[arg(long)]
    no_default_features: bool,
    /// Require that Cargo.lock is up to date.
    #[arg(long)]
    locked: bool,
    /// Do without the network.
    #[arg(long)]
    offline: bool,
    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    /// Install the WebAssembly target with rustup if it is missing.
    #[arg(long)]
    install_target: bool,
}

impl What {
    pub(crate) fn selection(&self) -> Selection {
        let wanted = match (&self.bin, self.lib) {
            (Some(name), _) => Wanted::Bin(name.clone()),
            (None, true) => Wanted::Lib,
            (None, false) => Wanted::Any,
        };
        Selection { manifest_path: self.manifest_path.clone(), package: self.package.clone(), wanted }
    }

    pub(crate) fn cargo(&self) -> Cargo {
        let mut flags = Vec::new();
        for features in &self.features {
            flags.extend(["--features".to_owned(), features.clone()]);
        }
        let switches = [
            (self.all_features, "--all-features"),
            (self.no_default_features, "--no-default-features"),
            (self.locked, "--locked"),
            (self.offline, "--offline"),
            (self.quiet, "--quiet"),
        ];
        flags.extend(switches.into_iter().filter(|(given, _)| *given).map(|(_, switch)| switch.to_owned()));
        Cargo { flags, install_target: self.install_target }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Entry::command().debug_assert();
    }

    #[test]
    fn it_is_the_same_with_and_without_cargo() {
        for arguments in [&["cargo-burla", "burla", "new", "x"][..], &["cargo-burla", "new", "x"]] {
            let Entry::Burla(parsed) = Entry::parse_from(as_cargo_calls_it(arguments.iter().map(Into::into)));
            assert!(matches!(parsed.command, Command::New(New { name }) if name.as_os_str() == "x"));
        }
    }

    #[test]
    fn a_job_is_named_by_its_id_or_the_beginning_of_it() {
        assert_eq!(parse_job("ABab").unwrap(), "abab");
        let whole = "0190a5b2-7d1c-7abc-8def-0123456789ab";
        assert_eq!(parse_job(whole).unwrap(), whole.replace('-', ""));
        for text in ["", "abc", "xyzw", &"a".repeat(33)] {
            assert!(parse_job(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_job_that_is_detached_prints_nothing_here() {
        let parsed = |flag| Entry::try_parse_from(["cargo", "burla", "map", "f", "--detach", flag]);
        assert!(parsed("--retries=3").is_ok());
        for flag in ["--indexed", "--as-finished", "--usage"] {
            assert!(parsed(flag).is_err(), "{flag}");
        }
    }
}
