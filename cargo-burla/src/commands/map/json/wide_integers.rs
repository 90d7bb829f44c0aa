//! Integers of more than 64 bits in a JSON text. serde_json reads them as floats, which would change them.
//!
//! Its feature `arbitrary_precision` would not, but would change how every program in the workspace reads JSON.

use std::collections::VecDeque;

/// An integer that does not fit into 64 bits.
pub(super) struct WideInteger {
    /// The count of numbers before it in the text.
    pub(super) position: usize,
    pub(super) is_negative: bool,
    pub(super) magnitude: u128,
}

/// The shortest that may not fit has so many digits.
const DIGITS_MIN: usize = 19;

/// All of a text, which need not be JSON: then the parser says so.
pub(super) fn of(text: &str) -> Result<VecDeque<WideInteger>, String> {
    let bytes = text.as_bytes();
    let (mut wide, mut position, mut at) = (VecDeque::new(), 0, 0);
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'"' => end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                wide.extend(wide_integer(position, &text[at..at + length])?);
                position += 1;
                at + length
            }
            _ => at + 1,
        };
    }
    Ok(wide)
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

fn wide_integer(position: usize, token: &str) -> Result<Option<WideInteger>, String> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_negative = digits.len() < token.len();
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_integer || digits.len() < DIGITS_MIN || token.parse::<u64>().is_ok() || token.parse::<i64>().is_ok() {
        return Ok(None);
    }
    // The smallest of `i128` has a magnitude of one more than its largest.
    let largest = if is_negative { i128::MIN.unsigned_abs() } else { u128::MAX };
    match digits.parse() {
        Ok(magnitude) if magnitude <= largest => Ok(Some(WideInteger { position, is_negative, magnitude })),
        _ => Err(format!(
            "an integer of {} digits, {}…, has more than 128 bits: write it with an exponent if it may be rounded to a float",
            digits.len(),
            &token[..DIGITS_MIN],
        )),
    }
}
