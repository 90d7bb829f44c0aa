//! What a node counts: each figure with its name, its unit and its meaning.
//!
//! In the text that Prometheus reads, names begin with `burla_node_`, a unit is the name's last word, and counters end in
//! `_total` on top. Figures of single jobs or functions are absent on purpose: a label with a value for each would grow without
//! bound.

use std::fmt;

use burla_types::{Outcome, Usage};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The figures of one node.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) sessions: Counter,
    pub(crate) calls_running: Gauge,
    calls_ended: Family<OutcomeKind, Counter>,
    /// Those of the family, by kind: looking for one takes a lock.
    calls_ended_by_kind: [Counter; OutcomeKind::ALL.len()],
    pub(crate) call_seconds: Histogram,
    pub(crate) calls_returned: Counter,
    pub(crate) calls_stopped: Counter,
    pub(crate) calls_held: Counter,
    pub(crate) batches_sent_again: Counter,
    pub(crate) call_fuel: Counter,
    pub(crate) disk_written_bytes: Counter,
    pub(crate) memory_held_bytes: Gauge,
    pub(crate) disk_held_bytes: Gauge,
    pub(crate) components_compiled: Counter,
    pub(crate) compile_seconds: Histogram,
}

/// Which of the outcomes it is, without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OutcomeKind {
    Done,
    Failed,
    Panicked,
    Trapped,
    Exceeded,
    Refused,
    Lost,
}

impl Default for Metrics {
    fn default() -> Self {
        let calls_ended = Family::default();
        // What has not happened yet is told as 0, so that the first time shows as a rise and not as a series that was not there.
        let calls_ended_by_kind = OutcomeKind::ALL.map(|kind| calls_ended.get_or_create_owned(&kind));
        Self {
            connected: Gauge::default(),
            sessions: Counter::default(),
            calls_running: Gauge::default(),
            calls_ended,
            calls_ended_by_kind,
            // From 10 µs, which an empty call takes, to 1342 s; here and below each is twice the one before, so that a quantile
            // read off them is at most a factor of 2 off.
            call_seconds: Histogram::new(exponential_buckets(1e-5, 2.0, 28)),
            calls_returned: Counter::default(),
            calls_stopped: Counter::default(),
            calls_held: Counter::default(),
            batches_sent_again: Counter::default(),
            call_fuel: Counter::default(),
            disk_written_bytes: Counter::default(),
            memory_held_bytes: Gauge::default(),
            disk_held_bytes: Gauge::default(),
            components_compiled: Counter::default(),
            // From 10 ms to 82 s. The usual component takes 60 to 100 ms.
            compile_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
        }
    }
}

impl Metrics {
    /// Puts all figures into `registry`, where whoever asks for metrics finds them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("burla_node");
        let build = Info::new([("version", burla_types::VERSION)]);
        registry.register("build", "What is running", build);

        registry.register("connected", "1 while the node is part of the grid, else 0", self.connected.clone());
        registry.register("sessions", "Times that the node has joined the grid", self.sessions.clone());

        registry.register("calls_running", "Calls that run right now", self.calls_running.clone());
        registry.register("calls_ended", "Calls that have ended, by outcome", self.calls_ended.clone());
        let call_seconds = "Time that calls took from their start to their outcome, waiting included";
        registry.register_with_unit("call", call_seconds, Unit::Seconds, self.call_seconds.clone());
        let returned = "Calls handed back to the scheduler, since they had not started or for want of memory";
        registry.register("calls_returned", returned, self.calls_returned.clone());
        let stopped = "Calls stopped one by one because the scheduler has no use for them any more";
        registry.register("calls_stopped", stopped, self.calls_stopped.clone());
        let held = "Calls that ran on without a scheduler, each time the node reported them to one";
        registry.register("calls_held", held, self.calls_held.clone());
        let again = "Batches of what calls printed and how they ended that were sent again, since nobody had acknowledged them";
        registry.register("batches_sent_again", again, self.batches_sent_again.clone());
        registry.register("call_fuel", "Instructions that calls ran, in wasmtime's units", self.call_fuel.clone());
        let written = "What calls wrote to files";
        registry.register_with_unit("disk_written", written, Unit::Bytes, self.disk_written_bytes.clone());
        let held = "What files of running calls take on disk together";
        registry.register_with_unit("disk_held", held, Unit::Bytes, self.disk_held_bytes.clone());
        let held = "Memory that running calls hold together";
        registry.register_with_unit("memory_held", held, Unit::Bytes, self.memory_held_bytes.clone());

        let compiled = "Components compiled here, which those found in the cache are not";
        registry.register("components_compiled", compiled, self.components_compiled.clone());
        let compile_seconds = "Time that compiling a component took";
        registry.register_with_unit("compile", compile_seconds, Unit::Seconds, self.compile_seconds.clone());
    }

    /// Counts a call that ran and has an outcome.
    pub(crate) fn call_ended(&self, outcome: &Outcome, usage: &Usage) {
        self.calls_ended_by_kind[OutcomeKind::of(outcome) as usize].inc();
        self.call_seconds.observe(usage.wall_time.as_secs_f64());
        self.call_fuel.inc_by(usage.fuel);
        self.disk_written_bytes.inc_by(usage.disk_bytes_written);
    }
}

impl OutcomeKind {
    const ALL: [Self; 7] = [Self::Done, Self::Failed, Self::Panicked, Self::Trapped, Self::Exceeded, Self::Refused, Self::Lost];

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Self::Done,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Panicked { .. } => Self::Panicked,
            Outcome::Trapped { .. } => Self::Trapped,
            Outcome::Exceeded(_) => Self::Exceeded,
            Outcome::Refused { .. } => Self::Refused,
            Outcome::Lost { .. } => Self::Lost,
        }
    }
}

impl EncodeLabelSet for OutcomeKind {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let outcome = match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Trapped => "trapped",
            Self::Exceeded => "exceeded",
            Self::Refused => "refused",
            Self::Lost => "lost",
        };
        [("outcome", outcome)].encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_have_their_names_from_the_start() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.memory_held_bytes.set(65536);
        let usage = Usage { fuel: 70, wall_time: Duration::from_millis(2), memory_bytes_peak: 0, disk_bytes_written: 5 };
        metrics.call_ended(&Outcome::Lost { reason: "its node was lost".to_owned() }, &usage);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let version = format!("burla_node_build_info{{version=\"{}\"}} 1", burla_types::VERSION);
        for line in [
            version.as_str(),
            "burla_node_connected 0",
            "burla_node_sessions_total 0",
            "burla_node_calls_running 0",
            "burla_node_call_fuel_total 70",
            "burla_node_disk_written_bytes_total 5",
            "burla_node_calls_ended_total{outcome=\"done\"} 0",
            "burla_node_calls_ended_total{outcome=\"lost\"} 1",
            "burla_node_call_seconds_sum 0.002",
            "burla_node_calls_returned_total 0",
            "burla_node_calls_stopped_total 0",
            "burla_node_calls_held_total 0",
            "burla_node_batches_sent_again_total 0",
            "burla_node_memory_held_bytes 65536",
            "burla_node_components_compiled_total 0",
            "burla_node_compile_seconds_count 0",
        ] {
            assert!(text.lines().any(|told| told == line), "no `{line}` in\n{text}");
        }
    }
}
