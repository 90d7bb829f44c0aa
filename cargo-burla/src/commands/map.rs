//! `cargo burla map`: a function over lines of JSON.
//!
//! A thread of its own reads lines, so that outputs are printed while the next line is still to come. Lines become MessagePack,
//! which is what functions take, and outputs become JSON again. Data goes to stdout; what calls print, and everything else for
//! people, to stderr.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::raw::{self, Options, RawCalls};
use burla::{CallError, Grid, Stdout};
use burla_types::LIMIT_PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use futures_core::Stream;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::Map;
use crate::error::CommandError;
use crate::package::{Packaged, package};
use crate::project::Project;

/// Lines that may wait to be sent. Enough to keep the reader and the sender from waiting for each other at every line.
const LINES_MAX: usize = 64;

/// The longest line: the largest input, in a notation that takes more room than the one it travels in.
const LINE_BYTES_MAX: u64 = 4 * LIMIT_PAYLOAD_BYTES_MAX as u64;

/// Bytes of outputs that may wait for an earlier one, before no more inputs are sent.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Outputs that may wait for an earlier one, however small.
const WAITING_OUTPUTS_MAX: usize = 100_000;

pub(super) fn map(arguments: &Map) -> Result<(), CommandError> {
    let component = component(arguments)?;
    let function = function(&component, &arguments.function)?;
    let lines = read_lines(arguments.inputs.as_deref())?;
    super::on_a_grid(|url| {
        let inputs = Rc::new(RefCell::new(Inputs::default()));
        let source = Lines { lines, inputs: Rc::clone(&inputs), keep_going: arguments.keep_going, index: 0 };
        let calls = raw::start(&component.path, &function, source, options(arguments, url)?).map_err(CommandError::Job)?;
        let outputs = Outputs { arguments, inputs, waiting: BTreeMap::new(), waiting_bytes: 0, next: 0, failed: 0 };
        pollster::block_on(outputs.print(calls))
    })
}

fn component(arguments: &Map) -> Result<Packaged, CommandError> {
    match &arguments.component {
        Some(path) => Packaged::read(path),
        None => package(&Project::find(&arguments.what.selection())?, &arguments.what.cargo()),
    }
}

/// The one function that is meant: by its whole name, or by the end of it.
fn function(component: &Packaged, wanted: &str) -> Result<String, CommandError> {
    let names = component.description.functions.iter().map(|function| &*function.name);
    let is_meant = |name: &&str| wanted == "-" || *name == wanted || name.ends_with(&format!("::{wanted}"));
    let meant: Vec<&str> = names.clone().filter(is_meant).collect();
    match meant.as_slice() {
        [name] => Ok((*name).to_owned()),
        several => {
            let available = if several.is_empty() {
                names.map(str::to_owned).collect()
            } else {
                several.iter().map(ToString::to_string).collect()
            };
            Err(CommandError::WhichFunction { wanted: wanted.to_owned(), available })
        }
    }
}

fn options(arguments: &Map, url: &str) -> Result<Options, CommandError> {
    let prints = Stdout::to(|_, _, line| super::tell_plainly(line));
    Ok(Options {
        func_cpu: arguments.func_cpu,
        func_ram: arguments.func_ram,
        max_parallelism: arguments.max_parallelism,
        grid: Some(Grid::at(url).map_err(CommandError::Job)?),
        name: arguments.name.clone(),
        env: arguments.env.iter().cloned().collect(),
        timeout: arguments.timeout,
        stdout: if arguments.discard_prints { Stdout::Discard } else { prints },
        spinner: arguments.spinner,
    })
}

/// A line that was read, with its number from 1, or why there is none.
type Line = (u64, io::Result<Vec<u8>>);

/// Opens the inputs, and reads lines from them for as long as someone takes them.
fn read_lines(path: Option<&Path>) -> Result<mpsc::Receiver<Line>, CommandError> {
    let source: Box<dyn Read + Send> = match path {
        None => Box::new(io::stdin()),
        Some(path) => {
            let failed = |source| CommandError::File { act: "read", path: path.to_owned(), source };
            Box::new(File::open(path).map_err(failed)?)
        }
    };
    let (sender, lines) = mpsc::channel(LINES_MAX);
    // It ends with its inputs, or with nobody taking them; one that waits for stdin ends with the process.
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        for number in 1.. {
            let line = read_line(&mut source).transpose();
            let Some(line) = line else { return };
            let failed = line.is_err();
            if sender.blocking_send((number, line)).is_err() || failed {
                return;
            }
        }
    });
    Ok(lines)
}

