//! The options of a job, as the user gave them. They are checked together when the job starts, so that a chain of options needs
//! no `?`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Grid, Stdout};

/// The options of a job; each is a method of [`RemoteParallelMap`](crate::RemoteParallelMap), which says what it means.
#[derive(Debug)]
#[cfg_attr(target_family = "wasm", expect(unreachable_pub, reason = "only tools, which are no components, make them by hand"))]
pub struct Options {
    /// CPUs per call.
    pub func_cpu: f64,
    /// GiB per call.
    pub func_ram: Option<f64>,
    /// Calls at one time.
    pub max_parallelism: Option<usize>,
    /// Where to run.
    pub grid: Option<Grid>,
    /// For people.
    pub name: Option<String>,
    /// The environment of each call.
    pub env: BTreeMap<String, String>,
    /// Wall clock per call.
    pub timeout: Option<Duration>,
    /// Instructions per call.
    pub fuel: Option<u64>,
    /// GiB that each call may write.
    pub disk: Option<f64>,
    /// What each call may reach, as `host:port`.
    pub allow_network: Vec<String>,
    /// How often a call that failed is run again.
    pub retries: u32,
    /// Whether one that exceeded a limit is, too.
    pub retry_exceeded: bool,
    /// The pause before the first retry of a call.
    pub retry_pause: Option<Duration>,
    /// The longest pause.
    pub retry_pause_max: Option<Duration>,
    /// Whether the first call that fails ends the job: whoever runs it waits for no other.
    pub ends_with_failure: bool,
    /// What becomes of what calls print.
    pub stdout: Stdout,
    /// Whether progress is shown; without a choice, on a terminal only.
    pub spinner: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            func_cpu: 1.0,
            func_ram: None,
            max_parallelism: None,
            grid: None,
            name: None,
            env: BTreeMap::new(),
            timeout: None,
            fuel: None,
            disk: None,
            allow_network: Vec::new(),
            retries: 0,
            retry_exceeded: false,
            retry_pause: None,
            retry_pause_max: None,
            ends_with_failure: false,
            stdout: Stdout::default(),
            spinner: None,
        }
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use checked::CheckedOptions;

#[cfg(not(target_family = "wasm"))]
mod checked {
    use std::time::Duration;

    use burla_types::{
        ENV_BYTES_MAX, Limits, MEMORY_BYTES_DEFAULT, NETWORK_GRANTS_MAX, NetworkGrant, cpu_millis_from_cpus, disk_bytes_from_gib,
        env_bytes, memory_bytes_from_gib,
    };

    use super::Options;
    use crate::{Error, Result, Stdout};

    /// The most often that a call can be asked to be run again. With the pauses in between it is hours of trying; whoever gives more
    /// has mistaken the unit.
    const RETRIES_MAX: u32 = 1000;

    /// The longest pause before a retry. The grid holds the input of a call that waits for its retry in memory.
    const RETRY_PAUSE_MAX: Duration = Duration::from_secs(3600);

    /// Options that mean something.
    #[derive(Debug)]
    pub(crate) struct CheckedOptions {
        pub(crate) cpu_millis: u64,
        /// What every slot reserves; `None` where the user gave nothing.
        pub(crate) memory_bytes: Option<u64>,
        pub(crate) max_parallelism: Option<u64>,
        pub(crate) limits: Limits,
        pub(crate) name: Option<String>,
        pub(crate) env: std::collections::BTreeMap<String, String>,
        pub(crate) retries: u32,
        pub(crate) retry_exceeded: bool,
        pub(crate) retry_pause_ms: Option<u64>,
        pub(crate) retry_pause_ms_max: Option<u64>,
        pub(crate) ends_with_failure: bool,
        pub(crate) stdout: Stdout,
        pub(crate) spinner: Option<bool>,
        pub(crate) url: String,
    }

    impl TryFrom<Options> for CheckedOptions {
        type Error = Error;

