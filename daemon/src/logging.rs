//! Logging: sets up where a daemon's log goes, in which form, and how much of it there is.
//!
//! The log goes to stderr, and keeping it is left to what started the daemon. A filter that is not one is an error, since a
//! daemon that logs something else than it was told to is noticed only when its log is needed.

use std::env::{self, VarError};
use std::io::IsTerminal;

use anyhow::Context;
use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The environment variable that says what to log, whatever the settings say: for one look, without changing them.
const FILTER_VARIABLE: &str = "BURLA_LOG";

/// The form of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object of JSON per line, for machines.
    Json,
}

/// Sets up logging to stderr. `filter` is a level, or levels by part of the program, such as `info,burla_scheduler=debug`. The
/// variable `BURLA_LOG` wins over it, and without either it is `info`.
pub fn init(format: LogFormat, filter: Option<&str>) -> anyhow::Result<()> {
    let variable = match env::var(FILTER_VARIABLE) {
        Ok(variable) => Some(variable),
        Err(VarError::NotPresent) => None,
        Err(error) => return Err(error).context("cannot read the environment variable BURLA_LOG"),
    };
    let filter = choose_filter(variable.as_deref(), filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors());
    // A line that cannot be written (a full disk, a terminal that is gone) is lost. Otherwise tracing says so with
    // `eprintln!`, which panics for the same reason.
    let log = log.log_internal_errors(false);
    let set = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    set.map_err(anyhow::Error::from_boxed).context("cannot set up logging")
}

/// An empty variable counts as none: that is how some tools that start daemons write an absent one.
fn choose_filter(variable: Option<&str>, setting: Option<&str>) -> anyhow::Result<EnvFilter> {
    let variable = variable.filter(|text| !text.trim().is_empty()).map(|text| (text, FILTER_VARIABLE));
    let (text, origin) = variable.or(setting.map(|text| (text, "log-filter"))).unwrap_or(("", "default"));
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(text).with_context(|| {
        format!("`{text}`, given as {origin}, does not say what to log: try `info` or `info,burla_scheduler=debug`")
    })
}

/// Whether there is someone to see colors, who does not object to them (<https://no-color.org>).
fn colors() -> bool {
    std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(variable: Option<&str>, setting: Option<&str>) -> Option<LevelFilter> {
        choose_filter(variable, setting).unwrap().max_level_hint()
    }

    #[test]
    fn the_variable_wins_over_the_setting_and_the_setting_over_info() {
        assert_eq!(level(None, None), Some(LevelFilter::INFO));
        assert_eq!(level(None, Some("warn")), Some(LevelFilter::WARN));
        assert_eq!(level(Some("debug"), Some("warn")), Some(LevelFilter::DEBUG));
        assert_eq!(level(Some(""), Some("warn")), Some(LevelFilter::WARN));
    }

    #[test]
    fn what_is_no_filter_is_named_with_where_it_came_from() {
        let error = choose_filter(Some("burla=loud"), Some("info")).unwrap_err().to_string();
        assert!(error.contains("burla=loud") && error.contains("BURLA_LOG"), "{error}");
        let error = choose_filter(None, Some("burla=loud")).unwrap_err().to_string();
        assert!(error.contains("log-filter"), "{error}");
    }
}
