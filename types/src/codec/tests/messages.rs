//! What is refused, and in which words.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u8,
    y: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
}

/// What is said of a value that is read as another type.
fn said<T: DeserializeOwned + Debug>(value: impl Serialize) -> String {
    decode::<T>(&encode(&value).unwrap()).unwrap_err().to_string()
}

#[test]
fn a_wrong_value_is_told_in_the_words_of_json() {
    assert_eq!(said::<u64>([5]), "expected an integer (u64), found an array");
    assert_eq!(said::<u64>("5"), "expected an integer (u64), found the string \"5\"");
    assert_eq!(said::<u64>(5.0), "expected an integer (u64), found 5.0");
    assert_eq!(said::<u8>(300), "expected an integer (u8), found 300");
    assert_eq!(said::<u8>(-1), "expected an integer (u8), found -1");
    assert_eq!(said::<i64>(u64::MAX), "expected an integer (i64), found 18446744073709551615");
    assert_eq!(said::<u64>(u128::MAX), format!("expected an integer (u64), found {}", u128::MAX));
    assert_eq!(said::<i128>(u128::MAX), format!("expected an integer (i128), found {}", u128::MAX));
    assert_eq!(said::<u128>(i128::MIN), format!("expected an integer (u128), found {}", i128::MIN));
    assert_eq!(said::<u64>(()), "expected an integer (u64), found null");
    assert_eq!(said::<f64>("x"), "expected a number (f64), found the string \"x\"");
    assert_eq!(said::<f32>(1e300), "expected a number (f32), found 1e300");
    assert_eq!(said::<bool>(1), "expected a boolean, found 1");
    assert_eq!(said::<String>(true), "expected a string, found true");
    assert_eq!(said::<char>("ab"), "expected a string of one character, found the string \"ab\"");
    assert_eq!(said::<Vec<u8>>(5), "expected an array, found 5");
    assert_eq!(said::<BTreeMap<u8, u8>>([1]), "expected an object, found an array");
    assert_eq!(said::<()>(0), "expected null, found 0");
    assert_eq!(said::<IpAddr>(1), "expected IP address, found 1");
}

#[test]
fn a_wrong_number_of_elements_is_told_in_one_way() {
    for (expected, found, text) in
        [(2, 1, said::<(u8, u8)>([1])), (2, 3, said::<(u8, u8)>([1; 3])), (3, 2, said::<[u8; 3]>([1; 2]))]
    {
        assert_eq!(text, format!("expected an array of {expected} elements, found {found}"));
    }
    for (found, text) in
        [(1, said::<Pair>([1])), (4, said::<Pair>([1; 4])), (1, said::<Pair>(vec![1_u8])), (3, said::<Pair>(vec![1_u8; 3]))]
    {
        assert_eq!(text, format!("expected an array of 2 elements, found {found}"));
    }
    assert_eq!(said::<Point>((1,)), "expected an array of 2 elements, found 1");
}

#[test]
fn structs_and_variants_are_told_by_name() {
    assert_eq!(said::<Point>(BTreeMap::from([("x", 1)])), "missing field `y`");
    assert_eq!(said::<Point>(5), "expected an object (struct Point), found 5");
    assert_eq!(said::<Shape>("Square"), "unknown variant `Square`, expected `Dot` or `Circle`");
    assert_eq!(said::<Shape>(5), "expected a variant of enum Shape, found 5");
    assert_eq!(said::<Shape>(BTreeMap::<u8, u8>::new()), "expected a variant of enum Shape, found an object of 0 keys");
    assert_eq!(
        said::<Shape>("Circle"),
        "expected an object with the variant as its key, since it has a value, found the string alone"
    );
    assert_eq!(said::<Shape>(BTreeMap::from([("Dot", 1)])), "at `.Dot`: expected null, found 1");
}

#[test]
fn the_place_of_the_fault_is_told() {
    assert_eq!(said::<Vec<Point>>([(1, 2.0), (2, 0.5), (300, 2.0)]), "at `[2][0]`: expected an integer (u8), found 300");
    let rows = BTreeMap::from([("rows", [BTreeMap::from([("x", 1)]), BTreeMap::from([("x", 2), ("y", 3)])])]);
    assert_eq!(said::<BTreeMap<String, Vec<Point>>>(rows), "at `.rows[0]`: missing field `y`");
    assert_eq!(said::<BTreeMap<u8, (u8, bool)>>(BTreeMap::from([(7, (1, 2))])), "at `.7[1]`: expected a boolean, found 2");
    assert_eq!(said::<(u8, Vec<(u8, u8)>)>((1, [[1, 2, 3]])), "at `[1][0]`: expected an array of 2 elements, found 3");
    assert_eq!(said::<BTreeMap<u8, u8>>(BTreeMap::from([("x", 1)])), "expected an integer (u8), found the string \"x\"");
    let long = "k".repeat(10_000);
    assert!(said::<BTreeMap<String, u8>>(BTreeMap::from([(&*long, "v")])).len() < 400);
}

