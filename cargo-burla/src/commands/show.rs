//! `cargo burla nodes`, `jobs`, `job` and `cancel`: what there is on a grid, and an end to it.

mod job;
pub(crate) mod jobs;
pub(crate) mod nodes;
mod table;

use burla::{Error, Grid, JobId};
use burla_types::GridError;

use crate::cli::{Cancel, Job, WhichGrid, WhichJob};
use crate::error::CommandError;
pub(super) use jobs::jobs;
pub(super) use nodes::nodes;
pub(super) use table::table;

/// Jobs that are named where several are meant: more are no help, and a history has thousands.
const CANDIDATES_MAX: usize = 20;

pub(super) fn job(arguments: &Job) -> Result<(), CommandError> {
    let grid = grid(&arguments.show.grid)?;
    let id = which(&grid, &arguments.job)?;
    let job = grid.job_info(id).map_err(|error| about(&grid, id, CommandError::Job(error)))?;
    if arguments.show.json {
        return super::print_json(&job);
    }
    super::print_text(&table::rows(&job::job_rows(&job)))
}

pub(super) fn cancel(arguments: &Cancel) -> Result<(), CommandError> {
    let grid = grid(&arguments.grid)?;
    let Some(job) = &arguments.job else { return cancel_all(&grid) };
    let id = meant(&grid, job)?;
    grid.cancel(id).map_err(|error| about(&grid, id, CommandError::Job(error)))?;
    super::tell(&format!("canceled job {id}"));
    Ok(())
}

/// Cancels every job that is open at this moment. One that cannot be canceled does not keep the others running.
fn cancel_all(grid: &Grid) -> Result<(), CommandError> {
    let open = grid.jobs().map_err(CommandError::Job)?;
    if open.is_empty() {
        return Err(CommandError::NoOpenJob { url: grid.url().to_owned() });
    }
    let mut failure = None;
    for job in open {
        match grid.cancel(job.id) {
            Ok(()) => super::tell(&format!("canceled job {} ({})", job.id, burla::Stdout::neutralized(&job.name))),
            // It has ended by itself meanwhile.
            Err(Error::JobOver { state, .. }) => super::tell(&format!("job {} is over: {state}", job.id)),
            Err(error) => _ = failure.get_or_insert(about(grid, job.id, CommandError::Job(error))),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The grid that is meant.
pub(super) fn grid(which: &WhichGrid) -> Result<Grid, CommandError> {
    let grid = match which.url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Grid::at(url),
        None => Grid::default_grid(),
    };
    grid.map_err(CommandError::Job)
}

/// The error with the grid's address, where that grid does not know the job: another may.
pub(super) fn about(grid: &Grid, job: JobId, error: CommandError) -> CommandError {
    match error {
        CommandError::Job(Error::Grid(GridError::UnknownJob(_))) => CommandError::NoJob { job, url: grid.url().to_owned() },
        other => other,
    }
}

/// The job that is meant: by its whole id, or by a part of it that no other has.
pub(super) fn which(grid: &Grid, job: &WhichJob) -> Result<JobId, CommandError> {
    meant(grid, &job.id)
}

fn meant(grid: &Grid, wanted: &str) -> Result<JobId, CommandError> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let jobs = grid.jobs_with_ended().map_err(CommandError::Job)?;
    the_one(wanted, jobs.iter().map(|job| job.id)).map_err(|available| {
        let url = grid.url().to_owned();
        CommandError::WhichJob { wanted: wanted.to_owned(), available, url }
    })
}

/// The only one of these ids that begins or ends so; where none does, the only one that has this in the middle. Else those that are
/// meant.
fn the_one(wanted: &str, ids: impl Iterator<Item = JobId>) -> Result<JobId, Vec<String>> {
    // One that was opened again after it had ended is listed twice.
    let ids: std::collections::BTreeMap<JobId, String> = ids.map(|id| (id, id.to_string())).collect();
    let meant = |is_meant: &dyn Fn(&str) -> bool| {
        let meant = ids.iter().filter(|(_, text)| is_meant(text)).map(|(id, _)| *id);
        meant.collect::<Vec<_>>()
    };
    let mut found = meant(&|text| text.starts_with(wanted) || text.ends_with(wanted));
    if found.is_empty() {
        found = meant(&|text| text.contains(wanted));
    }
    match found.as_slice() {
        [id] => Ok(*id),
        several => {
            let more = several.len().saturating_sub(CANDIDATES_MAX);
            // The newest, which is most likely meant, begins with the latest time.
            let mut named: Vec<_> = several.iter().rev().take(CANDIDATES_MAX).map(ToString::to_string).collect();
            named.extend((more > 0).then(|| format!("and {more} more")));
            Err(named)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_meant_by_any_part_of_its_id_that_no_other_has() {
        let ids: [JobId; 3] =
            ["0190a5b27d1c7abc8def0123456789ab", "0190a5b27d1c7abc8def0123456789cd", "0190a5b27d1d7fff8def0123456789ab"]
                .map(|id| id.parse().unwrap());
        let one = |wanted| the_one(wanted, ids.into_iter().chain([ids[0]]));
        assert_eq!(one("0190a5b27d1d"), Ok(ids[2]), "the beginning");
        assert_eq!(one("6789cd"), Ok(ids[1]), "the end");
        assert_eq!(one("7fff8"), Ok(ids[2]), "the middle");
        assert_eq!(one("6789ab").unwrap_err(), [ids[2].to_string(), ids[0].to_string()], "newest first");
        assert_eq!(one("0190").unwrap_err().len(), 3);
        assert_eq!(one("ffffff").unwrap_err(), Vec::<String>::new());
        let many = (0..30u128).map(|number| JobId::from_bytes(number.to_be_bytes()));
        let named = the_one("0000", many).unwrap_err();
        assert_eq!((named.len(), named.last().unwrap().as_str()), (CANDIDATES_MAX + 1, "and 10 more"));
    }
}
