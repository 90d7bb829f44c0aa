//! The functions of a component, by name. Each registers itself; nobody keeps a list.

use burla_types::{codec, with_causes};

use crate::{Failure, Function};

/// One function of the component, with its types erased.
pub struct Registration {
    pub(crate) name: &'static str,
    pub(crate) call: fn(&[u8]) -> Result<Vec<u8>, CallError>,
}

inventory::collect!(Registration);

impl Registration {
    /// Registers `F`; `#[burla::function]` submits this.
    pub const fn of<F: Function>() -> Self {
        Self { name: F::NAME, call: call::<F> }
    }
}

/// Why a call ended without an output.
#[derive(Debug, PartialEq)]
pub(crate) enum CallError {
    /// The function's own error.
    Failed(Failure),
    /// The function was not started.
    Refused(String),
    /// The output could not be written. The function has run, so this is its failure and not a refusal.
    Unwritable(String),
}

/// Finds the function and applies it to one encoded input.
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a component has a registry to look into"))]
pub(crate) fn dispatch(name: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
    let registered = inventory::iter::<Registration>;
    match registered.into_iter().find(|registration| registration.name == name) {
        Some(registration) => (registration.call)(input),
        None => {
            let names: Vec<_> = inventory::iter::<Registration>.into_iter().map(|registration| registration.name).collect();
            Err(CallError::Refused(format!("no function named `{name}`: this component has {}", names.join(", "))))
        }
    }
}

fn call<F: Function>(input: &[u8]) -> Result<Vec<u8>, CallError> {
    let input = codec::decode::<F::Input>(input).map_err(|error| {
        CallError::Refused(format!("the input is not what `{}{}` takes: {}", F::NAME, F::INFO.signature, with_causes(&error)))
    })?;
    let output = F::apply(input).map_err(CallError::Failed)?;
    codec::encode(&output).map_err(|error| CallError::Unwritable(format!("the output of `{}`: {}", F::NAME, with_causes(&error))))
}
