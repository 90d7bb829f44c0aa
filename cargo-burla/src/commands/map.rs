//! `cargo burla map`: a function over lines of JSON.
//!
//! A thread of its own reads lines, so that outputs are printed while the next line is still to come. Lines become MessagePack,
//! which is what functions take, and outputs become JSON again. Data goes to stdout; what calls print, and everything else for
//! people, to stderr.

mod detach;
pub(super) mod json;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::raw::{self, Options, RawCalls};
use burla::{CallEnd, Grid, Stdout};
use burla_types::LIMIT_PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::outputs::{Input, Outputs, Source};
use crate::cli::Map;
use crate::error::CommandError;
use crate::package::{Packaged, package};
use crate::project::Project;
use json::from_json;

/// What the reader gathers before it passes lines on; less where there is no more to be read at once.
const LINES_BYTES: usize = 64 << 10;

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
    let inputs = Rc::new(RefCell::new(Inputs::default()));
    let source = Lines { lines, batch: Vec::new().into_iter(), inputs: Rc::clone(&inputs), index: 0 };
    if arguments.detach {
        return detach::detach(arguments, &component, &function, source);
    }
    super::on_a_grid(|url| {
        let options = options(arguments, Grid::at(url).map_err(CommandError::Job)?);
        let calls = raw::start(&component.path, &function, source, options).map_err(CommandError::Job)?;
        let printer = Printer { arguments, inputs, outputs: Outputs::new(&arguments.output) };
        match pollster::block_on(printer.print(calls)) {
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

fn options(arguments: &Map, grid: Grid) -> Options {
    let is_terminal = io::stderr().is_terminal();
    let prints = Stdout::to(move |_, _, line| {
        super::tell_plainly(&if is_terminal { Stdout::neutralised(line) } else { Cow::Borrowed(line) });
    });
    Options {
        func_cpu: arguments.func_cpu,
        func_ram: arguments.func_ram,
        max_parallelism: arguments.max_parallelism,
        grid: Some(grid),
        name: arguments.name.clone(),
        env: arguments.env.iter().cloned().collect(),
        timeout: arguments.timeout,
        fuel: arguments.fuel,
        disk: arguments.disk,
        allow_network: arguments.allow_network.clone(),
        stdout: if arguments.discard_prints { Stdout::Discard } else { prints },
        retries: arguments.retries,
        retry_exceeded: arguments.retry_exceeded,
        spinner: arguments.spinner,
    }
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

/// Prints what a job's calls return, and tells of lines that are no inputs.
struct Printer<'a> {
    arguments: &'a Map,
    inputs: Rc<RefCell<Inputs>>,
    outputs: Outputs<'a>,
}

impl Source for RawCalls<Lines> {
    fn program_has_terminal(&self, has: bool) {
        self.program_has_terminal(has);
    }
}

impl Printer<'_> {
    /// Prints everything, and says what it took, however it ended.
    async fn print(mut self, mut calls: RawCalls<Lines>) -> Result<(), CommandError> {
        let printed = self.print_all(&mut calls).await;
        // What ends it does not take with it what came before.
        let written = self.outputs.write(&calls);
        let printed = printed.and(written);
        let usage = calls.usage();
        // With it, its progress goes from the terminal.
        drop(calls);
        // One that failed before any call has ended took nothing worth telling.
        if printed.is_ok() || self.outputs.ended() > 0 {
            self.outputs.tell_usage(&usage);
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
                    self.outputs.take(Input::Line(origin.line), origin.position, end)?;
                }
                Next::Bad(origin, reason) => {
                    bad_lines += 1;
                    self.outputs.take_bad(Input::Line(origin.line), origin.position, &reason);
                    let error = CommandError::BadLine { line: origin.line, reason };
                    if !self.arguments.output.keep_going {
                        return Err(error);
                    }
                    error.tell();
                }
                Next::End => break,
            }
            self.outputs.write_if_much(calls)?;
            if !self.arguments.output.as_finished {
                let ahead_max = (WAITING_BYTES_MAX / self.outputs.mean_bytes().max(1)).clamp(AHEAD_MIN, AHEAD_MAX);
                calls.hold_inputs(self.inputs.borrow().taken - self.outputs.next() > ahead_max);
            }
        }
        if self.outputs.failed() > 0 || bad_lines > 0 {
            return Err(CommandError::SomeFailed { failed: self.outputs.failed(), bad_lines });
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
            Poll::Pending => match self.outputs.write(calls) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
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
