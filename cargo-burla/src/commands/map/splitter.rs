//! Splits the text into one input after another: JSON values, however they are laid out, or plain lines.
//!
//! Takes bytes as they arrive, and gives each input as soon as its end is there. It reads and sends nothing.

use std::ops::RangeInclusive;

use burla_types::codec::DEPTH_MAX;

use super::scanner::{Scanner, Step, is_blank};
use super::unread::{Place, Unread};

/// Turns the text of one JSON value into an input, or says why it is none.
pub(super) type Encode<T> = fn(&[u8]) -> Result<T, String>;

/// How often values that begin on different lines may be found broken at one and the same byte. After a broken value,
/// the lines inside it are tried again; without a bound, a file of nothing but `[` would be read once for each of its
/// lines.
const RETRIES_MAX: u32 = 32;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// An input, or a part of the text that is none.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<T> {
    Input {
        /// The line that it begins on, from 1.
        line: u64,
        input: T,
    },
    Bad(BadInput),
}

/// A part of the text that is no input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BadInput {
    /// The lines that are skipped because of it.
    pub(super) lines: RangeInclusive<u64>,
    pub(super) reason: String,
}

/// Splits a text into inputs.
pub(super) trait Split<T>: Send {
    /// Takes the next bytes of the text.
    fn push(&mut self, bytes: &[u8]);

    /// Says that no more bytes come.
    fn end(&mut self);

    /// The next piece; `None` while its end is not there.
    fn next(&mut self) -> Option<Piece<T>>;
}

/// Splits a text into JSON values, between which white space may stand.
pub(super) struct Values<T> {
    encode: Encode<T>,
    /// Go on behind what is no input. Else that is the end.
    keep_going: bool,
    /// The most bytes of one value.
    bytes_max: u64,
    unread: Unread,
    state: State,
    /// The byte at which the last value was found broken, and how often values were.
    broken_at: (u64, u32),
}

enum State {
    /// Between two values.
    Between,
    /// In a value, of which so many bytes were seen.
    Inside(Scanner, usize),
    /// Behind something bad: the rest of its line is left out.
    SkippingLine,
    /// Behind a broken value that began on an earlier line: lines are left out up to the next that looks like a
    /// beginning.
    Resuming(u64, String),
    /// Something bad was the end.
    Over,
}

impl<T> Values<T> {
    pub(super) fn new(encode: Encode<T>, keep_going: bool, bytes_max: u64) -> Self {
        Self { encode, keep_going, bytes_max, unread: Unread::new(), state: State::Between, broken_at: (0, 0) }
    }

    /// Skips what may stand between values. True when there is a value.
    fn skip_blanks(&mut self) -> bool {
        loop {
            self.unread.skip_blanks();
            let rest = self.unread.rest();
            // Files that begin with one may have been joined.
            if !self.unread.is_at_line_start() || rest.first() != BYTE_ORDER_MARK.first() {
                return !rest.is_empty();
            }
            if !rest.starts_with(BYTE_ORDER_MARK) {
                let may_be_one = BYTE_ORDER_MARK.starts_with(rest) && !self.unread.is_last();
                return !may_be_one;
            }
            self.unread.drop_first(BYTE_ORDER_MARK.len());
        }
    }

    /// Reads on in a value.
    fn scan(&mut self, mut scanner: Scanner, seen: usize) -> Option<Piece<T>> {
        let rest = self.unread.rest();
        let length = rest.len();
        match scanner.scan(&rest[seen..]) {
            Step::End(count) => return self.value(seen + count),
            Step::Wrong(count, why) => return self.broken(seen + count, why),
            Step::TooDeep(count) => return Some(self.too_deep(seen + count)),
            Step::More => {}
        }
        if length as u64 > self.bytes_max {
            let reason = format!("it is larger than {} bytes", self.bytes_max);
            self.state = State::SkippingLine;
            return Some(self.bad(length, reason));
        }
        if !self.unread.is_last() {
            self.state = State::Inside(scanner, length);
            return None;
        }
        if scanner.is_whole() {
            return self.value(length);
        }
        let Place { line, column } = self.unread.place(0);
        self.broken(length, &format!("the input ends inside the value that begins at line {line}, column {column}"))
    }

