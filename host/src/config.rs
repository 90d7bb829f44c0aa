//! The node's settings: from flags, environment and file to values that it can start with.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use burla_daemon::config::{self, Cpus, Gib, Problems, Seconds};
use burla_daemon::folders;
use burla_daemon::listen::{Listen, ListenAddress, look_up};
use burla_daemon::logging::LogFormat;
use burla_host::{Authorities, NetworkPolicy, NodeConfig, Policy, machine};
use burla_types::{DISK_BYTES_MAX, Resources};
use clap::Parser;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

/// The commented file of all settings and their defaults, which is also their documentation.
pub(crate) const DEFAULT_FILE: &str = include_str!("default-config.toml");

/// Longer than most calls last, and shorter than what starts and stops daemons waits by default.
const DRAIN_TIME_DEFAULT: Duration = Duration::from_secs(30);

const LOG_FILTER_DEFAULT: &str = "info";

/// Runs the calls of a Burla grid on this machine.
///
/// A flag wins over its environment variable, and that over the configuration file.
// One struct for all three, so that a key of the file is the name of its flag.
#[derive(Debug, Default, Deserialize, Parser)]
#[command(name = "burla-node", version)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// A file of settings; --print-config shows what may be in it.
    #[arg(long, env = "BURLA_NODE_CONFIG", value_name = "PATH")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Print the commented configuration file that says what is so without one, and exit.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) print_config: bool,

    /// The scheduler to work for, such as http://127.0.0.1:8420. It has to be given, here or elsewhere.
    #[arg(long, env = "BURLA_URL", value_name = "URL")]
    scheduler: Option<String>,

    /// Work for a scheduler on another machine, though nothing is encrypted and this node runs whatever it is sent.
    #[arg(
        long,
        env = "BURLA_NODE_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    insecure: Option<bool>,

    /// A name for people to recognize it by. Default: the machine's.
    #[arg(long, env = "BURLA_NODE_NAME")]
    name: Option<String>,

    /// CPUs that calls may have together, also more than there are. Default: those of this machine.
    #[arg(long, env = "BURLA_NODE_CPUS")]
    cpus: Option<Cpus>,

    /// GiB of memory that calls may have together. Default: 80 % of this machine's, or of its control group's.
    #[arg(long, env = "BURLA_NODE_MEMORY", value_name = "GIB")]
    memory: Option<Gib>,

    /// GiB that calls' files may take together. Default: 80 % of what is free where the directories are made.
    #[arg(long, env = "BURLA_NODE_DISK", value_name = "GIB")]
    disk: Option<Gib>,

    /// GiB that one call may be given to write. Default: 1024, the most that jobs can ask for.
    #[arg(long, env = "BURLA_NODE_DISK_PER_CALL", value_name = "GIB")]
    disk_per_call: Option<Gib>,

    /// What jobs may be granted to reach, as HOST:PORT each, separated by commas; an empty value is nothing. Default: `*`.
    #[arg(long, env = "BURLA_NODE_ALLOW_NETWORK", value_name = "GRANTS", value_delimiter = ',', num_args = 0..)]
    allow_network: Option<Vec<String>>,

    /// Private addresses that jobs may reach where they are granted, as 10.1.0.0/16 each, separated by commas. Default: none.
    #[arg(long, env = "BURLA_NODE_ALLOW_PRIVATE", value_name = "RANGES", value_delimiter = ',', num_args = 0..)]
    allow_private: Option<Vec<String>>,

    /// Where compiled components are kept. Default: burla/node in the user's cache directory.
    #[arg(long, env = "BURLA_NODE_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,

    /// Where calls' directories are made. Default: the system's directory for temporary files.
    #[arg(long, env = "BURLA_NODE_SANDBOX_DIR", value_name = "PATH")]
    sandbox_dir: Option<PathBuf>,

    /// A file of certificate authorities (PEM) that calls trust for HTTPS, beside those that Mozilla trusts. Default:
    /// none.
    #[arg(long, env = "BURLA_NODE_CA_FILE", value_name = "PATH")]
    ca_file: Option<PathBuf>,

    /// The address of the endpoint for operators: /healthz, /readyz and /metrics. Default: none.
    #[arg(long, env = "BURLA_NODE_HTTP", value_name = "HOST:PORT")]
    http: Option<ListenAddress>,

    /// How long running calls may go on after SIGTERM. Default: 30.
    #[arg(long, env = "BURLA_NODE_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<Seconds>,

    /// What the log looks like. Default: text.
    #[arg(long, env = "BURLA_NODE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged, such as debug or info,burla_host=debug; the variable BURLA_LOG wins over it. Default: info.
    #[arg(long, env = "BURLA_NODE_LOG_FILTER", value_name = "FILTER")]
    log_filter: Option<String>,
}

