//! Jobs of functions that this program was not compiled with, for tools such as `cargo burla map`: inputs and outputs are bytes,
//! MessagePack as a function's own serde types would be.

use std::path::Path;

use bytes::Bytes;
use futures_core::Stream;

pub use crate::detached::RawOutcomes;
pub use crate::options::Options;
pub use crate::raw_calls::RawCalls;

use crate::component::Component;
use crate::{Grid, JobId, Result, submission};

/// Starts a job of the function `name` of the component in a file, on encoded inputs.
///
/// # Errors
///
/// What is known before anything is dialed: an option that cannot be meant, a file that is no component, no grid.
pub fn start<S>(component: &Path, name: &str, inputs: S, options: Options) -> Result<RawCalls<S>>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    RawCalls::start(Component::read(component)?, name, inputs, options)
}

/// Gives a job of the function `name` of the component in a file to the grid, which keeps it, and returns its id.
///
/// # Errors
///
/// As [`RemoteParallelMap::detach`](crate::RemoteParallelMap::detach).
pub async fn detach<S>(component: &Path, name: &str, inputs: S, options: Options) -> Result<JobId>
where
    S: Stream<Item = Result<Bytes>> + Unpin,
{
    let (_, id) = submission::submit(Component::read(component)?, name, inputs, options).await?;
    Ok(id)
}

/// How the calls of a detached job ended, as the grid keeps that, until the job has ended.
pub fn outcomes(grid: &Grid, job: JobId, spinner: Option<bool>) -> RawOutcomes {
    RawOutcomes::start(grid, job, spinner)
}
