//! Sequences of `u8` as one copy.
//!
//! serde hands over a `Vec<u8>` element by element, which takes a hundred times as long as a copy where serde is
//! compiled without optimization, as in a user's dev build. So both directions recognize serde's own way of doing it,
//! at any depth. All unsafe code of this crate is here.

use std::any::{TypeId, type_name};
use std::fmt;
use std::mem::ManuallyDrop;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// The bytes that a serializer is to collect, if they lie in memory one after another. `[u8]`, `Vec<u8>` and what
/// derefs to one of them give a reference to themselves.
pub(super) fn of<I>(items: &I) -> Option<&[u8]> {
    let items_type = typeid::of::<I>();
    let items: *const I = items;
    #[expect(unsafe_code, reason = "the type is known, and Rust has no way to say so for a type that is not 'static")]
    // SAFETY: `I` is a shared reference to bytes, whatever its lifetime, as its `TypeId` says. That lifetime outlives
    // the borrow of `items`, and what is returned ends with that borrow.
    unsafe {
        if items_type == TypeId::of::<&[u8]>() {
            return Some(*items.cast::<&[u8]>());
        }
        if items_type == TypeId::of::<&Vec<u8>>() {
            return Some((*items.cast::<&Vec<u8>>()).as_slice());
        }
    }
    None
}

/// The value of a visitor, if it is serde's own of `Vec<u8>`, which would only gather the elements.
pub(super) fn read<'de, V: Visitor<'de>>(bytes: &[u8]) -> Option<V::Value> {
    // The type of the value is not enough: a visitor of a user's may gather the elements in reverse.
    if typeid::of::<V::Value>() != TypeId::of::<Vec<u8>>() || type_name::<V>() != vec_visitor() {
        return None;
    }
    let value = ManuallyDrop::new(bytes.to_vec());
    #[expect(unsafe_code, reason = "the type is known, and Rust has no way to say so for a type that is not 'static")]
    // SAFETY: `V::Value` is `Vec<u8>`, as its `TypeId` says, and that type has no lifetime in it. The original is not
    // dropped.
    Some(unsafe { std::mem::transmute_copy::<ManuallyDrop<Vec<u8>>, V::Value>(&value) })
}

/// The name of the visitor with which serde reads a `Vec<u8>`, as serde itself hands it over.
fn vec_visitor() -> &'static str {
    match Vec::<u8>::deserialize(Probe) {
        Err(VisitorName(name)) => name,
        Ok(_) => "",
    }
}

/// Answers each request for a value with the name of what made it.
struct Probe;

#[derive(Debug)]
struct VisitorName(&'static str);

impl<'de> Deserializer<'de> for Probe {
    type Error = VisitorName;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, VisitorName> {
        Err(VisitorName(type_name::<V>()))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl fmt::Display for VisitorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for VisitorName {}

impl de::Error for VisitorName {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_own_visitor_is_recognized_by_its_name() {
        assert!(vec_visitor().contains("Vec"), "{}", vec_visitor());
        assert_eq!(of(&&vec![1_u8, 2]), Some(&[1_u8, 2][..]));
        assert_eq!(of(&&[1_u8, 2][..]), Some(&[1_u8, 2][..]));
        assert_eq!(of(&&vec![1_i8, 2]), None);
        assert_eq!(of(&vec![1_u8, 2]), None);
    }
}
