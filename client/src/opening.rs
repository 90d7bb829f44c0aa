//! The message that opens a job, attached or detached alike. An edge file: generated types stop here.

use burla_proto::convert::Work;
use burla_proto::v1;
use burla_types::{Digest, JobId, Peer};

use crate::options::CheckedOptions;

impl CheckedOptions {
    /// Opens a job with these options: of the function of this name, in the component of this digest. Its id, and what was there
    /// before, are for whoever sends it to set.
    pub(crate) fn open_job(&self, function: &str, component: Digest) -> v1::OpenJob {
        let work = Work {
            digest: component,
            function: function.to_owned(),
            limits: self.limits.clone(),
            env: self.env.clone(),
            wants_output: self.stdout.wants_output(),
        };
        v1::OpenJob {
            client: Some(Peer::this().into()),
            work: Some(work.into()),
            cpu_millis: self.cpu_millis,
            memory_bytes: self.memory_bytes,
            max_parallelism: self.max_parallelism,
            name: self.name.clone().unwrap_or_else(|| function.to_owned()),
            retries: self.retries,
            retries_exceeded: self.retry_exceeded,
            retry_pause_ms: self.retry_pause_ms,
            retry_pause_ms_max: self.retry_pause_ms_max,
            ends_with_failure: self.ends_with_failure,
            ..v1::OpenJob::default()
        }
    }
}

/// An id that no other job has, and that sorts by when the job was opened.
pub(crate) fn new_job_id() -> JobId {
    JobId::from_uuid(uuid::Uuid::now_v7())
}
