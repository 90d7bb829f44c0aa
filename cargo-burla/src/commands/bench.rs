//! `cargo burla bench`: a picture of the grid, each figure beside a bare baseline of the same run.
//!
//! 1. A small project (`bench/bench-project/`) is written into the user's cache, and built as any project is: its functions by the
//!    packager, and the same source as a native program;
//! 2. `bench/grid_calls.rs` runs jobs of those functions and times them;
//! 3. `bench/baseline.rs` does the same work on this machine without a grid.
//!
//! The functions are called with bytes, as `map` does it. Calling them from a program of the project would have it compile the whole
//! client for this machine first, which takes minutes; this way the native program depends on nothing and takes a second.

mod baseline;
mod grid_calls;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use burla::Grid;
use bytes::Bytes;
use etcetera::BaseStrategy;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::cli::Bench;
use crate::error::CommandError;
use crate::package::{build_program, package};
use crate::project::{Cargo, Project, Selection, Wanted};
use grid_calls::{GridCalls, PATIENCE, number};

/// The functions.
const MAIN: &str = include_str!("bench/bench-project/main.rs");

/// The project's name, and its program's.
const PROJECT: &str = "burla-bench";

/// The most calls that are started at one time: as many as the first page of Burla's own promise has.
const STARTS_MAX: usize = 1000;

/// Bytes of a payload: what a call with data has, and far from what may be sent at most.
const PAYLOAD_BYTES: usize = 1_000_000;

/// Functions that compute, and the names of their figures.
const KERNELS: [(&str, &str); 3] = [("hashes", "compute_hash"), ("multiplies", "compute_matrix"), ("sorts", "compute_sort")];

/// Jobs of one call.
const ONE_CALLS: u32 = 200;

/// What a rate is measured over, at least.
const RATE_TIME: Duration = Duration::from_secs(2);

/// How long a call stays that shows when it has started: longer than a node needs for the first.
const STAY: Duration = Duration::from_secs(1);

/// Starts after the first, of which the middle one counts.
const WARM_STARTS: usize = 3;

/// Payloads over a connection of this machine to itself.
const LOOPBACK_MESSAGES: u32 = 500;

/// Calls of each kernel, of which the fastest counts.
const ROUNDS: u64 = 5;

/// Files that native code writes and reads, of which the middle one counts.
const NATIVE_FILES: u64 = 1000;

/// What `--quick` divides counts and times by.
const QUICK: u32 = 10;

pub(super) fn bench(arguments: &Bench) -> Result<(), CommandError> {
    let project = write_project()?;
    let (program, component) = build(&project)?;
    let report = super::on_a_grid(|url| {
        let grid = Grid::at(url).map_err(CommandError::Job)?;
        let calls = GridCalls::new(grid.clone(), component.path().to_owned())?;
        let divisor = if arguments.quick { QUICK } else { 1 };
        let calls_min = arguments.calls.div_ceil(divisor.into());
        let (processes_per_second, figures) = (0.0, Vec::new());
        measure(&grid, Measuring { calls: &calls, program: &program, calls_min, divisor, processes_per_second, figures })
    })?;
    if arguments.json { super::print_json(&report) } else { super::print_text(&report.table()) }
}

/// Writes the project where it is found again, whatever folder this is called in. What is as it was is not written, so that cargo
/// sees no change.
fn write_project() -> Result<Project, CommandError> {
    let no_cache = |error| failed("the grid", format!("{error}; set HOME or XDG_CACHE_HOME, where the project for it is kept"));
    let folder = etcetera::choose_base_strategy().map_err(no_cache)?.cache_dir().join("burla/bench");
    let sources = super::new::sources();
    let burla = match &sources {
        // A text of JSON is one of TOML.
        Some(path) => format!("{{ path = {} }}", serde_json::Value::from(path.display().to_string())),
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    };
    // The native program is the baseline, and needs none of it. The project is a workspace of its own, whatever is around it.
    let manifest = format!(
        "[package]\nname = \"{PROJECT}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [target.'cfg(target_family = \"wasm\")'.dependencies]\nburla = {burla}\n\n[workspace]\n"
    );
    let manifest_path = folder.join("Cargo.toml");
    if write(&manifest_path, &manifest)? {
        // The versions that this command was built with, which are known to fit, and are on this machine already.
        let lock = sources.and_then(|client| fs::read_to_string(client.join("../Cargo.lock")).ok());
        lock.map(|lock| write(&folder.join("Cargo.lock"), &lock)).transpose()?;
    }
    write(&folder.join("src/main.rs"), MAIN)?;
    Project::find(&Selection {
        manifest_path: Some(manifest_path),
        wanted: Wanted::Bin(PROJECT.to_owned()),
        ..Selection::default()
    })
}