/// The next line without its end; `None` when there is none.
fn read_line(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    source.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LINE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {} GiB", LINE_BYTES_MAX >> 30)));
    }
    if line.is_empty() {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line).len();
    line.truncate(text);
    Ok(Some(line))
}

/// What is known of the inputs that were sent.
#[derive(Default)]
struct Inputs {
    /// The line of each input whose call has not ended.
    lines: HashMap<u64, u64>,
    bad_lines: u64,
    /// Why no more are sent.
    stopped: Option<CommandError>,
}

/// Lines as inputs.
struct Lines {
    lines: mpsc::Receiver<Line>,
    inputs: Rc<RefCell<Inputs>>,
    keep_going: bool,
    index: u64,
}

impl Stream for Lines {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some((line, text)) = std::task::ready!(this.lines.poll_recv(context)) else { return Poll::Ready(None) };
            let input = match text {
                Ok(text) if text.trim_ascii().is_empty() => continue,
                Ok(text) => from_json(&text).and_then(|input| {
                    raw::check_input(this.index, &input).map_err(|error| error.to_string())?;
                    Ok(input)
                }),
                Err(error) => Err(error.to_string()),
            };
            let mut inputs = this.inputs.borrow_mut();
            match input {
                Ok(input) => {
                    inputs.lines.insert(this.index, line);
                    this.index += 1;
                    return Poll::Ready(Some(Ok(input)));
                }
                Err(reason) => {
                    let error = CommandError::BadLine { line, reason };
                    inputs.bad_lines += 1;
                    if !this.keep_going {
                        // Whoever polls the job looks here first.
                        inputs.stopped = Some(error);
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    error.tell();
                }
            }
        }
    }
}

/// Outputs on their way to stdout.
struct Outputs<'a> {
    arguments: &'a Map,
    inputs: Rc<RefCell<Inputs>>,
    /// Those that wait for an earlier one, by index: what to print, if anything.
    waiting: BTreeMap<u64, Option<Vec<u8>>>,
    waiting_bytes: usize,
    next: u64,
    failed: u64,
}

