//! `cargo burla nodes`, `jobs`, `job` and `cancel`: what there is on a grid.

use burla::{Grid, JobId, JobInfo, JobOptions, JobState, NodeInfo, Stdout};

use crate::cli::{Cancel, Job, Jobs, Show, WhichGrid, WhichJob};
use crate::error::CommandError;

pub(super) fn nodes(arguments: &Show) -> Result<(), CommandError> {
    let nodes = grid(&arguments.grid)?.nodes().map_err(CommandError::Job)?;
    if arguments.json {
        return super::print_json(&nodes);
    }
    let header = ["NODE", "VERSION", "CPUS", "TAKEN", "GIB", "TAKEN", "RUNNING", "UP", ""];
    super::print_text(&table(&header, nodes.iter().map(node_row)))
}

pub(super) fn jobs(arguments: &Jobs) -> Result<(), CommandError> {
    let grid = grid(&arguments.show.grid)?;
    let jobs = if arguments.ended { grid.jobs_with_ended() } else { grid.jobs() };
    let jobs = jobs.map_err(CommandError::Job)?;
    if arguments.show.json {
        return super::print_json(&jobs);
    }
    let header = ["JOB", "NAME", "ENDED", "OF", "FAILED", "RUNNING", "OPEN", ""];
    super::print_text(&table(&header, jobs.iter().map(job_row)))
}

pub(super) fn job(arguments: &Job) -> Result<(), CommandError> {
    let grid = grid(&arguments.show.grid)?;
    let job = grid.job_info(which(&grid, &arguments.job)?).map_err(CommandError::Job)?;
    if arguments.show.json {
        return super::print_json(&job);
    }
    super::print_text(&rows(&job_rows(&job)))
}

pub(super) fn cancel(arguments: &Cancel) -> Result<(), CommandError> {
    let grid = grid(&arguments.grid)?;
    let job = which(&grid, &arguments.job)?;
    grid.cancel(job).map_err(CommandError::Job)?;
    super::tell(&format!("canceled job {job}"));
    Ok(())
}

/// The grid that is meant.
pub(super) fn grid(which: &WhichGrid) -> Result<Grid, CommandError> {
    let grid = match which.url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Grid::at(url),
        None => Grid::default_grid(),
    };
    grid.map_err(CommandError::Job)
}

/// The job that is meant: by its whole id, or by the beginning of it.
pub(super) fn which(grid: &Grid, job: &WhichJob) -> Result<JobId, CommandError> {
    if let Ok(id) = job.id.parse() {
        return Ok(id);
    }
    let jobs = grid.jobs_with_ended().map_err(CommandError::Job)?;
    the_one(&job.id, jobs.iter().map(|job| job.id))
}

/// The only one of these ids that begins so.
fn the_one(wanted: &str, ids: impl Iterator<Item = JobId>) -> Result<JobId, CommandError> {
    let mut meant: Vec<_> = ids.filter(|id| id.to_string().starts_with(wanted)).collect();
    // One that was opened again after it had ended is listed twice.
    meant.sort_unstable();
    meant.dedup();
    match meant.as_slice() {
        [id] => Ok(*id),
        several => {
            let available = several.iter().map(ToString::to_string).collect();
            Err(CommandError::WhichJob { wanted: wanted.to_owned(), available })
        }
    }
}

fn node_row(node: &NodeInfo) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    vec![
        node.name.clone(),
        node.version.clone(),
        node.cpus.to_string(),
        node.cpus_taken.to_string(),
        gib(node.memory_bytes),
        gib(node.memory_bytes_taken),
        node.running.to_string(),
        time(node.joined_seconds_ago),
        if node.leaving { "leaving".to_owned() } else { String::new() },
    ]
}

fn job_row(job: &JobInfo) -> Vec<String> {
    vec![
        job.id.to_string(),
        job.name.clone(),
        job.calls_ended.to_string(),
        // More are still to come.
        if job.inputs_closed { job.inputs.to_string() } else { format!("{}+", job.inputs) },
        job.calls_failed.to_string(),
        job.running.to_string(),
        time(job.opened_seconds_ago),
        remark(job),
    ]
}

/// What is worth saying of a job beside its figures.
fn remark(job: &JobInfo) -> String {
    let state = match (job.state, &job.waiting) {
        (JobState::Open, Some(reason)) => Some(format!("waits: {reason}")),
        (JobState::Open, None) => None,
        (state, _) => Some(job.error.as_ref().map_or(state.to_string(), |error| format!("{state}: {error}"))),
    };
    let kept = [(job.detached, "detached"), (job.expired, "expired")];
    let kept = kept.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word.to_owned());
    kept.chain(state).collect::<Vec<_>>().join(", ")
}

