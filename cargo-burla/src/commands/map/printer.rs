//! Prints what a job's calls return, and tells of inputs that are none.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::CallEnd;
use burla::raw::RawCalls;
use bytes::Bytes;

use super::inputs::{InputStream, Inputs};
use super::reader::Unreadable;
use super::splitter::BadInput;
use crate::cli::Map;
use crate::commands::outputs::{Outputs, Source};
use crate::error::{CommandError, Input};

/// Bytes of outputs that may wait for an earlier one, as far as those that have come tell how large the next ones are.
/// Inputs that are further ahead are not taken.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Inputs that may be ahead of the earliest whose output is not there, however small outputs are.
const AHEAD_MAX: u64 = 100_000;

/// The same, however large outputs are: fewer would leave nodes without work.
const AHEAD_MIN: u64 = 256;

/// Prints outputs, and reports what fails.
pub(super) struct Printer<'a> {
    arguments: &'a Map,
    inputs: Rc<RefCell<Inputs>>,
    outputs: Outputs,
    bad_inputs: BadInputs,
}

/// Reports of inputs that are none.
#[derive(Clone, Copy)]
pub(super) struct BadInputs {
    /// The function takes a text, so `--raw-input` may be meant.
    pub(super) raw_input_helps: bool,
    /// The lines that were left out.
    pub(super) lines: u64,
}

impl BadInputs {
    /// Counts it, and says what is wrong with it.
    pub(super) fn error(&mut self, bad: BadInput) -> CommandError {
        self.lines += bad.lines.end() - bad.lines.start() + 1;
        CommandError::BadInput { lines: bad.lines, reason: bad.reason, raw_input_helps: self.raw_input_helps }
    }
}

impl Source for RawCalls<InputStream> {
    fn program_has_terminal(&self, has: bool) {
        self.program_has_terminal(has);
    }
}

impl<'a> Printer<'a> {
    pub(super) fn new(arguments: &'a Map, inputs: Rc<RefCell<Inputs>>, bad_inputs: BadInputs) -> Self {
        let outputs = Outputs::new(arguments.output.options());
        Self { arguments, inputs, outputs, bad_inputs }
    }

    /// Prints everything, and says what it took, however it ended.
    pub(super) async fn print(mut self, mut calls: RawCalls<InputStream>) -> Result<(), CommandError> {
        let printed = self.print_all(&mut calls).await;
        // The outputs before the end of the job are printed, however it ends.
        let written = self.outputs.write(&calls);
        let printed = printed.and(written);
        let usage = calls.usage();
        // A reader that left has enough; any other error is the reason why the job has failed.
        if let Err(error) = &printed
            && !matches!(error, CommandError::File { .. })
        {
            calls.fail(error);
        }
        // This also removes the progress from the terminal.
        drop(calls);
        // A job that failed before any call has ended took nothing worth telling.
        if printed.is_ok() || self.outputs.ended() > 0 {
            self.outputs.tell_usage(&usage);
        }
        printed
    }

    /// Prints everything, and says how many failed.
    async fn print_all(&mut self, calls: &mut RawCalls<InputStream>) -> Result<(), CommandError> {
        loop {
            let next = std::future::poll_fn(|context| self.poll(calls, context)).await?;
            let is_end = matches!(next, Next::End);
            self.take(next);
            if let Some(error) = self.outputs.first_failure(is_end) {
                return Err(error);
            }
            if is_end {
                return self.outputs.verdict(self.bad_inputs.lines, self.bad_inputs.raw_input_helps);
            }
            self.outputs.write_if_much(calls)?;
            if !self.arguments.output.as_finished {
                let ahead_max = (WAITING_BYTES_MAX / self.outputs.mean_bytes().max(1)).clamp(AHEAD_MIN, AHEAD_MAX);
                calls.hold_inputs(self.inputs.borrow().taken - self.outputs.next() > ahead_max);
            }
        }
    }

    /// Takes what comes next. After a failure that ends the job, no more inputs are taken.
    fn take(&mut self, next: Next) {
        match next {
            Next::Ended(end) => {
                let Some(origin) = self.inputs.borrow_mut().calls.remove(&end.index) else { return };
                self.outputs.take(Input::Line(origin.line), origin.position, end);
            }
            Next::Bad(position, bad) => {
                let (line, reason) = (*bad.lines.start(), bad.reason.clone());
                let error = self.bad_inputs.error(bad);
                self.outputs.take_bad(Input::Line(line), position, &reason, error);
            }
            Next::Unreadable(position, error) => self.outputs.stop_at(position, error),
            Next::End => {}
        }
        if self.outputs.has_failed() {
            self.inputs.borrow_mut().is_stopped = true;
        }
    }

    /// The next event of the job. While there is none, the printed outputs are flushed.
    fn poll(&mut self, calls: &mut RawCalls<InputStream>, context: &mut Context<'_>) -> Poll<Result<Next, CommandError>> {
        match calls.poll_next(context) {
            Poll::Ready(Some(Ok(end))) => return Poll::Ready(Ok(Next::Ended(end))),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(CommandError::Job(error))),
            Poll::Ready(None) => return Poll::Ready(Ok(Next::End)),
            Poll::Pending => {}
        }
        let mut inputs = self.inputs.borrow_mut();
        if let Some((position, bad)) = inputs.bad.take() {
            return Poll::Ready(Ok(Next::Bad(position, bad)));
        }
        if let Some(error) = inputs.unreadable.take() {
            let error = unreadable(self.arguments, error);
            return Poll::Ready(Ok(Next::Unreadable(inputs.taken, error)));
        }
        drop(inputs);
        match self.outputs.write(calls) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Why the inputs cannot be read to their end.
pub(super) fn unreadable(arguments: &Map, error: Unreadable) -> CommandError {
    let path = arguments.inputs_file().map_or_else(|| PathBuf::from("stdin"), ToOwned::to_owned);
    match error {
        Unreadable::Io(source) => CommandError::File { act: "read", path, source },
        Unreadable::Encoding(encoding) => CommandError::Encoding { path, encoding },
    }
}

/// The next event of a job.
enum Next {
    /// A call ended.
    Ended(CallEnd<Bytes>),
    /// Something is no input.
    Bad(u64, BadInput),
    /// The inputs behind this position cannot be read.
    Unreadable(u64, CommandError),
    /// Every call has ended.
    End,
}
