//! What the scheduler counts: each figure with its name, its unit and its meaning.
//!
//! In the text that Prometheus reads, names begin with `burla_scheduler_`, a unit is the name's last word, and counters end in
//! `_total` on top. Figures of single jobs, nodes or functions are absent on purpose: a label with a value for each would grow
//! without bound.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The figures of one scheduler.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) nodes: Gauge,
    pub(crate) cpus: Gauge<f64, AtomicU64>,
    pub(crate) memory_bytes: Gauge,
    pub(crate) jobs: Gauge,
    pub(crate) jobs_ended: Family<JobEnd, Counter>,
    pub(crate) inputs: Counter,
    pub(crate) calls_ended: Family<CallEnd, Counter>,
    pub(crate) calls_requeued: Family<RequeueReason, Counter>,
    pub(crate) events: Counter,
    pub(crate) event_seconds: Histogram,
    pub(crate) components_uploaded: Counter,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JobEnd {
    /// Every call has ended, and its client knows.
    Finished,
    /// The grid could not go on with it, or a call failed and its client waits for no other.
    Failed,
    /// Someone canceled it.
    Canceled,
    /// Its program did not want the rest.
    Stopped,
    /// Its client went away.
    Abandoned,
}

/// How a call ended, as far as the scheduler tells: it does not look into outcomes further than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallEnd {
    /// With an output.
    Done,
    /// With anything else.
    Failed,
}

/// Why a call that had been sent to a node waits again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RequeueReason {
    /// The node was lost.
    NodeLost,
    /// The node gave it back.
    Returned,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            nodes: Gauge::default(),
            cpus: Gauge::default(),
            memory_bytes: Gauge::default(),
            jobs: Gauge::default(),
            jobs_ended: Family::default(),
            inputs: Counter::default(),
            calls_ended: Family::default(),
            calls_requeued: Family::default(),
            events: Counter::default(),
            // From 1 µs to 131 ms, each twice the one before, so that a quantile read off them is at most a factor of 2 off.
            event_seconds: Histogram::new(exponential_buckets(1e-6, 2.0, 18)),
            components_uploaded: Counter::default(),
        };
        // What has not happened yet is told as 0, so that the first time shows as a rise and not as a series that was not there.
        for end in [JobEnd::Finished, JobEnd::Failed, JobEnd::Canceled, JobEnd::Stopped, JobEnd::Abandoned] {
            metrics.jobs_ended.get_or_create(&end).inc_by(0);
        }
        for end in [CallEnd::Done, CallEnd::Failed] {
            metrics.calls_ended.get_or_create(&end).inc_by(0);
        }
        for reason in [RequeueReason::NodeLost, RequeueReason::Returned] {
            metrics.calls_requeued.get_or_create(&reason).inc_by(0);
        }
        metrics
    }
}

impl Metrics {
    /// Puts all figures into `registry`, where whoever asks for metrics finds them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("burla_scheduler");
        let build = Info::new([("version", burla_types::VERSION)]);
        registry.register("build", "What is running", build);

        registry.register("nodes", "Nodes that are part of the grid", self.nodes.clone());
        registry.register("cpus", "CPUs that all nodes offer to calls together", self.cpus.clone());
        let memory = "Memory that all nodes offer to calls together";
        registry.register_with_unit("memory", memory, Unit::Bytes, self.memory_bytes.clone());

        registry.register("jobs", "Jobs that are open", self.jobs.clone());
        registry.register("jobs_ended", "Jobs that have ended, by how", self.jobs_ended.clone());
        registry.register("inputs", "Inputs received from clients", self.inputs.clone());
        registry.register("calls_ended", "Calls that have ended, by whether with an output", self.calls_ended.clone());
        let requeued = "Calls that were sent to a node and wait to be sent to another, by why";
        registry.register("calls_requeued", requeued, self.calls_requeued.clone());

        registry.register("events", "Events that the grid has decided on", self.events.clone());
        let event_seconds = "Time that the grid took to decide on an event and act on it";
        registry.register_with_unit("event", event_seconds, Unit::Seconds, self.event_seconds.clone());
        registry.register("components_uploaded", "Components taken in from clients", self.components_uploaded.clone());
    }
}

impl EncodeLabelSet for JobEnd {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let result = match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
        };
        [("result", result)].encode(encoder)
    }
}

impl EncodeLabelSet for CallEnd {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let result = match self {
            Self::Done => "done",
            Self::Failed => "failed",
        };
        [("result", result)].encode(encoder)
    }
}

impl EncodeLabelSet for RequeueReason {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let reason = match self {
            Self::NodeLost => "node_lost",
            Self::Returned => "returned",
        };
        [("reason", reason)].encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_names_from_the_start() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.cpus.set(2.5);
        metrics.jobs_ended.get_or_create(&JobEnd::Finished).inc();
        metrics.event_seconds.observe(0.01);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let version = format!("burla_scheduler_build_info{{version=\"{}\"}} 1", burla_types::VERSION);
        for line in [
            version.as_str(),
            "burla_scheduler_nodes 0",
            "burla_scheduler_cpus 2.5",
            "burla_scheduler_memory_bytes 0",
            "burla_scheduler_jobs 0",
            "burla_scheduler_jobs_ended_total{result=\"finished\"} 1",
            "burla_scheduler_jobs_ended_total{result=\"abandoned\"} 0",
            "burla_scheduler_jobs_ended_total{result=\"stopped\"} 0",
            "burla_scheduler_inputs_total 0",
            "burla_scheduler_calls_ended_total{result=\"failed\"} 0",
            "burla_scheduler_calls_requeued_total{reason=\"node_lost\"} 0",
            "burla_scheduler_events_total 0",
            "burla_scheduler_event_seconds_count 1",
            "burla_scheduler_components_uploaded_total 0",
        ] {
            assert!(text.lines().any(|told| told == line), "no `{line}` in\n{text}");
        }
    }
}
