//! `cargo burla nodes`, `jobs` and `cancel`: what there is on a grid.

use burla::{Grid, JobInfo, NodeInfo, Stdout};

use crate::cli::{Cancel, Show, WhichGrid};
use crate::error::CommandError;

pub(super) fn nodes(arguments: &Show) -> Result<(), CommandError> {
    let nodes = grid(&arguments.grid)?.nodes().map_err(CommandError::Job)?;
    if arguments.json {
        return super::print_json(&nodes);
    }
    let header = ["NODE", "VERSION", "CPUS", "TAKEN", "GIB", "TAKEN", "RUNNING", "UP", ""];
    super::print_text(&table(&header, nodes.iter().map(node_row)))
}

pub(super) fn jobs(arguments: &Show) -> Result<(), CommandError> {
    let jobs = grid(&arguments.grid)?.jobs().map_err(CommandError::Job)?;
    if arguments.json {
        return super::print_json(&jobs);
    }
    let header = ["JOB", "NAME", "ENDED", "OF", "FAILED", "RUNNING", "OPEN", ""];
    super::print_text(&table(&header, jobs.iter().map(job_row)))
}

pub(super) fn cancel(arguments: &Cancel) -> Result<(), CommandError> {
    grid(&arguments.grid)?.cancel(arguments.job).map_err(CommandError::Job)?;
    super::tell(&format!("canceled job {}", arguments.job));
    Ok(())
}

fn grid(which: &WhichGrid) -> Result<Grid, CommandError> {
    let grid = match which.url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Grid::at(url),
        None => Grid::default_grid(),
    };
    grid.map_err(CommandError::Job)
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
        job.waiting.as_ref().map(|reason| format!("waits: {reason}")).unwrap_or_default(),
    ]
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
}
