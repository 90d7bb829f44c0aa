//! Calls on the grid, timed. A job is a measurement's own, takes at most [`PATIENCE`], and ends as soon as there is enough.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use burla::raw::{self, Options};
use burla::{Error, Grid, Stdout, Usage};
use burla_types::codec;
use bytes::Bytes;
use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::failed;
use crate::error::CommandError;

/// How long one job may take. With what has ended by then a measurement does; with nothing it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The most calls whose rate is measured: with more, whoever waits for them learns nothing more.
const CALLS_MAX: u64 = 4_000_000;

/// A grid, and the component to run on it.
pub(super) struct GridCalls {
    grid: Grid,
    component: PathBuf,
    /// What our own jobs are called, to tell them from those of others.
    name: String,
    runtime: tokio::runtime::Runtime,
}

/// A call that is done.
pub(super) struct Done<O> {
    pub(super) index: u64,
    pub(super) output: O,
    pub(super) usage: Usage,
    /// Since the job was started.
    pub(super) after: Duration,
}

/// Calls whose rate was measured.
pub(super) struct Rate {
    pub(super) calls: u64,
    pub(super) per_second: f64,
}

impl GridCalls {
    pub(super) fn new(grid: Grid, component: PathBuf) -> Result<Self, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| CommandError::Grid(error.into()))?;
        Ok(Self { grid, component, name: format!("cargo burla bench {}", std::process::id()), runtime })
    }

    /// Jobs that are open and not ours.
    pub(super) fn other_jobs(&self) -> Result<usize, CommandError> {
        let jobs = self.grid.jobs().map_err(CommandError::Job)?;
        Ok(jobs.iter().filter(|job| job.name != self.name).count())
    }

    /// Seconds until the scheduler has answered a question, from dialing it, as a job begins.
    pub(super) fn question_seconds(&self) -> Result<f64, CommandError> {
        let started = Instant::now();
        self.grid.nodes().map_err(CommandError::Job)?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Seconds of a job of one call, and the ones that the call took on its node.
    pub(super) fn one_call(&self) -> Result<(f64, f64), CommandError> {
        let mut on_node = 0.0;
        let seconds = self.run("one call", "doubles", std::iter::once(number(1)), self.options(), |done: Done<i64>| {
            on_node = done.usage.wall_time.as_secs_f64();
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((seconds.as_secs_f64(), on_node))
    }

    /// Seconds until `calls` calls that run at one time have each printed a line. Each then keeps its slot for `stay`.
    pub(super) fn start(&self, calls: usize, stay: Duration) -> Result<f64, CommandError> {
        let (sender, printed) = mpsc::channel();
        let started = Instant::now();
        let prints = Stdout::to(move |_, _, _| {
            // Nobody counts any more where the measurement has failed.
            let _ = sender.send(started.elapsed());
        });
        let millis = u64::try_from(stay.as_millis()).unwrap_or(u64::MAX);
        let options = Options { stdout: prints, ..self.options() };
        let inputs = std::iter::repeat_n(number(millis), calls);
        self.run("start", "prints_and_stays", inputs, options, |_: Done<()>| Ok(ControlFlow::Continue(())))?;
        // Lines come before their calls' ends, so all that there are have come.
        let last = printed.try_iter().nth(calls - 1);
        let last = last.ok_or_else(|| failed("start", format!("not all of {calls} calls had printed after {PATIENCE:?}")))?;
        Ok(last.as_secs_f64())
    }

    /// How many calls of a function end in a second: of at least `calls_min`, and in at least `time_min`. Fails where the
    /// output of one `is_right` not, given its index.
    pub(super) fn rate<O: DeserializeOwned>(
        &self,
        what: &'static str,
        function: &str,
        input: impl Fn(u64) -> Bytes,
        is_right: impl Fn(u64, &O) -> bool,
        (calls_min, time_min): (u64, Duration),
    ) -> Result<Rate, CommandError> {
        let mut calls = 0;
        let inputs = (0..CALLS_MAX.max(calls_min)).map(input);
        let time = self.run(what, function, inputs, self.options(), |done: Done<O>| {
            if !is_right(done.index, &done.output) {
                return Err(failed(what, format!("call {} returned something else than it should", done.index)));
            }
            calls += 1;
            let is_enough = calls >= calls_min && done.after >= time_min;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(Rate { calls, per_second: calls as f64 / time.as_secs_f64() })
    }

    /// Runs a function on seeds from 0, one call at a time.
    pub(super) fn one_by_one(&self, function: &'static str, calls: u64) -> Result<Vec<Done<u64>>, CommandError> {
        let mut all = Vec::new();
        let options = Options { max_parallelism: Some(1), ..self.options() };
        self.run(function, function, (0..calls).map(number), options, |done| {
            all.push(done);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    fn options(&self) -> Options {
        let (grid, name) = (Some(self.grid.clone()), Some(self.name.clone()));
        Options { grid, name, stdout: Stdout::Discard, spinner: Some(false), ..Options::default() }
    }

    /// Runs a job until all calls are done, or `take` has enough, or time is up. Returns how long it took.
    fn run<O: DeserializeOwned>(
        &self,
        what: &'static str,
        function: &str,
        inputs: impl Iterator<Item = Bytes>,
        options: Options,
        mut take: impl FnMut(Done<O>) -> Result<ControlFlow<()>, CommandError>,
    ) -> Result<Duration, CommandError> {
        let started = Instant::now();
        let function = format!("burla_bench::{function}");
        let mut calls = raw::start(&self.component, &function, Inputs(inputs), options).map_err(CommandError::Job)?;
        let last = Cell::new(None);
        let all = async {
            while let Some(end) = std::future::poll_fn(|context| calls.poll_next(context)).await {
                let end = end.map_err(CommandError::Job)?;
                let output = end.result.map_err(|error| CommandError::Job(Error::Call(Box::new(error))))?;
                let output = codec::decode(&output).map_err(|error| failed(what, error.to_string()))?;
                let after = started.elapsed();
                last.set(Some(after));
                let taken = take(Done { index: end.index, output, usage: end.usage, after })?;
                // A grid that always has the next one ready leaves no moment for the timer.
                if taken.is_break() || after >= PATIENCE {
                    break;
                }
            }
            Ok(())
        };
        let in_time = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await });
        in_time.unwrap_or(Ok(()))?;
        let reason =
            format!("no call ended within {PATIENCE:?}; `cargo burla nodes` and `cargo burla jobs` show what the grid does");
        last.get().ok_or_else(|| failed(what, reason))
    }
}

/// A number as an input, of either sign's type.
pub(super) fn number(number: u64) -> Bytes {
    // Numbers can always be written. An empty input would be refused by the call.
    codec::encode(&number).unwrap_or_default().into()
}

/// Inputs that are there at once.
struct Inputs<I>(I);

// Nothing in it is pinned.
impl<I> Unpin for Inputs<I> {}

impl<I: Iterator<Item = Bytes>> Stream for Inputs<I> {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}
