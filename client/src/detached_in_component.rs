//! What detached jobs are inside a component: nothing. A component holds functions, and the program around them, if it comes along,
//! is never called.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use burla_guest::Function;
use burla_types::JobId;
use bytes::Bytes;

use crate::inputs::Inputs;
use crate::options::Options;
use crate::{CallEnd, Error, Grid, JobInfo, Result, Stdout};

pub(crate) async fn submit<F, I>(_function: F, _inputs: I, _options: Options) -> Result<(Grid, JobId)>
where
    F: Function,
    I: Inputs<F::Input>,
{
    Err(Error::InsideFunction)
}

pub(crate) fn info(_: &Grid, _: JobId) -> Result<JobInfo> {
    Err(Error::InsideFunction)
}

pub(crate) fn cancel(_: &Grid, _: JobId) -> Result<()> {
    Err(Error::InsideFunction)
}

pub(crate) fn wait(_: &Grid, _: JobId, _spinner: Option<bool>) -> Result<JobInfo> {
    Err(Error::InsideFunction)
}

pub(crate) fn wait_timeout(_: &Grid, _: JobId, _spinner: Option<bool>, _: Duration) -> Result<Option<JobInfo>> {
    Err(Error::InsideFunction)
}

pub(crate) fn lines(_: &Grid, _: JobId, _spinner: Option<bool>, _: Stdout) -> Result<JobInfo> {
    Err(Error::InsideFunction)
}

pub(crate) fn lines_so_far(_: &Grid, _: JobId, _: Stdout) -> Result<()> {
    Err(Error::InsideFunction)
}

/// Outcomes that cannot be.
pub(crate) struct RawOutcomes(Option<Infallible>);

impl RawOutcomes {
    pub(crate) fn start(_: &Grid, _: JobId, _spinner: Option<bool>) -> Self {
        Self(None)
    }

    pub(crate) fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<CallEnd<Bytes>>>> {
        Poll::Ready(Some(Err(Error::InsideFunction)))
    }
}
