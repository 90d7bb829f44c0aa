//! Detached jobs, by their ids: what became of one, its results, what it printed. From the program that submitted it or any other.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_types::{JobId, codec};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::block_on::block_on;
use crate::detached::{self, RawOutcomes};
use crate::{CallEnd, CallError, Error, Grid, JobInfo, Result, Stdout};

/// The detached job of this id, a [`JobId`] or its text, on the grid that a job would run on that names none. `T` is what its
/// function returns. Nothing is dialed before something is asked of the job.
///
/// # Errors
///
/// [`Error::InvalidJobId`] for a text that is no id; [`Error::NoGrid`] where no grid is configured.
pub fn job<T: DeserializeOwned>(id: impl ToString) -> Result<JobHandle<T>> {
    #[cfg(not(target_family = "wasm"))]
    return Grid::default_grid()?.job(id);
    #[cfg(target_family = "wasm")]
    return id.to_string().parse::<JobId>().map_err(Error::from).and(Err(Error::InsideFunction));
}

impl Grid {
    /// The detached job of this id, a [`JobId`] or its text; see [`job`](fn@crate::job).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobId`] for a text that is no id.
    pub fn job<T: DeserializeOwned>(&self, id: impl ToString) -> Result<JobHandle<T>> {
        Ok(JobHandle::new(self.clone(), id.to_string().parse()?))
    }
}

/// A detached job. Made by [`RemoteParallelMap::detach`](crate::RemoteParallelMap::detach) and [`job`](fn@crate::job). Dropping it
/// leaves the job alone.
///
/// Its methods block. Where one waits for the job and the connection breaks, it dials again for up to ten minutes, and goes on where
/// it was; nothing is given twice.
pub struct JobHandle<T> {
    grid: Grid,
    id: JobId,
    spinner: Option<bool>,
    output: PhantomData<fn() -> T>,
}

impl<T> JobHandle<T> {
    pub(crate) fn new(grid: Grid, id: JobId) -> Self {
        Self { grid, id, spinner: None, output: PhantomData }
    }

    /// Its id: what another program needs to have its results.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The grid that has it.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Whether progress is shown on stderr while something waits for the job. Default: on a terminal only.
    #[must_use]
    pub fn spinner(mut self, spinner: bool) -> Self {
        self.spinner = Some(spinner);
        self
    }

    /// All that the grid knows of it at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Grid`] where the grid knows no such job; others where the scheduler cannot be reached.
    pub fn info(&self) -> Result<JobInfo> {
        detached::info(&self.grid, self.id)
    }

    /// Waits until it is over, however it ends, and returns what the grid knows of it then.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    pub fn wait(&self) -> Result<JobInfo> {
        detached::wait(&self.grid, self.id, self.spinner)
    }

    /// The same, for so long at most; `None` where it is not over by then.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<JobInfo>> {
        detached::wait_timeout(&self.grid, self.id, self.spinner, timeout)
    }

    /// Shows what its calls have printed and print, from the beginning, until it is over. Each line comes once.
    ///
    /// # Errors
    ///
    /// As [`results`](Self::results), for a job that has none; [`Error::Print`] where it cannot be shown.
    pub fn lines(&self, to: Stdout) -> Result<JobInfo> {
        detached::lines(&self.grid, self.id, self.spinner, to)
    }

    /// Shows what its calls have printed so far: what the grid sends until it has paused for a second.
    ///
    /// # Errors
    ///
    /// As [`lines`](Self::lines).
    pub fn lines_so_far(&self, to: Stdout) -> Result<()> {
        detached::lines_so_far(&self.grid, self.id, to)
    }

    /// Ends it: its calls stop.
    ///
    /// # Errors
    ///
    /// [`Error::JobOver`] where it has ended; [`Error::Grid`] where the grid knows no such job; others where the scheduler cannot be
    /// reached.
    pub fn cancel(&self) -> Result<()> {
        detached::cancel(&self.grid, self.id)
    }
}