/// Writes a file unless it has this text. Returns whether it did.
fn write(path: &Path, text: &str) -> Result<bool, CommandError> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|source| CommandError::File { act: "write", path: path.to_owned(), source })?;
    Ok(true)
}

/// Builds the native program, and the functions as a component that no node has seen: a first start is to be one.
fn build(project: &Project) -> Result<(PathBuf, NamedTempFile), CommandError> {
    let is_first = !project.components.join(format!("{PROJECT}.wasm")).exists();
    if is_first {
        super::tell(&format!("building the functions to measure in {}, once", project.workspace_root.display()));
    }
    let flags = if is_first { vec![] } else { vec!["--quiet".to_owned()] };
    let program_flags = vec!["--release".to_owned()];
    let cargo = Cargo { flags, program_flags, install_target: true, quiet: !is_first, ..Cargo::default() };
    let path = package(project, &cargo)?.path;
    let program = build_program(
        project,
        &cargo,
        project.program()?.ok_or_else(|| failed("the grid", "its project has no program".to_owned()))?,
    )?;
    let marked = || {
        let mut component = fs::read(&path)?;
        component.extend(mark());
        let mut file = tempfile::Builder::new().prefix(PROJECT).suffix(".wasm").tempfile()?;
        file.write_all(&component).map(|()| file)
    };
    let file = marked().map_err(|source| CommandError::File { act: "copy", path: path.clone(), source })?;
    Ok((program, file))
}

/// A custom section with the time, which makes the component another without changing what it does.
fn mark() -> Vec<u8> {
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos().to_le_bytes();
    let name = PROJECT.as_bytes();
    // Both lengths are below 128, and so a byte each.
    [&[0, (1 + name.len() + time.len()) as u8, name.len() as u8], name, &time].concat()
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    url: String,
    nodes: usize,
    /// CPUs that calls may have on all nodes together.
    cpus: f64,
    /// Jobs of others that were open, at the beginning or the end.
    other_jobs: usize,
    figures: Vec<Figure>,
}

/// A figure, and what it is compared with.
#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// Calls that it was had from.
    calls: u64,
    baseline: f64,
    /// What the baseline is of, which has the same unit.
    baseline_of: &'static str,
    /// The value, divided by the baseline.
    ratio: f64,
}

/// Measures everything there is to measure.
fn measure(grid: &Grid, mut measuring: Measuring<'_>) -> Result<Report, CommandError> {
    let mut nodes = grid.nodes().map_err(CommandError::Job)?;
    nodes.retain(|node| !node.leaving);
    let slots: usize = nodes.iter().map(|node| node.cpus as usize).sum();
    if slots == 0 {
        let reason = format!("it has no node with a CPU; `burla-node --scheduler {}` starts one", grid.url());
        return Err(failed("the grid", reason));
    }
    let cpus = nodes.iter().map(|node| node.cpus).sum();
    let before = measuring.calls.other_jobs()?;
    tell_of_other_jobs(before);
    measuring.all(slots.min(STARTS_MAX), cpus)?;
    let after = measuring.calls.other_jobs()?;
    tell_of_other_jobs(after.saturating_sub(before));
    Ok(Report { url: grid.url().to_owned(), nodes: nodes.len(), cpus, other_jobs: before.max(after), figures: measuring.figures })
}

