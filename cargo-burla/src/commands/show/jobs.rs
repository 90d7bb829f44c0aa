//! `cargo burla jobs`: which jobs are shown, and how.

use std::cmp::Reverse;

use burla::{JobId, JobInfo, JobState};

use super::table::{table, time};
use crate::cli::Jobs;
use crate::commands::{print_json, print_text, tell};
use crate::error::CommandError;

/// Jobs that `--ended` shows to people who do not say how many: one screen.
const LIMIT: usize = 20;

/// Digits at the end of an id that stand for it. The beginning of an id is a time; its end is random, so that a million jobs have
/// one chance in a thousand that the next one shares its last eight digits with any of them.
const SHORT_DIGITS: usize = 8;

/// Shows the jobs of a grid, newest first.
pub(in crate::commands) fn jobs(arguments: &Jobs) -> Result<(), CommandError> {
    let grid = super::grid(&arguments.show.grid)?;
    let jobs = if arguments.wants_ended() { grid.jobs_with_ended() } else { grid.jobs() };
    let mut jobs = selected(jobs.map_err(CommandError::Job)?, arguments);
    let json = arguments.show.json;
    // A script that does not say how many it wants gets all; so does whoever asks for those that are open.
    let default = (!json && arguments.wants_ended()).then_some(LIMIT);
    let more = arguments.limit.or(default).map_or(0, |limit| jobs.len().saturating_sub(limit));
    let of = jobs.len();
    jobs.truncate(of - more);
    if json {
        print_json(&jobs)?;
    } else {
        let header = ["JOB", "NAME", "STATE", "DONE", "OF", "FAILED", "RUNNING", "RAN", "ENDED", ""];
        print_text(&table(&header, jobs.iter().map(row)))?;
    }
    if more > 0 {
        tell(&format!("{more} more; `--limit {of}` shows all"));
    }
    Ok(())
}

/// Those that are asked for: open ones first, the newest of each kind first.
fn selected(mut jobs: Vec<JobInfo>, arguments: &Jobs) -> Vec<JobInfo> {
    let is_named = |job: &JobInfo| arguments.name.as_ref().is_none_or(|name| job.name.contains(name));
    let is_in_state = |job: &JobInfo| arguments.state.is_empty() || arguments.state.contains(&job.state);
    jobs.retain(|job| is_named(job) && is_in_state(job));
    // Whole milliseconds order as the times do, and floats have no order of their own.
    let milliseconds = |seconds: f64| (seconds * 1e3) as u64;
    jobs.sort_by_key(|job| {
        let ended = job.ended_seconds_ago.map(milliseconds);
        (ended, milliseconds(job.opened_seconds_ago), Reverse(job.id))
    });
    jobs
}

/// The digits of an id that stand for it.
pub(super) fn short_id(id: JobId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT_DIGITS..].to_owned()
}

fn row(job: &JobInfo) -> Vec<String> {
    let ended = job.ended_seconds_ago;
    vec![
        short_id(job.id),
        job.name.clone(),
        job.state.to_string(),
        job.calls_ended.saturating_sub(job.calls_failed).to_string(),
        // More are still to come.
        if job.inputs_closed || ended.is_some() { job.inputs.to_string() } else { format!("{}+", job.inputs) },
        job.calls_failed.to_string(),
        job.running.to_string(),
        time(job.opened_seconds_ago - ended.unwrap_or(0.0)),
        ended.map(|ago| format!("{} ago", time(ago))).unwrap_or_default(),
        remark(job),
    ]
}

/// What is worth saying of a job beside its figures.
fn remark(job: &JobInfo) -> String {
    let why = match (job.state, &job.waiting) {
        (JobState::Open, Some(reason)) => Some(format!("waits: {reason}")),
        (JobState::Finished, _) if job.calls_failed > 0 => {
            let kinds: Vec<_> = job.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            Some(format!("not all calls succeeded: {}", kinds.join(", ")))
        }
        _ => job.error.clone(),
    };
    let kept = [(job.detached, "detached"), (job.expired, "expired")];
    let kept = kept.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word.to_owned());
    kept.chain(why).collect::<Vec<_>>().join(", ")
}

/// Reads a state, as `jobs` shows it.
pub(crate) fn parse_state(text: &str) -> Result<JobState, String> {
    let states =
        [JobState::Open, JobState::Finished, JobState::Canceled, JobState::Failed, JobState::Stopped, JobState::Abandoned];
    let state = states.into_iter().find(|state| state.to_string() == text);
    state.ok_or_else(|| format!("give one of: {}", states.map(|state| state.to_string()).join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Command, Entry};

    fn arguments(given: &[&str]) -> Jobs {
        let Entry::Burla(parsed) = Entry::parse_from([&["cargo", "burla", "jobs"], given].concat());
        let Command::Jobs(jobs) = parsed.command else { panic!("not jobs") };
        jobs
    }

    fn selected_ids(jobs: &[JobInfo], given: &[&str]) -> Vec<String> {
        selected(jobs.to_vec(), &arguments(given)).into_iter().map(|job| short_id(job.id)).collect()
    }

    #[test]
    fn jobs_are_shown_newest_first_and_as_they_are_asked_for() {
        let ended = |id, name, state, opened, ended: Option<f64>| {
            let mut job = JobInfo::example(JobId::from_bytes([id; 16]));
            (job.name, job.state) = (String::from(name), state);
            (job.opened_seconds_ago, job.ended_seconds_ago) = (opened, ended);
            job
        };
        let jobs = [
            ended(1, "nightly-a", JobState::Finished, 900.0, Some(800.0)),
            ended(2, "nightly-b", JobState::Failed, 700.0, Some(5.0)),
            ended(3, "other", JobState::Open, 50.0, None),
            ended(4, "other", JobState::Open, 10.0, None),
        ];
        let id = |digit: &str| digit.repeat(4);
        assert_eq!(selected_ids(&jobs, &["--ended"]), [id("04"), id("03"), id("02"), id("01")]);
        assert_eq!(selected_ids(&jobs, &["--ended", "--name", "nightly"]), [id("02"), id("01")]);
        assert_eq!(selected_ids(&jobs, &["--state", "failed"]), [id("02")]);
        assert_eq!(selected_ids(&jobs, &["--state", "failed,open"]), [id("04"), id("03"), id("02")]);
        assert!(arguments(&["--state", "failed"]).wants_ended() && !arguments(&["--state", "open"]).wants_ended());
    }

    #[test]
    fn a_row_of_a_job_that_ended_says_how_long_it_ran_and_when_it_ended() {
        let mut job = JobInfo::example(JobId::from_bytes([0xab; 16]));
        (job.name, job.state) = ("nightly".to_owned(), JobState::Finished);
        (job.opened_seconds_ago, job.ended_seconds_ago) = (4000.0, Some(3000.0));
        (job.inputs, job.inputs_closed, job.calls_ended, job.calls_failed) = (500, true, 500, 186);
        job.failures = [("panicked".to_owned(), 186)].into();
        let expected = [
            "abababab",
            "nightly",
            "finished",
            "314",
            "500",
            "186",
            "0",
            "17 min",
            "50 min ago",
            "not all calls succeeded: 186 panicked",
        ];
        assert_eq!(row(&job), expected);
        (job.state, job.error) = (JobState::Failed, Some("call 7 panicked: no".to_owned()));
        assert_eq!(row(&job).last().unwrap(), "call 7 panicked: no");
    }
}