impl<T: DeserializeOwned> JobHandle<T> {
    /// How its calls ended, one by one in the order in which the grid kept that, until the job is over; each call once.
    ///
    /// A call that failed stops nothing. Any other error is the job's, and the last item.
    pub fn outcomes(&self) -> Outcomes<T> {
        let outcomes = RawOutcomes::start(&self.grid, self.id, self.spinner);
        Outcomes { outcomes: Some(outcomes), output: PhantomData }
    }

    /// Waits until it is over, and returns its outputs in the order of the inputs. Of the calls that failed, the first in that order
    /// is the error.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] for a call that failed; [`Error::JobCanceled`] and [`Error::JobFailed`] for a job that did not run to its
    /// end; [`Error::ResultsExpired`] and [`Error::ResultsNotKept`] for one whose results the grid does not have;
    /// [`Error::DecodeOutput`] where an output is no `T`; others where the grid knows no such job or cannot be reached.
    pub fn results(&self) -> Result<Vec<T>> {
        self.try_results()?.into_iter().map(|result| result.map_err(|error| Error::Call(Box::new(error)))).collect()
    }

    /// The same, with every call's own fate.
    ///
    /// # Errors
    ///
    /// As [`results`](Self::results), but [`Error::Call`].
    pub fn try_results(&self) -> Result<Vec<Result<T, CallError>>> {
        let mut results = Vec::new();
        for end in self.outcomes() {
            let CallEnd { index, result, .. } = end?;
            let position = usize::try_from(index).map_err(|_| Error::MissingResult { index })?;
            if position >= results.len() {
                results.resize_with(position + 1, || None);
            }
            results[position] = Some(result);
        }
        let in_order = results.into_iter().zip(0..).map(|(result, index)| result.ok_or(Error::MissingResult { index }));
        in_order.collect()
    }
}

impl<T> Clone for JobHandle<T> {
    fn clone(&self) -> Self {
        Self { grid: self.grid.clone(), id: self.id, spinner: self.spinner, output: PhantomData }
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("grid", &self.grid).field("id", &self.id).finish_non_exhaustive()
    }
}

/// How the calls of a detached job ended, as the grid keeps that. Made by [`JobHandle::outcomes`]. Dropping it leaves the job alone.
#[must_use = "nothing is taken of it until it is iterated over"]
pub struct Outcomes<T> {
    /// `None` once there is nothing more to tell.
    outcomes: Option<RawOutcomes>,
    output: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Outcomes<T> {
    /// The same as an asynchronous stream, which works under any async runtime.
    pub fn into_stream(self) -> OutcomeStream<T> {
        OutcomeStream(self)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<CallEnd<T>>>> {
        let Some(outcomes) = &mut self.outcomes else { return Poll::Ready(None) };
        let decoded = match ready!(outcomes.poll_next(context)) {
            Some(Ok(CallEnd { index, result, usage })) => match result.map(|output| codec::decode(&output)) {
                Ok(Ok(output)) => Some(Ok(CallEnd { index, result: Ok(output), usage })),
                Ok(Err(source)) => Some(Err(Error::DecodeOutput { index, source })),
                Err(error) => Some(Ok(CallEnd { index, result: Err(error), usage })),
            },
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        if !matches!(decoded, Some(Ok(_))) {
            self.outcomes = None;
        }
        Poll::Ready(decoded)
    }
}

impl<T: DeserializeOwned> Iterator for Outcomes<T> {
    type Item = Result<CallEnd<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(std::future::poll_fn(|context| self.poll_next(context)))
    }
}

impl<T> fmt::Debug for Outcomes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outcomes(_)")
    }
}

/// The same as a stream. Made by [`Outcomes::into_stream`].
#[must_use = "nothing is taken of it until it is polled"]
#[derive(Debug)]
pub struct OutcomeStream<T>(Outcomes<T>);

impl<T: DeserializeOwned> Stream for OutcomeStream<T> {
    type Item = Result<CallEnd<T>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context)
    }
}
