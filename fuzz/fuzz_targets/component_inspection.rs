//! What anyone may upload or hand to `cargo burla inspect` as a component.

#![no_main]

use burla_types::component::Description;
use burla_types::{FUNCTION_SECTION, FunctionInfo};
use libfuzzer_sys::fuzz_target;

/// The least that an import, an export or a function takes in a component: a name of no length, and what it names.
const ENTRY_BYTES_MIN: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let Ok(description) = Description::read(bytes) else { return };

    // It holds no more than it was read from.
    assert!(entries(&description) * ENTRY_BYTES_MIN <= bytes.len(), "{description:?}");
    assert!(text_bytes(&description) <= bytes.len(), "{description:?}");

    assert!(description.functions.is_sorted_by(|a, b| a.name <= b.name));
    for function in &description.functions {
        assert!(description.function(&function.name).is_some_and(|found| found.name == function.name));
    }
    assert!(description.imports_not_offered().iter().all(|import| description.imports.iter().any(|name| name == import)));

    // One function more is all that another section of functions makes of it, whatever stands before.
    // Unless what stood last was cut short, which compiling finds out: it then swallows the section.
    let Ok(added) = Description::read(&[bytes, &function_section()[..]].concat()) else { return };
    assert!(added.function(ADDED).is_some());
    assert_eq!(added.functions.len(), description.functions.len() + 1);
    assert_eq!((added.imports, added.exports), (description.imports, description.exports));
});

fn entries(description: &Description) -> usize {
    description.functions.len() + description.imports.len() + description.exports.len()
}

fn text_bytes(description: &Description) -> usize {
    let functions = description.functions.iter().flat_map(|FunctionInfo { name, signature, doc, source, place }| {
        [name.len(), signature.len(), doc.len(), source.len(), place.len()]
    });
    let interfaces = description.imports.iter().chain(&description.exports).map(String::len);
    functions.chain(interfaces).sum()
}

/// The name of the function that is added.
const ADDED: &str = "fuzz::added";

/// A custom section, as `#[burla::function]` writes it: 0, the size of the rest, the size of the name, the name, the data.
fn function_section() -> Vec<u8> {
    let line = format!(r#"{{"name":"{ADDED}","signature":"()","doc":"","source":""}}"#);
    let mut rest = vec![small(FUNCTION_SECTION.len())];
    rest.extend_from_slice(FUNCTION_SECTION.as_bytes());
    rest.extend_from_slice(line.as_bytes());
    let mut section = vec![0, small(rest.len())];
    section.extend_from_slice(&rest);
    section
}

/// A length in LEB128, of which one byte holds seven bits.
fn small(length: usize) -> u8 {
    u8::try_from(length).ok().filter(|length| *length < 0x80).expect("a short section")
}
