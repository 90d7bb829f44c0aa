//! Between JSON, which `cargo burla map` and `results` read and write, and MessagePack, which functions take and return.
//!
//! Knows nothing of the rest of this crate: `fuzz/` compiles this file by itself.

use bytes::Bytes;
use serde_json::{Value, json};

/// One JSON value as a function's input.
pub(crate) fn from_json(text: &[u8]) -> Result<Bytes, String> {
    let mut input = Vec::with_capacity(text.len());
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut writer = rmp_serde::Serializer::new(&mut input).with_struct_map();
    serde_transcode::transcode(&mut reader, &mut writer).map_err(|error| not_json(&error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(input.into())
}

/// The parser counts lines as well, and for it there is only one.
fn not_json(error: &dyn std::fmt::Display) -> String {
    format!("it is not JSON: {}", error.to_string().replace(" at line 1 column ", " at column "))
}

/// A function's output as one line of JSON.
pub(crate) fn to_json(output: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::with_capacity(output.len());
    let mut reader = rmp_serde::Deserializer::from_read_ref(output);
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::new(&mut text)).map_err(|error| error.to_string())?;
    Ok(text)
}

/// An object of `--indexed`, where `key` is what inputs are counted in: `line` or `index`.
pub(crate) fn output_object((key, number): (&str, u64), output: &[u8], usage: Option<&Value>) -> Vec<u8> {
    let usage = usage.map(|usage| format!(",\"usage\":{usage}")).unwrap_or_default();
    [format!("{{\"{key}\":{number},\"output\":").as_bytes(), output, usage.as_bytes(), b"}"].concat()
}

/// The same for a call that failed.
pub(crate) fn error_object(
    (key, number): (&str, u64),
    kind: &str,
    message: &str,
    causes: &[String],
    usage: Option<&Value>,
) -> Vec<u8> {
    let error = json!({ "kind": kind, "message": message, "causes": causes });
    let mut object = json!({ key: number, "error": error });
    if let Some(usage) = usage {
        object["usage"] = usage.clone();
    }
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burla_types::codec;

    use super::*;

    #[test]
    fn json_becomes_what_functions_take_and_back() {
        for text in ["null", "true", "-7", "18446744073709551615", "1.5", "\"ß\"", "[]", "[1,[2,null]]", r#"{"a":{"b":[1.25]}}"#]
        {
            let input = from_json(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(to_json(&input).unwrap()).unwrap(), text);
        }
        assert_eq!(codec::decode::<(i64, String)>(&from_json(b"[3, \"x\"]").unwrap()).unwrap(), (3, "x".to_owned()));
        assert_eq!(codec::decode::<f64>(&from_json(b"2").unwrap()).unwrap(), 2.0);
        assert_eq!(codec::decode::<()>(&from_json(b"null").unwrap()).unwrap(), ());
    }

    #[test]
    fn keys_that_are_numbers_become_texts() {
        let output = codec::encode(&BTreeMap::from([(7, 'x')])).unwrap();
        assert_eq!(to_json(&output).unwrap(), br#"{"7":"x"}"#);
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for text in ["", "{", "1 2", "nul", "{'a':1}"] {
            assert!(from_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
