use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;

use burla_types::codec::{self, DEPTH_MAX};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

/// A value of JSON as a function takes it.
fn taken<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    codec::decode(&from_json(text.as_bytes())?).map_err(|error| error.to_string())
}

/// A value as it is printed.
fn printed(value: impl Serialize) -> Result<String, String> {
    to_json(&codec::encode(&value).unwrap()).map(|text| String::from_utf8(text).unwrap())
}

/// JSON text is taken as a value, which is printed as the same text.
#[track_caller]
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str, value: T) {
    assert_eq!(taken::<T>(text).as_ref(), Ok(&value));
    assert_eq!(printed(value).as_deref(), Ok(text));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: f32 },
    Line(i8, i8),
}

#[test]
fn json_goes_through_unchanged() {
    let texts = [
        "null",
        "true",
        "-7",
        "0",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "-0.0",
        "1e+300",
        "\"ß\"",
        "[]",
        "{}",
        "[1,[2,null]]",
        r#"{"a":{"b":[1.25]}}"#,
        r#""\u0000\n\"\\""#,
        "18446744073709551616",
        "-9223372036854775809",
        "[340282366920938463463374607431768211455,1,-170141183460469231731687303715884105728,0.5]",
        r#"{"18446744073709551616":["18446744073709551616",18446744073709551616]}"#,
    ];
    for text in texts {
        assert_eq!(
            to_json(&from_json(text.as_bytes()).unwrap()).map(|text| String::from_utf8(text).unwrap()).as_deref(),
            Ok(text)
        );
    }
}

