//! What is known of a job besides what the grid decides by: for who looks at it, now and when it is over.

use std::sync::Arc;
use std::time::SystemTime;

use burla_proto::convert::{self, CallReport};
use burla_proto::v1::{self, job::State};
use burla_types::text::truncated;
use burla_types::{JobId, Outcome, Usage};

use super::handle::ERROR_BYTES_MAX;
use crate::grid::event::{CallUpdate, Tries};
use crate::grid::overview::JobOverview;
use crate::metrics::JobEnd;
use crate::store::without_secrets;

/// Nodes that are named; a job may have run on all there are.
const NODES_MAX: usize = 64;

/// The ways in which a call ends that is not done, in the order of [`Notes::failures`].
const FAILURES: [&str; 6] = ["failed", "panicked", "trapped", "exceeded", "refused", "lost"];

/// What is noted of an open job.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) options: Arc<v1::OpenJob>,
    opened: SystemTime,
    pub(crate) detached: bool,
    /// Inputs that arrived, and whether these are all.
    pub(crate) inputs: u64,
    pub(crate) inputs_closed: bool,
    calls_ended: u64,
    failures: [u64; 6],
    /// The call that failed first, and how, as people are told.
    first_failure: Option<String>,
    /// Tries at its calls that were made again.
    pub(crate) tries: Tries,
    usage: Usage,
    nodes: Vec<Arc<str>>,
}

impl Notes {
    pub(crate) fn new(options: Arc<v1::OpenJob>, opened: SystemTime, detached: bool) -> Self {
        Self {
            options,
            opened,
            detached,
            inputs: 0,
            inputs_closed: false,
            calls_ended: 0,
            failures: [0; 6],
            first_failure: None,
            tries: Tries::default(),
            usage: Usage::default(),
            nodes: Vec::new(),
        }
    }

    /// What is known of the part that an earlier scheduler saw.
    pub(crate) fn add_before<'a>(
        &mut self,
        calls_ended: u64,
        usage: Usage,
        failures: impl IntoIterator<Item = (&'a String, &'a u64)>,
        nodes: impl IntoIterator<Item = String>,
    ) {
        (self.calls_ended, self.usage) = (calls_ended, usage);
        for (kind, count) in failures {
            if let Some(position) = FAILURES.iter().position(|known| known == kind) {
                self.failures[position] = *count;
            }
        }
        self.nodes = nodes.into_iter().take(NODES_MAX).map(Into::into).collect();
    }

    /// Inputs that arrived, less the calls that ended.
    pub(crate) fn calls_open(&self) -> u64 {
        self.inputs.saturating_sub(self.calls_ended)
    }

    pub(crate) fn ran_on(&mut self, node: &Arc<str>) {
        if self.nodes.len() < NODES_MAX && !self.nodes.contains(node) {
            self.nodes.push(Arc::clone(node));
        }
    }

    /// Takes note of calls that ended, and returns how many did.
    pub(crate) fn calls_told(&mut self, updates: &[CallUpdate]) -> u64 {
        let before = self.calls_ended;
        for update in updates {
            let CallReport::Ended { outcome, usage, .. } = &update.report else { continue };
            self.calls_ended += 1;
            self.usage.add(usage);
            let kind = match outcome {
                Outcome::Done(_) => continue,
                Outcome::Failed { .. } => 0,
                Outcome::Panicked { .. } => 1,
                Outcome::Trapped { .. } => 2,
                Outcome::Exceeded(_) => 3,
                Outcome::Refused { .. } => 4,
                Outcome::Lost { .. } => 5,
            };
            self.failures[kind] += 1;
            self.first_failure.get_or_insert_with(|| failure_text(update.index, outcome));
        }
        self.calls_ended - before
    }

    /// The failed call that ends the job, where one does: its client waits for no other.
    pub(crate) fn deciding_failure(&self) -> Option<&str> {
        let ends = self.options.ends_with_failure && !self.detached;
        self.first_failure.as_deref().filter(|_| ends)
    }

    /// The job as it is, from what the grid knows of it.
    pub(crate) fn open_job(&self, it: JobOverview) -> v1::Job {
        v1::Job {
            calls_ended: it.calls_ended,
            running: it.running,
            waiting: it.waiting.unwrap_or_default(),
            slot: Some(it.slot.into()),
            state: State::Open.into(),
            ..self.job(it.id)
        }
    }

    /// The job as it was when it ended, and why where it did not run to its end.
    pub(crate) fn ended_job(&self, id: JobId, end: JobEnd, error: Option<String>) -> v1::Job {
        let state = match end {
            JobEnd::Finished => State::Finished,
            JobEnd::Failed => State::Failed,
            JobEnd::Canceled => State::Canceled,
            // Clients of an earlier version do not tell these two apart.
            JobEnd::Stopped | JobEnd::Abandoned => State::Abandoned,
        };
        v1::Job { state: state.into(), error: error.unwrap_or_default(), stopped: end == JobEnd::Stopped, ..self.job(id) }
    }

    fn job(&self, id: JobId) -> v1::Job {
        let failures = FAILURES.iter().zip(self.failures).filter(|(_, count)| *count > 0);
        let opened_ago = self.opened.elapsed().unwrap_or_default();
        v1::Job {
            job_id: convert::job_id_bytes(id),
            name: self.options.name.clone(),
            function: self.options.work.as_ref().map(|work| work.function.clone()).unwrap_or_default(),
            calls_ended: self.calls_ended,
            calls_failed: self.failures.iter().sum(),
            inputs: self.inputs,
            inputs_closed: self.inputs_closed,
            opened_ms_ago: u64::try_from(opened_ago.as_millis()).unwrap_or(u64::MAX),
            usage: Some(self.usage.into()),
            slot: Some(v1::Resources {
                cpu_millis: self.options.cpu_millis,
                memory_bytes: self.options.memory_bytes.unwrap_or_default(),
            }),
            detached: self.detached,
            retried: self.tries.retried,
            requeued: self.tries.requeued,
            failures: failures.map(|(kind, count)| ((*kind).to_owned(), count)).collect(),
            nodes: self.nodes.iter().map(|node| (**node).to_owned()).collect(),
            options: Some(without_secrets(&self.options)),
            ..v1::Job::default()
        }
    }
}

/// Which call failed, and how, in a few lines at most.
fn failure_text(index: u64, outcome: &Outcome) -> String {
    let text = match outcome {
        Outcome::Done(_) => String::new(),
        Outcome::Failed { message, .. } => format!("call {index} failed: {message}"),
        Outcome::Panicked { message, location: Some(location), .. } => {
            format!("call {index} panicked at {}: {message}", location.0)
        }
        Outcome::Panicked { message, location: None, .. } => format!("call {index} panicked: {message}"),
        Outcome::Trapped { message, .. } => format!("call {index} trapped: {message}"),
        // Its text begins with the word.
        Outcome::Exceeded(exceeded) => format!("call {index} {exceeded}"),
        Outcome::Refused { message } => format!("call {index} was refused by the component: {message}"),
        Outcome::Lost { reason } => format!("call {index} was lost: {reason}"),
    };
    truncated(&text, ERROR_BYTES_MAX).into_owned()
}