    /// Takes a whole value. Where it is no input, its end is known all the same.
    fn value(&mut self, length: usize) -> Option<Piece<T>> {
        let line = self.unread.line();
        let text = &self.unread.rest()[..length];
        let input = check_utf8(text, &self.unread).and_then(|()| (self.encode)(text).map_err(|reason| self.placed(&reason)));
        match input {
            Ok(input) => {
                self.unread.advance(length);
                self.state = State::Between;
                Some(Piece::Input { line, input })
            }
            Err(reason) => {
                self.state = State::SkippingLine;
                Some(self.bad(length, reason))
            }
        }
    }

    /// The parser counts lines and columns from the value's beginning, and people from the input's.
    fn placed(&self, reason: &str) -> String {
        let Some((what, line, column)) = split_place(reason) else { return reason.to_owned() };
        let text = self.unread.rest();
        let mut starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let start = if line < 2 { 0 } else { starts.nth(line - 2).unwrap_or(text.len()) };
        // Column 0 is the end of the line before.
        let place = self.unread.place((start + column).saturating_sub(1).min(text.len()));
        format!("{what} {}", place.seen_from(self.unread.line()))
    }

    /// The bracket at this byte is one too many. What comes behind it on its line is left out.
    fn too_deep(&mut self, at: usize) -> Piece<T> {
        let place = self.unread.place(at).seen_from(self.unread.line());
        self.state = State::SkippingLine;
        self.bad(at, format!("it is nested more than {DEPTH_MAX} levels deep {place}"))
    }

    /// A value cannot go on with this byte: where it began on this line, goes on with the next. Else some of the lines
    /// that were taken for its own may be inputs: one that is not indented and does not begin with a bracket that
    /// closes looks like it.
    fn broken(&mut self, at: usize, why: &str) -> Option<Piece<T>> {
        let begins = self.unread.line();
        let is_last = at == self.unread.rest().len();
        let place = if is_last { String::new() } else { format!(" {}", self.unread.place(at).seen_from(begins)) };
        let reason = format!("it is not JSON: {why}{place}");
        let Some(first_end) = self.unread.rest()[..at].iter().position(|byte| *byte == b'\n').filter(|_| self.keep_going) else {
            self.state = State::SkippingLine;
            // The text before it is on this line.
            let at = if self.keep_going { at } else { 0 };
            return Some(self.bad(at, reason));
        };
        let offset = self.unread.offset(at);
        let retries = if self.broken_at.0 == offset { self.broken_at.1 + 1 } else { 0 };
        self.broken_at = (offset, retries);
        if retries < RETRIES_MAX
            && let Some(beginning) = self.beginning(first_end, at)
        {
            self.state = State::Between;
            return Some(self.bad(beginning, reason));
        }
        self.unread.advance(at);
        self.state = State::Resuming(begins, reason);
        self.next()
    }

    /// The first line behind `first_end`, up to the byte `at`, that looks like the beginning of a value.
    fn beginning(&self, first_end: usize, at: usize) -> Option<usize> {
        let rest = self.unread.rest();
        let ends = (first_end..at).filter(|end| rest[*end] == b'\n');
        ends.map(|end| end + 1).find(|start| rest.get(*start).is_some_and(|byte| begins_value(*byte)))
    }

    /// Leaves lines out up to one that looks like the beginning of a value.
    fn resume(&mut self, first: u64, reason: String) -> Option<Piece<T>> {
        loop {
            let rest = self.unread.rest();
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let begins = match rest.get(end + 1) {
                Some(byte) => begins_value(*byte),
                None if self.unread.is_last() => true,
                // The end of the line stays, as long as it is not known what comes behind it.
                None => {
                    self.unread.advance(end);
                    self.state = State::Resuming(first, reason);
                    return None;
                }
            };
            self.unread.advance((end + 1).min(self.unread.rest().len()));
            if begins {
                self.state = State::Between;
                return Some(Piece::Bad(BadInput { lines: first..=self.unread.last_line().max(first), reason }));
            }
        }
    }

    /// Leaves out so many bytes, and the lines that they are on.
    fn bad(&mut self, length: usize, reason: String) -> Piece<T> {
        let first = self.unread.line();
        self.unread.advance(length);
        if !self.keep_going {
            self.state = State::Over;
        }
        let last = if length == 0 { first } else { self.unread.last_line().max(first) };
        Piece::Bad(BadInput { lines: first..=last, reason })
    }
}

impl<T> Split<T> for Values<T> {
    fn push(&mut self, bytes: &[u8]) {
        self.unread.push(bytes);
    }