fn tell_of_other_jobs(jobs: usize) {
    if jobs > 0 {
        super::tell(&format!("note: {jobs} jobs of others are open on the grid; figures are of what they leave"));
    }
}

impl Report {
    fn table(&self) -> String {
        let text = format!("grid at {}: {} CPUs, nodes: {}\n\n", self.url, self.cpus, self.nodes);
        let amount = |value: f64, unit: &str| {
            let digits = [1.0, 10.0, 100.0].iter().filter(|&&limit| value.abs() < limit).count();
            format!("{value:.digits$} {unit}")
        };
        let row = |figure: &Figure| {
            let Figure { name, value, unit, baseline, baseline_of, ratio, .. } = *figure;
            vec![name.replace('_', " "), amount(value, unit), amount(baseline, unit), amount(ratio, ""), baseline_of.to_owned()]
        };
        text + &super::show::table(&["WHAT", "GRID", "BASELINE", "RATIO", "BASELINE IS"], self.figures.iter().map(row))
    }
}

/// The measurements, one after another.
struct Measuring<'a> {
    calls: &'a GridCalls,
    program: &'a Path,
    /// Tiny calls, at least.
    calls_min: u64,
    /// Of counts and times.
    divisor: u32,
    /// On this machine.
    processes_per_second: f64,
    figures: Vec<Figure>,
}

