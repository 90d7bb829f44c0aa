//! serde's side of the reader.

use serde::de::{self, Expected, Unexpected, Visitor};

use super::access::{Elements, Entries, Variant};
use super::error::Malformed;
use super::reader::{Pending, Reader, Token, wide};
use super::u8_sequence;

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Malformed;

    fn is_human_readable(&self) -> bool {
        true
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.token()? {
            // serde's buffer takes a unit for `None` as well, but not the other way round.
            Token::Nil => visitor.visit_unit(),
            Token::Somes(somes) => {
                self.suspend(Pending::Somes(somes - 1));
                visitor.visit_some(self)
            }
            Token::Bool(value) => visitor.visit_bool(value),
            Token::U64(value) => visitor.visit_u64(value),
            Token::I64(value) => visitor.visit_i64(value),
            Token::U128(value) => visitor.visit_u128(value),
            Token::I128(value) => visitor.visit_i128(value),
            Token::F32(value) => visitor.visit_f32(value),
            Token::F64(value) => visitor.visit_f64(value),
            Token::Text(text) => visitor.visit_borrowed_str(text),
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::U8Sequence(bytes) => self.visit_u8_sequence(bytes, visitor),
            Token::Array(length) => self.visit_array(length, visitor),
            Token::Map(length) => self.visit_entries(length, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        let key = self.key;
        match self.token()? {
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Text("true") if key => visitor.visit_bool(true),
            Token::Text("false") if key => visitor.visit_bool(false),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if let Some(value) = self.take_u64() {
            return visitor.visit_u64(value);
        }
        match self.integer()? {
            Token::U64(value) => visitor.visit_u64(value),
            Token::I64(value) => visitor.visit_i64(value),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.integer()? {
            Token::U64(value) => visitor.visit_u64(value),
            Token::I64(value) => visitor.visit_i64(value),
            Token::I128(value) => visitor.visit_i128(value),
            token @ Token::U128(value) => match value.try_into() {
                Ok(value) => visitor.visit_i128(value),
                Err(_) => Err(unexpected(token, &visitor)),
            },
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.integer()? {
            Token::U64(value) => visitor.visit_u64(value),
            Token::I64(value) => visitor.visit_i64(value),
            Token::U128(value) => visitor.visit_u128(value),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.float(f32::MANTISSA_DIGITS)? {
            // It would become infinite.
            Token::F64(value) if value.is_finite() && !(value as f32).is_finite() => {
                Err(de::Error::invalid_value(Unexpected::Float(value), &visitor))
            }
            Token::F64(value) => visitor.visit_f64(value),
            Token::F32(value) => visitor.visit_f32(value),
            token => Err(unexpected_number(token, &visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if let Some(value) = self.take_f64() {
            return visitor.visit_f64(value);
        }
        match self.float(f64::MANTISSA_DIGITS)? {
            Token::F64(value) => visitor.visit_f64(value),
            Token::F32(value) => visitor.visit_f32(value),
            token => Err(unexpected_number(token, &visitor)),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if let Some(text) = self.take_short_text() {
            return visitor.visit_borrowed_str(text);
        }
        match self.token()? {
            Token::Text(text) => visitor.visit_borrowed_str(text),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.token()? {
            Token::Binary(bytes) | Token::U8Sequence(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Text(text) => visitor.visit_borrowed_str(text),
            // JSON has no bytes, so that they come as numbers.
            Token::Array(length) => self.visit_array(length, visitor),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.take_option()? {
            Some(false) => visitor.visit_none(),
            Some(true) => visitor.visit_some(self),
            None => {
                self.wrap()?;
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.token()? {
            Token::Nil => visitor.visit_unit(),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Malformed> {
        self.wrap()?;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if let Some(length) = self.take_short_array() {
            return self.visit_array(length, visitor);
        }
        match self.token()? {
            Token::Array(length) => self.visit_array(length, visitor),
            // Other languages write bytes as `bin`.
            Token::U8Sequence(bytes) | Token::Binary(bytes) => match u8_sequence::read::<V>(bytes) {
                Some(value) => Ok(value),
                None => self.visit_u8_sequence(bytes, visitor),
            },
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Malformed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self.token()? {
            Token::Map(length) => self.visit_entries(length, visitor),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        if let Some(length) = self.take_short_map() {
            return self.visit_entries(length, visitor);
        }
        match self.token()? {
            Token::Map(length) => self.visit_entries(length, visitor),
            Token::Array(length) => self.visit_array(length, visitor),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        let has_content = match self.token()? {
            Token::Text(_) => {
                // It is read once more, as the name of the variant.
                self.rewind();
                false
            }
            Token::Map(1) => true,
            Token::Map(length) => {
                let found = format!("an object of {length} keys");
                return Err(de::Error::invalid_type(Unexpected::Other(&found), &visitor));
            }
            token => return Err(unexpected(token, &visitor)),
        };
        if has_content {
            self.enter()?;
        }
        let value = visitor.visit_enum(Variant { reader: &mut *self, has_content })?;
        if has_content {
            self.leave();
        }
        Ok(value)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if let Some(text) = self.take_short_text() {
            return visitor.visit_borrowed_str(text);
        }
        match self.token()? {
            Token::Text(text) => visitor.visit_borrowed_str(text),
            Token::U64(index) => visitor.visit_u64(index),
            Token::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            token => Err(unexpected(token, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        self.skip()?;
        visitor.visit_unit()
    }
}

impl<'de> Reader<'de> {
    fn visit_array<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        self.enter()?;
        let value = Elements::visit(self, length, None, visitor)?;
        self.leave();
        Ok(value)
    }

    fn visit_u8_sequence<V: Visitor<'de>>(&mut self, bytes: &'de [u8], visitor: V) -> Result<V::Value, Malformed> {
        Elements::visit(self, bytes.len(), Some(bytes), visitor)
    }

    fn visit_entries<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        self.enter()?;
        let value = Entries::visit(self, length, visitor)?;
        self.leave();
        Ok(value)
    }

    /// The next value where an integer is wanted. A key of a map may be one in the form of a text, since JSON has no
    /// other keys.
    fn integer(&mut self) -> Result<Token<'de>, Malformed> {
        let key = self.key;
        match self.token()? {
            token @ Token::Text(text) if key => Ok(parse_integer(text).unwrap_or(token)),
            token => Ok(token),
        }
    }

    /// The next value where a float of so many binary digits is wanted. An integer is one where it has no more digits.
    fn float(&mut self, digits: u32) -> Result<Token<'de>, Malformed> {
        let key = self.key;
        let token = self.token()?;
        let (value, magnitude) = match token {
            Token::Text(text) if key => {
                let value = text.parse().ok().filter(|value: &f64| value.is_finite());
                return Ok(value.map_or(token, Token::F64));
            }
            Token::U64(value) => (value as f64, value.into()),
            Token::I64(value) => (value as f64, value.unsigned_abs().into()),
            Token::U128(value) => (value as f64, value),
            Token::I128(value) => (value as f64, value.unsigned_abs()),
            token => return Ok(token),
        };
        let is_exact = magnitude == 0 || u128::BITS - magnitude.leading_zeros() - magnitude.trailing_zeros() <= digits;
        Ok(if is_exact { Token::F64(value) } else { token })
    }
}

/// An integer as JSON writes it. Other forms, such as `+1` and `01`, might make one key of two.
fn parse_integer<'de>(text: &str) -> Option<Token<'de>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = match digits.as_bytes() {
        [b'0'] => text == "0",
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_canonical {
        return None;
    }
    text.parse().map(wide).ok().or_else(|| text.parse().map(Token::U128).ok())
}

/// The error of a float's place where there is no float.
#[cold]
fn unexpected_number(token: Token<'_>, expected: &dyn Expected) -> Malformed {
    match digits(token) {
        Some(digits) => {
            Malformed::new(format!("the integer {digits} is no exact {expected}: write it as {digits}.0 if it may be rounded"))
        }
        None => unexpected(token, expected),
    }
}

fn digits(token: Token<'_>) -> Option<String> {
    match token {
        Token::U64(value) => Some(value.to_string()),
        Token::I64(value) => Some(value.to_string()),
        Token::U128(value) => Some(value.to_string()),
        Token::I128(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The error of a value that is of another type than is wanted.
#[cold]
fn unexpected(token: Token<'_>, expected: &dyn Expected) -> Malformed {
    let wide;
    let found = match token {
        Token::Nil => Unexpected::Unit,
        Token::Somes(_) => Unexpected::Other("a `Some` around null"),
        Token::Bool(value) => Unexpected::Bool(value),
        Token::U64(value) => Unexpected::Unsigned(value),
        Token::I64(value) => Unexpected::Signed(value),
        Token::U128(_) | Token::I128(_) => {
            wide = digits(token).unwrap_or_default();
            Unexpected::Other(&wide)
        }
        Token::F32(value) => Unexpected::Float(value.into()),
        Token::F64(value) => Unexpected::Float(value),
        Token::Text(text) => Unexpected::Str(text),
        Token::Binary(bytes) => Unexpected::Bytes(bytes),
        Token::U8Sequence(_) | Token::Array(_) => Unexpected::Seq,
        Token::Map(_) => Unexpected::Map,
    };
    de::Error::invalid_type(found, expected)
}
