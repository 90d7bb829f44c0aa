//! Types of std and attributes of serde, one by one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::{NonZero, Wrapping};
use std::ops::{Bound, Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{decode, encode, survives};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent<T> {
    inner: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Field<T> {
    field: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened<T> {
    before: u8,
    #[serde(flatten)]
    field: Field<T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External<T> {
    Unit,
    Newtype(T),
    Tuple(T, u8),
    Struct { field: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Internal<T> {
    Unit,
    Newtype(Field<T>),
    Struct { field: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent<T> {
    Unit,
    Newtype(T),
    Tuple(T, u8),
    Struct { field: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Struct { field: T },
    Tuple(T, u8),
}

type Sixteen = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, Option<()>);

/// Puts values wherever serde has a place for one.
#[track_caller]
fn survive_everywhere<T, const N: usize>(values: [T; N])
where
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned,
{
    for value in values {
        let value = || value.clone();
        survives(Everywhere {
            itself: value(),
            option: Some(Some(value())),
            list: vec![Some(value()), None],
            tuple: (value(), 7, [value(), value()]),
            map: BTreeMap::from([("a".to_owned(), value())]),
            newtype: Some(Newtype(Some(value()))),
            transparent: Some(Transparent { inner: value() }),
            flattened: Flattened { before: 1, field: Field { field: value() } },
            external: [
                External::Unit,
                External::Newtype(value()),
                External::Tuple(value(), 3),
                External::Struct { field: value() },
            ],
            internal: [Internal::Unit, Internal::Newtype(Field { field: value() }), Internal::Struct { field: value() }],
            adjacent: [
                Adjacent::Unit,
                Adjacent::Newtype(value()),
                Adjacent::Tuple(value(), 3),
                Adjacent::Struct { field: value() },
            ],
            untagged: [Untagged::Struct { field: value() }, Untagged::Tuple(value(), 3)],
            results: [Ok(value()), Err(value())],
        });
        survives(value());
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everywhere<T> {
    itself: T,
    option: Option<Option<T>>,
    list: Vec<Option<T>>,
    tuple: (T, u8, [T; 2]),
    map: BTreeMap<String, T>,
    newtype: Option<Newtype<Option<T>>>,
    transparent: Option<Transparent<T>>,
    flattened: Flattened<T>,
    external: [External<T>; 4],
    internal: [Internal<T>; 3],
    adjacent: [Adjacent<T>; 4],
    untagged: [Untagged<T>; 2],
    results: [Result<T, T>; 2],
}

#[test]
fn nil_is_told_from_nil_everywhere() {
    survive_everywhere([None, Some(None), Some(Some(1_u8))]);
    survive_everywhere([None, Some(None), Some(Some(None)), Some(Some(Some(())))]);
    survive_everywhere([None, Some(Unit)]);
    survive_everywhere([None, Some(Newtype(None)), Some(Newtype(Some(PhantomData::<u8>)))]);
    survive_everywhere([Newtype(Transparent { inner: None }), Newtype(Transparent { inner: Some(()) })]);
    survive_everywhere([(
        vec![None, Some(None), Some(Some(1_u8))],
        Some(External::Newtype(Some(()))),
        Some(External::<()>::Unit),
    )]);
}

#[test]
fn scalars_survive_everywhere() {
    let text = |text: &str| text.to_owned();
    survive_everywhere([((), true, 'ß', text(""), Unit), ((), false, '\0', text("\u{10ffff}"), Unit)]);
    survive_everywhere([(u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN), (0, 0, 0, 0, 0, 0)]);
    survive_everywhere([(u64::MAX, i64::MIN), (0, -0x20), (0x7f, -0x21), (0x80, -0x80), (0xff, -0x81), (0x100, -0x8000)]);
    survive_everywhere([(0xffff, -0x8001), (0x1_0000, -0x8000_0000), (0xffff_ffff, -0x8000_0001), (0x1_0000_0000_u64, i64::MAX)]);
    survive_everywhere([(0.1_f32, 1e300), (f32::MIN_POSITIVE, f64::INFINITY), (f32::NEG_INFINITY, 5e-324)]);
    survive_everywhere([(vec![0_u8, 255], vec![vec![200_u8; 3]], [1_u8; 4]), (vec![], vec![], [0; 4])]);
}

#[test]
fn wide_integers_survive_where_serde_can_hold_them() {
    for value in [0, 1, u64::MAX.into(), u128::from(u64::MAX) + 1, i128::MAX as u128, i128::MAX as u128 + 1, u128::MAX] {
        survives((value, Some(value), vec![value], External::Newtype(value), Field { field: value }));
        survives(BTreeMap::from([(value, value)]));
    }
    for value in [0, -1, i64::MIN.into(), i128::from(i64::MIN) - 1, i128::MIN, i128::MAX] {
        survives((value, Some(value), vec![value], External::Tuple(value, 1), Field { field: value }));
        survives(BTreeMap::from([(value, value)]));
    }
    // serde's own buffer has no room for them, so that they are refused.
    let bytes = encode(&Untagged::Struct { field: u128::MAX }).unwrap();
    assert!(decode::<Untagged<u128>>(&bytes).is_err());
}

#[test]
fn floats_survive_bit_for_bit() {
    for bits in [0, 1 << 31, 0x7f80_0001, 0x7fc0_0000, 0xffff_ffff, 0x0000_0001, 0x7f7f_ffff] {
        let value = Untagged::Struct { field: f32::from_bits(bits) };
        let Untagged::Struct { field } = decode(&encode(&value).unwrap()).unwrap() else { panic!("another variant") };
        assert_eq!(f32::to_bits(field), bits);
    }
    for bits in [0, 1 << 63, 0x7ff0_0000_0000_0001, 0x7ff8_0000_0000_0000, u64::MAX, 1] {
        let (value,): (f64,) = decode(&encode(&(f64::from_bits(bits),)).unwrap()).unwrap();
        assert_eq!(value.to_bits(), bits);
    }
}

#[test]
fn types_of_std_survive() {
    let address = IpAddr::from([10, 0, 0, 1]);
    survive_everywhere([(address, Ipv6Addr::LOCALHOST, SocketAddr::from((address, 80)))]);
    survive_everywhere([(
        Duration::new(3, 999_999_999),
        SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001),
    )]);
    survive_everywhere([(Range { start: 1, end: 5 }, RangeInclusive::new(-1_i8, 1), NonZero::<u16>::MAX, Wrapping(7_i32))]);
    survive_everywhere([
        (Bound::Included(3_u8), Bound::Excluded(Some(())), Ok::<(), u8>(())),
        (Bound::Unbounded, Bound::Unbounded, Err(1)),
    ]);
    survive_everywhere([(PathBuf::from("/a b/ß"), Cow::<'static, str>::Owned("x".to_owned()), Box::<str>::from("y"))]);
    survive_everywhere([(Box::new(5_u8), VecDeque::from([1_u8, 2]), BTreeSet::from(['a', 'b']), Box::<[u8]>::from([9]))]);
    survives((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, Some(())));
    // The longest that serde takes, and longer than std shows.
    let longest = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, Some(()));
    assert!(decode::<Sixteen>(&encode(&longest).unwrap()).unwrap().15 == longest.15);
    survives([0_u16; 32]);
    survives([(); 3]);
    survives(([0_u8; 0], [[1_u8; 3]; 2]));
    assert_eq!(encode(&IpAddr::from([10, 0, 0, 1])).unwrap(), b"\xa810.0.0.1");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Name {
    One,
    Two(u8),
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Id(u32);

#[test]
fn keys_of_any_type_survive() {
    survives(HashMap::from([(1_u64, 'a'), (u64::MAX, 'b')]));
    survives(BTreeMap::from([(None, 1), (Some(None), 2), (Some(Some(())), 3)]));
    survives(BTreeMap::from([(Name::One, 1), (Name::Two(2), 2)]));
    survives(BTreeMap::from([((1, "a".to_owned()), 1), ((2, "b".to_owned()), 2)]));
    survives(BTreeMap::from([(Id(1), Some(())), (Id(2), None)]));
    survives(BTreeMap::from([(vec![1_u8, 200], 1), (vec![], 2)]));
    survives(BTreeMap::from([('a', true), ('ß', false)]));
    survives(BTreeMap::from([(false, ()), (true, ())]));
    survives(BTreeMap::from([(BTreeMap::from([(1, 2)]), BTreeMap::from([(-1, 2)]))]));
    survives(Flattened { before: 1, field: Field { field: HashMap::from([(7_u64, 1)]) } });
}

#[test]
fn a_key_may_be_a_text_where_another_type_is_wanted() {
    let texts = |keys: &[&str]| encode(&keys.iter().map(|key| (*key, 1)).collect::<BTreeMap<_, _>>()).unwrap();
    let numbers = BTreeMap::from([(-7_i64, 1), (0, 1), (i64::MAX, 1)]);
    assert_eq!(decode::<BTreeMap<i64, u8>>(&texts(&["-7", "0", "9223372036854775807"])).unwrap(), numbers);
    assert_eq!(decode::<BTreeMap<u128, u8>>(&texts(&[&u128::MAX.to_string()])).unwrap(), BTreeMap::from([(u128::MAX, 1)]));
    assert_eq!(decode::<BTreeMap<bool, u8>>(&texts(&["true"])).unwrap(), BTreeMap::from([(true, 1)]));
    assert_eq!(decode::<BTreeMap<char, u8>>(&texts(&["ß"])).unwrap(), BTreeMap::from([('ß', 1)]));
    assert_eq!(decode::<BTreeMap<Id, u8>>(&texts(&["5"])).unwrap(), BTreeMap::from([(Id(5), 1)]));
    assert_eq!(decode::<BTreeMap<Option<u8>, u8>>(&texts(&["5"])).unwrap(), BTreeMap::from([(Some(5), 1)]));
    assert_eq!(decode::<BTreeMap<Name, u8>>(&texts(&["One"])).unwrap(), BTreeMap::from([(Name::One, 1)]));
    for key in ["", "x", "01", "+1", "-0", " 1", "1.0", "256", "-1"] {
        assert!(decode::<BTreeMap<u8, u8>>(&texts(&[key])).is_err(), "{key}");
    }
    // A value is none, nor is what is within a key.
    assert!(decode::<BTreeMap<u8, u8>>(&encode(&BTreeMap::from([(1, "1")])).unwrap()).is_err());
    assert!(decode::<BTreeMap<(u8,), u8>>(&encode(&BTreeMap::from([(("1",), 1)])).unwrap()).is_err());
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Attributes {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    some_list: Vec<u8>,
    #[serde(rename = "type", alias = "kind")]
    type_name: Option<Option<String>>,
    #[serde(skip)]
    skipped: u8,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    #[serde(flatten)]
    rest: BTreeMap<String, Option<Option<i8>>>,
}

#[test]
fn attributes_of_serde_work() {
    survives(Attributes::default());
    survives(Attributes {
        some_list: vec![1, 255],
        type_name: Some(None),
        bytes: vec![0, 255],
        rest: BTreeMap::from([("x".to_owned(), Some(None)), ("y".to_owned(), None), ("z".to_owned(), Some(Some(-1)))]),
        skipped: 0,
    });
    let bytes = encode(&BTreeMap::from([("kind", "x")])).unwrap();
    assert_eq!(decode::<Attributes>(&bytes).unwrap().type_name, Some(Some("x".to_owned())));
    // The field name that is left out is not in the bytes, and the others are.
    let bytes = encode(&Attributes::default()).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"some-list"));
    assert!(bytes.windows(4).any(|window| window == b"type"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kinds {
    sequence: Vec<u8>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

#[test]
fn a_sequence_of_u8_takes_a_byte_each_and_is_told_from_bytes() {
    let mut value = vec![200_u8; 1000];
    assert_eq!(encode(&value).unwrap().len(), 1004);
    assert_eq!(encode(&Box::<[u8]>::from(&*value)).unwrap().len(), 1004);
    assert_eq!(encode(&BTreeMap::from([(1, [Some(Cow::Borrowed(&*value))])])).unwrap().len(), 1007);
    value.extend(0..=255);
    survives(vec![Some(value.clone())]);
    survives([Untagged::Struct { field: value.clone() }]);
    survives(Flattened { before: 1, field: Field { field: Kinds { sequence: value.clone(), bytes: value.clone() } } });
    survives(Internal::Struct { field: Kinds { sequence: value.clone(), bytes: value.clone() } });
    // JSON has neither, so that an array of numbers is both.
    let array = encode(&(1, 2, 255)).unwrap();
    assert_eq!(decode::<Vec<u8>>(&array).unwrap(), [1, 2, 255]);
    assert_eq!(decode::<serde_bytes::ByteBuf>(&array).unwrap(), [1, 2, 255]);
    assert_eq!(decode::<serde_bytes::ByteBuf>(&encode(&vec![1_u8, 2]).unwrap()).unwrap(), [1, 2]);
    assert_eq!(decode::<Vec<u8>>(&encode(&serde_bytes::Bytes::new(&[1, 2])).unwrap()).unwrap(), [1, 2]);
    assert_eq!(decode::<Vec<u16>>(&encode(&vec![1_u8, 255]).unwrap()).unwrap(), [1, 255]);
    assert_eq!(decode::<Vec<Option<u8>>>(&encode(&vec![1_u8]).unwrap()).unwrap(), [Some(1)]);
}

/// A type whose visitor has the same value as serde's, and does something else.
#[derive(Debug, PartialEq)]
struct Reversed(Vec<u8>);

impl Serialize for Reversed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().rev().copied().collect::<Vec<u8>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reversed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Backwards;
        impl<'de> serde::de::Visitor<'de> for Backwards {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
                let mut value = Vec::new();
                while let Some(element) = elements.next_element()? {
                    value.insert(0, element);
                }
                Ok(value)
            }
        }
        deserializer.deserialize_seq(Backwards).map(Self)
    }
}

#[test]
fn a_visitor_of_ones_own_sees_each_element() {
    survives(Reversed(vec![1, 2, 3]));
}