impl Measuring<'_> {
    fn all(&mut self, starts: usize, cpus: f64) -> Result<(), CommandError> {
        super::tell("measuring what a process costs on this machine");
        self.processes_per_second = baseline::processes_per_second(RATE_TIME / self.divisor / 2)?;
        self.start(starts)?;
        self.one_call()?;
        let tiny = self.throughput(cpus)?;
        self.files(cpus, tiny)?;
        self.payload()?;
        self.compute()
    }

    fn start(&mut self, starts: usize) -> Result<(), CommandError> {
        super::tell(&format!("measuring how long {starts} calls take to start that run at one time"));
        let stay = STAY / self.divisor;
        let first = self.calls.start(starts, stay)?;
        let warm = (0..WARM_STARTS).map(|_| self.calls.start(starts, stay));
        let warm = median(warm.collect::<Result<_, _>>()?);
        let processes = 1e3 * starts as f64 / self.processes_per_second;
        let of = "as many processes, one after another";
        self.add("start_first", (first * 1e3, processes), "ms", starts as u64, of);
        self.add("start_warm", (warm * 1e3, processes), "ms", starts as u64, of);
        Ok(())
    }

    fn one_call(&mut self) -> Result<(), CommandError> {
        let started = Instant::now();
        let (mut seconds, mut on_node, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        super::tell("measuring jobs of one call");
        for _ in 0..ONE_CALLS / self.divisor {
            let (of_job, of_call) = self.calls.one_call()?;
            seconds.push(of_job);
            on_node.push(of_call);
            questions.push(self.calls.question_seconds()?);
            if started.elapsed() >= PATIENCE {
                break;
            }
        }
        let calls = seconds.len() as u64;
        for (name, share) in [("one_call_p50", 0.5), ("one_call_p90", 0.9), ("one_call_p99", 0.99)] {
            let figures = (percentile(&mut seconds, share) * 1e3, percentile(&mut questions, share) * 1e3);
            self.add(name, figures, "ms", calls, "asking the scheduler for its nodes");
        }
        let figures = (median(on_node) * 1e6, 1e6 / self.processes_per_second);
        self.add("fresh_instance", figures, "µs", calls, "a process (`true`)");
        Ok(())
    }

    /// Returns CPU seconds of a tiny call.
    fn throughput(&mut self, cpus: f64) -> Result<f64, CommandError> {
        super::tell(&format!("measuring at least {} tiny calls", self.calls_min));
        let enough = (self.calls_min, RATE_TIME / self.divisor);
        let rate = self.calls.rate("throughput", "doubles", number, |index, &output: &u64| output == index * 2, enough)?;
        let figures = (rate.per_second / cpus, self.processes_per_second);
        self.add("throughput_per_cpu", figures, "calls/s", rate.calls, "processes (`true`), one after another");
        Ok(cpus / rate.per_second)
    }

    fn payload(&mut self) -> Result<(), CommandError> {
        super::tell("measuring payloads of 1 MB");
        let text = "x".repeat(PAYLOAD_BYTES);
        let failed = |error| failed("payload", format!("{error}"));
        let input = Bytes::from(burla_types::codec::encode(&text).map_err(failed)?);
        let enough = (1, RATE_TIME / self.divisor);
        let rate = self.calls.rate("payload", "echoes", |_| input.clone(), |_, echo: &String| *echo == text, enough)?;
        let loopback = baseline::loopback_bytes_per_second(&input, LOOPBACK_MESSAGES / self.divisor)?;
        let figures = (2.0 * rate.per_second * input.len() as f64 / 1e6, loopback / 1e6);
        self.add("payload", figures, "MB/s", rate.calls, "an echo over a connection of this machine to itself");
        Ok(())
    }

    /// What a file costs, beside a tiny call's CPU seconds.
    fn files(&mut self, cpus: f64, tiny: f64) -> Result<(), CommandError> {
        super::tell("measuring calls with a file");
        let enough = (self.calls_min / 2, RATE_TIME / self.divisor);
        let is_sum = |seed: u64, &sum: &u64| sum == 1024 * u64::from(seed as u8);
        let rate = self.calls.rate("files", "uses_a_file", number, is_sum, enough)?;
        let with_file = cpus / rate.per_second;
        self.add("call_with_file", (with_file * 1e6, tiny * 1e6), "CPU µs", rate.calls, "a tiny call");
        let native = baseline::native(self.program, "uses_a_file", NATIVE_FILES)?;
        let native = median(native.iter().map(|&(_, seconds)| seconds).collect());
        let figures = ((with_file - tiny) * 1e6, native * 1e6);
        self.add("file_alone", figures, "CPU µs", rate.calls, "a file of native code on this machine");
        Ok(())
    }

    fn compute(&mut self) -> Result<(), CommandError> {
        super::tell("measuring functions that compute, on the grid and as native code");
        for (function, name) in KERNELS {
            let native = baseline::native(self.program, function, ROUNDS)?;
            let on_grid = self.calls.one_by_one(function, ROUNDS)?;
            let differs = |index: u64, output| native.get(index as usize).is_none_or(|&(result, _)| result != output);
            if let Some(done) = on_grid.iter().find(|done| differs(done.index, done.output)) {
                return Err(failed(function, format!("call {} returned something else than native code", done.index)));
            }
            // Whatever else the machine does makes them slower, never faster.
            let on_node = on_grid.iter().map(|done| done.usage.wall_time.as_secs_f64()).fold(f64::INFINITY, f64::min);
            let native = native.iter().map(|&(_, seconds)| seconds).fold(f64::INFINITY, f64::min);
            self.add(name, (on_node * 1e3, native * 1e3), "ms", on_grid.len() as u64, "native code on this machine");
        }
        Ok(())
    }

    /// Adds a figure, with its baseline and what that is of.
    fn add(&mut self, name: &'static str, (value, baseline): (f64, f64), unit: &'static str, calls: u64, of: &'static str) {
        let ratio = value / baseline;
        self.figures.push(Figure { name, value, unit, calls, baseline, baseline_of: of, ratio });
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 0.5)
}

/// The smallest value that this share of all is not above. There is one value at least.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Why something could not be measured.
fn failed(what: &'static str, reason: String) -> CommandError {
    CommandError::Bench { what, reason }
}

#[cfg(test)]
mod tests {
    use burla_types::component::Description;

    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.9, 0.99].map(|share| percentile(&mut values, share)), [100.0, 180.0, 198.0]);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn a_mark_makes_another_component_that_is_one() {
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let marked = [empty, mark()].concat();
        assert!(Description::read(&marked).unwrap().functions.is_empty());
    }
}