/// Settings that were checked, each with a value.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    pub(crate) http: Option<Listen>,
    /// What an operator should know, told when there is a log.
    pub(crate) warnings: Vec<String>,
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
            scheduler: self.scheduler.or(file.scheduler),
            insecure: self.insecure.or(file.insecure),
            name: self.name.or(file.name),
            cpus: self.cpus.or(file.cpus),
            memory: self.memory.or(file.memory),
            disk: self.disk.or(file.disk),
            disk_per_call: self.disk_per_call.or(file.disk_per_call),
            allow_network: self.allow_network.or(file.allow_network),
            allow_private: self.allow_private.or(file.allow_private),
            data_dir: self.data_dir.or(file.data_dir),
            sandbox_dir: self.sandbox_dir.or(file.sandbox_dir),
            ca_file: self.ca_file.or(file.ca_file),
            http: self.http.or(file.http),
            drain_seconds: self.drain_seconds.or(file.drain_seconds),
            log_format: self.log_format.or(file.log_format),
            log_filter: self.log_filter.or(file.log_filter),
        }
    }

    fn settle(self) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        match &self.scheduler {
            Some(url) => problems.extend(check_scheduler(url, self.insecure.unwrap_or(false)).err()),
            None => problems.push(
                "there is no scheduler to work for: pass --scheduler URL, set BURLA_URL, or write `scheduler` in the \
                 configuration file"
                    .to_owned(),
            ),
        }
        let http = look_up(self.http, &mut problems);
        let default = NetworkPolicy::default();
        let network = NetworkPolicy {
            grantable: self.allow_network.map_or(default.grantable, |texts| read_all("allow-network", &texts, &mut problems)),
            private: self.allow_private.map_or(default.private, |texts| read_all("allow-private", &texts, &mut problems)),
            own: default.own,
            authorities: match &self.ca_file {
                Some(path) => read_authorities(path, &mut problems),
                None => default.authorities,
            },
        };
        let (Some(scheduler_url), true) = (self.scheduler, problems.is_empty()) else { return Err(Problems(problems)) };
        // Last: it makes the folder, and settings that are refused should leave nothing behind.
        let mut warnings = Vec::new();
        let data_dir = match self.data_dir {
            Some(path) => path,
            None => default_data_dir(&mut warnings)?,
        };
        let detected = machine::capacity();
        let sandbox_dir = self.sandbox_dir.unwrap_or_else(std::env::temp_dir);
        let node = NodeConfig {
            scheduler_url,
            name: self.name.unwrap_or_else(machine::name),
            capacity: Resources {
                cpu_millis: self.cpus.map_or(detected.cpu_millis, |cpus| cpus.millis),
                memory_bytes: self.memory.map_or(detected.memory_bytes, |memory| memory.bytes),
            },
            data_dir,
            disk_bytes: self.disk.map_or_else(|| machine::disk_for_calls(&sandbox_dir), |disk| disk.bytes),
            sandbox_dir,
            policy: Policy {
                network: Arc::new(network),
                disk_bytes_max: self.disk_per_call.map_or(DISK_BYTES_MAX, |disk| disk.bytes),
            },
            drain_time: self.drain_seconds.map_or(DRAIN_TIME_DEFAULT, |Seconds(time)| time),
        };
        Ok(Config {
            node,
            http,
            warnings,
            log_format: self.log_format.unwrap_or_default(),
            log_filter: self.log_filter.unwrap_or_else(|| LOG_FILTER_DEFAULT.to_owned()),
        })
    }
}

/// Reads each of a list. What cannot be read is a problem.
fn read_all<T: FromStr<Err: Display>>(key: &str, texts: &[String], problems: &mut Vec<String>) -> Vec<T> {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let read =
        texts.filter_map(|text| text.parse().map_err(|error: T::Err| problems.push(format!("{key} has `{text}`: {error}"))).ok());
    read.collect()
}

fn check_scheduler(url: &str, insecure: bool) -> Result<(), String> {
    let Some(host) = host_of(url) else {
        return Err(format!("`{url}` is not the address of a scheduler: it looks like http://127.0.0.1:8420"));
    };
    if is_loopback(host) || insecure {
        return Ok(());
    }
    Err(format!(
        "refusing to work for {url}: it is on another machine, and this version neither encrypts nor checks who it is; pass \
         --insecure if you trust it and the network between"
    ))
}

