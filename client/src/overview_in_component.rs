//! Nodes and jobs inside a component: none. A component holds functions, and the program around them, if it comes along, is never
//! called; it has to compile.

use burla_types::JobId;

use crate::{Error, Grid, JobInfo, NodeInfo, Result};

#[expect(missing_docs, reason = "as in `overview.rs`")]
impl Grid {
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        Err(Error::InsideFunction)
    }

    pub fn jobs(&self) -> Result<Vec<JobInfo>> {
        Err(Error::InsideFunction)
    }

    pub fn jobs_with_ended(&self) -> Result<Vec<JobInfo>> {
        Err(Error::InsideFunction)
    }

    pub fn job_info(&self, _: JobId) -> Result<JobInfo> {
        Err(Error::InsideFunction)
    }

    pub fn cancel(&self, _: JobId) -> Result<()> {
        Err(Error::InsideFunction)
    }
}
