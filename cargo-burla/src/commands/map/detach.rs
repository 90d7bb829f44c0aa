//! `cargo burla map --detach`: gives the job to the grid, and prints its id.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use burla::{CanceledBy, Grid, raw};
use bytes::Bytes;
use futures_core::Stream;

use super::inputs::InputStream;
use super::options;
use super::printer::{BadInputs, unreadable};
use crate::cli::Map;
use crate::error::CommandError;
use crate::package::Packaged;

pub(super) fn detach(
    arguments: &Map,
    component: &Packaged,
    function: &str,
    stream: InputStream,
    bad_inputs: BadInputs,
) -> Result<(), CommandError> {
    // An own grid would end with this command, and the job with it.
    let grid = arguments.url().map_or_else(Grid::default_grid, Grid::at).map_err(CommandError::Job)?;
    let (refused, bad_inputs) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(bad_inputs)));
    let source = Checked { arguments, stream, bad_inputs: Rc::clone(&bad_inputs), refused: Rc::clone(&refused) };
    let submitted = pollster::block_on(raw::detach(&component.path, function, source, options(arguments, grid)));
    let id = match submitted {
        Ok(id) => id,
        // What is wrong with its inputs ended it.
        Err(error) => return Err(refused.borrow_mut().take().unwrap_or(CommandError::Job(error))),
    };
    // Told first: where the id cannot be printed, it is known all the same.
    crate::commands::tell(&format!("the grid keeps the job; `cargo burla results {id}` prints what its calls return"));
    crate::commands::print_text(&format!("{id}\n"))?;
    match bad_inputs.get() {
        BadInputs { lines: 0, .. } => Ok(()),
        BadInputs { lines, raw_input_helps } => Err(CommandError::SomeFailed { failed: 0, bad_lines: lines, raw_input_helps }),
    }
}

/// Inputs, where something that is none is reported and left out, or is the end.
struct Checked<'a> {
    arguments: &'a Map,
    stream: InputStream,
    bad_inputs: Rc<Cell<BadInputs>>,
    /// What ended them.
    refused: Rc<RefCell<Option<CommandError>>>,
}

impl Checked<'_> {
    /// Ends the inputs. The client learns that its user wants no more, and cancels what it has submitted; why is told
    /// here.
    fn refuse(&self, error: CommandError) -> Poll<Option<burla::Result<Bytes>>> {
        *self.refused.borrow_mut() = Some(error);
        Poll::Ready(Some(Err(burla::Error::JobCanceled { by: CanceledBy::CtrlC, calls_ended: 0 })))
    }
}

impl Stream for Checked<'_> {
    type Item = burla::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(context);
        let inputs = self.stream.inputs();
        let mut inputs = inputs.borrow_mut();
        // The grid knows calls by their index, and nobody asks here which line one came from.
        inputs.calls.clear();
        if let Some(error) = inputs.unreadable.take() {
            return self.refuse(unreadable(self.arguments, error));
        }
        if let Some((_, bad)) = inputs.bad.take() {
            let mut bad_inputs = self.bad_inputs.get();
            let error = bad_inputs.error(bad);
            self.bad_inputs.set(bad_inputs);
            if !self.arguments.output.keep_going {
                return self.refuse(error);
            }
            error.tell();
        }
        next
    }
}