/// The host of `http://HOST:PORT`.
fn host_of(url: &str) -> Option<&str> {
    let (host, port) = url.strip_prefix("http://")?.trim_end_matches('/').rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    (!host.is_empty()).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn default_data_dir(warnings: &mut Vec<String>) -> Result<PathBuf, Problems> {
    let folder = folders::cache_dir("burla/node", "--data-dir, BURLA_NODE_DATA_DIR or HOME");
    let folder = folder.map_err(|error| Problems(vec![error.to_string()]))?;
    warnings.extend(folder.warning);
    Ok(folder.path)
}

/// Certificate authorities out of a file. None, where they cannot be read, which is a problem.
fn read_authorities(path: &Path, problems: &mut Vec<String>) -> Authorities {
    Authorities::read(path).unwrap_or_else(|error| {
        problems.push(format!("ca-file: {}", burla_types::with_causes(&error)));
        Authorities::default()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    const URL: &str = "http://127.0.0.1:1";

    fn flags(arguments: &[&str]) -> Settings {
        Settings::parse_from(["burla-node", "--data-dir", "/nowhere"].iter().chain(arguments))
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
        let settled = |file: Settings| {
            let scheduler = Settings { scheduler: Some(URL.to_owned()), ..Settings::default() };
            format!("{:?}", scheduler.or(file).settle().unwrap())
        };
        assert_eq!(settled(file(DEFAULT_FILE)), settled(Settings::default()));
        let mut all = file(&uncommented());
        assert_eq!(all.ca_file.take(), Some(PathBuf::from("/etc/burla/ca.pem")));
        let all = all.settle().unwrap();
        assert_eq!(all.http.unwrap().to_string(), "127.0.0.1:8422");
        assert_eq!(all.node.scheduler_url, "http://127.0.0.1:8420");
        assert_eq!(all.node.capacity, Resources { cpu_millis: 16_000, memory_bytes: 48 << 30 });
        assert_eq!((all.node.disk_bytes, all.node.policy.disk_bytes_max), (200 << 30, 10 << 30));
    }

    #[test]
    fn what_calls_may_reach_is_read_and_checked() {
        let network = |arguments: &[&str], text: &str| {
            let settled = flags(&[&["--scheduler", URL], arguments].concat()).or(file(text)).settle()?;
            let network = settled.node.policy.network;
            Ok::<_, Problems>((texts(&network.grantable), texts(&network.private)))
        };
        fn texts<T: ToString>(items: &[T]) -> Vec<String> {
            items.iter().map(T::to_string).collect()
        }
        let strings = |items: &[&str]| texts(items);
        assert_eq!(network(&[], "").unwrap(), (strings(&["*:*"]), vec![]));
        assert_eq!(network(&["--allow-network="], "allow-network = ['a.com:80']").unwrap(), (vec![], vec![]));
        let both = network(&["--allow-private", "10.0.0.0/8,::1/128"], "allow-network = ['*.a.com:443', 'b.com:*']").unwrap();
        assert_eq!(both, (strings(&["*.a.com:443", "b.com:*"]), strings(&["10.0.0.0/8", "::1/128"])));
        let error = network(&["--allow-private", "10.0.0.0/33"], "allow-network = ['a.com']").unwrap_err().to_string();
        assert!(error.contains("allow-network has `a.com`") && error.contains("allow-private has `10.0.0.0/33`"), "{error}");
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
        let file = file("scheduler = 'http://10.0.0.1:1'\ninsecure = true\ncpus = 64\ndrain-seconds = 0");
        let both = flags(&["--scheduler", URL, "--cpus", "0.5"]).or(file);
        assert_eq!(both.insecure, Some(true));
        let node = both.settle().unwrap().node;
        assert_eq!((node.scheduler_url.as_str(), node.capacity.cpu_millis, node.drain_time), (URL, 500, Duration::ZERO));
    }

    #[test]
    fn a_scheduler_elsewhere_needs_insecure() {
        let settle = |url: &str, insecure: &[&str]| {
            let scheduler: &[&str] = &["--scheduler", url];
            flags(&[scheduler, insecure].concat()).settle()
        };
        for here in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1/"] {
            assert!(settle(here, &[]).is_ok(), "{here}");
        }
        assert!(settle("http://10.0.0.1:1", &[]).unwrap_err().to_string().contains("--insecure"));
        assert!(settle("http://10.0.0.1:1", &["--insecure"]).is_ok());
        for wrong in ["127.0.0.1:1", "http://:1", "http://host", "https://127.0.0.1:1"] {
            assert!(settle(wrong, &[]).unwrap_err().to_string().contains("not the address"), "{wrong}");
        }
    }

    #[test]
    fn authorities_are_read_at_the_start() {
        let with = |path: &str| flags(&["--scheduler", URL, "--ca-file", path]).settle();
        let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network/testdata/ca.pem");
        assert_eq!(with(ca).unwrap().node.policy.network.authorities, Authorities::read(Path::new(ca)).unwrap());
        let missing = with("/nowhere/ca.pem").unwrap_err().to_string();
        assert!(missing.starts_with("ca-file: cannot read /nowhere/ca.pem: No such file"), "{missing}");
        let empty = with("/dev/null").unwrap_err().to_string();
        assert!(empty.starts_with("ca-file: /dev/null has no certificate"), "{empty}");
    }

    #[test]
    fn the_operators_address_is_looked_up() {
        let with = |http: &str| flags(&["--scheduler", URL, "--http", http]).settle();
        assert!(with("localhost:8422").unwrap().http.unwrap().is_loopback());
        assert!(with("a.invalid:1").unwrap_err().to_string().contains("cannot look up `a.invalid`"));
    }

    #[test]
    fn a_node_without_a_scheduler_is_told_how_to_name_one() {
        let nowhere = Settings { data_dir: Some(PathBuf::from("/nowhere")), ..Settings::default() };
        let error = nowhere.settle().unwrap_err().to_string();
        assert!(error.contains("--scheduler") && error.contains("BURLA_URL"), "{error}");
    }
}
