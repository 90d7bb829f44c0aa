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
        (None, Some(trap)) => trap_message(*trap),
        (None, None) => format!("{:#}", error.root_cause()),
    };
    Outcome::Trapped { message: kept(message), backtrace }
}

/// A trap in words that say what to do about it.
///
/// A call has two stacks. The node's thread has one for the frames of nested calls. The other is in the call's own memory, for values
/// whose address is taken, arrays above all; Rust puts it at the start of the memory, so that a value which does not fit on it lies
/// before address 0, which is out of bounds: it overwrites nothing.
fn trap_message(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "the function aborted (wasm `unreachable`)".to_owned(),
        Trap::StackOverflow => "the call ran out of stack space: it recursed too deeply for the 512 KiB that a node has for the frames \
                                of nested calls; recurse less deeply, or keep what is left to do in a `Vec`"
            .to_owned(),
        Trap::MemoryOutOfBounds => {
            "the call left its memory, which safe code does only when it runs out of stack space (1 MiB by default): its local values \
             are too large, or it recursed too deeply; put large values on the heap with `Box` or `vec!`, or build it with a larger \
             stack: `rustflags = [\"-Clink-arg=-zstack-size=8388608\"]` under `[target.wasm32-wasip2]` in `.cargo/config.toml`"
                .to_owned()
        }
        trap => trap.to_string(),
    }
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
    // The macro writes `__burla_call` beside each function.
    let is_sdk = |name: &str| {
        name.starts_with("burla_guest::")
            || name.starts_with("core::ops::function::FnOnce::call_once")
            || name.ends_with("::__burla_call")
    };

    let first = names.iter().rposition(|name| is_machinery(name)).map_or(0, |last| last + 1);
    let shown: Vec<String> = names[first..].iter().take_while(|name| !is_sdk(name)).cloned().collect();
    if shown.is_empty() { names } else { shown }
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
            "hello::my_function::inner",
            "hello::my_function",
            "hello::__burla_function_my_function::__burla_call",
            "burla_guest::registry::dispatch",
            "burla:function/handler@0.1.0#call",
        ];
        let expected = ["core::option::unwrap_failed", "hello::my_function::inner", "hello::my_function"];
        assert_eq!(tidy(names.map(str::to_owned).to_vec()), expected);
    }

    #[test]
    fn a_stack_that_is_used_up_is_named_with_what_to_do() {
        let nested = trap_message(Trap::StackOverflow);
        let memory = trap_message(Trap::MemoryOutOfBounds);
        for message in [&nested, &memory] {
            assert!(message.contains("out of stack space") && message.contains("recursed too deeply"), "{message}");
        }
        for part in ["1 MiB by default", "local values are too large", "`Box` or `vec!`", "-zstack-size=8388608"] {
            assert!(memory.contains(part), "no `{part}` in {memory}");
        }
        assert!(!nested.contains("zstack-size"), "that changes the other stack: {nested}");
        assert_eq!(trap_message(Trap::IntegerDivisionByZero), Trap::IntegerDivisionByZero.to_string());
    }

    #[test]
    fn an_unknown_backtrace_is_shown_whole() {
        let names = vec!["burla_guest::runtime::call".to_owned()];
        assert_eq!(tidy(names.clone()), names);
    }
}
