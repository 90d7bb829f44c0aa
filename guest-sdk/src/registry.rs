//! The marked functions of a program or a component. Each registers itself; nobody keeps a list.
//!
//! A program looks its functions up by their type, which no two share. A node knows a name only, so a component in which two
//! functions have the name refuses the call.

use std::any::TypeId;

use burla_types::{FunctionInfo, codec, with_causes};

use crate::Failure;
use crate::value::{ErrorText, Value};

/// One function, with its types erased.
pub struct Registration {
    info: &'static FunctionInfo,
    /// The type of the `fn` itself.
    item: fn() -> TypeId,
    call: fn(&[u8]) -> Result<Vec<u8>, CallError>,
}

inventory::collect!(Registration);

impl Registration {
    /// Registers `item`; `#[burla::function]` submits this.
    pub const fn of<F: Copy + 'static>(
        _item: F,
        info: &'static FunctionInfo,
        call: fn(&[u8]) -> Result<Vec<u8>, CallError>,
    ) -> Self {
        Self { info, item: TypeId::of::<F>, call }
    }
}

/// Why a call ended without an output.
#[derive(Debug, PartialEq)]
pub enum CallError {
    /// The function's own error.
    Failed(Failure),
    /// The function was not started.
    Refused(String),
    /// The output could not be written. The function has run, so this is its failure and not a refusal.
    Unwritable(String),
}

/// The description of the `fn` whose type is `F`, if it is marked.
pub(crate) fn info_of<F: 'static>() -> Option<&'static FunctionInfo> {
    let wanted = TypeId::of::<F>();
    let registered = inventory::iter::<Registration>;
    registered.into_iter().find(|registration| (registration.item)() == wanted).map(|registration| registration.info)
}

/// Finds the function and applies it to one encoded input.
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a node asks by name"))]
pub(crate) fn dispatch(name: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
    let registered = inventory::iter::<Registration>;
    let mut found = registered.into_iter().filter(|registration| registration.info.name == name);
    match (found.next(), found.next()) {
        (Some(only), None) => (only.call)(input),
        (Some(one), Some(other)) => {
            let (one, other) = (&one.info.place, &other.info.place);
            Err(CallError::Refused(format!("two functions are named `{name}`, at {one} and at {other}: rename one")))
        }
        (None, _) => {
            let names: Vec<_> =
                inventory::iter::<Registration>.into_iter().map(|registration| &*registration.info.name).collect();
            Err(CallError::Refused(format!("no function named `{name}`: this component has {}", names.join(", "))))
        }
    }
}

/// Functions that read the input of a function, one for each number of parameters: a type that cannot travel is then an error at
/// that type.
macro_rules! decoders {
    ($($name:ident<$($parameter:ident),*> -> $input:ty;)*) => {$(
        pub fn $name<$($parameter: Value),*>(info: &FunctionInfo, input: &[u8]) -> Result<$input, CallError> {
            decode(info, input)
        }
    )*};
}

decoders! {
    decode_0<> -> ();
    decode_1<A> -> A;
    decode_2<A, B> -> (A, B);
    decode_3<A, B, C> -> (A, B, C);
    decode_4<A, B, C, D> -> (A, B, C, D);
    decode_5<A, B, C, D, E> -> (A, B, C, D, E);
    decode_6<A, B, C, D, E, F> -> (A, B, C, D, E, F);
    decode_7<A, B, C, D, E, F, G> -> (A, B, C, D, E, F, G);
    decode_8<A, B, C, D, E, F, G, H> -> (A, B, C, D, E, F, G, H);
    decode_9<A, B, C, D, E, F, G, H, I> -> (A, B, C, D, E, F, G, H, I);
    decode_10<A, B, C, D, E, F, G, H, I, J> -> (A, B, C, D, E, F, G, H, I, J);
    decode_11<A, B, C, D, E, F, G, H, I, J, K> -> (A, B, C, D, E, F, G, H, I, J, K);
    decode_12<A, B, C, D, E, F, G, H, I, J, K, L> -> (A, B, C, D, E, F, G, H, I, J, K, L);
}

fn decode<T: Value>(info: &FunctionInfo, input: &[u8]) -> Result<T, CallError> {
    codec::decode(input).map_err(|error| {
        let FunctionInfo { name, signature, .. } = info;
        CallError::Refused(format!("the input is not what `{name}{signature}` takes: {}", with_causes(&error)))
    })
}

/// Writes the output.
pub fn encode<T: Value>(info: &FunctionInfo, output: &T) -> Result<Vec<u8>, CallError> {
    codec::encode(output)
        .map_err(|error| CallError::Unwritable(format!("the output of `{}`: {}", info.name, with_causes(&error))))
}

/// Refuses a `Result` whose error nobody could read.
pub fn check_error<T, E: ErrorText>(result: Result<T, E>) -> Result<T, E> {
    result
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    static FIRST: FunctionInfo = info("app::step", "src/main.rs:3:1");
    static SECOND: FunctionInfo = info("app::step", "src/main.rs:9:1");
    static ALONE: FunctionInfo = info("app::alone", "src/main.rs:12:1");

    const fn info(name: &'static str, place: &'static str) -> FunctionInfo {
        FunctionInfo {
            name: Cow::Borrowed(name),
            signature: Cow::Borrowed("(n: u8) -> u8"),
            doc: Cow::Borrowed(""),
            source: Cow::Borrowed(""),
            place: Cow::Borrowed(place),
        }
    }

    fn first(n: u8) -> u8 {
        n
    }

    fn second(n: u8) -> u8 {
        n + 1
    }

    fn alone(n: u8) -> u8 {
        n + 2
    }

    inventory::submit!(Registration::of(first, &FIRST, |input| encode(&FIRST, &first(decode::<u8>(&FIRST, input)?))));
    inventory::submit!(Registration::of(second, &SECOND, |input| encode(&SECOND, &second(decode::<u8>(&SECOND, input)?))));
    inventory::submit!(Registration::of(alone, &ALONE, |input| encode(&ALONE, &alone(decode::<u8>(&ALONE, input)?))));

    fn of<F: 'static>(_: F) -> Option<&'static FunctionInfo> {
        info_of::<F>()
    }

    #[test]
    fn a_program_knows_functions_of_one_name_apart() {
        assert_eq!(of(first), Some(&FIRST));
        assert_eq!(of(second), Some(&SECOND));
        assert_eq!(of(info), None);
    }

    #[test]
    fn a_component_runs_no_function_whose_name_another_has() {
        let input = codec::encode(&1u8).unwrap();
        assert_eq!(dispatch("app::alone", &input), Ok(codec::encode(&3u8).unwrap()));
        let refusal = "two functions are named `app::step`, at src/main.rs:";
        let Err(CallError::Refused(message)) = dispatch("app::step", &input) else { panic!("it ran one of them") };
        assert!(message.starts_with(refusal), "{message}");
        assert!(message.contains("src/main.rs:3:1") && message.contains("src/main.rs:9:1"), "{message}");
    }
}
