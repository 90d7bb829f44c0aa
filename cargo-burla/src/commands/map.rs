//! `cargo burla map`: a function over lines of JSON.
//!
//! A thread of its own reads lines, so that outputs are printed while the next line is still to come. Lines become MessagePack,
//! which is what functions take, and outputs become JSON again. Data goes to stdout; what calls print, and everything else for
//! people, to stderr.

mod json;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::raw::{self, Options, RawCalls};
use burla::{CallEnd, CallErrorKind, Grid, Limit, Stdout, Usage};
use burla_types::LIMIT_PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cli::Map;
use crate::error::CommandError;
use crate::package::{Packaged, package};
use crate::project::Project;
use json::{error_object, from_json, output_object, to_json};

/// What the reader gathers before it passes lines on; less where there is no more to be read at once.
const LINES_BYTES: usize = 64 << 10;

/// Outputs that are gathered before they are written; less where the next is not there yet.
const OUTPUT_BYTES: usize = 64 << 10;

/// The longest line: the largest input, in a notation that takes more room than the one it travels in.
const LINE_BYTES_MAX: u64 = 4 * LIMIT_PAYLOAD_BYTES_MAX as u64;

/// Bytes of outputs that may wait for an earlier one, as far as those that have come tell how large the next ones are. Inputs
/// that are further ahead are not taken.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Inputs that may be ahead of the earliest whose output is not there, however small outputs are.
const AHEAD_MAX: u64 = 100_000;

/// The same, however large outputs are: fewer would leave nodes without work.
const AHEAD_MIN: u64 = 256;

