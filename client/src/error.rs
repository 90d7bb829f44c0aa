//! What can go wrong, in the user's words: with a job ([`Error`]) and with one call ([`CallError`]).
//!
//! `Display` is one line that says what was being done and to what. `Debug` is the whole story, with causes, backtrace and the
//! end of the call's stderr: it is what Rust prints when `main` returns an error, and what `unwrap` shows. `source()` leads through
//! the same story, for `anyhow` and others that print `Display` and then the chain of causes.
//!
//! Both are for people, who mostly read them on a terminal, so texts that come from elsewhere are shown without what a terminal
//! would obey. The fields hold them as they came.

use std::fmt;

use burla_types::codec::{DecodeError, EncodeError};
use burla_types::{
    Backtrace, Digest, GridError, InvalidLimit, JobId, Limit, Location, Outcome, ParseIdError, ParseNetworkGrantError, Usage,
};

use crate::terminal::neutralized;

/// What most of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job did not give its outputs.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call failed, and the job was stopped.
    #[error(transparent)]
    Call(#[from] Box<CallError>),

    /// An option has a value that cannot be meant.
    #[error(transparent)]
    InvalidLimit(#[from] InvalidLimit),

    /// An option has a value that cannot be meant.
    #[error("{option}({value}) cannot be: {remedy}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        remedy: &'static str,
    },

    /// A network grant has a form that cannot be meant.
    #[error("allow_network({grant:?}) cannot be")]
    InvalidGrant {
        /// What was given.
        grant: String,
        /// What is wrong with it, and what can be given.
        source: ParseNetworkGrantError,
    },

    /// No grid is configured.
    #[error(
        "there is no grid to run on: start the program with `cargo burla run`, which brings one, or keep one on this machine with \
         `cargo burla up`, or set BURLA_URL to the address of a scheduler, such as http://127.0.0.1:8420"
    )]
    NoGrid,

    /// The address of the grid is none.
    #[error("`{url}` is not the address of a grid: {reason}; it looks like http://127.0.0.1:8420")]
    InvalidUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Nothing answers at the grid's address.
    #[error("cannot reach the grid at {url}: check the address, and that `burla-scheduler` runs there")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The connection to the grid broke during the job.
    #[error("lost the connection to the grid at {url} during the job")]
    ConnectionLost {
        /// The address.
        url: String,
        /// What the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The grid will not run the job.
    #[error("{}", neutralized(&.0.to_string()))]
    Grid(GridError),

    /// The scheduler sent a message that breaks the protocol.
    #[error(
        "the scheduler broke the protocol: {}; check that this program and the scheduler have the same version of Burla",
        neutralized(.reason)
    )]
    Protocol {
        /// The message, and why it breaks the protocol.
        reason: String,
    },

    /// What should run is not marked with `#[burla::function]`.
    #[error(transparent)]
    NotMarked(#[from] burla_guest::NotMarked),

    /// The program's component is not where it should be.
    #[error(
        "there is no component for `{function}`: run the program with `cargo burla run`, or package it with `cargo burla build` (looked \
         {looked})"
    )]
    NoComponent {
        /// The function's name.
        function: &'static str,
        /// Where it was looked for.
        looked: String,
    },

    /// The component's file cannot be read.
    #[error("cannot read the component {path}")]
    UnreadableComponent {
        /// The file.
        path: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The component was built from other sources than this program.
    #[error(
        "the component {path} is stale: {}; rebuild it with `cargo burla build`",
        neutralized(.difference)
    )]
    StaleComponent {
        /// The file.
        path: String,
        /// Its digest.
        digest: Digest,
        /// How they differ.
        difference: String,
    },

    /// The program was built from older source than its component.
    #[error(
        "the program {program} is older than its component {path}: {}; build the program again, with `cargo build` and the flags it was built with",
        neutralized(.difference)
    )]
    StaleProgram {
        /// The program's file.
        program: String,
        /// The component's file.
        path: String,
        /// The source that was changed after the program was built.
        difference: String,
    },

    /// An input could not be written as MessagePack.
    #[error("cannot encode input {index}")]
    EncodeInput {
        /// Its position.
        index: u64,
        /// Why not.
        source: EncodeError,
    },

    /// An input is too large to send.
    #[error(
        "input {index} is too large: {bytes} bytes encoded, and the limit is {bytes_max}; split it, or pass where to find it"
    )]
    InputTooLarge {
        /// Its position.
        index: u64,
        /// Its encoded size.
        bytes: usize,
        /// The largest that can be sent.
        bytes_max: usize,
    },

    /// An output is not what this program's function returns.
    #[error("cannot decode the output of call {index}")]
    DecodeOutput {
        /// Its position.
        index: u64,
        /// Why not.
        source: DecodeError,
    },

    /// The job was canceled, and its calls with it.
    #[error("the job was canceled {by} after {calls_ended} of its calls had ended")]
    JobCanceled {
        /// By whom.
        by: CanceledBy,
        /// Calls that had ended until then.
        calls_ended: u64,
    },

    /// The job was to be canceled, and has ended before that.
    #[error("job {job} is over: {state}")]
    JobOver {
        /// The job.
        job: JobId,
        /// How it ended.
        state: crate::JobState,
    },

    /// A detached job ended before its calls had.
    #[error("job {job} failed: {}", neutralized(.reason))]
    JobFailed {
        /// The job.
        job: JobId,
        /// What the grid says.
        reason: String,
    },

    /// A detached job ended so long ago that the grid has only its history.
    #[error(
        "the results of job {job} are not kept any more: the grid keeps them for a time after a job has ended, and then what \
         `cargo burla job {job}` shows; run it again"
    )]
    ResultsExpired {
        /// The job.
        job: JobId,
    },

    /// The job was not detached.
    #[error(
        "job {job} was attached: its results went to the program that ran it; use `.detach()`, or `cargo burla map --detach`, to have the grid keep them"
    )]
    ResultsNotKept {
        /// The job.
        job: JobId,
    },

    /// A text is not the id of a job.
    #[error(transparent)]
    InvalidJobId(#[from] ParseIdError),

    /// The grid ended the job without an outcome for this call. A bug of the grid, never of a function.
    #[error("the grid ended the job without a result for input {index}")]
    MissingResult {
        /// Its position.
        index: u64,
    },

    /// What calls print could not be shown.
    #[error("cannot show what calls print")]
    Print(#[source] std::io::Error),

    /// The inputs wait on a channel, on the thread that outputs are taken on: no output could be given until the next input came.
    #[error(
        "the inputs come from a channel, and waiting for the next would keep outputs back: take them on a thread of their own, with \
         `burla::from_thread(move || receiver)`"
    )]
    BlockingInputs,

    /// `remote_parallel_map` was run inside a function.
    #[error("a call cannot start a job: call `remote_parallel_map` from the program, not from a function")]
    InsideFunction,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Call(error) = self {
            return fmt::Debug::fmt(error, f);
        }
        fmt::Display::fmt(self, f)?;
        let mut causes = std::iter::successors(std::error::Error::source(self), |error| (*error).source());
        causes.try_for_each(|cause| write!(f, "\n  caused by: {}", neutralized(&cause.to_string())))
    }
}