#[test]
fn an_integer_is_a_float_only_where_it_is_exactly_that() {
    assert_eq!(decode::<f64>(&encode(&(1_u64 << 60)).unwrap()).unwrap(), (1_u64 << 60) as f64);
    assert_eq!(decode::<f64>(&encode(&u128::from(u64::MAX).pow(1).next_power_of_two()).unwrap()).unwrap(), 2_f64.powi(64));
    assert_eq!(decode::<f32>(&encode(&-16_777_216).unwrap()).unwrap(), -16_777_216.0);
    assert_eq!(decode::<f64>(&encode(&i128::MIN).unwrap()).unwrap(), -2_f64.powi(127));
    assert_eq!(
        said::<f64>(9_007_199_254_740_993_u64),
        "the integer 9007199254740993 is no exact f64: write it as 9007199254740993.0 if it may be rounded"
    );
    for text in
        [said::<f64>(u64::MAX), said::<f64>(i64::MAX), said::<f64>(-i64::MAX), said::<f64>(u128::MAX), said::<f64>(i128::MAX)]
    {
        assert!(text.contains("no exact f64"), "{text}");
    }
    assert!(said::<f32>(16_777_217).contains("no exact f32"));
}

#[test]
fn malformed_bytes_are_refused() {
    let cases: &[&[u8]] = &[
        &[],
        &[0xc1],
        &[0xcd, 0],
        &[0xa2, b'a'],
        &[0xa1, 0xff],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff, 1],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xc9, 0xff, 0xff, 0xff, 0xff, 4],
        // Extensions: of no known type, no `Some`, too many, a wide integer that is none.
        &[0xd4, 9, 1],
        &[0xd4, 1, 0],
        &[0xd4, 1, 251],
        &[0xc7, 1, 1, 1],
        &[0xd6, 2, 0, 0, 0, 0],
    ];
    for bytes in cases {
        assert!(matches!(decode::<serde_json::Value>(bytes), Err(DecodeError::Malformed(_))), "{bytes:x?}");
        assert!(matches!(decode::<Vec<u64>>(bytes), Err(DecodeError::Malformed(_))), "{bytes:x?}");
        assert!(matches!(decode::<serde::de::IgnoredAny>(bytes), Err(DecodeError::Malformed(_))), "{bytes:x?}");
    }
}

