//! How a guest ended, in the grid's words: what wasmtime reports, what the guest said of itself, and what the sandbox denied it,
//! become one [`Outcome`].

use burla_types::text::truncated;
use burla_types::{Backtrace, Exceeded, LIMIT_PAYLOAD_BYTES_MAX, Limit, Limits, Location, Outcome};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::contract::kept;
use crate::filesystem::{NoHome, TooManyOpenFiles};
use crate::sandbox::{HANDLES_MAX, HOST_CALL_BYTES_MAX, HostMemoryDenied, OutputTooLarge, Sandbox};

/// The outcome of a call that ended with `error` in `sandbox`.
pub(crate) fn outcome(error: &wasmtime::Error, sandbox: &mut Sandbox, limits: &Limits) -> Outcome {
    let backtrace = backtrace(error);
    let trap = error.downcast_ref::<Trap>();
    // A guest may say that it panics and go on to something else.
    if let Some(panic) = sandbox.panic.take().filter(|_| trap == Some(&Trap::UnreachableCodeReached)) {
        return Outcome::Panicked { message: panic.message, location: panic.location.map(Location), backtrace };
    }
    if trap == Some(&Trap::OutOfFuel) {
        return out_of_fuel(limits);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Outcome::Lost { reason: "its node had no place for its instance".to_owned() };
    }
    if let Some(no_home) = error.downcast_ref::<NoHome>() {
        return Outcome::Lost { reason: no_home.to_string() };
    }
    if let Some(exceeded) = host_limit(error) {
        return exceeded;
    }
    // A guest that was denied memory aborts, and an instance whose first memory is over the cap is not even made.
    let exited = error.downcast_ref::<I32Exit>().is_some();
    let aborted = (trap.is_none() && !exited) || trap == Some(&Trap::UnreachableCodeReached);
    let denied = aborted || error.is::<HostMemoryDenied>();
    if denied && sandbox.memory.bytes_denied.is_some() {
        return Outcome::Exceeded(sandbox.memory.exceeded());
    }
    let message = match (error.downcast_ref::<I32Exit>(), trap) {
        // WASI 0.2 tells success from failure, and not with which code.
        (Some(I32Exit(0)), _) => "the function ended its process with exit code 0; return a value instead".to_owned(),
        (Some(I32Exit(_)), _) => {
            "the function ended its process with an exit code that is not 0; return an error instead".to_owned()
        }
        (None, Some(Trap::UnreachableCodeReached)) => "the function aborted (wasm `unreachable`)".to_owned(),
        (None, Some(Trap::StackOverflow)) => "the call stack is exhausted: the function recursed too deeply".to_owned(),
        // The stack that Rust keeps in linear memory lies at its start, so that growing past its end leaves the memory.
        (None, Some(Trap::MemoryOutOfBounds)) => {
            "out of bounds memory access: safe code does this only when it recursed too deeply for its 1 MiB of stack".to_owned()
        }
        (None, Some(trap)) => trap.to_string(),
        (None, None) => format!("{:#}", error.root_cause()),
    };
    Outcome::Trapped { message: kept(message), backtrace }
}

/// The outcome of a call that has used all its fuel.
pub(crate) fn out_of_fuel(limits: &Limits) -> Outcome {
    exceeded(Limit::Fuel, limits.fuel_max.unwrap_or(u64::MAX), None)
}

/// A limit of what the host does for a guest.
fn host_limit(error: &wasmtime::Error) -> Option<Outcome> {
    if let Some(OutputTooLarge { bytes }) = error.downcast_ref() {
        return Some(exceeded(Limit::OutputSize, LIMIT_PAYLOAD_BYTES_MAX as u64, Some(*bytes)));
    }
    if let Some(TooManyOpenFiles { max }) = error.downcast_ref() {
        return Some(exceeded(Limit::OpenFiles, *max as u64, None));
    }
    let is_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    // wasmtime has no types for these two.
    let text = error.root_cause().to_string();
    if is_full || text.contains(HANDLES_EXHAUSTED) {
        return Some(exceeded(Limit::Handles, HANDLES_MAX as u64, None));
    }
    text.contains(HOST_CALL_EXHAUSTED).then(|| exceeded(Limit::HostCall, HOST_CALL_BYTES_MAX as u64, None))
}

/// In the error of a component that holds, or lends at one time, as many handles as it may.
const HANDLES_EXHAUSTED: &str = "store handle limit exceeded";

/// In the error of a host call with more than it may be given.
const HOST_CALL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

fn exceeded(limit: Limit, allowed: u64, wanted: Option<u64>) -> Outcome {
    Outcome::Exceeded(Exceeded { limit, allowed, wanted, peak: None })
}

/// What is kept of the name of a function. Rust's are longer only where generics are nested deeply.
const FRAME_BYTES_MAX: usize = 1 << 10;

/// The names of the guest's functions, from where it went wrong to where the user's code begins.
fn backtrace(error: &wasmtime::Error) -> Backtrace {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Backtrace::default() };
    let names = backtrace.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => truncated(&format!("{:#}", rustc_demangle::demangle(name)), FRAME_BYTES_MAX).into_owned(),
        None => format!("function {} without a name", frame.func_index()),
    });
    Backtrace(tidy(names.collect()))
}

/// Drops the frames that every backtrace has: those that carry out the panic, and those between the handler and the function.
fn tidy(names: Vec<String>) -> Vec<String> {
    const PANIC: &[&str] =
        &["abort", "__rustc::", "core::panicking::", "panic_abort::", "rust_panic", "std::panicking::", "std::process::abort"];
    const ALLOCATION: &[&str] = &["alloc::alloc::handle_alloc_error", "std::alloc::", "__rust"];
    // `std::sys::backtrace::__rust_end_short_backtrace` and its kin, whatever their paths.
    let is_machinery = |name: &str| {
        PANIC.iter().chain(ALLOCATION).any(|prefix| name.starts_with(prefix)) || name.contains("__rust_end_short_backtrace")
    };
    let is_sdk = |name: &str| name.starts_with("burla_guest::") || name.starts_with("core::ops::function::FnOnce::call_once");

    let first = names.iter().rposition(|name| is_machinery(name)).map_or(0, |last| last + 1);
    let shown: Vec<String> = names[first..].iter().take_while(|name| !is_sdk(name)).map(|name| readable(name)).collect();
    if shown.is_empty() { names } else { shown }
}

/// Writes the path of a function as its author knows it: the macro puts the body into an anonymous constant, and calls it from
/// `apply`.
fn readable(name: &str) -> String {
    let name = name.replace("::_::", "::");
    match name.strip_prefix('<').and_then(|name| name.strip_suffix(" as burla_guest::Function>::apply")) {
        Some(function) => function.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_the_users_own() {
        let names = [
            "abort",
            "__rustc::rust_panic",
            "std::sys::backtrace::__rust_end_short_backtrace::<x>",
            "core::panicking::panic_fmt",
            "core::option::unwrap_failed",
            "hello::_::inner",
            "<hello::my_function as burla_guest::Function>::apply",
            "burla_guest::registry::call::<hello::my_function>",
            "burla:function/handler@0.1.0#call",
        ];
        let expected = ["core::option::unwrap_failed", "hello::inner", "hello::my_function"];
        assert_eq!(tidy(names.map(str::to_owned).to_vec()), expected);
    }

    #[test]
    fn an_unknown_backtrace_is_shown_whole() {
        let names = vec!["burla_guest::runtime::call".to_owned()];
        assert_eq!(tidy(names.clone()), names);
    }
}