/// Not derived: the grid's error would be the cause as well, and be told twice.
impl From<GridError> for Error {
    fn from(error: GridError) -> Self {
        Self::Grid(error)
    }
}

/// Who canceled a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CanceledBy {
    /// Whoever runs the program, with Ctrl-C.
    CtrlC,
    /// An operator of the grid, with `cargo burla cancel` or [`Grid::cancel`](crate::Grid::cancel).
    Operator,
}

impl fmt::Display for CanceledBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CtrlC => "with Ctrl-C",
            Self::Operator => "by an operator of the grid",
        })
    }
}

/// How one call ended, where it did not end with an output.
///
/// Its texts are the call's own, as they came; [`Stdout::neutralized`](crate::Stdout::neutralized) is for whoever shows one of
/// them on a terminal. `Display` and `Debug` have done that.
// `Error` is not derived, because thiserror would take the call's backtrace for one of this program.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallError {
    /// The position of its input, from 0.
    pub index: u64,
    /// In which way it ended.
    pub kind: CallErrorKind,
    /// What it said: the error's text, the panic's message, the trap, the limit.
    pub message: String,
    /// Where it panicked: `file:line:column`.
    pub location: Option<Location>,
    /// The texts of the errors that caused the function's own, nearest first.
    pub causes: Vec<String>,
    /// What was active when it panicked or trapped, innermost first.
    pub backtrace: Backtrace,
    /// The end of what it wrote to stderr.
    pub stderr_tail: String,
    /// What it took until it ended.
    pub usage: Usage,
    /// The causes, and at the end of the chain the backtrace and stderr, as errors that can be lent out.
    source: Option<Box<Cause>>,
}

