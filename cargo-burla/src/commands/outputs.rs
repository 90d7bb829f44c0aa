//! What calls returned, on its way to stdout as lines of JSON: for `map`, and for `results`.
//!
//! In the order of the inputs or as it comes, as objects or bare, to the first failure or past it. It does not know where calls
//! come from, or what their inputs were.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use burla::raw::RawOutcomes;
use burla::{CallEnd, CallErrorKind, Limit, Stdout, Usage};
use bytes::Bytes;
use serde_json::{Value, json};

use super::map::json::{error_object, output_object, to_json};
use crate::cli::OutputOptions;
use crate::error::CommandError;

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

/// What people know an input by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Input {
    /// The number of its line, from 1.
    Line(u64),
    /// Its position, from 0.
    Index(u64),
}

impl Input {
    fn key(self) -> (&'static str, u64) {
        match self {
            Self::Line(line) => ("line", line),
            Self::Index(index) => ("index", index),
        }
    }
}

/// Outputs on their way to stdout.
pub(super) struct Outputs<'a> {
    options: &'a OutputOptions,
    /// Those that wait for an earlier one, by the position of their input: what to print, if anything.
    waiting: BTreeMap<u64, Option<Vec<u8>>>,
    /// The position whose turn it is.
    next: u64,
    /// Calls that have ended.
    ended: u64,
    failed: u64,
    /// Bytes of all outputs so far.
    bytes: u64,
    unwritten: Vec<u8>,
    /// Whether what is written appears where progress may be drawn.
    shares_terminal: bool,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(options: &'a OutputOptions) -> Self {
        Self {
            options,
            waiting: BTreeMap::new(),
            next: 0,
            ended: 0,
            failed: 0,
            bytes: 0,
            unwritten: Vec::new(),
            shares_terminal: io::stdout().is_terminal(),
        }
    }

    /// Takes how the call at this position ended. A failure is reported, or is the end.
    pub(super) fn take(&mut self, input: Input, position: u64, end: CallEnd<Bytes>) -> Result<(), CommandError> {
        self.ended += 1;
        let text = self.text(input, end)?;
        self.keep(position, text);
        Ok(())
    }

    /// Takes an input that has no call, and why.
    pub(super) fn take_bad(&mut self, input: Input, position: u64, reason: &str) {
        let object = error_object(input.key(), "bad_line", reason, &[], None);
        self.keep(position, self.options.indexed.then_some(object));
    }

    /// The position whose turn it is to be printed.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Calls that have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// Calls that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
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

    /// What to print for a call, if anything. A failure is reported, or is the end.
    fn text(&mut self, input: Input, end: CallEnd<Bytes>) -> Result<Option<Vec<u8>>, CommandError> {
        let usage = self.options.usage.then(|| usage_json(&end.usage));
        let usage = usage.as_ref();
        let (object, error) = match end.result {
            Ok(output) => match to_json(&output) {
                Ok(text) if self.options.indexed => return Ok(Some(output_object(input.key(), &text, usage))),
                Ok(text) => return Ok(Some(text)),
                Err(reason) => {
                    let object = error_object(input.key(), "not_json", &reason, &[], usage);
                    let (counted_in, number) = input.key();
                    (object, CommandError::Output { counted_in, number, reason })
                }
            },
            Err(source) => {
                let object = error_object(input.key(), kind(source.kind), &source.message, &source.causes, usage);
                let source = Box::new(source);
                let error = match input {
                    Input::Line(line) => CommandError::CallFailed { line, source },
                    // It names the call itself.
                    Input::Index(_) => CommandError::Job(burla::Error::Call(source)),
                };
                (object, error)
            }
        };
        self.failed += 1;
        if !self.options.keep_going {
            return Err(error);
        }
        error.tell();
        Ok(self.options.indexed.then_some(object))
    }

    /// Prints it when its turn has come, and those that waited for it.
    fn keep(&mut self, position: u64, text: Option<Vec<u8>>) {
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
            stdout.write_all(Stdout::neutralised(&String::from_utf8_lossy(&self.unwritten)).as_bytes())
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

/// What scripts tell failures apart by.
fn kind(kind: CallErrorKind) -> &'static str {
    match kind {
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

#[cfg(test)]
mod tests {
    use burla_types::codec;

    use super::*;

    fn options(as_finished: bool, indexed: bool) -> OutputOptions {
        OutputOptions { as_finished, indexed, keep_going: false, usage: false }
    }

    fn printed(options: &OutputOptions) -> String {
        let mut outputs = Outputs::new(options);
        for (index, output) in [(1, "b"), (2, "c"), (0, "a")] {
            let text = to_json(&codec::encode(&output).unwrap()).unwrap();
            let text = if options.indexed { output_object(Input::Index(index).key(), &text, None) } else { text };
            outputs.keep(index, Some(text));
        }
        outputs.take_bad(Input::Line(4), 3, "it is not JSON");
        String::from_utf8(outputs.unwritten).unwrap()
    }

    #[test]
    fn outputs_are_in_order_or_as_they_come() {
        assert_eq!(printed(&options(false, false)), "\"a\"\n\"b\"\n\"c\"\n");
        assert_eq!(printed(&options(true, false)), "\"b\"\n\"c\"\n\"a\"\n");
        let bad = r#"{"line":4,"error":{"kind":"bad_line","message":"it is not JSON","causes":[]}}"#;
        let indexed = printed(&options(false, true));
        let (outputs, object) = indexed.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(
            outputs,
            r#"{"index":0,"output":"a"}"#.to_owned()
                + "\n"
                + r#"{"index":1,"output":"b"}"#
                + "\n"
                + r#"{"index":2,"output":"c"}"#
        );
        assert_eq!(serde_json::from_str::<Value>(object).unwrap(), serde_json::from_str::<Value>(bad).unwrap());
    }
}
