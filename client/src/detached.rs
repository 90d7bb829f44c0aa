//! Detached jobs, without the types of a user's function: what stands behind [`JobHandle`](crate::JobHandle) where there are grids.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_guest::Function;
use burla_types::JobId;
use bytes::Bytes;

use crate::block_on::block_on;
use crate::calls::Encoded;
use crate::component::Component;
use crate::follow::{Follow, Followed, Next, Wanted};
use crate::inputs::Inputs;
use crate::options::Options;
use crate::{CallEnd, CanceledBy, Error, Grid, JobInfo, JobState, Result, Stdout, Usage, connection, submission};

/// After how long without a line what a job has printed so far is taken to be all. The grid tells how far its lines go only when
/// the job has ended; it sends those that it has without pause.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// Gives a job of `function` to the grid.
pub(crate) async fn submit<F, I>(function: F, inputs: I, options: Options) -> Result<(Grid, JobId)>
where
    F: Function,
    I: Inputs<F::Input>,
{
    let info = function.info()?;
    submission::submit(Component::of(info)?, &info.name, Encoded::<F, I>::new(inputs), options).await
}

pub(crate) fn info(grid: &Grid, id: JobId) -> Result<JobInfo> {
    grid.job_info(id)
}

pub(crate) fn cancel(grid: &Grid, id: JobId) -> Result<()> {
    grid.cancel(id)
}

/// Waits until the job is over.
pub(crate) fn wait(grid: &Grid, id: JobId, spinner: Option<bool>) -> Result<JobInfo> {
    let mut follow = Follow::start(grid, id, Wanted::Nothing, spinner);
    block_on(until_over(&mut follow, |_, _| Ok(())))
}

/// Waits until the job is over, and for so long at most.
pub(crate) fn wait_timeout(grid: &Grid, id: JobId, spinner: Option<bool>, timeout: Duration) -> Result<Option<JobInfo>> {
    let mut follow = Follow::start(grid, id, Wanted::Nothing, spinner);
    // The clock is the client's own.
    let _entered = connection::runtime().enter();
    block_on(async {
        match tokio::time::timeout(timeout, until_over(&mut follow, |_, _| Ok(()))).await {
            Ok(over) => over.map(Some),
            Err(_) => Ok(None),
        }
    })
}

/// Shows what the job's calls print until it is over.
pub(crate) fn lines(grid: &Grid, id: JobId, spinner: Option<bool>, mut to: Stdout) -> Result<JobInfo> {
    let mut follow = Follow::start(grid, id, Wanted::Lines, spinner);
    block_on(until_over(&mut follow, |follow, event| show(follow, event, &mut to)))
}

/// Shows what the job's calls have printed.
pub(crate) fn lines_so_far(grid: &Grid, id: JobId, mut to: Stdout) -> Result<()> {
    let mut follow = Follow::start(grid, id, Wanted::Lines, Some(false));
    let _entered = connection::runtime().enter();
    block_on(async {
        let mut answered = false;
        loop {
            let next = std::future::poll_fn(|context| follow.poll_next(context));
            let next = if answered {
                match tokio::time::timeout(QUIET_TIME, next).await {
                    Ok(next) => next,
                    Err(_) => return Ok(()),
                }
            } else {
                next.await
            };
            match next? {
                Next::Event(event) => show(&follow, event, &mut to)?,
                Next::Answered => answered = true,
                Next::Broke => answered = false,
                Next::Over(_) => return Ok(()),
            }
        }
    })
}

async fn until_over(follow: &mut Follow, mut event: impl FnMut(&Follow, Followed) -> Result<()>) -> Result<JobInfo> {
    loop {
        match std::future::poll_fn(|context| follow.poll_next(context)).await? {
            Next::Event(followed) => event(follow, followed)?,
            Next::Answered | Next::Broke => {}
            Next::Over(job) => return Ok(job),
        }
    }
}

fn show(follow: &Follow, event: Followed, to: &mut Stdout) -> Result<()> {
    match event {
        Followed::Printed { index, stream, lines } => follow.instead(|| to.show(index, stream, &lines)).map_err(Error::Print),
        Followed::Ended(_) => Ok(()),
    }
}

/// How the calls of a detached job ended, encoded, in the order in which the grid kept that. Dropping it leaves the job alone.
pub struct RawOutcomes {
    /// `None` once there is nothing more to tell.
    follow: Option<Follow>,
    usage: Usage,
}

impl RawOutcomes {
    pub(crate) fn start(grid: &Grid, id: JobId, spinner: Option<bool>) -> Self {
        Self { follow: Some(Follow::start(grid, id, Wanted::Outcomes, spinner)), usage: Usage::default() }
    }

    /// How the next call ended, with its index; `None` when all have. An error is the job's, and the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<CallEnd<Bytes>>>> {
        let Some(follow) = &mut self.follow else { return Poll::Ready(None) };
        loop {
            let over = match ready!(follow.poll_next(context)) {
                Ok(Next::Event(Followed::Ended(end))) => {
                    self.usage.add(&end.usage);
                    return Poll::Ready(Some(Ok(end)));
                }
                Ok(Next::Event(Followed::Printed { .. }) | Next::Answered | Next::Broke) => continue,
                Ok(Next::Over(job)) => ended_well(job),
                Err(error) => Err(error),
            };
            self.follow = None;
            return Poll::Ready(over.err().map(Err));
        }
    }

    /// What the calls that it has given took together.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Says whose turn it is to write to the terminal: the program, or the job that the program waits for.
    pub fn program_has_terminal(&self, has: bool) {
        if let Some(follow) = &self.follow {
            follow.program_has_terminal(has);
        }
    }
}

/// A job that did not run to its end has no results, but those that were given by then.
fn ended_well(job: JobInfo) -> Result<()> {
    match job.state {
        JobState::Open | JobState::Finished => Ok(()),
        JobState::Canceled => Err(Error::JobCanceled { by: CanceledBy::Operator, calls_ended: job.calls_ended }),
        JobState::Failed | JobState::Stopped | JobState::Abandoned => {
            let reason = job.error.unwrap_or_else(|| format!("it was {}", job.state));
            Err(Error::JobFailed { job: job.id, reason })
        }
    }
}

#[cfg(test)]
#[path = "detached_tests.rs"]
mod tests;