/// The ways in which a call ends without an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// The function returned its own error.
    Failed,
    /// The function panicked.
    Panicked,
    /// The call did what WebAssembly does not allow, or ended itself.
    Trapped,
    /// The call reached a limit.
    Exceeded(Limit),
    /// The component would not start the function.
    Refused,
    /// The grid could not carry the call through.
    Lost,
}

impl CallError {
    /// The error a call ended with, or its encoded output.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a component has no calls of its own"))]
    #[expect(clippy::result_large_err, reason = "one that failed is rare, and boxing it would be in the way of its user")]
    pub(crate) fn from_outcome(index: u64, outcome: Outcome, stderr_tail: String, usage: Usage) -> Result<bytes::Bytes, Self> {
        let mut error = Self {
            index,
            kind: CallErrorKind::Failed,
            message: String::new(),
            location: None,
            causes: Vec::new(),
            backtrace: Backtrace::default(),
            stderr_tail,
            usage,
            source: None,
        };
        match outcome {
            Outcome::Done(output) => return Ok(output),
            Outcome::Failed { message, causes } => (error.message, error.causes) = (message, causes),
            Outcome::Panicked { message, location, backtrace } => {
                error.kind = CallErrorKind::Panicked;
                (error.message, error.location, error.backtrace) = (message, location, backtrace);
            }
            Outcome::Trapped { message, backtrace } => {
                error.kind = CallErrorKind::Trapped;
                (error.message, error.backtrace) = (message, backtrace);
            }
            Outcome::Exceeded(exceeded) => {
                error.kind = CallErrorKind::Exceeded(exceeded.limit);
                error.message = exceeded.to_string();
            }
            Outcome::Refused { message } => (error.kind, error.message) = (CallErrorKind::Refused, message),
            Outcome::Lost { reason } => (error.kind, error.message) = (CallErrorKind::Lost, reason),
        }
        error.source = Cause::chain(error.causes.iter().map(|cause| neutralized(cause).into_owned()).chain(error.details()));
        Err(error)
    }

    /// The backtrace and the end of stderr, if there are any, as they are shown on a terminal.
    fn details(&self) -> Option<String> {
        let backtrace = (!self.backtrace.0.is_empty()).then(|| format!("backtrace of the call:\n{}", self.backtrace));
        let stderr = (!self.stderr_tail.is_empty()).then(|| format!("the last it wrote to stderr:\n{}", self.stderr_tail));
        let details: Vec<_> = backtrace.into_iter().chain(stderr).map(|text| neutralized(text.trim_end()).into_owned()).collect();
        (!details.is_empty()).then(|| details.join("\n"))
    }
}

