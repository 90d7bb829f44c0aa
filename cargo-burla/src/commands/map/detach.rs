//! `cargo burla map --detach`: gives the job to the grid, and prints its id.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::{CanceledBy, Grid, raw};
use bytes::Bytes;
use futures_core::Stream;

use super::{Lines, options};
use crate::cli::Map;
use crate::error::CommandError;
use crate::package::Packaged;

pub(super) fn detach(arguments: &Map, component: &Packaged, function: &str, lines: Lines) -> Result<(), CommandError> {
    // An own grid would end with this command, and the job with it.
    let grid = Grid::default_grid().map_err(CommandError::Job)?;
    let (refused, bad_lines) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
    let source = Checked {
        lines,
        path: arguments.inputs.clone().unwrap_or_else(|| PathBuf::from("stdin")),
        keep_going: arguments.output.keep_going,
        bad_lines: Rc::clone(&bad_lines),
        refused: Rc::clone(&refused),
    };
    let submitted = pollster::block_on(raw::detach(&component.path, function, source, options(arguments, grid)));
    let id = match submitted {
        Ok(id) => id,
        // What is wrong with its inputs ended it.
        Err(error) => return Err(refused.borrow_mut().take().unwrap_or(CommandError::Job(error))),
    };
    // Told first: where the id cannot be printed, it is known all the same.
    crate::commands::tell(&format!("the grid keeps the job; `cargo burla results {id}` prints what its calls return"));
    crate::commands::print_text(&format!("{id}\n"))?;
    match bad_lines.get() {
        0 => Ok(()),
        bad_lines => Err(CommandError::SomeFailed { failed: 0, bad_lines }),
    }
}

/// Lines as inputs, where one that is none is reported and left out, or is the end.
struct Checked {
    lines: Lines,
    /// Where they are read from.
    path: PathBuf,
    keep_going: bool,
    bad_lines: Rc<Cell<u64>>,
    /// What ended them.
    refused: Rc<RefCell<Option<CommandError>>>,
}

impl Checked {
    /// Ends the inputs. The client learns that its user wants no more, and cancels what it has submitted; why is told here.
    fn refuse(&self, error: CommandError) -> Poll<Option<burla::Result<Bytes>>> {
        *self.refused.borrow_mut() = Some(error);
        Poll::Ready(Some(Err(burla::Error::JobCanceled { by: CanceledBy::CtrlC, calls_ended: 0 })))
    }
}

impl Stream for Checked {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.lines).poll_next(context);
        let inputs = Rc::clone(&self.lines.inputs);
        let mut inputs = inputs.borrow_mut();
        // What they came from matters no more.
        inputs.calls.clear();
        if let Some(source) = inputs.unreadable.take() {
            return self.refuse(CommandError::File { act: "read", path: self.path.clone(), source });
        }
        for (origin, reason) in inputs.bad.drain(..) {
            let error = CommandError::BadLine { line: origin.line, reason };
            if !self.keep_going {
                return self.refuse(error);
            }
            self.bad_lines.set(self.bad_lines.get() + 1);
            error.tell();
        }
        next
    }
}
