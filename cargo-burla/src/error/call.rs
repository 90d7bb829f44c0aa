//! A call that failed, as `map` and `results` tell of it: known by its input, in which people count, and not by its
//! index in the job.

use std::fmt;

use burla::{CallError, CallErrorKind, Limit};

/// How people count the input of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The number of its line, from 1.
    Line(u64),
    /// Its position, from 0.
    Index(u64),
}

impl Input {
    pub(crate) fn key(self) -> (&'static str, u64) {
        match self {
            Self::Line(line) => ("line", line),
            Self::Index(index) => ("index", index),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "the call of line {line}"),
            Self::Index(index) => write!(f, "call {index}"),
        }
    }
}

/// What a call failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// In which way it ended.
    pub kind: CallErrorKind,
    /// The error's text, the panic's message, the trap, the limit.
    pub message: String,
    /// Where it panicked: `file:line:column`.
    pub location: Option<String>,
    /// The texts of the errors that caused the function's own, nearest first.
    pub causes: Vec<String>,
    /// The functions that were active when it panicked or trapped, innermost first.
    pub backtrace: Vec<String>,
}

impl From<CallError> for FailedCall {
    fn from(error: CallError) -> Self {
        Self {
            kind: error.kind,
            message: error.message,
            location: error.location.map(|location| location.0),
            causes: error.causes,
            backtrace: error.backtrace.0,
        }
    }
}

impl FailedCall {
    /// The kind as scripts tell failures apart by it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            CallErrorKind::Failed => "failed",
            CallErrorKind::Panicked => "panicked",
            CallErrorKind::Trapped => "trapped",
            CallErrorKind::Exceeded(Limit::Memory) => "exceeded_func_ram",
            CallErrorKind::Exceeded(Limit::Fuel) => "exceeded_fuel",
            CallErrorKind::Exceeded(Limit::WallTime) => "exceeded_timeout",
            CallErrorKind::Exceeded(Limit::OutputSize) => "exceeded_output_size",
            CallErrorKind::Exceeded(Limit::OpenFiles) => "exceeded_open_files",
            CallErrorKind::Exceeded(Limit::Handles) => "exceeded_handles",
            CallErrorKind::Exceeded(Limit::HostCall) => "exceeded_host_call",
            CallErrorKind::Refused => "refused",
            CallErrorKind::Lost => "lost",
            _ => "other",
        }
    }

    /// What the input's call did, in a sentence of which the call is the subject.
    pub(super) fn told_of(&self, input: Input) -> String {
        let message = &self.message;
        match (self.kind, &self.location) {
            (CallErrorKind::Panicked, Some(location)) => format!("{input} panicked at {location}: {message}"),
            (CallErrorKind::Panicked, None) => format!("{input} panicked: {message}"),
            (CallErrorKind::Trapped, _) => format!("{input} trapped: {message}"),
            // The message begins with the word.
            (CallErrorKind::Exceeded(_), _) => format!("{input} {message}"),
            (CallErrorKind::Refused, _) => format!("{input} was refused by the component: {message}"),
            (CallErrorKind::Lost, _) => format!("{input} was lost: {message}"),
            (_, _) => format!("{input} failed: {message}"),
        }
    }

    /// The backtrace as lines for people; nothing where there is none.
    pub(super) fn backtrace_lines(&self) -> String {
        let frames = self.backtrace.iter().enumerate().map(|(number, frame)| format!("{number:6}: {frame}\n"));
        if self.backtrace.is_empty() {
            String::new()
        } else {
            format!("  backtrace of the call:\n{}", frames.collect::<String>())
        }
    }
}
