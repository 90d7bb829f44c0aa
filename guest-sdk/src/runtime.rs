//! The component's side of the guest contract (`wit/function.wit`): the handler that a node calls, and the panic hook.

use std::borrow::Cow;
use std::io::Write;

use burla_types::text::{TEXT_BYTES_MAX, truncated};

use crate::registry::{CallError, dispatch};

#[expect(clippy::allow_attributes_without_reason, reason = "generated code, committed as the generator writes it")]
#[allow(unsafe_code, unreachable_pub, clippy::all, reason = "generated code")]
mod bindings {
    // Written by the test of `guest-sdk/codegen`.
    include!("bindings.rs");

    export!(Handler with_types_in self);

    pub(crate) struct Handler;
}

use bindings::Handler;
use bindings::burla::function::report;
use bindings::exports::burla::function::handler;

impl handler::Guest for Handler {
    fn call(name: String, input: Vec<u8>) -> Result<Vec<u8>, handler::CallError> {
        report_panics();
        let result = dispatch(&name, &input);
        // What has no newline yet is still in std's buffer, and nothing in a component empties that at the end.
        let _ = std::io::stdout().flush();
        if let Ok(output) = &result {
            report::returning(output.len() as u64);
        }
        result.map_err(|error| match error {
            CallError::Failed(failure) => {
                let causes = failure.causes.iter().map(|cause| shortened(cause).into_owned()).collect();
                handler::CallError::Failed(handler::Failure { message: shortened(&failure.message).into_owned(), causes })
            }
            CallError::Unwritable(message) => handler::CallError::Failed(handler::Failure { message, causes: vec![] }),
            CallError::Refused(message) => handler::CallError::Refused(shortened(&message).into_owned()),
        })
    }
}

/// What a node keeps of a text. It takes no call with megabytes of them.
fn shortened(text: &str) -> Cow<'_, str> {
    truncated(text, TEXT_BYTES_MAX)
}

/// A panic in wasm aborts, and all that a node sees of that is the trap `unreachable`. So the hook tells the node before. It does
/// not print: the user gets the panic as the call's error, and would read everything twice.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = shortened(info.payload_as_str().unwrap_or("a panic whose payload is not a text"));
        let location = info.location().map(ToString::to_string);
        report::panicked(&message, location.as_deref());
        // Last, because a panic in the middle of printing has the buffer still in use, and this would be the second.
        let _ = std::io::stdout().flush();
    }));
}
