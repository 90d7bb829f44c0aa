//! The insides of arrays, maps and variants, one value after another.

use serde::de::{self, Deserialize, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::error::Malformed;
use super::reader::{Pending, Reader};

/// The elements of an array or of a sequence of `u8`.
pub(super) struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    bytes: Option<&'de [u8]>,
    start: usize,
    length: usize,
    taken: usize,
}

impl<'a, 'de> Elements<'a, 'de> {
    /// Gives the elements to a visitor, which must take all of them.
    pub(super) fn visit<V: Visitor<'de>>(
        reader: &'a mut Reader<'de>,
        length: usize,
        bytes: Option<&'de [u8]>,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        let start = reader.subject;
        let mut elements = Self { reader, bytes, start, length, taken: 0 };
        let value = visitor.visit_seq(&mut elements)?;
        elements.end()?;
        Ok(value)
    }

    fn end(self) -> Result<(), Malformed> {
        self.reader.suspend(Pending::Nothing);
        self.reader.subject = self.start;
        if self.taken == self.length { Ok(()) } else { Err(Malformed::length(self.taken, self.length)) }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Malformed;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Malformed> {
        if self.taken == self.length {
            self.reader.subject = self.start;
            return Ok(None);
        }
        if let Some(bytes) = self.bytes {
            self.reader.suspend(Pending::U8(bytes[self.taken]));
        }
        self.taken += 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        let left = self.length - self.taken;
        // The length was held against the bytes when the array began, but its elements may have taken more than a
        // byte each.
        Some(if self.bytes.is_some() { left } else { left.min(self.reader.values_max()) })
    }
}

/// The entries of a map.
pub(super) struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    start: usize,
    length: usize,
    taken: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    /// Gives the entries to a visitor, which must take all of them.
    pub(super) fn visit<V: Visitor<'de>>(reader: &'a mut Reader<'de>, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        let start = reader.subject;
        let mut entries = Self { reader, start, length, taken: 0 };
        let value = visitor.visit_map(&mut entries)?;
        entries.end()?;
        Ok(value)
    }

    fn end(self) -> Result<(), Malformed> {
        self.reader.subject = self.start;
        if self.taken == self.length {
            return Ok(());
        }
        Err(Malformed::new(format!("expected an object of {} keys, found {}", self.taken, self.length)))
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Malformed;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Malformed> {
        if self.taken == self.length {
            self.reader.subject = self.start;
            return Ok(None);
        }
        self.taken += 1;
        self.reader.key = true;
        let key = seed.deserialize(&mut *self.reader)?;
        self.reader.key = false;
        Ok(Some(key))
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Malformed> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some((self.length - self.taken).min(self.reader.values_max()))
    }
}

/// A variant: its name alone, or a map of one entry that holds the name and the content.
pub(super) struct Variant<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    pub(super) has_content: bool,
}

impl<'a, 'de> Variant<'a, 'de> {
    /// The reader, where there is content to be read.
    fn content(self) -> Result<&'a mut Reader<'de>, Malformed> {
        if self.has_content {
            Ok(self.reader)
        } else {
            Err(Malformed::new("expected an object with the variant as its key, since it has a value, found the string alone"))
        }
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Malformed;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Malformed> {
        let variant = seed.deserialize(&mut *self.reader)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Malformed;

    fn unit_variant(self) -> Result<(), Malformed> {
        if self.has_content { <()>::deserialize(self.reader) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Malformed> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        de::Deserializer::deserialize_tuple(self.content()?, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Malformed> {
        de::Deserializer::deserialize_struct(self.content()?, "", fields, visitor)
    }
}
