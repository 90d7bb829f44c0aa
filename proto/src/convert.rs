//! The one place where generated messages become the words of `burla-types` and back. Total in both directions: what a peer can
//! send that has no meaning here is an [`InvalidMessage`], never a panic.

use std::collections::BTreeMap;
use std::time::Duration;

use burla_types::{
    Backtrace, Digest, Exceeded, JobId, Limit, Limits, Location, NETWORK_GRANTS_MAX, NodeId, Outcome, OutputStream, Peer,
    Resources, Usage,
};
use bytes::Bytes;

use crate::WireSize;
use crate::v1::{self, call_event::Event, failure::Kind};

/// A message that its sender should not have sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct InvalidMessage(pub &'static str);

/// What a job runs, on every node alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The component.
    pub digest: Digest,
    /// `crate::path::name`.
    pub function: String,
    /// What the sandbox of each call enforces.
    pub limits: Limits,
    /// The environment of each call.
    pub env: BTreeMap<String, String>,
    /// Whether anyone wants what the calls print.
    pub wants_output: bool,
}

/// Something that happened to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallReport {
    /// It printed whole lines; only the last of a call may lack its newline.
    Printed {
        /// To where.
        stream: OutputStream,
        /// How many lines this attempt wrote there before.
        first_line: u64,
        /// The lines.
        lines: Bytes,
    },
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// The last of what it wrote to stderr; empty when it is done.
        stderr_tail: String,
        /// What it took.
        usage: Usage,
    },
}

impl WireSize for CallReport {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Printed { lines, .. } => lines.len(),
            Self::Ended { outcome, stderr_tail, .. } => stderr_tail.len() + text_bytes(outcome),
        }
    }
}

/// The bytes of an output, or of the texts that stand in its place.
fn text_bytes(outcome: &Outcome) -> usize {
    // Not only their letters: a million texts without any are not nothing.
    let sum = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
    match outcome {
        Outcome::Done(output) => output.len(),
        Outcome::Failed { message, causes } => message.len() + sum(causes),
        Outcome::Panicked { message, location, backtrace } => {
            message.len() + location.as_ref().map_or(0, |location| location.0.len()) + sum(&backtrace.0)
        }
        Outcome::Trapped { message, backtrace } => message.len() + sum(&backtrace.0),
        Outcome::Exceeded(_) => size_of::<Exceeded>(),
        Outcome::Refused { message } => message.len(),
        Outcome::Lost { reason } => reason.len(),
    }
}

/// Reads a digest of a message.
pub fn digest(bytes: &Bytes) -> Result<Digest, InvalidMessage> {
    let bytes = bytes.as_ref().try_into().map_err(|_| InvalidMessage("a digest that is not 32 bytes long"))?;
    Ok(Digest::from_bytes(bytes))
}

