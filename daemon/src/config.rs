//! Settings: reads a file of them, and the units that flags, environment variables and the file have in common.
//!
//! A daemon has one struct of optional settings, which clap fills from flags and the environment and serde from the file, so
//! that a key is a flag's name. What it makes of them is its own; it never starts with settings that it did not understand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What a number may be at most. A million CPUs, GiB or seconds is surely a slip of the keyboard.
const NUMBER_MAX: f64 = 1e6;

/// Reads a TOML file of settings.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Invalid { path: path.to_owned(), source: Box::new(source) })
}

/// Why a file of settings is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file, or this daemon may not read it.
    #[error("cannot read the settings in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or has a key or a value that there is not.
    #[error("the settings in {path} are not valid")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: Box<toml::de::Error>,
    },
}

/// Everything that is wrong with the settings, so that nobody has to start a daemon once for each mistake.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(pub Vec<String>);

/// Says why a daemon does not start, and gives the exit code to end it with. A stderr that takes nothing is no reason
/// to end otherwise.
pub fn refuse(error: &anyhow::Error) -> ExitCode {
    // What the TOML parser says ends in a newline of its own.
    let _ = writeln!(io::stderr(), "error: {}", format!("{error:#}").trim_end());
    ExitCode::FAILURE
}

/// Prints a daemon's commented default file, for `--print-config`.
pub fn print_default(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

/// Prints a text that programs read to stdout. A reader that has seen enough, as `head` has, is none to fail for; a
/// full disk is.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_to(&mut io::stdout().lock(), text)
}

// Not `print!`, which panics when the text cannot be written.
fn print_to(stdout: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// A number of CPUs above 0, such as `4` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Cpus {
    /// Thousandths of a CPU.
    pub millis: u64,
}

/// An amount of memory above 0, given in GiB, such as `16` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Gib {
    /// The same in bytes.
    pub bytes: u64,
}

/// A time given in seconds, such as `30` or `0.5`; `0` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Seconds(pub Duration);

/// A number that is not what a setting takes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("give {0}")]
pub struct OutOfRange(&'static str);

impl TryFrom<f64> for Cpus {
    type Error = OutOfRange;

    fn try_from(cpus: f64) -> Result<Self, OutOfRange> {
        let millis = positive(cpus, 1000.0).ok_or(OutOfRange("a number of CPUs above 0, such as 4 or 0.5"))?;
        Ok(Self { millis })
    }
}

impl TryFrom<f64> for Gib {
    type Error = OutOfRange;

    fn try_from(gib: f64) -> Result<Self, OutOfRange> {
        let bytes = positive(gib, f64::from(1 << 30)).ok_or(OutOfRange("GiB above 0, such as 16 or 0.5"))?;
        Ok(Self { bytes })
    }
}

impl TryFrom<f64> for Seconds {
    type Error = OutOfRange;

    fn try_from(seconds: f64) -> Result<Self, OutOfRange> {
        if (0.0..=NUMBER_MAX).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err(OutOfRange("seconds from 0 to 1000000, such as 30 or 0.5"))
        }
    }
}

impl FromStr for Cpus {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        number(text).try_into()
    }
}

impl FromStr for Gib {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        number(text).try_into()
    }
}

impl FromStr for Seconds {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        number(text).try_into()
    }
}

/// The number in a text. What is none becomes the one that is in no range, so that it is refused in the same words.
fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

/// A number in a smaller unit, unless there is nothing left of it there, or too much.
fn positive(number: f64, unit: f64) -> Option<u64> {
    let units = (number * unit) as u64;
    (units > 0 && number <= NUMBER_MAX).then_some(units)
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::net::SocketAddr;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Settings {
        listen: Option<SocketAddr>,
        cpus: Option<Cpus>,
        drain_seconds: Option<Seconds>,
    }

    fn settings(text: &str) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_file_is_read_in_the_units_of_flags() {
        let settings = settings("listen = '127.0.0.1:1'\ncpus = 4\ndrain-seconds = 0.5\n").unwrap();
        assert_eq!(settings.listen, Some(([127, 0, 0, 1], 1).into()));
        assert_eq!(settings.cpus, Some("4".parse().unwrap()));
        assert_eq!(settings.drain_seconds, Some(Seconds(Duration::from_millis(500))));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            ("listen = '127.0.0.1:1'\nlisten-on = 1\n", ["line 2", "unknown field `listen-on`"]),
            ("listen = true\n", ["line 1", "listen = true"]),
            ("listen = 'here'\n", ["line 1", "listen = 'here'"]),
            ("cpus = 0\n", ["line 1", "give a number of CPUs above 0"]),
            ("drain-seconds = -1\n", ["line 1", "give seconds from 0"]),
        ];
        for (text, expected) in cases {
            let error = settings(text).unwrap_err();
            assert!(error.to_string().contains("settings.toml"), "{error}");
            let cause = error.source().unwrap().to_string();
            assert!(expected.iter().all(|expected| cause.contains(expected)), "{text}: {cause}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read::<Settings>(Path::new("/nowhere/settings.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the settings in /nowhere/settings.toml");
    }

    #[test]
    fn a_full_disk_is_an_error_and_a_reader_that_has_seen_enough_is_not() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = format!("{:#}", print_to(&mut full, "text\n").unwrap_err());
        assert!(error.starts_with("cannot write to stdout: No space left"), "{error}");
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        print_to(&mut writer, "text\n").unwrap();
        let mut written = Vec::new();
        print_to(&mut written, "text\n").unwrap();
        assert_eq!(written, b"text\n");
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!("0.5".parse(), Ok(Cpus { millis: 500 }));
        assert_eq!("2".parse(), Ok(Gib { bytes: 2 << 30 }));
        assert_eq!("0".parse(), Ok(Seconds(Duration::ZERO)));
        for wrong in ["0", "0.0000000000001", "-1", "NaN", "inf", "1e7", "many", ""] {
            assert!(wrong.parse::<Cpus>().is_err() && wrong.parse::<Gib>().is_err(), "{wrong}");
        }
        for wrong in ["-1", "NaN", "inf", "1e7", "soon", ""] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
    }
}
