//! What can be asked of `cargo burla`.

mod package;
mod units;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burla::JobState;
use burla_daemon::config::{Cpus, Gib};
use burla_daemon::listen::ListenAddress;
use clap::{Args, Parser, Subcommand};

pub(crate) use package::{Build, Inspect, New, Run, Test, What};
use units::{parse_gib, parse_time, parse_variable};

use crate::commands::outputs::OutputOptions;
use crate::commands::show::jobs::parse_state;
use crate::commands::show::nodes::parse_interval;

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
    Build(Box<Build>),
    /// Package the functions, build the program, and run it on a grid.
    Run(Box<Run>),
    /// Package the functions, and run `cargo test` on a grid.
    Test(Box<Test>),
    /// Show what is in a component.
    Inspect(Inspect),
    /// Run a function on every JSON value, or every line, of a file or of stdin, and print its outputs as lines of
    /// JSON.
    ///
    /// Each JSON value of the inputs is one input: a value as the function's parameter is in JSON, an array of them
    /// where it has several, `null` where it has none. White space stands between values, which may be one per line,
    /// several on a line, or each laid out over several lines.
    ///
    /// Without --keep-going, the first failure by position ends it, after the outputs of the inputs before it have been
    /// printed.
    Map(Box<Map>),
    /// Keep a grid on this machine, which programs find by themselves.
    Up(Up),
    /// Measure the grid, each figure beside a bare baseline. It takes about half a minute.
    Bench(Bench),
    /// Show the nodes of the grid.
    Nodes(Nodes),
    /// Show the jobs of the grid.
    Jobs(Jobs),
    /// Show all that is known of a job.
    Job(Job),
    /// Wait until a job is over.
    ///
    /// The exit code says how the job ended: 0 when all its calls succeeded, 15 when some failed, 17 when it was not
    /// run to its end, 130 when it was canceled, and 18 when it is not over in time. It works for any job that the grid
    /// knows.
    Wait(Wait),
    /// Print what the calls of a detached job returned as lines of JSON, until it is over.
    ///
    /// It prints one line for each call, in the order of the inputs. It works for jobs that were given to the grid with
    /// `map --detach` or `.detach()`, as often as wanted, while the grid keeps their results. Without --keep-going, the
    /// first call that failed ends it.
    Results(Results),
    /// Print what the calls of a detached job printed.
    ///
    /// What calls wrote to their stdout goes to stdout, and what they wrote to their stderr goes to stderr. It works
    /// for jobs that were given to the grid with `map --detach` or `.detach()`.
    Logs(Logs),
    /// Stop a job that runs on the grid.
    Cancel(Cancel),
}

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Map {
    /// The component's file. Default: the package's functions, packaged as `build` does.
    pub(crate) component: Option<PathBuf>,
    /// The function's name, or enough of its end. May be left out as `-` where the component has only one.
    pub(crate) function: String,
    /// The file of the inputs, or `-` for stdin. Default: stdin.
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// Take each line as a text, without quotes, as it is. Empty lines are empty texts.
    #[arg(long)]
    pub(crate) raw_input: bool,
    #[command(flatten)]
    pub(crate) output: MapOutput,
    /// Have the grid keep the job, print its id, and end when the grid has all inputs: `results` prints what its calls
    /// return.
    #[arg(long, conflicts_with_all = ["as_finished", "indexed", "raw_output", "usage"])]
    pub(crate) detach: bool,
    /// How often a call is run again that fails by itself: with an error, a panic or a trap.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// The same for one that exceeds a limit.
    #[arg(long)]
    pub(crate) retry_exceeded: bool,
    /// The pause before the first retry of a call; each further one is twice as long: 50ms, 5s, 2m. Default: 100ms.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) retry_pause: Option<Duration>,
    /// The longest pause before a retry. Default: 10s, or the first pause where that is longer.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) retry_pause_max: Option<Duration>,
    /// CPUs per call.
    #[arg(long, value_name = "CPUS", default_value_t = 1.0)]
    pub(crate) func_cpu: f64,
    /// Memory per call: 1GB, 512MiB, or 2, which is 2 GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_gib)]
    pub(crate) func_ram: Option<f64>,
    /// Calls that run at one time.
    #[arg(long, value_name = "CALLS")]
    pub(crate) max_parallelism: Option<usize>,
    /// The time that one call may take: 500ms, 5s, 2m, 1h, or 5, which is 5 seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    /// Instructions that one call may run, in wasmtime's units of fuel.
    #[arg(long, value_name = "UNITS")]
    pub(crate) fuel: Option<u64>,
    /// The size that the files of each call may have: 1GB, 512MiB, or 2, which is 2 GiB. Default: 4, or less where a
    /// node gives less.
    #[arg(long, value_name = "SIZE", value_parser = parse_gib)]
    pub(crate) disk: Option<f64>,
    /// What each call may reach over the network; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) allow_network: Vec<String>,
    /// An environment variable of every call, or with its name only, the one of this shell; may be given several times.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    pub(crate) env: Vec<(String, String)>,
    /// A name for people to recognize the job by.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Do not show what calls print. Else it goes to stderr.
    #[arg(long)]
    pub(crate) discard_prints: bool,
    /// Show progress on stderr, or do not. Default: on a terminal only.
    #[arg(long, value_name = "BOOL")]
    pub(crate) spinner: Option<bool>,
    /// The address of the grid's scheduler. Default: BURLA_URL, else the grid that `cargo burla up` keeps on this
    /// machine, else one of this machine for as long as this takes.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    pub(crate) what: What,
}