#[test]
fn bytes_after_the_value_are_refused() {
    for trailing in [&[1, 2][..], &[1, 0xcd, 0], &[1, 0xc1], &[1, 0x91], &[1, 0xc0]] {
        assert!(matches!(decode::<i64>(trailing), Err(DecodeError::TrailingBytes)), "{trailing:?}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nested {
    End,
    Array(Vec<Nested>),
    Map(BTreeMap<u8, Nested>),
    Struct { inner: Box<Nested> },
    Same(Box<Nested>),
}

/// A value of so many levels; the last closure says how many each takes.
fn nested(levels: u16, per_turn: u16, wrap: impl Fn(Nested) -> Nested) -> Nested {
    (0..levels / per_turn).fold(Nested::End, |value, _| wrap(value))
}

#[test]
fn what_is_written_can_be_read_however_deep_it_is() {
    type Wrap = fn(Nested) -> Nested;
    let wraps: [(u16, Wrap); 4] = [
        (2, |value| Nested::Array(vec![value])),
        (2, |value| Nested::Map(BTreeMap::from([(1, value)]))),
        (2, |value| Nested::Struct { inner: Box::new(value) }),
        (1, |value| Nested::Same(Box::new(value))),
    ];
    for (per_turn, wrap) in wraps {
        survives(nested(DEPTH_MAX, per_turn, wrap));
        let deeper = nested(DEPTH_MAX + per_turn, per_turn, wrap);
        assert_eq!(encode(&deeper).unwrap_err().to_string(), "it is nested more than 1024 levels deep");
    }
    let bytes = [vec![0x91; usize::from(DEPTH_MAX)], vec![0xc0]].concat();
    assert!(decode::<serde_json::Value>(&bytes).is_ok());
    let text = decode::<serde_json::Value>(&[vec![0x91], bytes].concat()).unwrap_err().to_string();
    assert!(text.ends_with("it is nested more than 1024 levels deep"), "{text}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Peano(Option<Box<Peano>>);

#[test]
fn options_are_nested_up_to_a_bound() {
    let peano = |somes: u16| (0..somes).fold(Peano(None), |inner, _| Peano(Some(Box::new(inner))));
    survives(peano(SOMES_MAX.into()));
    assert!(encode(&peano(u16::from(SOMES_MAX) + 1)).is_err());
    assert!(encode(&(0..10_000).fold(Peano(None), |inner, _| Peano(Some(Box::new(inner))))).is_err());
}

#[test]
fn a_type_that_holds_itself_without_an_end_is_refused() {
    for bytes in [&[1][..], &[0x91, 1], &[0x80], &[0xa1, b'x']] {
        let text = decode::<Peano>(bytes).unwrap_err().to_string();
        assert_eq!(text, "more than 250 options and newtypes of its type are around one value");
    }
    // Each value has a count of its own, and so has each byte of a sequence of `u8`.
    survives(vec![Some(1_u16); 1000]);
    assert_eq!(decode::<Vec<Option<u8>>>(&encode(&vec![1_u8; 1000]).unwrap()).unwrap(), [Some(1); 1000]);
}

#[derive(Debug, Deserialize)]
struct Last {
    #[expect(dead_code, reason = "it is only read")]
    last: u8,
}

#[test]
fn a_value_that_is_passed_over_is_no_deeper_than_one_that_is_read() {
    let with_ignored =
        |levels: usize, last: u8| [&[0x82, 0xa1, b'i'], &*vec![0x91; levels], &[0xc0, 0xa4], b"last", &[last]].concat();
    // The map around it is a level as well.
    let deepest = usize::from(DEPTH_MAX) - 1;
    assert!(decode::<Last>(&with_ignored(deepest, 1)).is_ok());
    let text = decode::<Last>(&with_ignored(deepest, 0xc0)).unwrap_err().to_string();
    assert_eq!(text, "at `.last`: expected an integer (u8), found null");
    for levels in [deepest + 1, 1 << 20] {
        let text = decode::<Last>(&with_ignored(levels, 0xc0)).unwrap_err().to_string();
        assert!(text.ends_with("it is nested more than 1024 levels deep") && text.len() < 400, "{text}");
    }
    // Side by side, they are no deeper.
    assert!(decode::<serde::de::IgnoredAny>(&[vec![0xdc, 0x10, 0], vec![0x90; 4096]].concat()).is_ok());
}

#[test]
fn the_search_for_a_path_ends_at_the_bound_of_depth() {
    let bytes = vec![0x91; 1 << 20];
    assert_eq!(path::to(&bytes, bytes.len() - 1), "");
    assert!(path::to(&bytes, usize::from(DEPTH_MAX)).starts_with("[0][0]"));
}

#[test]
fn names_in_a_message_are_short_and_harmless() {
    let name = "\x1b[2J\r\n\u{9b}31m\u{202e}é🦀";
    let shown = "\\u{1b}[2J\\r\\n\\u{9b}31m\\u{202e}é🦀";
    assert_eq!(said::<Shape>(name), format!("unknown variant `{shown}`, expected `Dot` or `Circle`"));
    let text = said::<BTreeMap<String, u8>>(BTreeMap::from([(name, ())]));
    assert_eq!(text, format!("at `.{shown}`: expected an integer (u8), found null"));
    for char in ["k", "\x1b"] {
        let long = char.repeat(1 << 20);
        let texts = [said::<Shape>(&*long), said::<BTreeMap<String, u8>>(BTreeMap::from([(&*long, ())]))];
        for text in texts {
            assert!(text.len() < 6 * 4096 + 400 && !text.contains('\x1b') && text.contains("bytes more"), "{}", text.len());
        }
    }
}

/// Announces two elements and writes as many as it says.
struct Liar(usize);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_seq(Some(2))?;
        (0..self.0).try_for_each(|element| elements.serialize_element(&element))?;
        elements.end()
    }
}

#[test]
fn a_type_that_announces_another_length_is_refused() {
    assert!(encode(&Liar(2)).is_ok());
    assert_eq!(encode(&Liar(1)).unwrap_err().to_string(), "the type's `Serialize` announced 2 elements and wrote 1");
    assert!(encode(&Liar(3)).is_err());
}

/// Iterates without saying how long it is.
struct Unknown(Vec<u8>);

impl Serialize for Unknown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter(|_| true))
    }
}

#[test]
fn a_sequence_of_unknown_length_is_as_short_as_any() {
    for length in [0, 1, 15, 16, 300, 70_000] {
        let value = vec![7; length];
        let bytes = encode(&Unknown(value.clone())).unwrap();
        assert_eq!(decode::<Vec<u8>>(&bytes).unwrap(), value);
        assert_eq!(bytes.len(), length + if length < 16 { 1 } else { 5 });
    }
}