/// Writes a digest into a message.
pub fn digest_bytes(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// Reads a job id of a message.
pub fn job_id(bytes: &Bytes) -> Result<JobId, InvalidMessage> {
    Ok(JobId::from_bytes(bytes.as_ref().try_into().map_err(|_| InvalidMessage("a job id that is not 16 bytes long"))?))
}

/// Writes a job id into a message.
pub fn job_id_bytes(id: JobId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// Reads a node id of a message.
pub fn node_id(bytes: &Bytes) -> Result<NodeId, InvalidMessage> {
    Ok(NodeId::from_bytes(bytes.as_ref().try_into().map_err(|_| InvalidMessage("a node id that is not 16 bytes long"))?))
}

/// Writes a node id into a message.
pub fn node_id_bytes(id: NodeId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

impl From<Peer> for v1::Peer {
    fn from(it: Peer) -> Self {
        Self { version: it.version, protocol_min: it.protocol_min, protocol_max: it.protocol_max }
    }
}

impl From<v1::Peer> for Peer {
    fn from(it: v1::Peer) -> Self {
        Self { version: it.version, protocol_min: it.protocol_min, protocol_max: it.protocol_max }
    }
}

impl From<Resources> for v1::Resources {
    fn from(it: Resources) -> Self {
        Self { cpu_millis: it.cpu_millis, memory_bytes: it.memory_bytes }
    }
}

impl From<v1::Resources> for Resources {
    fn from(it: v1::Resources) -> Self {
        Self { cpu_millis: it.cpu_millis, memory_bytes: it.memory_bytes }
    }
}

impl From<Usage> for v1::Usage {
    fn from(it: Usage) -> Self {
        Self {
            fuel: it.fuel,
            wall_time_us: u64::try_from(it.wall_time.as_micros()).unwrap_or(u64::MAX),
            memory_peak_bytes: it.memory_bytes_peak,
            disk_written_bytes: it.disk_bytes_written,
        }
    }
}

impl From<v1::Usage> for Usage {
    fn from(it: v1::Usage) -> Self {
        Self {
            fuel: it.fuel,
            wall_time: Duration::from_micros(it.wall_time_us),
            memory_bytes_peak: it.memory_peak_bytes,
            disk_bytes_written: it.disk_written_bytes,
        }
    }
}

impl From<Work> for v1::Work {
    fn from(it: Work) -> Self {
        Self {
            digest: digest_bytes(it.digest),
            function: it.function,
            limits: Some(v1::Limits {
                memory_bytes_max: it.limits.memory_bytes_max,
                fuel_max: it.limits.fuel_max,
                // A limit below a millisecond stays a limit.
                wall_time_max_ms: it.limits.wall_time_max.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)),
                cpu_millis_max: it.limits.cpu_millis_max,
                disk_bytes_max: it.limits.disk_bytes_max,
                network: it.limits.network.iter().map(ToString::to_string).collect(),
            }),
            env: it.env.into_iter().collect(),
            wants_output: it.wants_output,
        }
    }
}

impl TryFrom<v1::Work> for Work {
    type Error = InvalidMessage;

    fn try_from(it: v1::Work) -> Result<Self, InvalidMessage> {
        let limits = it.limits.ok_or(InvalidMessage("work without limits"))?;
        if limits.network.len() > NETWORK_GRANTS_MAX {
            return Err(InvalidMessage("work with more network grants than one job may have"));
        }
        let grant = |text: &String| text.parse().map_err(|_| InvalidMessage("a network grant that is none"));
        Ok(Self {
            digest: digest(&it.digest)?,
            function: it.function,
            limits: Limits {
                memory_bytes_max: limits.memory_bytes_max,
                fuel_max: limits.fuel_max,
                wall_time_max: limits.wall_time_max_ms.map(Duration::from_millis),
                cpu_millis_max: limits.cpu_millis_max,
                disk_bytes_max: limits.disk_bytes_max,
                network: limits.network.iter().map(grant).collect::<Result<_, _>>()?,
            },
            env: it.env.into_iter().collect(),
            wants_output: it.wants_output,
        })
    }
}

/// Writes what happened to a call into a message.
pub fn call_event(index: u64, attempt: u32, report: CallReport) -> v1::CallEvent {
    let (event, usage) = match report {
        CallReport::Printed { stream, first_line, lines } => {
            (Event::Printed(v1::Printed { stderr: stream == OutputStream::Stderr, data: lines, first_line }), None)
        }
        CallReport::Ended { outcome, stderr_tail, usage } => match failure_kind(outcome) {
            Ok(output) => (Event::Done(output), Some(usage)),
            Err(kind) => (Event::Failure(v1::Failure { kind: Some(kind), stderr_tail }), Some(usage)),
        },
    };
    v1::CallEvent { index, attempt, usage: usage.map(v1::Usage::from), event: Some(event) }
}

/// Reads what happened to a call out of a message.
pub fn call_report(event: v1::CallEvent) -> Result<CallReport, InvalidMessage> {
    let usage = event.usage.map(Usage::from).unwrap_or_default();
    Ok(match event.event.ok_or(InvalidMessage("a call event without an event"))? {
        Event::Done(output) => CallReport::Ended { outcome: Outcome::Done(output), stderr_tail: String::new(), usage },
        Event::Failure(it) => CallReport::Ended {
            outcome: outcome(it.kind.ok_or(InvalidMessage("a failure without a kind"))?)?,
            stderr_tail: it.stderr_tail,
            usage,
        },
        Event::Printed(it) => CallReport::Printed {
            stream: if it.stderr { OutputStream::Stderr } else { OutputStream::Stdout },
            first_line: it.first_line,
            lines: it.data,
        },
    })
}

fn failure_kind(outcome: Outcome) -> Result<Bytes, Kind> {
    Err(match outcome {
        Outcome::Done(output) => return Ok(output),
        Outcome::Failed { message, causes } => Kind::Failed(v1::failure::Failed { message, causes }),
        Outcome::Panicked { message, location, backtrace } => Kind::Panicked(v1::failure::Panicked {
            message,
            location: location.map(|location| location.0),
            backtrace: backtrace.0,
        }),
        Outcome::Trapped { message, backtrace } => Kind::Trapped(v1::failure::Trapped { message, backtrace: backtrace.0 }),
        Outcome::Exceeded(Exceeded { limit, allowed, wanted, peak }) => {
            let limit = match limit {
                Limit::Memory => v1::Limit::Memory,
                Limit::Fuel => v1::Limit::Fuel,
                Limit::WallTime => v1::Limit::WallTime,
                Limit::OutputSize => v1::Limit::OutputSize,
                Limit::OpenFiles => v1::Limit::OpenFiles,
                Limit::Handles => v1::Limit::Handles,
                Limit::HostCall => v1::Limit::HostCall,
            };
            Kind::Exceeded(v1::failure::Exceeded { limit: limit.into(), allowed, wanted, peak })
        }
        Outcome::Refused { message } => Kind::Refused(v1::failure::Refused { message }),
        Outcome::Lost { reason } => Kind::Lost(v1::failure::Lost { reason }),
    })
}

fn outcome(kind: Kind) -> Result<Outcome, InvalidMessage> {
    Ok(match kind {
        Kind::Failed(it) => Outcome::Failed { message: it.message, causes: it.causes },
        Kind::Panicked(it) => {
            Outcome::Panicked { message: it.message, location: it.location.map(Location), backtrace: Backtrace(it.backtrace) }
        }
        Kind::Trapped(it) => Outcome::Trapped { message: it.message, backtrace: Backtrace(it.backtrace) },
        Kind::Exceeded(it) => {
            let limit = match it.limit() {
                v1::Limit::Memory => Limit::Memory,
                v1::Limit::Fuel => Limit::Fuel,
                v1::Limit::WallTime => Limit::WallTime,
                v1::Limit::OutputSize => Limit::OutputSize,
                v1::Limit::OpenFiles => Limit::OpenFiles,
                v1::Limit::Handles => Limit::Handles,
                v1::Limit::HostCall => Limit::HostCall,
                v1::Limit::Unspecified => return Err(InvalidMessage("an exceeded limit without its name")),
            };
            Outcome::Exceeded(Exceeded { limit, allowed: it.allowed, wanted: it.wanted, peak: it.peak })
        }
        Kind::Refused(it) => Outcome::Refused { message: it.message },
        Kind::Lost(it) => Outcome::Lost { reason: it.reason },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome) -> CallReport {
        let stderr_tail = if matches!(outcome, Outcome::Done(_)) { "" } else { "last words" };
        let usage = Usage { fuel: 1, wall_time: Duration::from_micros(2), memory_bytes_peak: 3, disk_bytes_written: 4 };
        CallReport::Ended { outcome, stderr_tail: stderr_tail.to_owned(), usage }
    }

    #[test]
    fn every_call_report_survives_the_round_trip() {
        let backtrace = Backtrace(vec!["hello::f".into()]);
        let exceeded = |limit| ended(Outcome::Exceeded(Exceeded { limit, allowed: 1, wanted: Some(2), peak: Some(3) }));
        let reports = [
            CallReport::Printed { stream: OutputStream::Stdout, first_line: 7, lines: Bytes::from_static(b"line\n") },
            CallReport::Printed { stream: OutputStream::Stderr, first_line: 0, lines: Bytes::from_static(b"line") },
            ended(Outcome::Done(Bytes::from_static(b"\x2a"))),
            ended(Outcome::Failed { message: "no".into(), causes: vec!["because".into()] }),
            ended(Outcome::Panicked {
                message: "oh".into(),
                location: Some(Location("src/main.rs:1:2".into())),
                backtrace: backtrace.clone(),
            }),
            ended(Outcome::Trapped { message: "integer divide by zero".into(), backtrace }),
            exceeded(Limit::Memory),
            exceeded(Limit::Fuel),
            exceeded(Limit::WallTime),
            exceeded(Limit::OutputSize),
            exceeded(Limit::OpenFiles),
            exceeded(Limit::Handles),
            exceeded(Limit::HostCall),
            ended(Outcome::Refused { message: "no such function".into() }),
            ended(Outcome::Lost { reason: "its node went away".into() }),
        ];
        for report in reports {
            assert_eq!(call_report(call_event(7, 1, report.clone())), Ok(report));
        }
    }

    #[test]
    fn work_survives_the_round_trip() {
        let work = Work {
            digest: Digest::of(b"x"),
            function: "hello::f".into(),
            limits: Limits {
                cpu_millis_max: 250,
                memory_bytes_max: 1 << 20,
                fuel_max: Some(5),
                wall_time_max: Some(Duration::from_millis(1500)),
                disk_bytes_max: Some(1 << 30),
                network: vec!["*.example.com:443".parse().unwrap()],
            },
            env: BTreeMap::from([("K".into(), "V".into())]),
            wants_output: true,
        };
        assert_eq!(Work::try_from(v1::Work::from(work.clone())), Ok(work));
    }

    #[test]
    fn messages_without_meaning_are_refused() {
        let event = |event| v1::CallEvent { event, ..v1::CallEvent::default() };
        assert!(call_report(event(None)).is_err());
        assert!(call_report(event(Some(Event::Failure(v1::Failure::default())))).is_err());
        assert!(Work::try_from(v1::Work::default()).is_err());
        assert!(digest(&Bytes::from_static(b"short")).is_err());
    }
}