impl std::error::Error for CallError {
    /// The function's own causes, nearest first; then one whose text is the call's backtrace and the end of its stderr, because who
    /// prints an error with its sources prints nothing else.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

/// A text in the chain of causes of a [`CallError`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl Cause {
    /// The first of a chain of these texts.
    fn chain(texts: impl DoubleEndedIterator<Item = String>) -> Option<Box<Self>> {
        texts.rfold(None, |source, text| Some(Box::new(Self { text, source })))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, message) = (self.index, neutralized(&self.message));
        match (self.kind, self.location.as_ref().map(|location| neutralized(&location.0))) {
            (CallErrorKind::Failed, _) => write!(f, "call {index} failed: {message}"),
            (CallErrorKind::Panicked, Some(location)) => write!(f, "call {index} panicked at {location}: {message}"),
            (CallErrorKind::Panicked, None) => write!(f, "call {index} panicked: {message}"),
            (CallErrorKind::Trapped, _) => write!(f, "call {index} trapped: {message}"),
            // The message begins with the word.
            (CallErrorKind::Exceeded(_), _) => write!(f, "call {index} {message}"),
            (CallErrorKind::Refused, _) => write!(f, "call {index} was refused by the component: {message}"),
            (CallErrorKind::Lost, _) => write!(f, "call {index} was lost: {message}"),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", neutralized(cause))?;
        }
        if let Some(details) = self.details() {
            write!(f, "\n{details}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_said_does_not_reach_the_terminal_as_commands() {
        let outcome = Outcome::Panicked {
            message: "first\nsecond \x1b]52;c;aGk=\x07".to_owned(),
            location: Some(Location("src/\x1b[2J.rs:1:2".to_owned())),
            backtrace: Backtrace(vec!["f\u{9b}2J".to_owned()]),
        };
        let mut error = CallError::from_outcome(7, outcome, "over\rwritten\r\nlast\n".to_owned(), Usage::default()).unwrap_err();
        error.causes.push("\u{202e}cause".to_owned());
        let line = "call 7 panicked at src/␛[2J.rs:1:2: first\nsecond ␛]52;c;aGk=␇";
        assert_eq!(error.to_string(), line);
        let story = "\n  caused by: \\u{202e}cause\nbacktrace of the call:\n   0: f\\u{9b}2J\
                     \nthe last it wrote to stderr:\nover␍written\nlast";
        assert_eq!(format!("{error:?}"), format!("{line}{story}"));
        assert_eq!(error.stderr_tail, "over\rwritten\r\nlast\n", "the fields are as they came");
        assert_eq!(format!("{:?}", Error::from(Box::new(error))), format!("{line}{story}"));
    }

    #[test]
    fn a_path_from_a_list_of_sources_does_not_reach_the_terminal_as_commands() {
        let difference = "src/\x1b[2J\u{9b}1m.rs is gone".to_owned();
        let (path, program) = ("a.wasm".to_owned(), "a".to_owned());
        let errors = [
            Error::StaleComponent { path: path.clone(), digest: Digest::of(b"a"), difference: difference.clone() },
            Error::StaleProgram { program, path, difference },
        ];
        for error in errors {
            assert!(error.to_string().contains(": src/␛[2J\\u{9b}1m.rs is gone; "), "{error}");
        }
    }

    /// The texts that `anyhow` prints under "Caused by", for an error that `main` returns.
    fn chain(error: &Error) -> Vec<String> {
        let sources = std::iter::successors(std::error::Error::source(error), |cause| (*cause).source());
        sources.map(ToString::to_string).collect()
    }

    #[test]
    fn every_cause_is_a_source_and_the_end_of_stderr_is_the_last() {
        let causes = vec!["no map".to_owned(), "disk \x1b[2J on fire".to_owned()];
        let outcome = Outcome::Failed { message: "top".to_owned(), causes };
        let error = |stderr: &str| {
            let error = CallError::from_outcome(0, outcome.clone(), stderr.to_owned(), Usage::default()).unwrap_err();
            Error::from(Box::new(error))
        };
        assert_eq!(error("").to_string(), "call 0 failed: top", "the causes are not part of the text");
        assert_eq!(chain(&error("")), ["no map", "disk ␛[2J on fire"]);
        assert_eq!(chain(&error("a\nb\n"))[2..], ["the last it wrote to stderr:\na\nb"]);
        let story = "call 0 failed: top\n  caused by: no map\n  caused by: disk ␛[2J on fire\nthe last it wrote to stderr:\na";
        assert_eq!(format!("{:?}", error("a\n")), story, "once each");
    }

    #[test]
    fn the_backtrace_of_a_panic_is_a_source() {
        let location = Some(Location("src/main.rs:1:2".to_owned()));
        let outcome = Outcome::Panicked { message: "no".to_owned(), location, backtrace: Backtrace(vec!["f".to_owned()]) };
        let error = CallError::from_outcome(0, outcome, "last\n".to_owned(), Usage::default()).unwrap_err();
        assert_eq!(chain(&Error::from(Box::new(error))), ["backtrace of the call:\n   0: f\nthe last it wrote to stderr:\nlast"]);
    }

    #[test]
    fn what_the_grid_said_is_told_once_and_without_commands() {
        let error = Error::from(GridError::InvalidRequest { reason: "\x1b[2J".to_owned() });
        assert_eq!(format!("{error:?}"), "the scheduler refused the request: ␛[2J");
        let error = Error::Protocol { reason: "job_id: 3 bytes\x1b[2J".to_owned() };
        assert!(format!("{error:?}").starts_with("the scheduler broke the protocol: job_id: 3 bytes␛[2J; "), "{error:?}");
    }
}
