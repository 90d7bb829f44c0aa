//! `cargo burla map`: a function over JSON values, or over lines.
//!
//! 1. A thread of its own reads the inputs, finds where each ends, and encodes it (`reader.rs`, `splitter.rs`, `scanner.rs`,
//!    `json.rs`);
//! 2. the client takes them as a stream (`inputs.rs`);
//! 3. outputs become JSON again and are printed, and failures are reported (`printer.rs`, `../outputs.rs`).
//!
//! Data goes to stdout. What calls print, and everything else for people, goes to stderr.

mod detach;
mod encoding;
mod inputs;
pub(super) mod json;
mod printer;
mod reader;
mod scanner;
mod splitter;
mod unread;

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use burla::raw::{self, Options};
use burla::{Grid, Stdout};
use burla_types::FunctionInfo;

use crate::cli::Map;
use crate::error::CommandError;
use crate::package::{Packaged, package};
use crate::project::Project;
use inputs::InputStream;
use printer::{BadInputs, Printer};

pub(super) fn map(arguments: &Map) -> Result<(), CommandError> {
    let component = component(arguments)?;
    let function = function(&component, &arguments.function)?;
    let bad_inputs = BadInputs { raw_input_helps: takes_text(&function.signature) && !arguments.raw_input, lines: 0 };
    let source = InputStream::new(reader::read_inputs(arguments)?);
    if arguments.detach {
        return detach::detach(arguments, &component, &function.name, source, bad_inputs);
    }
    let run = |url: &str| {
        let options = options(arguments, Grid::at(url).map_err(CommandError::Job)?);
        let printer = Printer::new(arguments, source.inputs(), bad_inputs);
        let calls = raw::start(&component.path, &function.name, source, options).map_err(CommandError::Job)?;
        match pollster::block_on(printer.print(calls)) {
            // The reader of the outputs has enough.
            Err(CommandError::File { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
    };
    match arguments.url() {
        Some(url) => run(url),
        None => super::on_a_grid(run),
    }
}

fn component(arguments: &Map) -> Result<Packaged, CommandError> {
    match &arguments.component {
        Some(path) => Packaged::read(path),
        None => package(&Project::find(&arguments.what.selection())?, &arguments.what.cargo()),
    }
}

/// The one function that is meant: by its whole name, or by the end of it.
fn function<'a>(component: &'a Packaged, wanted: &str) -> Result<&'a FunctionInfo, CommandError> {
    let functions = &component.description.functions;
    if let Some(function) = functions.iter().find(|function| function.name == wanted) {
        return Ok(function);
    }
    let is_meant = |function: &&FunctionInfo| wanted == "-" || function.name.ends_with(&format!("::{wanted}"));
    let meant: Vec<&FunctionInfo> = functions.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [function] => Ok(function),
        several => {
            // They are shown to people, and the component may be anyone's.
            let shown = |function: &FunctionInfo| Stdout::neutralized(&function.name).into_owned();
            let available = if several.is_empty() {
                functions.iter().map(shown).collect()
            } else {
                several.iter().copied().map(shown).collect()
            };
            Err(CommandError::WhichFunction { wanted: wanted.to_owned(), available })
        }
    }
}

/// Tells whether a function's only parameter is a text, by its signature, such as `(name: String) -> usize`.
fn takes_text(signature: &str) -> bool {
    let Some((parameters, _)) = signature.trim_start_matches('(').split_once(')') else { return false };
    let Some((_, parameter)) = parameters.trim_end_matches([',', ' ']).split_once(':') else { return false };
    let name = parameter.rsplit("::").next().unwrap_or(parameter).replace(' ', "");
    matches!(&*name, "String" | "PathBuf" | "Box<str>" | "Arc<str>" | "Rc<str>" | "Cow<'static,str>")
}

fn options(arguments: &Map, grid: Grid) -> Options {
    let is_terminal = io::stderr().is_terminal();
    let prints = Stdout::to(move |_, _, line| {
        super::tell_plainly(&if is_terminal { Stdout::neutralized(line) } else { Cow::Borrowed(line) });
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
        retry_pause: arguments.retry_pause,
        retry_pause_max: arguments.retry_pause_max,
        ends_with_failure: !arguments.output.options().keep_going,
        spinner: arguments.spinner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_one_text_is_known_by_its_signature() {
        for signature in ["()", "(n: u64) -> String", "(a: String, b: String)", "(a: Vec<String>)", "(a: (String, u8))", ""] {
            assert!(!takes_text(signature), "{signature}");
        }
    }
}
