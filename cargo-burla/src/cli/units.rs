//! Values of flags that have a unit, or come from the environment: what people write, and what it is to the client.

use std::env::VarError;
use std::time::Duration;

/// Bytes of a GiB, the unit of sizes without one.
const GIB: f64 = (1u64 << 30) as f64;

/// Units of sizes in bytes, in small letters: powers of 1000 end in `b`, powers of 1024 in `ib`, which may be left out
/// as `i`.
const SIZES: &[(&str, f64)] = &[
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", GIB),
    ("tib", GIB * 1024.0),
    ("ki", 1024.0),
    ("mi", 1_048_576.0),
    ("gi", GIB),
    ("ti", GIB * 1024.0),
];

/// Units of times in seconds.
const TIMES: &[(&str, f64)] = &[
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("sec", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// A size in GiB: `1GB`, `512MiB`, or `2`, which is 2 GiB.
pub(super) fn parse_gib(text: &str) -> Result<f64, String> {
    let text = text.trim();
    if let Ok(gib) = text.parse() {
        return Ok(gib);
    }
    if let Some(number) = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T'])
        && number.trim_end().parse::<f64>().is_ok()
    {
        return Err(format!("it can mean {text}B or {text}iB, powers of 1000 or of 1024: give one of them"));
    }
    let give = || "give a size such as 512MiB, 1GB, 1.5GiB or 2, which is 2 GiB".to_owned();
    Ok(sum_of_parts(&text.to_lowercase(), SIZES).ok_or_else(give)? / GIB)
}

/// A time above 0: `500ms`, `5s`, `2m`, `1h30m`, or `5`, which is 5 seconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let seconds = text.parse().ok().or_else(|| sum_of_parts(text, TIMES));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero());
    time.ok_or_else(|| "give a time above 0, such as 500ms, 5s, 2m, 1h or 0.5, which is half a second".to_owned())
}

/// Adds numbers that each have a unit, such as `1h30m`.
fn sum_of_parts(mut text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let is_of_number = |char: char| char.is_ascii_digit() || char == '.';
    let mut sum = None;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|char| !is_of_number(char))?);
        let rest = rest.trim_start();
        let (unit, rest) = rest.split_at(rest.find(is_of_number).unwrap_or(rest.len()));
        let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_end())?;
        sum = Some(sum.unwrap_or(0.0) + number.parse::<f64>().ok()? * factor);
        text = rest;
    }
    sum
}

/// `NAME=VALUE`, or `NAME` for the value that it has here.
pub(super) fn parse_variable(text: &str) -> Result<(String, String), String> {
    variable(text, |name| std::env::var(name))
}

fn variable(text: &str, here: impl Fn(&str) -> Result<String, VarError>) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() {
        return Err("it has no name: give NAME=VALUE, or NAME for the value that it has here".to_owned());
    }
    let value = match (value, here) {
        (Some(value), _) => value,
        (None, here) => here(name).map_err(|error| match error {
            VarError::NotPresent => format!("{name} is not set here: set and export it, or give {name}=VALUE"),
            VarError::NotUnicode(_) => {
                format!("the value of {name} is not UTF-8, as the variables of calls are: give {name}=VALUE")
            }
        })?,
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units_and_gib_without() {
        for (text, bytes) in [
            ("1GB", 1e9),
            ("1 gb", 1e9),
            ("1GiB", GIB),
            ("512MiB", GIB / 2.0),
            ("512Mi", GIB / 2.0),
            ("1.5GiB", 1.5 * GIB),
            ("2000kB", 2e6),
            ("64KiB", 65_536.0),
            ("1TiB", 1024.0 * GIB),
            ("100B", 100.0),
            ("2", 2.0 * GIB),
            ("0.015625", GIB / 64.0),
            ("0", 0.0),
        ] {
            assert_eq!(parse_gib(text).unwrap() * GIB, bytes, "{text}");
        }
        for text in ["", "GB", "1XB", "1GB!", "1..5GB", "-1GB", "one", "1GB2"] {
            assert!(parse_gib(text).unwrap_err().starts_with("give a size such as 512MiB, 1GB"), "{text}");
        }
        let both = "it can mean 4GB or 4GiB, powers of 1000 or of 1024: give one of them";
        assert_eq!(parse_gib("4G").unwrap_err(), both);
    }

    #[test]
    fn times_have_units_and_are_seconds_without() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("5", 5000),
            ("0.2", 200),
            ("2500us", 2),
        ] {
            assert_eq!(parse_time(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        for text in ["", "0", "0s", "-1", "-1s", "s", "5x", "5s5", "nan", "inf", "1e300", "M", "5M"] {
            assert!(parse_time(text).unwrap_err().starts_with("give a time above 0, such as 500ms"), "{text}");
        }
    }

    #[test]
    fn a_variable_is_given_or_taken_from_here() {
        let here = |name: &str| if name == "TOKEN" { Ok("secret".to_owned()) } else { Err(VarError::NotPresent) };
        for (text, name, value) in
            [("A=b=c", "A", "b=c"), ("D=", "D", ""), ("TOKEN", "TOKEN", "secret"), ("TOKEN=x", "TOKEN", "x")]
        {
            assert_eq!(variable(text, here), Ok((name.to_owned(), value.to_owned())));
        }
        assert_eq!(variable("KEY", here).unwrap_err(), "KEY is not set here: set and export it, or give KEY=VALUE");
        let binary = variable("KEY", |_| Err(VarError::NotUnicode("x".into())));
        assert!(binary.unwrap_err().contains("not UTF-8"));
        for text in ["", "=x"] {
            assert!(variable(text, here).unwrap_err().starts_with("it has no name"), "{text}");
        }
    }
}