impl Outputs<'_> {
    /// Prints everything, and says how many failed.
    async fn print(mut self, mut calls: RawCalls<Lines>) -> Result<(), CommandError> {
        let mut out = BufWriter::new(io::stdout().lock());
        loop {
            let next = std::future::poll_fn(|context| self.poll(&mut calls, &mut out, context)).await;
            let Some((index, ended)) = (match next {
                Err(CommandError::File { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                next => next?,
            }) else {
                break;
            };
            let line = self.inputs.borrow_mut().lines.remove(&index).unwrap_or_default();
            let text = self.text(line, ended)?;
            match self.keep(index, text, &mut out) {
                Err(source) if source.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                kept => kept.map_err(unwritten)?,
            }
            calls.hold_inputs(self.waiting_bytes > WAITING_BYTES_MAX || self.waiting.len() > WAITING_OUTPUTS_MAX);
        }
        match out.flush() {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => return Err(unwritten(source)),
            _ => {}
        }
        let bad_lines = self.inputs.borrow().bad_lines;
        if self.failed > 0 || bad_lines > 0 {
            return Err(CommandError::SomeFailed { failed: self.failed, bad_lines });
        }
        Ok(())
    }

    /// The next call that ended. While there is none, what was printed becomes visible.
    #[expect(clippy::type_complexity, reason = "it is what the job gives, and the command's own errors around it")]
    fn poll(
        &mut self,
        calls: &mut RawCalls<Lines>,
        out: &mut impl Write,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<(u64, Result<Bytes, CallError>)>, CommandError>> {
        let next = calls.poll_next(context);
        if let Some(error) = self.inputs.borrow_mut().stopped.take() {
            return Poll::Ready(Err(error));
        }
        match next {
            Poll::Ready(next) => Poll::Ready(next.transpose().map_err(CommandError::Job)),
            Poll::Pending => {
                // The line that shows progress makes room for it, should both be on one terminal.
                calls.program_has_terminal(true);
                let flushed = out.flush();
                calls.program_has_terminal(false);
                match flushed {
                    Ok(()) => Poll::Pending,
                    Err(source) => Poll::Ready(Err(unwritten(source))),
                }
            }
        }
    }

    /// What to print for a call, if anything. A failure is reported, or is the end.
    fn text(&mut self, line: u64, ended: Result<Bytes, CallError>) -> Result<Option<Vec<u8>>, CommandError> {
        let output = match ended {
            Ok(output) => to_json(&output).map_err(|reason| CommandError::Output { line, reason })?,
            Err(source) => {
                self.failed += 1;
                let object = json!({
                    "line": line,
                    "error": { "kind": format!("{:?}", source.kind).to_lowercase(), "message": source.message, "causes": source.causes },
                });
                let error = CommandError::CallFailed { line, source: Box::new(source) };
                if !self.arguments.keep_going {
                    return Err(error);
                }
                error.tell();
                return Ok(self.arguments.indexed.then(|| object.to_string().into_bytes()));
            }
        };
        if !self.arguments.indexed {
            return Ok(Some(output));
        }
        let mut object = format!("{{\"line\":{line},\"output\":").into_bytes();
        object.extend_from_slice(&output);
        object.push(b'}');
        Ok(Some(object))
    }

    /// Prints it when its turn has come, and those that waited for it.
    fn keep(&mut self, index: u64, text: Option<Vec<u8>>, out: &mut impl Write) -> io::Result<()> {
        if self.arguments.as_finished {
            return print(text, out);
        }
        self.waiting_bytes += text.as_ref().map_or(0, Vec::len);
        self.waiting.insert(index, text);
        while let Some(text) = self.waiting.remove(&self.next) {
            self.waiting_bytes -= text.as_ref().map_or(0, Vec::len);
            self.next += 1;
            print(text, out)?;
        }
        Ok(())
    }
}

fn print(text: Option<Vec<u8>>, out: &mut impl Write) -> io::Result<()> {
    let Some(mut text) = text else { return Ok(()) };
    text.push(b'\n');
    out.write_all(&text)
}

fn unwritten(source: io::Error) -> CommandError {
    CommandError::File { act: "write", path: PathBuf::from("stdout"), source }
}

/// One JSON value as a function's input.
fn from_json(text: &[u8]) -> Result<Bytes, String> {
    let mut input = Vec::with_capacity(text.len());
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut writer = rmp_serde::Serializer::new(&mut input).with_struct_map();
    serde_transcode::transcode(&mut reader, &mut writer).map_err(|error| not_json(&error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(input.into())
}

/// The parser counts lines as well, and for it there is only one.
fn not_json(error: &dyn std::fmt::Display) -> String {
    format!("it is not JSON: {}", error.to_string().replace(" at line 1 column ", " at column "))
}

/// A function's output as one line of JSON.
fn to_json(output: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::with_capacity(output.len());
    let mut reader = rmp_serde::Deserializer::from_read_ref(output);
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::new(&mut text)).map_err(|error| error.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burla_types::codec;

    use super::*;

    #[test]
    fn json_becomes_what_functions_take_and_back() {
        for text in ["null", "true", "-7", "18446744073709551615", "1.5", "\"ß\"", "[]", "[1,[2,null]]", r#"{"a":{"b":[1.25]}}"#]
        {
            let input = from_json(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(to_json(&input).unwrap()).unwrap(), text);
        }
        assert_eq!(codec::decode::<(i64, String)>(&from_json(b"[3, \"x\"]").unwrap()).unwrap(), (3, "x".to_owned()));
        assert_eq!(codec::decode::<f64>(&from_json(b"2").unwrap()).unwrap(), 2.0);
        assert_eq!(codec::decode::<()>(&from_json(b"null").unwrap()).unwrap(), ());
    }

    #[test]
    fn keys_that_are_numbers_become_texts() {
        let output = codec::encode(&BTreeMap::from([(7, 'x')])).unwrap();
        assert_eq!(to_json(&output).unwrap(), br#"{"7":"x"}"#);
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for text in ["", "{", "1 2", "nul", "{'a':1}"] {
            assert!(from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_are_read_to_the_last() {
        let mut source = io::Cursor::new("a\n\nb\r\nlast");
        let lines: Vec<_> = std::iter::from_fn(|| read_line(&mut source).unwrap()).collect();
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"last"]);
    }
}
