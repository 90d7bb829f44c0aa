//! `cargo burla wait`, `results` and `logs`: what became of a detached job.

use std::io;

use burla::raw::{self, RawOutcomes};
use burla::{CanceledBy, Error, Grid, JobHandle, JobInfo, JobState, Stdout};

use super::outputs::Outputs;
use super::show;
use crate::cli::{Logs, Results, Wait, WhichGrid, WhichJob};
use crate::error::{CommandError, Input};

pub(super) fn wait(arguments: &Wait) -> Result<(), CommandError> {
    let mut job = handle(&arguments.grid, &arguments.job)?;
    if let Some(spinner) = arguments.spinner {
        job = job.spinner(spinner);
    }
    let over = match arguments.timeout {
        None => job.wait().map(Some),
        Some(timeout) => job.wait_timeout(timeout),
    };
    let over = over.map_err(|error| show::about(job.grid(), job.id(), CommandError::Job(error)))?;
    let seconds = arguments.timeout.unwrap_or_default().as_secs_f64();
    judge(&over.ok_or(CommandError::TimedOut { job: job.id(), seconds })?)
}

/// Whether a job that is over is a failure, and which.
fn judge(job: &JobInfo) -> Result<(), CommandError> {
    match job.state {
        JobState::Canceled => {
            Err(CommandError::Job(Error::JobCanceled { by: CanceledBy::Operator, calls_ended: job.calls_ended }))
        }
        JobState::Finished if job.calls_failed == 0 => Ok(()),
        JobState::Finished => Err(CommandError::CallsFailed { job: job.id, failed: job.calls_failed, of: job.calls_ended }),
        state => {
            let reason = job.error.clone().unwrap_or_else(|| format!("it is {state}"));
            Err(CommandError::Job(Error::JobFailed { job: job.id, reason }))
        }
    }
}

pub(super) fn results(arguments: &Results) -> Result<(), CommandError> {
    let grid = show::grid(&arguments.grid)?;
    let job = show::which(&grid, &arguments.job)?;
    let calls = raw::outcomes(&grid, job, arguments.spinner);
    match pollster::block_on(print(Outputs::new(arguments.output.options()), calls)) {
        // Whoever reads has what it wanted.
        Err(CommandError::File { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| show::about(&grid, job, error)),
    }
}

/// Prints everything, and says what it took, however it ended.
async fn print(mut outputs: Outputs, mut calls: RawOutcomes) -> Result<(), CommandError> {
    let printed = print_all(&mut outputs, &mut calls).await;
    // The outputs before the end are printed, however it ends.
    let written = outputs.write(&calls);
    let printed = printed.and(written);
    let usage = calls.usage();
    // This also removes the progress from the terminal.
    drop(calls);
    if printed.is_ok() || outputs.ended() > 0 {
        outputs.tell_usage(&usage);
    }
    printed
}

/// Prints everything, and says how many failed. While nothing comes, what was printed becomes visible.
async fn print_all(outputs: &mut Outputs, calls: &mut RawOutcomes) -> Result<(), CommandError> {
    loop {
        let next = std::future::poll_fn(|context| {
            let next = calls.poll_next(context);
            if next.is_pending()
                && let Err(error) = outputs.write(calls)
            {
                return std::task::Poll::Ready(Err(error));
            }
            next.map(|next| next.transpose().map_err(CommandError::Job))
        });
        let end = next.await?;
        let is_end = end.is_none();
        if let Some(end) = end {
            outputs.take(Input::Index(end.index), end.index, end);
        }
        if let Some(error) = outputs.first_failure(is_end) {
            return Err(error);
        }
        if is_end {
            return outputs.verdict(0, false);
        }
        outputs.write_if_much(calls)?;
    }
}

pub(super) fn logs(arguments: &Logs) -> Result<(), CommandError> {
    let job = handle(&arguments.grid, &arguments.job)?;
    let to = if arguments.prefix { Stdout::Prefixed } else { Stdout::Inherit };
    // Lines come in the way of a progress that nobody asked for.
    let job = job.spinner(false);
    let shown = if arguments.follow { job.lines(to).map(|_| ()) } else { job.lines_so_far(to) };
    match shown {
        // Whoever reads has what it wanted.
        Err(Error::Print(source)) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Error::Print(source)) => Err(CommandError::File { act: "write", path: "stdout".into(), source }),
        shown => shown.map_err(|error| show::about(job.grid(), job.id(), CommandError::Job(error))),
    }
}

fn handle(grid: &WhichGrid, job: &WhichJob) -> Result<JobHandle<()>, CommandError> {
    let grid: Grid = show::grid(grid)?;
    let id = show::which(&grid, job)?;
    grid.job(id).map_err(CommandError::Job)
}
