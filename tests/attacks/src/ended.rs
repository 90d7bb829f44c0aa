//! How a call of an attack ended, or its job, in the words of the list.

use std::fmt;
use std::time::Duration;

use burla::{CallError, CallErrorKind, Error};
use burla_types::{codec, with_causes};
use bytes::Bytes;
use serde_json::Value;

/// What is shown of a message or an output: some are megabytes.
const SHOWN_CHARACTERS: usize = 200;

/// How a call ended, or the job before it had calls.
#[derive(Clone, Debug)]
pub struct Ended {
    /// One word: `done`, `trapped`, `exceeded`; or `job: ` and of which kind its error was.
    pub outcome: String,
    /// What it said.
    pub message: String,
    /// What it returned.
    pub output: Option<Value>,
}

impl Ended {
    pub(crate) fn of_call(result: Result<Bytes, CallError>) -> Self {
        let error = match result {
            Ok(output) => {
                let output = codec::decode::<Value>(&output);
                let message = output.as_ref().err().map(|error| with_causes(error)).unwrap_or_default();
                return Self { outcome: "done".to_owned(), message, output: output.ok() };
            }
            Err(error) => error,
        };
        let outcome = match error.kind {
            CallErrorKind::Failed => "failed",
            CallErrorKind::Panicked => "panicked",
            CallErrorKind::Trapped => "trapped",
            CallErrorKind::Exceeded(_) => "exceeded",
            CallErrorKind::Refused => "refused",
            CallErrorKind::Lost => "lost",
            _ => "of a kind that is not known here",
        };
        let message = std::iter::once(error.message).chain(error.causes).collect::<Vec<_>>().join(": ");
        Self { outcome: outcome.to_owned(), message, output: None }
    }

    pub(crate) fn of_job(error: &Error) -> Self {
        let kind = match error {
            Error::UnreadableComponent { .. } => "unreadable component",
            Error::Grid(_) => "grid",
            Error::Unreachable { .. } | Error::ConnectionLost { .. } => "no connection",
            _ => "other",
        };
        Self { outcome: format!("job: {kind}"), message: with_causes(error), output: None }
    }

    pub(crate) fn stuck(after: Duration) -> Self {
        Self { outcome: "stuck".to_owned(), message: format!("it had not ended after {after:?}"), output: None }
    }

    /// Whether it ended as the list says. Of a limit the message says which, so that counts there.
    pub(crate) fn is(&self, outcome: &str) -> bool {
        if self.outcome == "exceeded" { self.message.starts_with(outcome) } else { self.outcome == outcome }
    }

    /// Whether it ended by what it did, and not by what it did to the grid.
    pub(crate) fn leaves_grid_well(&self) -> bool {
        !["lost", "stuck", "job: no connection", "job: other"].contains(&self.outcome.as_str())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match &self.output {
            Some(output) => output.to_string(),
            None => self.message.clone(),
        };
        write!(f, "{}: {}", self.outcome, said.chars().take(SHOWN_CHARACTERS).collect::<String>())
    }
}