    fn end(&mut self) {
        self.unread.end();
    }

    fn next(&mut self) -> Option<Piece<T>> {
        loop {
            match std::mem::replace(&mut self.state, State::Between) {
                State::Between => {
                    if !self.skip_blanks() {
                        return None;
                    }
                    self.state = State::Inside(Scanner::default(), 0);
                }
                State::Inside(scanner, seen) => return self.scan(scanner, seen),
                State::SkippingLine => {
                    if !self.unread.skip_line() {
                        self.state = State::SkippingLine;
                        return None;
                    }
                }
                State::Resuming(first, reason) => return self.resume(first, reason),
                State::Over => {
                    self.state = State::Over;
                    return None;
                }
            }
        }
    }
}

/// Splits a text into its lines, each of which is an input: a string, without the end of the line.
pub(super) struct Lines<T> {
    /// Takes the line as a JSON string.
    encode: Encode<T>,
    keep_going: bool,
    bytes_max: u64,
    unread: Unread,
    /// Bytes of the line that were seen.
    seen: usize,
    is_skipping: bool,
    is_over: bool,
}

impl<T> Lines<T> {
    pub(super) fn new(encode: Encode<T>, keep_going: bool, bytes_max: u64) -> Self {
        Self { encode, keep_going, bytes_max, unread: Unread::new(), seen: 0, is_skipping: false, is_over: false }
    }

    fn line(&mut self, text_length: usize, length: usize) -> Piece<T> {
        let line = self.unread.line();
        let text = &self.unread.rest()[..text_length];
        let is_first = self.unread.offset(0) == 0;
        let text = if is_first { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let input = check_utf8(text, &self.unread).and_then(|()| {
            let text = serde_json::to_vec(&String::from_utf8_lossy(text)).map_err(|error| error.to_string())?;
            (self.encode)(&text)
        });
        self.unread.advance(length);
        self.seen = 0;
        match input {
            Ok(input) => Piece::Input { line, input },
            Err(reason) => self.bad(line, reason),
        }
    }

    fn bad(&mut self, line: u64, reason: String) -> Piece<T> {
        self.is_over = !self.keep_going;
        Piece::Bad(BadInput { lines: line..=line, reason })
    }
}

impl<T> Split<T> for Lines<T> {
    fn push(&mut self, bytes: &[u8]) {
        self.unread.push(bytes);
    }

    fn end(&mut self) {
        self.unread.end();
    }

    fn next(&mut self) -> Option<Piece<T>> {
        if self.is_over || (self.is_skipping && !self.unread.skip_line()) {
            return None;
        }
        self.is_skipping = false;
        let rest = self.unread.rest();
        let length = rest.len();
        if let Some(end) = rest[self.seen..].iter().position(|byte| *byte == b'\n') {
            let end = self.seen + end;
            return Some(self.line(end, end + 1));
        }
        if length as u64 > self.bytes_max {
            self.is_skipping = true;
            self.seen = 0;
            let line = self.unread.line();
            self.unread.advance(length);
            return Some(self.bad(line, format!("it is larger than {} bytes", self.bytes_max)));
        }
        self.seen = length;
        (self.unread.is_last() && length > 0).then(|| self.line(length, length))
    }
}

/// A line that begins with this byte looks like the beginning of a value, and not like the inside of one that is laid
/// out over several lines.
fn begins_value(byte: u8) -> bool {
    !is_blank(byte) && !matches!(byte, b']' | b'}' | b',' | b':')
}

/// `text` is at the beginning of what is unread.
fn check_utf8(text: &[u8], unread: &Unread) -> Result<(), String> {
    let Err(error) = std::str::from_utf8(text) else { return Ok(()) };
    let (at, begins) = (error.valid_up_to(), unread.line());
    Err(format!("it is not UTF-8: there is a byte {:#04x} {}", text[at], unread.place(at).seen_from(begins)))
}

/// Splits what a parser says into the fact, the line and the column.
fn split_place(reason: &str) -> Option<(&str, usize, usize)> {
    let (what, column) = reason.rsplit_once(" column ")?;
    let column = column.parse().ok()?;
    if let Some(what) = what.strip_suffix(" at") {
        return Some((what, 1, column));
    }
    let (what, line) = what.rsplit_once(" at line ")?;
    Some((what, line.parse().ok()?, column))
}

#[cfg(test)]
mod tests;