#[test]
fn values_have_the_json_that_serde_json_gives_them() {
    both_ways("\"10.0.0.1\"", IpAddr::from([10, 0, 0, 1]));
    both_ways(r#"{"id":7,"name":null}"#, Row { id: 7, name: None });
    both_ways(
        r#"["Dot",{"Circle":{"radius":0.1}},{"Line":[1,-1]}]"#,
        vec![Shape::Dot, Shape::Circle { radius: 0.1 }, Shape::Line(1, -1)],
    );
    both_ways("[1,2,255]", vec![1_u8, 2, 255]);
    both_ways("[1,2,255]", serde_bytes::ByteBuf::from([1, 2, 255]));
    both_ways("3.4028235e+38", f32::MAX);
    both_ways("16777216.0", 16_777_216_f32);
    both_ways(r#"{"7":"x"}"#, HashMap::from([(7_u64, 'x')]));
    both_ways(r#"{"-7":{"true":"x"}}"#, BTreeMap::from([(-7_i8, BTreeMap::from([(true, 'x')]))]));
    both_ways(r#"{"a":1,"ß":2}"#, BTreeMap::from([('a', 1), ('ß', 2)]));
    both_ways(&format!("{{\"{0}\":{0}}}", u128::MAX), BTreeMap::from([(u128::MAX, u128::MAX)]));
    both_ways(&i128::MIN.to_string(), i128::MIN);
    both_ways("null", ());
    assert_eq!(printed(BTreeMap::from([(1.5_f32.to_bits(), 1.5_f32)])).as_deref(), Ok(r#"{"1069547520":1.5}"#));
    assert_eq!(taken::<f64>("2"), Ok(2.0));
    assert_eq!(taken::<f64>("-0").map(f64::to_bits), Ok((-0.0_f64).to_bits()));
    assert_eq!(taken::<(f64, f32)>(" [ 18446744073709551616 , 1 ] "), Ok((2_f64.powi(64), 1.0)));
}

#[test]
fn a_line_that_would_be_changed_is_refused() {
    let cases = [
        ("", "it is not JSON: EOF while parsing a value at column 0"),
        ("{", "it is not JSON: EOF while parsing an object at column 1"),
        ("1 2", "it is not JSON: trailing characters at column 3"),
        ("{'a':1}", "it is not JSON: key must be a string at column 2"),
        ("1e999", "it is not JSON: number out of range at column 5"),
        ("NaN", "it is not JSON: expected value at column 1"),
        ("01", "it is not JSON: invalid number at column 2"),
        (r#""\ud800""#, "it is not JSON: unexpected end of hex escape at column 8"),
        (r#"{"a":1,"b":[{"a":1,"a":2}]}"#, "an object has the key \"a\" twice at column 25"),
    ];
    for (line, reason) in cases {
        assert_eq!(from_json(line.as_bytes()), Err(reason.to_owned()), "{line}");
    }
    let wide = format!("[1,{}0]", u128::MAX);
    let reason = "an integer of 40 digits, 3402823669209384634…, has more than 128 bits: write it with an exponent if it may be rounded to a float";
    assert_eq!(from_json(wide.as_bytes()), Err(reason.to_owned()));
    assert!(from_json(format!("-{}", i128::MIN.unsigned_abs() + 1).as_bytes()).is_err());
    assert_eq!(from_json(b"\"a\xff\""), Err("it is not UTF-8: the byte 0xff begins no character at column 3".to_owned()));
    assert!(from_json(b"[\n \xff]").is_err_and(|text| text.ends_with("at line 2 column 2")));
}

#[test]
fn a_number_that_the_function_cannot_hold_is_refused() {
    assert_eq!(taken::<u64>("18446744073709551616"), Err("expected an integer (u64), found 18446744073709551616".to_owned()));
    assert_eq!(taken::<u8>("256"), Err("expected an integer (u8), found 256".to_owned()));
    assert_eq!(taken::<u8>("1.0"), Err("expected an integer (u8), found 1.0".to_owned()));
    assert_eq!(taken::<u128>("-1"), Err("expected an integer (u128), found -1".to_owned()));
    assert_eq!(taken::<f32>("1e300"), Err("expected a number (f32), found 1e300".to_owned()));
    assert!(taken::<f64>("9007199254740993").is_err_and(|text| text.starts_with("the integer 9007199254740993 is no exact f64")));
    assert!(taken::<f64>("18446744073709551617").is_err_and(|text| text.contains("no exact f64")));
    assert!(taken::<BTreeMap<u8, u8>>(r#"{"01":1}"#).is_err());
}

#[test]
fn an_output_that_json_does_not_have_is_refused() {
    let cases = [
        (printed(f64::NAN), "JSON has no number for NaN"),
        (printed([f32::NEG_INFINITY]), "JSON has no number for -inf"),
        (printed([Some(None::<u8>)]), "JSON cannot tell `Some(None)` or `Some(())` from null"),
        (printed((Some(()), 1)), "JSON cannot tell `Some(None)` or `Some(())` from null"),
        (printed(BTreeMap::from([(None::<u8>, 1)])), "JSON has no such key: an option or unit"),
        (printed(BTreeMap::from([((1, 2), 1)])), "JSON has no such key: an array"),
        (printed(BTreeMap::from([(vec![1_u8], 1)])), "JSON has no such key: an array"),
        (printed(BTreeMap::from([(BTreeMap::from([(1, 1)]), 1)])), "JSON has no such key: a map"),
    ];
    for (text, reason) in cases {
        assert_eq!(text, Err(reason.to_owned()));
    }
    // 1 and "1" are two keys of an untagged type.
    let two_keys = [0x82, 1, 1, 0xa1, b'1', 2];
    assert_eq!(to_json(&two_keys), Err("two keys of a map are \"1\" in JSON, which would lose one of them".to_owned()));
    assert!(to_json(&[1, 1]).is_err());
    assert!(to_json(&[]).is_err());
    assert!(to_json(&[0xa1, 0xff]).is_err());
}

#[test]
fn depth_has_the_bound_of_the_codec() {
    let nested = |depth: u16| "[".repeat(depth.into()) + &"]".repeat(depth.into());
    for depth in [200, DEPTH_MAX] {
        let input = from_json(nested(depth).as_bytes()).unwrap();
        assert_eq!(to_json(&input).unwrap(), nested(depth).as_bytes());
        assert!(codec::decode::<serde::de::IgnoredAny>(&input).is_ok());
    }
    let deeper = nested(DEPTH_MAX + 1);
    assert!(from_json(deeper.as_bytes()).is_err_and(|text| text.starts_with("it is nested more than 1024 levels deep")));
    assert!(from_json(nested(60_000).as_bytes()).is_err());
    let bytes = [vec![0x91; usize::from(DEPTH_MAX) + 1], vec![0xc0]].concat();
    assert_eq!(to_json(&bytes), Err("it is nested more than 1024 levels deep".to_owned()));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,45})",
        any::<f64>().prop_filter("JSON has finite numbers", |value| value.is_finite()).prop_map(|value| json!(value).to_string()),
        any::<Option<bool>>().prop_map(|value| json!(value).to_string()),
        ".{0,20}".prop_map(|text| json!(text).to_string()),
        "[0-9\"\\\\-]{0,30}".prop_map(|text| json!(text).to_string()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::btree_map("[0-9a\"\\\\-]{0,25}", inner, 0..20).prop_map(|entries| {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_integer_of_any_size_is_unchanged_or_refused(text in "-?(0|[1-9][0-9]{0,45})") {
        let fits = text.parse::<i128>().is_ok() || text.parse::<u128>().is_ok();
        let input = from_json(text.as_bytes());
        prop_assert_eq!(input.is_ok(), fits);
        if let Ok(input) = input {
            // A float, since integers have no negative zero.
            let expected = if text == "-0" { "-0.0" } else { &*text };
            prop_assert_eq!(String::from_utf8(to_json(&input).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn json_is_unchanged_or_refused(text in json()) {
        if let Ok(input) = from_json(text.as_bytes()) {
            let again = String::from_utf8(to_json(&input).unwrap()).unwrap();
            prop_assert_eq!(again.replace("-0.0", "-0"), text.replace("-0.0", "-0"));
        }
    }
}