/// All that is known of a job, as names and values.
fn job_rows(job: &JobInfo) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("job", job.id.to_string()),
        ("name", job.name.clone()),
        ("function", job.function.clone()),
        ("state", job.state.to_string()),
    ];
    rows.extend(job.error.iter().map(|error| ("because", error.clone())));
    rows.extend(job.waiting.iter().map(|reason| ("waits for", reason.clone())));
    rows.push(("opened", format!("{} ago", time(job.opened_seconds_ago))));
    rows.extend(job.ended_seconds_ago.map(|ago| ("over since", time(ago))));
    let kept = match (job.detached, job.expired) {
        (false, _) => "attached: its program has them",
        (true, false) => "kept by the grid",
        (true, true) => "not kept any more",
    };
    rows.push(("results", kept.to_owned()));
    rows.push(("inputs", format!("{}{}", job.inputs, if job.inputs_closed { "" } else { ", more may come" })));
    rows.push(("ended", format!("{} calls, {} run", job.calls_ended, job.running)));
    let kinds: Vec<_> = job.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let failed =
        if kinds.is_empty() { job.calls_failed.to_string() } else { format!("{}: {}", job.calls_failed, kinds.join(", ")) };
    rows.push(("failed", failed));
    rows.push(("run again", format!("{} that failed, {} that were lost or late", job.retried, job.requeued)));
    let reserved = if job.memory_bytes > 0 { format!(", {} reserved", size(job.memory_bytes)) } else { String::new() };
    rows.push(("slot", format!("{} CPUs{reserved}", job.cpus)));
    rows.push(("took", format!("{:.3} s and {} units of fuel", job.call_seconds, job.fuel)));
    rows.push(("memory", format!("{} at most", size(job.memory_bytes_peak))));
    rows.push(("files", format!("{} written", size(job.disk_bytes_written))));
    rows.push(("nodes", if job.nodes.is_empty() { "none yet".to_owned() } else { job.nodes.join(", ") }));
    rows.extend(job.options.iter().flat_map(option_rows));
    rows
}

/// What a job was opened with, as far as it was given.
fn option_rows(options: &JobOptions) -> Vec<(&'static str, String)> {
    let mut rows = vec![("func_cpu", options.func_cpu.to_string())];
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    let given = [
        ("component", options.component.clone()),
        ("func_ram", options.func_ram.map(|gib| format!("{gib} GiB"))),
        ("parallelism", options.max_parallelism.map(|calls| calls.to_string())),
        ("retries", (options.retries > 0).then(|| options.retries.to_string())),
        ("", options.retry_exceeded.then(|| "also of calls that exceed a limit".to_owned())),
        ("timeout", options.timeout_seconds.map(|seconds| format!("{seconds} s"))),
        ("fuel", options.fuel.map(|units| units.to_string())),
        ("disk", options.disk.map(|gib| format!("{gib} GiB"))),
        ("environment", listed(&options.env)),
        ("network", listed(&options.allow_network)),
        ("prints", (!options.wants_output).then(|| "discarded".to_owned())),
    ];
    rows.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    rows
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Names and values, each on its line.
fn rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    // Texts come from whoever opened the job and from its nodes, and each stays in its row.
    let plain = |value: &str| Stdout::neutralised(value).replace('\n', "␊").replace('\t', "␉");
    rows.iter().map(|(name, value)| format!("{name:<width$}  {}\n", plain(value))).collect()
}

fn time(seconds: f64) -> String {
    match seconds as u64 {
        0..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{:.0} min", seconds / 60.0),
        7200..172_800 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} d", seconds / 86400.0),
    }
}

/// Columns as wide as what is in them.
pub(super) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    // Names come from whoever joined or opened a job, and are shown on an operator's terminal, each in its row and column.
    let plain = |cell: String| Stdout::neutralised(&cell).replace('\n', "␊").replace('\t', "␉");
    let rows = rows.map(|row| row.into_iter().map(plain).collect());
    let mut lines = vec![header.iter().map(|&title| title.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["long name", "1"], ["\x1b\n", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["NAME", "N"], rows.into_iter()), "NAME       N\nlong name  1\n␛␊         22\n");
    }
    #[test]
    fn a_job_is_meant_by_enough_of_its_id() {
        let ids = [[0xab; 16], [0xac; 16]].map(JobId::from_bytes);
        assert_eq!(the_one("abab", ids.into_iter().chain([ids[0]])).unwrap(), ids[0]);
        let several = the_one("a", ids.into_iter()).unwrap_err();
        assert!(several.to_string().starts_with("several jobs begin with a: abab"), "{several}");
        let none = the_one("abcd", ids.into_iter()).unwrap_err();
        assert_eq!(none.to_string(), "there is no job abcd");
    }

    #[test]
    fn what_is_known_of_a_job_stays_in_its_row() {
        let text = rows(&[("name", "a\nb\x1b".to_owned()), ("function", "c".to_owned())]);
        assert_eq!(text, "name      a␊b␛\nfunction  c\n");
    }
}