pub(super) fn map(arguments: &Map) -> Result<(), CommandError> {
    let component = component(arguments)?;
    let function = function(&component, &arguments.function)?;
    let lines = read_lines(arguments.inputs.as_deref())?;
    super::on_a_grid(|url| {
        let inputs = Rc::new(RefCell::new(Inputs::default()));
        let batch = Vec::new().into_iter();
        let source = Lines { lines, batch, inputs: Rc::clone(&inputs), index: 0 };
        let calls = raw::start(&component.path, &function, source, options(arguments, url)?).map_err(CommandError::Job)?;
        let outputs = Outputs {
            arguments,
            inputs,
            waiting: BTreeMap::new(),
            next: 0,
            ended: 0,
            failed: 0,
            bytes: 0,
            unwritten: Vec::new(),
            shares_terminal: io::stdout().is_terminal(),
        };
        match pollster::block_on(outputs.print(calls)) {
            // Whoever reads has what it wanted.
            Err(CommandError::File { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
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
    if let Some(name) = names.clone().find(|name| *name == wanted) {
        return Ok(name.to_owned());
    }
    let is_meant = |name: &&str| wanted == "-" || name.ends_with(&format!("::{wanted}"));
    let meant: Vec<&str> = names.clone().filter(is_meant).collect();
    match meant.as_slice() {
        [name] => Ok((*name).to_owned()),
        several => {
            // They are shown to people, and the component may be anyone's.
            let shown = |name| Stdout::neutralised(name).into_owned();
            let available =
                if several.is_empty() { names.map(shown).collect() } else { several.iter().copied().map(shown).collect() };
            Err(CommandError::WhichFunction { wanted: wanted.to_owned(), available })
        }
    }
}

fn options(arguments: &Map, url: &str) -> Result<Options, CommandError> {
    let is_terminal = io::stderr().is_terminal();
    let prints = Stdout::to(move |_, _, line| {
        super::tell_plainly(&if is_terminal { Stdout::neutralised(line) } else { Cow::Borrowed(line) });
    });
    Ok(Options {
        func_cpu: arguments.func_cpu,
        func_ram: arguments.func_ram,
        max_parallelism: arguments.max_parallelism,
        grid: Some(Grid::at(url).map_err(CommandError::Job)?),
        name: arguments.name.clone(),
        env: arguments.env.iter().cloned().collect(),
        timeout: arguments.timeout,
        fuel: arguments.fuel,
        disk: arguments.disk,
        allow_network: arguments.allow_network.clone(),
        stdout: if arguments.discard_prints { Stdout::Discard } else { prints },
        spinner: arguments.spinner,
    })
}

/// A line that was read, with its number from 1.
struct Line {
    number: u64,
    text: Vec<u8>,
}

/// Opens the inputs, and reads lines from them for as long as someone takes them.
fn read_lines(path: Option<&Path>) -> Result<mpsc::Receiver<io::Result<Vec<Line>>>, CommandError> {
    let source: Box<dyn Read + Send> = match path {
        None => Box::new(io::stdin()),
        Some(path) => {
            let failed = |source| CommandError::File { act: "read", path: path.to_owned(), source };
            Box::new(File::open(path).map_err(failed)?)
        }
    };
    // One batch waits while the next is read.
    let (sender, lines) = mpsc::channel(1);
    // It ends with its inputs, or with nobody taking them; one that waits for stdin ends with the process.
    std::thread::spawn(move || {
        let (mut source, mut read) = (BufReader::with_capacity(LINES_BYTES, source), 0);
        loop {
            let batch = read_batch(&mut source, &mut read);
            let is_last = batch.as_ref().map_or(true, Vec::is_empty);
            if sender.blocking_send(batch).is_err() || is_last {
                return;
            }
        }
    });
    Ok(lines)
}

/// The next lines, of which `read` have been read so far; none at the end.
fn read_batch(source: &mut BufReader<impl Read>, read: &mut u64) -> io::Result<Vec<Line>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(text) = read_line(source)? {
        *read += 1;
        bytes += text.len();
        batch.push(Line { number: *read, text });
        // What has not arrived may be long in coming, and those that have are not to wait for it.
        if bytes >= LINES_BYTES || source.buffer().is_empty() {
            break;
        }
    }
    Ok(batch)
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

/// Where an input came from.
#[derive(Clone, Copy)]
struct Origin {
    /// Its position among the lines that are not empty, from 0.
    position: u64,
    /// The number of its line, from 1.
    line: u64,
}

/// What is known of the inputs that were taken.
#[derive(Default)]
struct Inputs {
    /// Lines that are not empty.
    taken: u64,
    /// Where the input of each call came from that has not ended.
    calls: HashMap<u64, Origin>,
    /// Lines that are no inputs and have not been told.
    bad: Vec<(Origin, String)>,
    /// The inputs could not be read to their end.
    unreadable: Option<io::Error>,
}

/// Lines as inputs.
struct Lines {
    lines: mpsc::Receiver<io::Result<Vec<Line>>>,
    batch: std::vec::IntoIter<Line>,
    inputs: Rc<RefCell<Inputs>>,
    index: u64,
}

impl Stream for Lines {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut inputs = this.inputs.borrow_mut();
        loop {
            let Some(Line { number, text }) = this.batch.next() else {
                match std::task::ready!(this.lines.poll_recv(context)) {
                    Some(Ok(batch)) => this.batch = batch.into_iter(),
                    Some(Err(error)) => {
                        inputs.unreadable = Some(error);
                        return wait_for_reader(context);
                    }
                    None => return Poll::Ready(None),
                }
                continue;
            };
            if text.trim_ascii().is_empty() {
                continue;
            }
            let origin = Origin { position: inputs.taken, line: number };
            inputs.taken += 1;
            let input = from_json(&text).and_then(|input| {
                raw::check_input(this.index, &input).map_err(|error| error.to_string())?;
                Ok(input)
            });
            match input {
                Ok(input) => {
                    inputs.calls.insert(this.index, origin);
                    this.index += 1;
                    return Poll::Ready(Some(Ok(input)));
                }
                Err(reason) => {
                    inputs.bad.push((origin, reason));
                    return wait_for_reader(context);
                }
            }
        }
    }
}

/// Nothing more before whoever polls the job has looked at what happened to its inputs.
fn wait_for_reader<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Outputs on their way to stdout.
struct Outputs<'a> {
    arguments: &'a Map,
    inputs: Rc<RefCell<Inputs>>,
    /// Those that wait for an earlier one, by the position of their line: what to print, if anything.
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

impl Outputs<'_> {
    /// Prints everything, and says what it took, however it ended.
    async fn print(mut self, mut calls: RawCalls<Lines>) -> Result<(), CommandError> {
        let printed = self.print_all(&mut calls).await;
        let usage = calls.usage();
        // With it, its progress goes from the terminal.
        drop(calls);
        // One that failed before any call has ended took nothing worth telling.
        if self.arguments.usage && (printed.is_ok() || self.ended > 0) {
            super::tell(&format!("{} calls took {}", self.ended, usage_text(&usage)));
        }
        printed
    }

    /// Prints everything, and says how many failed.
    async fn print_all(&mut self, calls: &mut RawCalls<Lines>) -> Result<(), CommandError> {
        let mut bad_lines = 0;
        loop {
            let next = std::future::poll_fn(|context| self.poll(calls, context)).await?;
            match next {
                Next::Ended(end) => {
                    let Some(origin) = self.inputs.borrow_mut().calls.remove(&end.index) else { continue };
                    self.ended += 1;
                    let text = self.text(origin.line, end)?;
                    self.keep(origin.position, text);
                }
                Next::Bad(origin, reason) => {
                    bad_lines += 1;
                    let object = error_object(origin.line, "bad_line", &reason, &[], None);
                    let error = CommandError::BadLine { line: origin.line, reason };
                    if !self.arguments.keep_going {
                        self.write(calls)?;
                        return Err(error);
                    }
                    error.tell();
                    self.keep(origin.position, self.arguments.indexed.then_some(object));
                }
                Next::End => break,
            }
            if self.unwritten.len() >= OUTPUT_BYTES {
                self.write(calls)?;
            }
            if !self.arguments.as_finished {
                let mean = self.bytes / self.ended.max(1);
                let ahead_max = (WAITING_BYTES_MAX / mean.max(1)).clamp(AHEAD_MIN, AHEAD_MAX);
                calls.hold_inputs(self.inputs.borrow().taken - self.next > ahead_max);
            }
        }
        self.write(calls)?;
        if self.failed > 0 || bad_lines > 0 {
            return Err(CommandError::SomeFailed { failed: self.failed, bad_lines });
        }
        Ok(())
    }

    /// What comes next. While there is nothing, what was printed becomes visible.
    fn poll(&mut self, calls: &mut RawCalls<Lines>, context: &mut Context<'_>) -> Poll<Result<Next, CommandError>> {
        let next = calls.poll_next(context);
        // An error of the job, or its end, comes after what its inputs have to say.
        let mut inputs = self.inputs.borrow_mut();
        if let Some(source) = inputs.unreadable.take() {
            let path = self.arguments.inputs.clone().unwrap_or_else(|| PathBuf::from("stdin"));
            return Poll::Ready(Err(CommandError::File { act: "read", path, source }));
        }
        if next.is_pending()
            && let Some((origin, reason)) = inputs.bad.pop()
        {
            return Poll::Ready(Ok(Next::Bad(origin, reason)));
        }
        drop(inputs);
        match next {
            Poll::Ready(Some(Ok(end))) => Poll::Ready(Ok(Next::Ended(end))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(CommandError::Job(error))),
            Poll::Ready(None) => Poll::Ready(Ok(Next::End)),
            Poll::Pending => match self.write(calls) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }

    /// What to print for a call, if anything. A failure is reported, or is the end.
    fn text(&mut self, line: u64, end: CallEnd<Bytes>) -> Result<Option<Vec<u8>>, CommandError> {
        let usage = self.arguments.usage.then(|| usage_json(&end.usage));
        let usage = usage.as_ref();
        let (object, error) = match end.result {
            Ok(output) => match to_json(&output) {
                Ok(text) if self.arguments.indexed => return Ok(Some(output_object(line, &text, usage))),
                Ok(text) => return Ok(Some(text)),
                Err(reason) => (error_object(line, "not_json", &reason, &[], usage), CommandError::Output { line, reason }),
            },
            Err(source) => {
                let object = error_object(line, kind(source.kind), &source.message, &source.causes, usage);
                (object, CommandError::CallFailed { line, source: Box::new(source) })
            }
        };
        self.failed += 1;
        if !self.arguments.keep_going {
            return Err(error);
        }
        error.tell();
        Ok(self.arguments.indexed.then_some(object))
    }

    /// Prints it when its turn has come, and those that waited for it.
    fn keep(&mut self, position: u64, text: Option<Vec<u8>>) {
        self.bytes += text.as_ref().map_or(0, Vec::len) as u64;
        if self.arguments.as_finished {
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

    fn write(&mut self, calls: &RawCalls<Lines>) -> Result<(), CommandError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.shares_terminal {
            calls.program_has_terminal(true);
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
            calls.program_has_terminal(false);
        }
        self.unwritten.clear();
        written.map_err(|source| CommandError::File { act: "write", path: PathBuf::from("stdout"), source })
    }
}

/// What comes next of a job.
enum Next {
    /// A call ended.
    Ended(CallEnd<Bytes>),
    /// A line is no input.
    Bad(Origin, String),
    /// Every call has ended.
    End,
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
    use super::*;

    #[test]
    fn lines_are_read_to_the_last() {
        let mut source = io::Cursor::new("a\n\nb\r\nlast");
        let lines: Vec<_> = std::iter::from_fn(|| read_line(&mut source).unwrap()).collect();
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"last"]);
        // In batches of what is there.
        let (mut source, mut read) = (BufReader::new(&b"a\nb\n"[..]), 0);
        let numbers = |batch: Vec<Line>| batch.into_iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(numbers(read_batch(&mut source, &mut read).unwrap()), [1, 2]);
        assert!(read_batch(&mut source, &mut read).unwrap().is_empty());
    }
}