        fn try_from(options: Options) -> Result<Self> {
            let cpu_millis = cpu_millis_from_cpus(options.func_cpu)?;
            let memory_bytes = options.func_ram.map(memory_bytes_from_gib).transpose()?;
            if options.max_parallelism == Some(0) {
                let remedy = "give the number of calls that may run at one time, from 1, or leave it out for no limit";
                return Err(Error::InvalidOption { option: "max_parallelism", value: "0".to_owned(), remedy });
            }
            if options.timeout.is_some_and(|timeout| timeout.is_zero()) {
                let remedy = "give a time above zero, or leave it out for no limit";
                return Err(Error::InvalidOption { option: "timeout", value: "0s".to_owned(), remedy });
            }
            if options.fuel == Some(0) {
                let remedy = "give the instructions that a call may run, from 1, or leave it out for no limit";
                return Err(Error::InvalidOption { option: "fuel", value: "0".to_owned(), remedy });
            }
            if options.retries > RETRIES_MAX {
                let remedy = "give how often a call that failed is run again, up to 1000";
                return Err(Error::InvalidOption { option: "retries", value: options.retries.to_string(), remedy });
            }
            let disk_bytes = options.disk.map(disk_bytes_from_gib).transpose()?;
            check_env(&options.env)?;
            let url = crate::grid::find(options.grid.as_ref())?;
            Ok(Self {
                cpu_millis: u64::from(cpu_millis),
                memory_bytes,
                max_parallelism: options.max_parallelism.map(|calls| calls as u64),
                limits: Limits {
                    memory_bytes_max: memory_bytes.unwrap_or(MEMORY_BYTES_DEFAULT),
                    cpu_millis_max: u64::from(cpu_millis),
                    fuel_max: options.fuel,
                    wall_time_max: options.timeout,
                    disk_bytes_max: disk_bytes,
                    network: read_grants(&options.allow_network)?,
                },
                name: options.name,
                env: options.env,
                retries: options.retries,
                retry_exceeded: options.retry_exceeded,
                retry_pause_ms: options.retry_pause.map(|pause| read_pause("retry_pause", pause)).transpose()?,
                retry_pause_ms_max: options.retry_pause_max.map(|pause| read_pause("retry_pause_max", pause)).transpose()?,
                ends_with_failure: options.ends_with_failure,
                stdout: options.stdout,
                spinner: options.spinner,
                url,
            })
        }
    }

    /// A pause in milliseconds, rounded up: one that was given is one.
    fn read_pause(option: &'static str, pause: Duration) -> Result<u64> {
        if pause > RETRY_PAUSE_MAX {
            return Err(Error::InvalidOption { option, value: format!("{pause:?}"), remedy: "give a pause of up to an hour" });
        }
        Ok(u64::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    fn read_grants(texts: &[String]) -> Result<Vec<NetworkGrant>> {
        if texts.len() > NETWORK_GRANTS_MAX {
            let remedy = "grant at most 64, or use patterns such as `*.example.com:443`";
            return Err(Error::InvalidOption { option: "allow_network", value: format!("{} grants", texts.len()), remedy });
        }
        let read = |text: &String| text.parse().map_err(|source| Error::InvalidGrant { grant: text.clone(), source });
        texts.iter().map(read).collect()
    }

    fn check_env(env: &std::collections::BTreeMap<String, String>) -> Result<()> {
        for (key, value) in env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                let remedy =
                    "an environment variable's name is not empty and has no `=`, and neither name nor value has a zero byte";
                return Err(Error::InvalidOption { option: "env", value: format!("{key:?}, {value:?}"), remedy });
            }
        }
        let bytes = env_bytes(env);
        if bytes > ENV_BYTES_MAX {
            let remedy = "keep the environment under 1 MiB, and pass data as inputs";
            return Err(Error::InvalidOption { option: "env", value: format!("{bytes} bytes"), remedy });
        }
        Ok(())
    }
    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::Grid;

        #[test]
        fn retries_have_a_bound() {
            let checked = |retries| {
                let grid = Some(Grid::at("http://127.0.0.1:1").unwrap());
                CheckedOptions::try_from(Options { grid, retries, ..Options::default() })
            };
            assert_eq!(checked(RETRIES_MAX).unwrap().retries, RETRIES_MAX);
            let refused = checked(RETRIES_MAX + 1).unwrap_err();
            assert!(matches!(&refused, Error::InvalidOption { option: "retries", value, .. } if value == "1001"), "{refused}");
        }

        #[test]
        fn pauses_are_sent_in_milliseconds_and_have_a_bound() {
            let checked = |pause| {
                let grid = Some(Grid::at("http://127.0.0.1:1").unwrap());
                CheckedOptions::try_from(Options { grid, retry_pause: Some(pause), ..Options::default() })
            };
            for (pause, sent) in [(Duration::ZERO, 0), (Duration::from_micros(1500), 2), (RETRY_PAUSE_MAX, 3_600_000)] {
                let checked = checked(pause).unwrap();
                assert_eq!((checked.retry_pause_ms, checked.retry_pause_ms_max), (Some(sent), None), "{pause:?}");
            }
            let refused = checked(RETRY_PAUSE_MAX + Duration::from_secs(1)).unwrap_err().to_string();
            assert!(refused.starts_with("retry_pause(3601s)") && refused.contains("up to an hour"), "{refused}");
        }
    }
}
