//! The scheduler's settings: from flags, environment and file to values that it can start with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use burla_daemon::config::{self, Gib, Problems, Seconds};
use burla_daemon::folders::{self, Folder};
use burla_daemon::listen::{Listen, ListenAddress, look_up};
use burla_daemon::logging::LogFormat;
use burla_scheduler::StoreConfig;
use clap::Parser;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

/// The commented file of all settings and their defaults, which is also their documentation.
pub(crate) const DEFAULT_FILE: &str = include_str!("default-config.toml");

/// Only this machine reaches it there.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);

/// Longer than most jobs last, and shorter than what starts and stops daemons waits by default.
const DRAIN_TIME_DEFAULT: Duration = Duration::from_secs(30);

/// Longer than it takes a laptop to change networks, or a scheduler to be restarted; short enough for CPUs not to work long for
/// nobody.
const CLIENT_GRACE_DEFAULT: Duration = Duration::from_secs(60);

/// Long enough for who went on holiday with a job running.
const KEEP_TIME_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A tenth of the smallest disk that a scheduler is likely to have.
const KEEP_BYTES_DEFAULT: u64 = 10 << 30;

/// Jobs that have ended of which it is known how: some ten MiB on disk and in memory.
const HISTORY_JOBS_MAX: usize = 10_000;

const LOG_FILTER_DEFAULT: &str = "info";

/// Decides which node of a Burla grid runs which call.
///
/// A flag wins over its environment variable, and that over the configuration file.
// One struct for all three, so that a key of the file is the name of its flag.
#[derive(Debug, Default, Deserialize, Parser)]
#[command(version)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// A file of settings; --print-config shows what may be in it.
    #[arg(long, env = "BURLA_SCHEDULER_CONFIG", value_name = "PATH")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Print the commented configuration file that says what is so without one, and exit.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) print_config: bool,

    /// The address on which clients and nodes reach it, such as localhost:8420; port 0 takes any free one. Default:
    /// 127.0.0.1:8420.
    #[arg(long, env = "BURLA_SCHEDULER_LISTEN", value_name = "HOST:PORT")]
    listen: Option<ListenAddress>,

    /// Listen on an address that other machines can reach, though nothing is encrypted and anyone who reaches it may run code.
    #[arg(
        long,
        env = "BURLA_SCHEDULER_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    insecure: Option<bool>,

    /// Where components and jobs are kept. Default: burla/scheduler in the user's data directory.
    #[arg(long, env = "BURLA_SCHEDULER_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,

    /// The address of the endpoint for operators: /healthz, /readyz and /metrics. Default: none.
    #[arg(long, env = "BURLA_SCHEDULER_HTTP", value_name = "HOST:PORT")]
    http: Option<ListenAddress>,

    /// How long open jobs may go on after SIGTERM. Default: 30.
    #[arg(long, env = "BURLA_SCHEDULER_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<Seconds>,

    /// How long an attached job goes on when the connection to its client broke. Default: 60.
    #[arg(long, env = "BURLA_SCHEDULER_CLIENT_GRACE_SECONDS", value_name = "SECONDS")]
    client_grace_seconds: Option<Seconds>,

    /// How long inputs, outputs and lines of a detached job are kept when it has ended. Default: 604800, a week.
    #[arg(long, env = "BURLA_SCHEDULER_KEEP_SECONDS", value_name = "SECONDS")]
    keep_seconds: Option<Seconds>,

    /// GiB that kept jobs may take on disk; those that ended first go when it is more. Default: 10.
    #[arg(long, env = "BURLA_SCHEDULER_KEEP_GIB", value_name = "GIB")]
    keep_gib: Option<Gib>,

    /// Start although part of what is kept is damaged; what may have lost something ends as failed.
    #[arg(
        long,
        env = "BURLA_SCHEDULER_SKIP_DAMAGED",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    skip_damaged: Option<bool>,

    /// What the log looks like. Default: text.
    #[arg(long, env = "BURLA_SCHEDULER_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged, such as debug or info,burla_scheduler=debug; the variable BURLA_LOG wins over it. Default: info.
    #[arg(long, env = "BURLA_SCHEDULER_LOG_FILTER", value_name = "FILTER")]
    log_filter: Option<String>,
}

/// Settings that were checked, each with a value.
#[derive(Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: Listen,
    pub(crate) data_dir: Folder,
    pub(crate) http: Option<Listen>,
    pub(crate) drain_time: Duration,
    pub(crate) client_grace: Duration,
    pub(crate) store: StoreConfig,
    pub(crate) log_format: LogFormat,
    pub(crate) log_filter: String,
}

