//! What `cargo burla map` reads: lines of JSON from its user, and outputs from functions that may be anyone's.

#![no_main]

// Not by the crate, which would bring wasmtime along.
#[path = "../../cargo-burla/src/commands/map/json/mod.rs"]
mod json;

use burla_types::codec;
use json::{error_object, from_json, output_object, to_json};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The most that an input grows by on its way from JSON: `-0` is a float, which takes nine bytes.
const GROWTH_MAX: usize = 5;

fuzz_target!(|bytes: &[u8]| {
    input(bytes);
    output(bytes);
    failure(&String::from_utf8_lossy(bytes));
});

/// A line becomes one value for a function, which is the same value as JSON.
fn input(line: &[u8]) {
    let value = serde_json::from_slice::<Value>(line).ok();
    let Ok(input) = from_json(line) else {
        assert!(value.is_none() || may_be_refused(line));
        return;
    };
    assert!(input.len() <= GROWTH_MAX * line.len());
    codec::decode::<IgnoredAny>(&input).expect("one value");
    let text = to_json(&input).expect("what was JSON can be");
    // The parser goes less deep than we do.
    if let Some(value) = value {
        assert_eq!(parse(&text), Some(value));
    }
}

/// Whether a line of JSON has an integer of more than 128 bits, or more than one key, of which two may be the same.
fn may_be_refused(line: &[u8]) -> bool {
    let digits = line.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max();
    digits >= Some(39) || line.iter().filter(|byte| **byte == b':').count() > 1
}

/// An output becomes one line of JSON, or is refused. As an input it is the same again.
fn output(output: &[u8]) {
    let Ok(text) = to_json(output) else { return };
    assert!(text.iter().all(|byte| *byte >= b' '), "a control character");
    let again = from_json(&text).expect("it is JSON");
    let again = to_json(&again).expect("it was JSON");
    let Some(value) = parse(&text) else { return };
    // Values and not texts: `1e14` of an f32 is `100000000000000.0` of an f64.
    assert_eq!(parse(&again).as_ref(), Some(&value));
    for usage in [None, Some(&Value::from("some"))] {
        let Some(object) = parse(&output_object(("line", 7), &text, usage)) else { continue };
        assert_eq!(object["line"], 7);
        assert_eq!(object["output"], value);
        assert_eq!(object.get("usage"), usage);
    }
}

fn failure(message: &str) {
    for usage in [None, Some(&Value::from("some"))] {
        let object = error_object(("line", 7), json!({ "message": message, "causes": [message] }), usage);
        assert!(object.iter().all(|byte| *byte >= b' '), "a control character");
        let object = parse(&object).expect("it is not nested deeply");
        assert_eq!(object["line"], 7);
        assert_eq!(object["error"]["message"], message);
        assert_eq!(object["error"]["causes"][0], message);
        assert_eq!(object.get("usage"), usage);
    }
}

/// Reads what must be JSON. `None` is for what is nested more deeply than the parser goes: outputs may be.
fn parse(text: &[u8]) -> Option<Value> {
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.to_string().starts_with("recursion limit exceeded"), "{error}");
            None
        }
    }
}
