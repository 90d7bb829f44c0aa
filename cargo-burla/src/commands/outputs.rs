//! What calls returned, on its way to stdout as lines of JSON: for `map`, and for `results`.
//!
//! It prints in the order of the inputs or as calls end, as objects or bare, to the first failure or past it. It does
//! not know where calls come from, or what their inputs were.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use burla::raw::RawOutcomes;
use burla::{CallEnd, Stdout, Usage};
use bytes::Bytes;
use serde_json::{Value, json};

use super::map::json::{error_object, output_object, to_json};
use crate::error::{CommandError, FailedCall, Input};

/// Outputs that are gathered before they are written; less where the next is not there yet.
const OUTPUT_BYTES: usize = 64 << 10;

/// Where calls come from, whose progress may be on the terminal that outputs are written to.
pub(super) trait Source {
    fn program_has_terminal(&self, has: bool);
}

impl Source for RawOutcomes {
    fn program_has_terminal(&self, has: bool) {
        self.program_has_terminal(has);
    }
}

/// How outputs are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutputOptions {
    /// Print outputs as calls finish, and not in the order of the inputs.
    pub(crate) as_finished: bool,
    /// Print each output as an object with what its input is known by.
    pub(crate) indexed: bool,
    /// Print outputs that are texts without quotes.
    pub(crate) raw: bool,
    /// Report failures and go on.
    pub(crate) keep_going: bool,
    /// Tell what calls took.
    pub(crate) usage: bool,
}

/// Outputs on their way to stdout.
pub(super) struct Outputs {
    options: OutputOptions,
    /// Outputs that wait for an earlier one, by the position of their input; `None` prints nothing.
    waiting: BTreeMap<u64, Option<Vec<u8>>>,
    /// The position whose turn it is.
    next: u64,
    /// Calls that have ended.
    ended: u64,
    /// Inputs of which it is known what becomes of them: their call has ended, or they have none and were reported.
    settled: u64,
    failed: u64,
    /// The failure that ends the printing once everything before it has been printed.
    failure: Option<Failure>,
    /// Bytes of all outputs so far.
    bytes: u64,
    unwritten: Vec<u8>,
    /// Stdout is a terminal, where progress may be drawn too.
    shares_terminal: bool,
}

/// A failure that ends the printing.
struct Failure {
    position: u64,
    error: CommandError,
    /// It ends the printing at once: outputs have no order, so there is nothing to wait for.
    is_now: bool,
}

impl Outputs {
    pub(super) fn new(options: OutputOptions) -> Self {
        Self {
            options,
            waiting: BTreeMap::new(),
            next: 0,
            ended: 0,
            settled: 0,
            failed: 0,
            failure: None,
            bytes: 0,
            unwritten: Vec::new(),
            shares_terminal: io::stdout().is_terminal(),
        }
    }

    /// Takes how the call at this position ended. Its failure is reported, or ends the printing.
    pub(super) fn take(&mut self, input: Input, position: u64, end: CallEnd<Bytes>) {
        self.take_result(input, position, end.result.map_err(FailedCall::from), &end.usage);
    }

    fn take_result(&mut self, input: Input, position: u64, result: Result<Bytes, FailedCall>, usage: &Usage) {
        self.ended += 1;
        if self.is_behind_failure(position) {
            return;
        }
        match self.text(input, result, usage) {
            Ok(text) => self.keep(position, Some(text)),
            Err((object, error)) => {
                self.failed += 1;
                self.fail(position, object, error, self.options.as_finished);
            }
        }
    }

    /// Takes an input that has no call, and why. It is reported, or ends the printing.
    pub(super) fn take_bad(&mut self, input: Input, position: u64, reason: &str, error: CommandError) {
        if !self.is_behind_failure(position) {
            let object = error_object(input.key(), plain_error("bad_line", reason), None);
            self.fail(position, object, error, false);
        }
    }

    /// Ends the printing with an error once everything before this position has been printed.
    pub(super) fn stop_at(&mut self, position: u64, error: CommandError) {
        if !self.is_behind_failure(position) {
            self.failure = Some(Failure { position, error, is_now: false });
        }
    }

    /// Tells whether a failure will end the printing.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The failure that ends the printing, once its turn has come or no more calls run. In the order of the inputs it
    /// is the first by position, whichever was seen first: a call before it that still runs may fail yet.
    pub(super) fn first_failure(&mut self, is_end: bool) -> Option<CommandError> {
        let Failure { position, is_now, .. } = self.failure.as_ref()?;
        let is_its_turn = if self.options.as_finished { *is_now || self.settled >= *position } else { self.next == *position };
        self.failure.take_if(|_| is_end || is_its_turn).map(|failure| failure.error)
    }

    /// Judges the whole when all calls have ended.
    pub(super) fn verdict(&self, bad_lines: u64, raw_input_helps: bool) -> Result<(), CommandError> {
        if self.failed == 0 && bad_lines == 0 {
            return Ok(());
        }
        Err(CommandError::SomeFailed { failed: self.failed, bad_lines, raw_input_helps })
    }