impl Settings {
    /// Reads the file, if one was named, fills in the defaults, and checks what came of it.
    pub(crate) fn load(self) -> anyhow::Result<Config> {
        let file = match &self.config {
            Some(path) => config::read(path)?,
            None => Self::default(),
        };
        Ok(self.or(file).settle()?)
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            print_config: self.print_config,
            listen: self.listen.or(file.listen),
            insecure: self.insecure.or(file.insecure),
            data_dir: self.data_dir.or(file.data_dir),
            http: self.http.or(file.http),
            drain_seconds: self.drain_seconds.or(file.drain_seconds),
            client_grace_seconds: self.client_grace_seconds.or(file.client_grace_seconds),
            keep_seconds: self.keep_seconds.or(file.keep_seconds),
            keep_gib: self.keep_gib.or(file.keep_gib),
            skip_damaged: self.skip_damaged.or(file.skip_damaged),
            log_format: self.log_format.or(file.log_format),
            log_filter: self.log_filter.or(file.log_filter),
        }
    }

    fn settle(self) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let listen = match self.listen {
            Some(address) => look_up(Some(address), &mut problems),
            None => Some(LISTEN_DEFAULT.into()),
        };
        let http = look_up(self.http, &mut problems);
        if let Some(listen) = listen.as_ref().filter(|listen| !listen.is_loopback() && !self.insecure.unwrap_or(false)) {
            problems.push(format!(
                "refusing to listen on {listen}: other machines could reach it, and this version neither encrypts nor asks who \
                 they are; listen on 127.0.0.1, or pass --insecure if everyone who can reach it may run code on the grid"
            ));
        }
        if let (Some(listen), Some(http)) = (&listen, &http)
            && listen.collides_with(http)
        {
            problems.push(format!("the grid and its operators cannot both be answered on {http}: give --http another port"));
        }
        // Last: it makes the folder, and settings that are refused should leave nothing behind.
        let (Some(listen), true) = (listen, problems.is_empty()) else { return Err(Problems(problems)) };
        let data_dir = match self.data_dir {
            Some(path) => Folder { path, warning: None },
            None => default_data_dir()?,
        };
        Ok(Config {
            listen,
            data_dir,
            http,
            drain_time: self.drain_seconds.map_or(DRAIN_TIME_DEFAULT, |Seconds(time)| time),
            client_grace: self.client_grace_seconds.map_or(CLIENT_GRACE_DEFAULT, |Seconds(time)| time),
            store: StoreConfig {
                retention: self.keep_seconds.map_or(KEEP_TIME_DEFAULT, |Seconds(time)| time),
                bytes_max: self.keep_gib.map_or(KEEP_BYTES_DEFAULT, |gib| gib.bytes),
                history_jobs_max: HISTORY_JOBS_MAX,
                skip_damaged: self.skip_damaged.unwrap_or(false),
            },
            log_format: self.log_format.unwrap_or_default(),
            log_filter: self.log_filter.unwrap_or_else(|| LOG_FILTER_DEFAULT.to_owned()),
        })
    }
}

fn default_data_dir() -> Result<Folder, Problems> {
    let folder = folders::data_dir("burla/scheduler", "--data-dir, BURLA_SCHEDULER_DATA_DIR or HOME, or jobs are lost with them");
    folder.map_err(|error| Problems(vec![error.to_string()]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    fn flags(arguments: &[&str]) -> Settings {
        Settings::parse_from(["burla-scheduler", "--data-dir", "/nowhere"].iter().chain(arguments))
    }

    fn file(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    /// The default file with the settings that are commented out in it.
    fn uncommented() -> String {
        let is_key = |text: &str| text.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let line = |line: &'static str| line.strip_prefix("# ").filter(|text| is_key(text)).unwrap_or(line);
        DEFAULT_FILE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_default_file_says_what_is_so_without_it() {
        assert_eq!(file(DEFAULT_FILE).settle().unwrap(), Settings::default().settle().unwrap());
        let all = file(&uncommented()).settle().unwrap();
        assert_eq!(all.http.unwrap().to_string(), "127.0.0.1:8421");
        assert_eq!(all.data_dir.path, PathBuf::from("/var/lib/burla-scheduler"));
    }

    #[test]
    fn the_default_file_has_every_flag() {
        let command = Settings::command();
        let flags = command.get_arguments().filter_map(|argument| argument.get_long());
        let flags: BTreeSet<_> = flags.filter(|flag| !["config", "print-config", "help", "version"].contains(flag)).collect();
        let table: toml::Table = uncommented().parse().unwrap();
        assert_eq!(table.keys().map(String::as_str).collect::<BTreeSet<_>>(), flags);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let from_file = || file("listen = '127.0.0.1:1'\ninsecure = true\ndrain-seconds = 1.5");
        let both = flags(&["--listen", "127.0.0.1:2", "--insecure=false"]).or(from_file());
        assert_eq!((both.listen.clone(), both.insecure), (Some("127.0.0.1:2".parse().unwrap()), Some(false)));
        assert_eq!(both.settle().unwrap().drain_time, Duration::from_millis(1500));
        assert!(from_file().settle().is_ok());
    }

    #[test]
    fn other_addresses_than_loopback_need_insecure() {
        let error = flags(&["--listen", "0.0.0.0:0"]).settle().unwrap_err().to_string();
        assert!(error.contains("--insecure"), "{error}");
        assert!(flags(&["--listen", "0.0.0.0:0", "--insecure"]).settle().is_ok());
        assert!(flags(&["--http", "0.0.0.0:1"]).settle().is_ok());
    }

    #[test]
    fn two_endpoints_need_two_ports() {
        let collide = |listen: &str, http: &str| flags(&["--listen", listen, "--http", http, "--insecure"]).settle().is_err();
        assert!(collide("127.0.0.1:1", "127.0.0.1:1"));
        assert!(collide("127.0.0.1:1", "0.0.0.0:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn names_are_looked_up() {
        let settled = flags(&["--listen", "localhost:0", "--http", "localhost:1"]).settle().unwrap();
        assert!(settled.listen.is_loopback() && settled.http.unwrap().is_loopback());
        let error = flags(&["--listen", "a.invalid:1"]).or(file("http = 'b.invalid:1'")).settle().unwrap_err().to_string();
        assert!(error.contains("`a.invalid`") && error.contains("`b.invalid`"), "{error}");
        // What a flag overrides is not looked up.
        assert!(flags(&["--listen", "[::1]:1"]).or(file("listen = 'a.invalid:1'")).settle().is_ok());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = flags(&["--listen", "0.0.0.0:1", "--http", "127.0.0.1:1"]).settle().unwrap_err().to_string();
        assert!(error.contains("--insecure") && error.contains("--http"), "{error}");
    }
}
