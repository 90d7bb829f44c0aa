//! A function's output becomes JSON.

use std::collections::HashSet;
use std::io::Write;

use burla_types::codec::{DEPTH_MAX, Reader, Token};

/// A function's output as one line of JSON.
pub(crate) fn to_json(output: &[u8]) -> Result<Vec<u8>, String> {
    let mut writer = Output { reader: Reader::new(output), text: Vec::with_capacity(output.len()), depth: 0 };
    writer.value()?;
    if !writer.reader.is_at_end() {
        return Err("there are more bytes after the value".to_owned());
    }
    Ok(writer.text)
}

/// An output that is being read while JSON is written.
struct Output<'a> {
    reader: Reader<'a>,
    text: Vec<u8>,
    depth: u16,
}

impl<'a> Output<'a> {
    fn value(&mut self) -> Result<(), String> {
        match self.token()? {
            Token::Nil => self.text.extend(b"null"),
            Token::Somes(_) => return Err("JSON cannot tell `Some(None)` or `Some(())` from null".to_owned()),
            Token::Text(text) => self.json(text)?,
            Token::Binary(bytes) | Token::U8Sequence(bytes) => self.json(bytes)?,
            Token::Array(length) => self.array(length)?,
            Token::Map(length) => self.object(length)?,
            token => {
                let text = scalar(token)?;
                self.text.extend(text.as_bytes());
            }
        }
        Ok(())
    }

    fn array(&mut self, length: usize) -> Result<(), String> {
        self.enter()?;
        self.text.push(b'[');
        for index in 0..length {
            if index > 0 {
                self.text.push(b',');
            }
            self.value()?;
        }
        self.text.push(b']');
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, length: usize) -> Result<(), String> {
        self.enter()?;
        self.text.push(b'{');
        let mut keys = HashSet::new();
        for index in 0..length {
            if index > 0 {
                self.text.push(b',');
            }
            let key = match self.token()? {
                Token::Text(text) => text.to_owned(),
                token => scalar(token).map_err(|reason| format!("JSON has no such key: {reason}"))?,
            };
            self.json(&key)?;
            self.text.push(b':');
            self.value()?;
            // Different keys may have the same text: 1 and "1".
            if let Some(key) = keys.replace(key) {
                return Err(format!("two keys of a map are {key:?} in JSON, which would lose one of them"));
            }
        }
        self.text.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} levels deep"));
        }
        self.depth += 1;
        Ok(())
    }

    fn token(&mut self) -> Result<Token<'a>, String> {
        self.reader.token().map_err(|error| error.to_string())
    }

    fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), String> {
        serde_json::to_writer(Write::by_ref(&mut self.text), value).map_err(|error| error.to_string())
    }
}

/// A number or boolean, which may be a key as well.
fn scalar(token: Token<'_>) -> Result<String, String> {
    let json = |float: serde_json::Result<String>| float.map_err(|error| error.to_string());
    match token {
        Token::Bool(value) => Ok(value.to_string()),
        Token::U64(value) => Ok(value.to_string()),
        Token::I64(value) => Ok(value.to_string()),
        Token::U128(value) => Ok(value.to_string()),
        Token::I128(value) => Ok(value.to_string()),
        Token::F32(value) if value.is_finite() => json(serde_json::to_string(&value)),
        Token::F64(value) if value.is_finite() => json(serde_json::to_string(&value)),
        Token::F32(value) => Err(format!("JSON has no number for {value}")),
        Token::F64(value) => Err(format!("JSON has no number for {value}")),
        Token::Nil | Token::Somes(_) => Err("an option or unit".to_owned()),
        Token::Text(_) => Err("a string".to_owned()),
        Token::Binary(_) | Token::U8Sequence(_) | Token::Array(_) => Err("an array".to_owned()),
        Token::Map(_) => Err("a map".to_owned()),
    }
}