    /// The position whose turn it is to be printed.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Calls that have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// Bytes of an output, on average; 0 before the first.
    pub(super) fn mean_bytes(&self) -> u64 {
        self.bytes / self.ended.max(1)
    }

    /// Says what the calls took, if that is wanted.
    pub(super) fn tell_usage(&self, usage: &Usage) {
        if self.options.usage {
            super::tell(&format!("{} calls took {}", self.ended, usage_text(usage)));
        }
    }

    fn is_behind_failure(&self, position: u64) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.position <= position)
    }

    /// Reports a failure, whose object takes its turn among the outputs, or ends the printing with it.
    fn fail(&mut self, position: u64, object: Vec<u8>, error: CommandError, is_now: bool) {
        if !self.options.keep_going {
            self.failure = Some(Failure { position, error, is_now });
            return;
        }
        error.tell();
        self.keep(position, self.options.indexed.then_some(object));
    }

    /// What to print for a call; for one that failed, its object with `indexed`, and its error.
    fn text(&self, input: Input, result: Result<Bytes, FailedCall>, usage: &Usage) -> Result<Vec<u8>, (Vec<u8>, CommandError)> {
        let usage = self.options.usage.then(|| usage_json(usage));
        let usage = usage.as_ref();
        match result {
            Ok(output) => match to_json(&output) {
                Ok(text) if self.options.indexed => Ok(output_object(input.key(), &text, usage)),
                Ok(text) if self.options.raw => Ok(raw(text)),
                Ok(text) => Ok(text),
                Err(reason) => {
                    let object = error_object(input.key(), plain_error("not_json", &reason), usage);
                    let (counted_in, number) = input.key();
                    Err((object, CommandError::Output { counted_in, number, reason }))
                }
            },
            Err(call) => {
                let object = error_object(input.key(), call_error(&call), usage);
                Err((object, CommandError::CallFailed { input, call: Box::new(call) }))
            }
        }
    }

    /// Prints it when its turn has come, and those that waited for it.
    fn keep(&mut self, position: u64, text: Option<Vec<u8>>) {
        self.settled += 1;
        self.bytes += text.as_ref().map_or(0, Vec::len) as u64;
        if self.options.as_finished {
            self.print_line(text);
            return;
        }
        self.waiting.insert(position, text);
        while let Some(text) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.print_line(text);
        }
    }

    fn print_line(&mut self, text: Option<Vec<u8>>) {
        if let Some(text) = text {
            self.unwritten.extend_from_slice(&text);
            self.unwritten.push(b'\n');
        }
    }

    /// Writes what has gathered, where that is enough for one write.
    pub(super) fn write_if_much(&mut self, source: &impl Source) -> Result<(), CommandError> {
        if self.unwritten.len() >= OUTPUT_BYTES { self.write(source) } else { Ok(()) }
    }

    /// Writes what has gathered.
    pub(super) fn write(&mut self, source: &impl Source) -> Result<(), CommandError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.shares_terminal {
            source.program_has_terminal(true);
        }
        let mut stdout = io::stdout().lock();
        let written = if self.shares_terminal {
            // JSON escapes control characters of ASCII only.
            stdout.write_all(Stdout::neutralized(&String::from_utf8_lossy(&self.unwritten)).as_bytes())
        } else {
            stdout.write_all(&self.unwritten)
        };
        let written = written.and_then(|()| stdout.flush());
        if self.shares_terminal {
            source.program_has_terminal(false);
        }
        self.unwritten.clear();
        written.map_err(|source| CommandError::File { act: "write", path: PathBuf::from("stdout"), source })
    }
}

/// A text as it is, and other outputs as JSON.
fn raw(text: Vec<u8>) -> Vec<u8> {
    if text.first() != Some(&b'"') {
        return text;
    }
    serde_json::from_slice::<String>(&text).map_or(text, String::into_bytes)
}

/// The error of a call that failed, for an object of `--indexed`.
fn call_error(call: &FailedCall) -> Value {
    let mut error = json!({ "kind": call.kind(), "message": call.message, "causes": call.causes });
    if let Some(location) = &call.location {
        error["location"] = location.clone().into();
    }
    if !call.backtrace.is_empty() {
        error["backtrace"] = call.backtrace.clone().into();
    }
    error
}

/// The error of an input without a call, or of an output that cannot be printed.
fn plain_error(kind: &str, message: &str) -> Value {
    json!({ "kind": kind, "message": message, "causes": [] })
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "fuel": usage.fuel,
        "seconds": usage.wall_time.as_secs_f64(),
        "memory_bytes_peak": usage.memory_bytes_peak,
        "disk_bytes_written": usage.disk_bytes_written,
    })
}

fn usage_text(usage: &Usage) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{:.3} s and {} units of fuel; the largest had {:.1} MiB of memory; {:.1} MiB were written to files",
        usage.wall_time.as_secs_f64(),
        usage.fuel,
        mib(usage.memory_bytes_peak),
        mib(usage.disk_bytes_written)
    )
}

#[cfg(test)]
mod tests;
