//! Values of a recursive type with all of serde's data model in it come back equal.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Unit,
    Nil(()),
    Empty {},
    UnitStruct(Marker),
    Bool(bool),
    Small(i8, u8),
    Integers(i64, u64),
    Wide(i128, u128),
    Floats { single: Bits32, double: Bits64 },
    Char(char),
    Text(String),
    Sequence(Vec<u8>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Option(Option<Box<Value>>),
    Options(Option<Option<Option<()>>>, Option<Marker>, Option<Newtype<Option<u8>>>),
    Newtype(Box<Newtype<Value>>),
    Array(Vec<Value>),
    Map(BTreeMap<String, Value>),
    NumberKeys(BTreeMap<i64, Value>),
    AnyKeys(BTreeMap<Option<(u8, Option<()>)>, Option<Value>>),
    Struct(Box<Struct>),
    Internal(Box<Internal>),
    Adjacent(Box<Adjacent>),
    Untagged(Box<Untagged>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Struct {
    first: Option<Option<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second: Option<Value>,
    #[serde(flatten)]
    flattened: Flattened,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    inner: Narrow,
    options: Option<Option<()>>,
    list: Vec<Option<Option<u8>>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Struct { value: Narrow, option: Option<Option<i8>> },
    Newtype(Flattened),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum Adjacent {
    Unit,
    Newtype(Value),
    Tuple(Value, Option<()>),
    Struct { value: Value },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Map { value: Narrow },
    List(Vec<Option<Option<Narrow>>>),
    Pair { left: Option<()>, right: Option<Marker> },
}

/// What serde's buffer can hold: no integers of 128 bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Narrow {
    Unit,
    Integer(i64),
    Double(Bits64),
    Single(Bits32),
    Text(String, char),
    Sequence(Vec<u8>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Options(Option<Option<Option<()>>>),
    Keys(BTreeMap<u8, Option<Option<bool>>>),
    Array(Vec<Narrow>),
}

/// Floats that are equal when each of their bits is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bits32(f32);

impl PartialEq for Bits32 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bits64(f64);

impl PartialEq for Bits64 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

fn single() -> impl Strategy<Value = Bits32> {
    any::<u32>().prop_map(|bits| Bits32(f32::from_bits(bits)))
}

fn double() -> impl Strategy<Value = Bits64> {
    any::<u64>().prop_map(|bits| Bits64(f64::from_bits(bits)))
}

fn options<T: std::fmt::Debug + Clone>(inner: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Option<T>>> {
    option::of(option::of(inner))
}

fn narrow() -> impl Strategy<Value = Narrow> {
    let leaf = prop_oneof![
        Just(Narrow::Unit),
        any::<i64>().prop_map(Narrow::Integer),
        double().prop_map(Narrow::Double),
        single().prop_map(Narrow::Single),
        (".{0,40}", any::<char>()).prop_map(|(text, char)| Narrow::Text(text, char)),
        vec(any::<u8>(), 0..300).prop_map(Narrow::Sequence),
        vec(any::<u8>(), 0..300).prop_map(Narrow::Bytes),
        option::of(options(Just(()))).prop_map(Narrow::Options),
        btree_map(any::<u8>(), options(any::<bool>()), 0..20).prop_map(Narrow::Keys),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| vec(inner, 0..5).prop_map(Narrow::Array))
}

fn flattened() -> impl Strategy<Value = Flattened> {
    (narrow(), options(Just(())), vec(options(any::<u8>()), 0..5)).prop_map(|(inner, options, list)| Flattened {
        inner,
        options,
        list,
    })
}

fn internal() -> impl Strategy<Value = Internal> {
    prop_oneof![
        Just(Internal::Unit),
        (narrow(), options(any::<i8>())).prop_map(|(value, option)| Internal::Struct { value, option }),
        flattened().prop_map(Internal::Newtype),
    ]
}

fn untagged() -> impl Strategy<Value = Untagged> {
    prop_oneof![
        narrow().prop_map(|value| Untagged::Map { value }),
        vec(options(narrow()), 0..5).prop_map(Untagged::List),
        (option::of(Just(())), option::of(Just(Marker))).prop_map(|(left, right)| Untagged::Pair { left, right }),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Unit),
        Just(Value::Nil(())),
        Just(Value::Empty {}),
        Just(Value::UnitStruct(Marker)),
        any::<bool>().prop_map(Value::Bool),
        any::<(i8, u8)>().prop_map(|(signed, unsigned)| Value::Small(signed, unsigned)),
        any::<(i64, u64)>().prop_map(|(signed, unsigned)| Value::Integers(signed, unsigned)),
        (integer(), any::<u128>(), 0..128).prop_map(|(signed, unsigned, shift)| Value::Wide(signed, unsigned >> shift)),
        (single(), double()).prop_map(|(single, double)| Value::Floats { single, double }),
        any::<char>().prop_map(Value::Char),
        ".{0,300}".prop_map(Value::Text),
        vec(any::<u8>(), 0..70_000).prop_map(Value::Sequence),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        (option::of(options(Just(()))), option::of(Just(Marker)), options(any::<u8>()))
            .prop_map(|(unit, marker, number)| Value::Options(unit, marker, number.map(Newtype))),
        internal().prop_map(|value| Value::Internal(Box::new(value))),
        untagged().prop_map(|value| Value::Untagged(Box::new(value))),
    ]
}

/// Integers of each length alike.
fn integer() -> impl Strategy<Value = i128> {
    (any::<i128>(), 0..128).prop_map(|(value, shift)| value >> shift)
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 6, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            option::of(boxed()).prop_map(Value::Option),
            inner.clone().prop_map(|value| Value::Newtype(Box::new(Newtype(value)))),
            vec(inner.clone(), 0..20).prop_map(Value::Array),
            btree_map(".{0,40}", inner.clone(), 0..20).prop_map(Value::Map),
            btree_map(any::<i64>(), inner.clone(), 0..6).prop_map(Value::NumberKeys),
            btree_map(option::of((any::<u8>(), option::of(Just(())))), option::of(inner.clone()), 0..6).prop_map(Value::AnyKeys),
            (options(inner.clone()), option::of(inner.clone()), flattened())
                .prop_map(|(first, second, flattened)| Value::Struct(Box::new(Struct { first, second, flattened }))),
            adjacent(inner).prop_map(|value| Value::Adjacent(Box::new(value))),
        ]
    })
}

fn adjacent(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        value.clone().prop_map(Adjacent::Newtype),
        (value.clone(), option::of(Just(()))).prop_map(|(value, unit)| Adjacent::Tuple(value, unit)),
        value.prop_map(|value| Adjacent::Struct { value }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_comes_back_equal(value in value()) {
        survives(value);
    }

    #[test]
    fn a_value_that_is_cut_short_is_refused(value in value(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&value).unwrap();
        prop_assert!(decode::<Value>(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(value) = decode::<Value>(&bytes) {
            survives(value);
        }
    }
}
