//! Where in a value a fault is, such as `[3].name`.
//!
//! It is found after the fault by reading the bytes once more, so that reading keeps no account of it.

use super::format::DEPTH_MAX;
use super::reader::{Reader, Token};
use crate::text::truncated;

/// The most of a path that is told.
const PATH_BYTES_MAX: usize = 200;

/// An array or map on the way to a value.
struct Step<'de> {
    is_map: bool,
    /// The values that have begun, with the one on the way. Keys and values of a map are counted one by one.
    taken: usize,
    length: usize,
    /// The key of the value on the way, in a map.
    key: Token<'de>,
}

/// The path of the value that begins at a position. The outermost value has an empty one, and so has a value that lies
/// deeper than values may: the account of the way to it would grow with the bytes.
pub(super) fn to(bytes: &[u8], position: usize) -> String {
    let mut reader = Reader::new(bytes);
    let mut steps: Vec<Step<'_>> = Vec::new();
    loop {
        while steps.last().is_some_and(|step| step.taken == step.length) {
            steps.pop();
        }
        let read = reader.token();
        match steps.last_mut() {
            Some(step) => step.taken += 1,
            // The bytes go on after the value.
            None if reader.subject > 0 => break,
            None => {}
        }
        if reader.subject >= position {
            break;
        }
        let Ok(token) = read else { break };
        if let Some(step) = steps.last_mut().filter(|step| step.is_key()) {
            step.key = token;
        }
        let (is_map, length) = match token {
            Token::Array(length) => (false, length),
            Token::Map(length) => (true, 2 * length),
            _ => continue,
        };
        if steps.len() == usize::from(DEPTH_MAX) {
            return String::new();
        }
        steps.push(Step { is_map, taken: 0, length, key: Token::Nil });
    }
    let path: String = steps.iter().map(|step| step.text()).collect();
    truncated(&path, PATH_BYTES_MAX).into_owned()
}

impl Step<'_> {
    fn is_key(&self) -> bool {
        self.is_map && self.taken % 2 == 1
    }

    fn text(&self) -> String {
        match self.is_map {
            false => format!("[{}]", self.taken.saturating_sub(1)),
            // A key has no name yet.
            true if self.is_key() => String::new(),
            true => format!(".{}", key(self.key)),
        }
    }
}

fn key(token: Token<'_>) -> String {
    match token {
        Token::Text(text) => truncated(text, PATH_BYTES_MAX).into_owned(),
        Token::U64(value) => value.to_string(),
        Token::I64(value) => value.to_string(),
        Token::Bool(value) => value.to_string(),
        _ => "…".to_owned(),
    }
}
