//! The component's side of the guest contract (`wit/function.wit`): the handler that a node calls, and the panic hook.

use std::io::Write;

use crate::registry::{CallError, dispatch};

#[expect(clippy::allow_attributes_without_reason, reason = "generated code")]
#[allow(unsafe_code, unreachable_pub, clippy::all, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "function" });

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
        result.map_err(|error| match error {
            CallError::Failed(failure) => {
                handler::CallError::Failed(handler::Failure { message: failure.message, causes: failure.causes })
            }
            CallError::Unwritable(message) => handler::CallError::Failed(handler::Failure { message, causes: vec![] }),
            CallError::Refused(message) => handler::CallError::Refused(message),
        })
    }
}

/// A panic in wasm aborts, and all that a node sees of that is the trap `unreachable`. So the hook tells the node before. It does
/// not print: the user gets the panic as the call's error, and would read everything twice.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic whose payload is not a text");
        let location = info.location().map(ToString::to_string);
        report::panicked(message, location.as_deref());
        // Last, because a panic in the middle of printing has the buffer still in use, and this would be the second.
        let _ = std::io::stdout().flush();
    }));
}
