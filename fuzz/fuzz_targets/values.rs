//! What is made of bytes and texts that others wrote, one word of `burla-types` at a time.

#![no_main]

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use burla_types::codec::{self, DecodeError};
use burla_types::text::truncated;
use burla_types::{
    AddressRange, CPU_MILLIS_MAX, CPU_MILLIS_MIN, DISK_BYTES_MAX, Digest, JobId, MEMORY_BYTES_MAX, NetworkGrant, NodeId,
    Resources, cpu_millis_from_cpus, disk_bytes_from_gib, is_public, memory_bytes_from_gib,
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What functions take and return, in every shape that serde knows.
#[derive(Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    maybe: Option<Option<String>>,
    map: BTreeMap<u64, char>,
    wide: (u64, i64, u128),
    narrow: (u8, i8, f32, bool),
    nothing: Option<()>,
    #[serde(default, with = "serde_bytes")]
    bytes: Vec<u8>,
    #[serde(default)]
    sequences: Vec<Vec<u8>>,
    #[serde(default)]
    untagged: Option<Untagged>,
    #[serde(flatten)]
    rest: BTreeMap<String, Option<Option<bool>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Integer(i64),
    Sequence(Vec<u8>),
    Struct { inner: Option<Option<()>> },
}

#[derive(Serialize, Deserialize)]
enum Shape {
    Dot,
    Named(String),
    Circle { radius: f64 },
    Polygon(Vec<(i32, i32)>),
}

fuzz_target!(|bytes: &[u8]| {
    codec_survives::<()>(bytes);
    codec_survives::<i64>(bytes);
    codec_survives::<f64>(bytes);
    codec_survives::<String>(bytes);
    codec_survives::<Vec<u8>>(bytes);
    codec_survives::<Option<Shape>>(bytes);
    codec_survives::<Everything>(bytes);

    let text = String::from_utf8_lossy(bytes);
    parsing_survives::<Digest>(&text);
    parsing_survives::<JobId>(&text);
    parsing_survives::<NodeId>(&text);
    parsing_survives::<NetworkGrant>(&text);
    parsing_survives::<AddressRange>(&text);
    grants(&text);
    range(&text);
    cuts(&text);

    if let Some((first, _)) = bytes.split_first_chunk() {
        limits(f64::from_le_bytes(*first));
    }
    if let Some((first, _)) = bytes.split_first_chunk() {
        slots(*first);
    }
    if let Some((first, _)) = bytes.split_first_chunk::<4>() {
        let address = Ipv4Addr::from(*first);
        assert_eq!(is_public(address.into()), is_public(address.to_ipv6_mapped().into()));
    }
});

/// Compares bytes and not values, for which a NaN would not be what it was.
fn codec_survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else { return };
    let mut encoded = codec::encode(&value).expect("what was decoded can be encoded");
    let again = codec::decode::<T>(&encoded).expect("what was encoded can be decoded");
    assert_eq!(codec::encode(&again).expect("it was encoded before"), encoded);

    assert!(codec::decode::<T>(&encoded[..encoded.len() - 1]).is_err(), "a value that was cut short");
    encoded.extend(bytes.last());
    assert!(matches!(codec::decode::<T>(&encoded), Err(DecodeError::TrailingBytes)), "bytes after the value: {encoded:x?}");
}

fn parsing_survives<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().expect("what is shown can be read"), value);
    }
}

/// Three words: what a grant covers, it allows. A grant that is wider than an operator's own must not pass for one that is not.
fn grants(text: &str) {
    let mut words = text.split(' ');
    let mut grant = || words.next()?.parse::<NetworkGrant>().ok();
    let (Some(wide), Some(narrow)) = (grant(), grant()) else { return };
    assert!(NetworkGrant::EVERYTHING.covers(&wide) && wide.covers(&wide));
    let Some(host) = words.next().filter(|_| wide.covers(&narrow)) else { return };
    for port in [None, Some(80), Some(443)] {
        assert!(!narrow.allows_name(host, port) || wide.allows_name(host, port));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        for port in [80, 443] {
            assert!(!narrow.allows_address(address, port) || wide.allows_address(address, port));
        }
    }
}

/// A range begins with an address of its own.
fn range(text: &str) {
    let Ok(range) = text.parse::<AddressRange>() else { return };
    let shown = range.to_string();
    let first = shown.split('/').next().and_then(|first| first.parse::<IpAddr>().ok());
    assert!(first.is_some_and(|first| range.contains(first)), "{shown}");
}

fn cuts(text: &str) {
    const BYTES_MAX: usize = 64;
    let cut = truncated(text, BYTES_MAX);
    assert!(cut.len() <= BYTES_MAX);
    assert_eq!(truncated(&cut, BYTES_MAX), cut);
}

fn limits(value: f64) {
    if let Ok(millis) = cpu_millis_from_cpus(value) {
        assert!((CPU_MILLIS_MIN..=CPU_MILLIS_MAX).contains(&millis));
    }
    if let Ok(bytes) = memory_bytes_from_gib(value) {
        assert!((1..=MEMORY_BYTES_MAX).contains(&bytes));
    }
    if let Ok(bytes) = disk_bytes_from_gib(value) {
        assert!((1..=DISK_BYTES_MAX).contains(&bytes));
    }
}

/// As many slots fit as are said to, and not one more; what they take and what is left is what there was.
fn slots(bytes: [u8; 32]) {
    let number = |start: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[start + at]));
    let all = Resources { cpu_millis: number(0), memory_bytes: number(8) };
    let one = Resources { cpu_millis: number(16), memory_bytes: number(24) };
    let slots = all.slots_of(one);
    let fit = |slots: u128| {
        slots * u128::from(one.cpu_millis) <= u128::from(all.cpu_millis)
            && slots * u128::from(one.memory_bytes) <= u128::from(all.memory_bytes)
    };
    assert!(fit(slots.into()));
    // What needs nothing has no end of slots.
    assert!(slots == u64::MAX || !fit(u128::from(slots) + 1));
    assert_eq!(all.minus(one, slots).plus(one, slots), all);
}