impl Map {
    /// The file of the inputs; `None` is stdin.
    pub(crate) fn inputs_file(&self) -> Option<&Path> {
        self.inputs.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// The grid that was named.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| !url.is_empty())
    }
}

#[derive(Debug, Args)]
pub(crate) struct MapOutput {
    /// Print outputs as calls finish, and not in the order of the inputs. The first failure that is seen then ends it,
    /// whichever input it is of.
    #[arg(long)]
    pub(crate) as_finished: bool,
    /// Print each output as an object with the number of the line of its input: {"line":1,"output":…} or
    /// {"line":1,"error":…}.
    #[arg(long)]
    indexed: bool,
    /// Print outputs that are texts without quotes, and others as JSON.
    #[arg(long, conflicts_with = "indexed")]
    raw_output: bool,
    /// Go on when something is no input or a call fails. It is reported, and the others are not lost.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Say at the end, on stderr, what all calls took, and with --indexed in each object what its call took.
    #[arg(long)]
    usage: bool,
}

impl MapOutput {
    pub(crate) fn options(&self) -> OutputOptions {
        let Self { as_finished, indexed, raw_output: raw, keep_going, usage } = *self;
        OutputOptions { as_finished, indexed, raw, keep_going, usage }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResultsOutput {
    /// Print outputs as calls finish, and not in the order of the inputs. The first failure that is seen then ends it.
    #[arg(long)]
    as_finished: bool,
    /// Print each output as an object with the position of its input, from 0: {"index":0,"output":…} or
    /// {"index":0,"error":…}.
    #[arg(long)]
    indexed: bool,
    /// Print outputs that are texts without quotes, and others as JSON.
    #[arg(long, conflicts_with = "indexed")]
    raw_output: bool,
    /// Go on when a call has failed. It is reported, and the others are printed.
    #[arg(long)]
    keep_going: bool,
    /// Say at the end, on stderr, what all calls took, and with --indexed in each object what its call took.
    #[arg(long)]
    usage: bool,
}

impl ResultsOutput {
    pub(crate) fn options(&self) -> OutputOptions {
        let Self { as_finished, indexed, raw_output: raw, keep_going, usage } = *self;
        OutputOptions { as_finished, indexed, raw, keep_going, usage }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address of its scheduler, on this machine, such as localhost:8420. Default: any free port.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub(crate) listen: ListenAddress,
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
    /// The WebAssembly target is added with and without this flag.
    #[arg(long, hide = true)]
    install_target: bool,
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
pub(crate) struct Nodes {
    /// Show them again and again until Ctrl-C: on a terminal in place, else whenever something has changed.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = parse_interval)]
    pub(crate) watch: Option<Duration>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Also list jobs that have ended: the 20 newest, unless `--limit` says otherwise.
    #[arg(long)]
    pub(crate) ended: bool,
    /// List so many jobs, the newest first.
    #[arg(long, value_name = "JOBS", value_parser = parse_limit)]
    pub(crate) limit: Option<usize>,
    /// List jobs that have this in their names.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// List jobs in these states, separated by commas: open, finished, canceled, failed, stopped, abandoned. Any but
    /// open also lists jobs that have ended.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = parse_state)]
    pub(crate) state: Vec<JobState>,
    #[command(flatten)]
    pub(crate) show: Show,
}

impl Jobs {
    /// Tells whether jobs that have ended are asked for.
    pub(crate) fn wants_ended(&self) -> bool {
        self.ended || self.state.iter().any(|state| *state != JobState::Open)
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "give a number of jobs, from 1".to_owned())
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
    /// The time to wait at most: 500ms, 5s, 2m, 1h, or 5, which is 5 seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
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
    pub(crate) output: ResultsOutput,
    /// Show progress on stderr, or do not. Default: on a terminal only.
    #[arg(long, value_name = "BOOL")]
    pub(crate) spinner: Option<bool>,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

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
    /// The job's id, or any part of it that no other job has, such as the last eight digits that `cargo burla jobs`
    /// shows.
    #[arg(value_name = "JOB", value_parser = parse_job, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) job: Option<String>,
    /// Stop every job that is open, without asking.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) grid: WhichGrid,
}

#[derive(Debug, Args)]
pub(crate) struct WhichJob {
    /// The job's id, or any part of it that no other job has, such as the last eight digits that `cargo burla jobs`
    /// shows.
    #[arg(value_name = "JOB", value_parser = parse_job)]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct WhichGrid {
    /// The address of the grid's scheduler. Default: the grid that `cargo burla up` keeps on this machine.
    #[arg(long, env = "BURLA_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// The fewest digits of an id that can stand for it. Ids begin with the time, so jobs of one hour have more than this
/// in common; their last digits are random.
const JOB_DIGITS_MIN: usize = 4;

fn parse_job(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_lowercase();
    if !(JOB_DIGITS_MIN..=32).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(
            "give the 32 hexadecimal digits of its id, or at least 4 that no other job has, such as its last 8".to_owned()
        );
    }
    Ok(digits)
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
            assert!(matches!(parsed.command, Command::New(New { name, .. }) if name.as_os_str() == "x"));
        }
    }

    #[test]
    fn a_job_is_named_by_its_id_or_a_part_of_it() {
        assert_eq!(parse_job("ABab").unwrap(), "abab");
        let whole = "0190a5b2-7d1c-7abc-8def-0123456789ab";
        assert_eq!(parse_job(whole).unwrap(), whole.replace('-', ""));
        for text in ["", "abc", "xyzw", &"a".repeat(33)] {
            assert!(parse_job(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_job_or_all_are_canceled() {
        let parsed = |given: &[&str]| Entry::try_parse_from([&["cargo", "burla", "cancel"], given].concat());
        let cancel = |given: &[&str]| match parsed(given).unwrap() {
            Entry::Burla(Arguments { command: Command::Cancel(cancel) }) => (cancel.job, cancel.all),
            other => panic!("{other:?}"),
        };
        assert_eq!(cancel(&["abcd"]), (Some("abcd".to_owned()), false));
        assert_eq!(cancel(&["--all"]), (None, true));
        assert!(parsed(&[]).is_err() && parsed(&["abcd", "--all"]).is_err());
    }

    #[test]
    fn each_verb_of_a_detached_job_has_a_text_of_its_own() {
        let command = Entry::command();
        let burla = command.find_subcommand("burla").unwrap();
        let help = |verb: &str| burla.find_subcommand(verb).unwrap().clone().render_long_help().to_string();
        for (verb, own) in [("results", "{\"index\":0"), ("logs", "stderr goes to stderr"), ("wait", "exit code")] {
            let help = help(verb);
            assert!(help.contains(own), "{help}");
            for foreign in ["is no input", "raw-input", "\"line\""] {
                assert!(!help.contains(foreign), "{foreign} in {help}");
            }
        }
        assert!(help("map").contains("{\"line\":1"));
    }

    #[test]
    fn inputs_are_a_file_or_stdin() {
        let parsed = |arguments: &[&str]| {
            let arguments = [&["cargo", "burla", "map", "f"], arguments].concat();
            let Entry::Burla(parsed) = Entry::try_parse_from(arguments).unwrap();
            let Command::Map(map) = parsed.command else { panic!("not map") };
            map
        };
        assert_eq!(parsed(&["--inputs", "a"]).inputs_file(), Some(Path::new("a")));
        assert_eq!(parsed(&["--inputs", "-"]).inputs_file(), None);
        assert_eq!(parsed(&[]).inputs_file(), None);
        let map = parsed(&["--func-ram", "1GiB", "--disk=512MiB", "--timeout", "1h", "--url", "http://a:1"]);
        assert_eq!((map.func_ram, map.disk, map.timeout), (Some(1.0), Some(0.5), Some(Duration::from_secs(3600))));
        assert_eq!((map.url(), parsed(&["--url="]).url()), (Some("http://a:1"), None));
        // Given twice, one of them would be ignored.
        for flag in ["--func-ram=1", "--inputs=a", "--raw-input"] {
            assert!(Entry::try_parse_from(["cargo", "burla", "map", "f", flag, flag]).is_err(), "{flag}");
        }
        assert_eq!(parsed(&["--env", "A=1", "--env", "B=2"]).env.len(), 2);
    }

    #[test]
    fn a_job_that_is_detached_prints_nothing_here() {
        let parsed = |flag| Entry::try_parse_from(["cargo", "burla", "map", "f", "--detach", flag]);
        assert!(parsed("--retries=3").is_ok());
        for flag in ["--indexed", "--as-finished", "--raw-output", "--usage"] {
            assert!(parsed(flag).is_err(), "{flag}");
        }
    }
}
