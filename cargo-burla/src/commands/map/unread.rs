//! Bytes that were read and not used yet, with the place in the input at which they begin.

use std::fmt;

use super::scanner::is_blank;

/// The bytes that wait, and where the first of them is.
#[derive(Debug)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// Those before it have been used.
    start: usize,
    /// How many bytes of the input came before `bytes`.
    before: u64,
    /// The line of the first byte, from 1.
    line: u64,
    /// How many bytes of that line were used.
    column: usize,
    /// No more bytes come.
    is_last: bool,
}

/// A place in the input, as people count: from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: usize,
}

impl Place {
    /// Names the place for someone who knows the line at which the value begins.
    pub(super) fn seen_from(self, line: u64) -> impl fmt::Display {
        let Self { line: own, column } = self;
        fmt::from_fn(
            move |f| {
                if own == line { write!(f, "at column {column}") } else { write!(f, "at line {own}, column {column}") }
            },
        )
    }
}

impl Unread {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, before: 0, line: 1, column: 0, is_last: false }
    }

    /// Adds what was read. Only what is unused is moved, and that once: after it, nothing before it is in the way.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.before += self.start as u64;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Says that no more bytes come.
    pub(super) fn end(&mut self) {
        self.is_last = true;
    }

    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The bytes.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The line of the first byte.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The first byte is the first of its line.
    pub(super) fn is_at_line_start(&self) -> bool {
        self.column == 0
    }

    /// The last line of which bytes were used.
    pub(super) fn last_line(&self) -> u64 {
        if self.column == 0 { (self.line - 1).max(1) } else { self.line }
    }

    /// The position of a byte in the whole input.
    pub(super) fn offset(&self, at: usize) -> u64 {
        self.before + (self.start + at) as u64
    }

    /// The place of a byte.
    pub(super) fn place(&self, at: usize) -> Place {
        let text = &self.rest()[..at];
        match text.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => Place { line: self.line + line_ends(text), column: at - end },
            None => Place { line: self.line, column: self.column + at + 1 },
        }
    }

    /// Uses bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let Place { line, column } = self.place(count);
        (self.line, self.column) = (line, column - 1);
        self.start += count;
    }

    /// Uses white space.
    pub(super) fn skip_blanks(&mut self) {
        let rest = self.rest();
        let blanks = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
        self.advance(blanks);
    }

    /// Uses the rest of the line, with its end. False where the end is not there yet.
    pub(super) fn skip_line(&mut self) -> bool {
        let end = self.rest().iter().position(|byte| *byte == b'\n');
        self.advance(end.map_or(self.rest().len(), |end| end + 1));
        end.is_some()
    }

    /// Uses bytes that do not count as any, such as a byte order mark.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.start += count;
    }
}

/// How many lines end in a text.
fn line_ends(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_people_do_over_borders_of_chunks() {
        let mut unread = Unread::new();
        unread.push(b"ab\ncd");
        assert_eq!(unread.place(0), Place { line: 1, column: 1 });
        assert_eq!(unread.place(2), Place { line: 1, column: 3 });
        assert_eq!(unread.place(4), Place { line: 2, column: 2 });
        unread.advance(4);
        unread.push(b"e\n\nf");
        assert_eq!((unread.rest(), unread.line(), unread.offset(1)), (&b"de\n\nf"[..], 2, 5));
        assert_eq!(unread.place(1), Place { line: 2, column: 3 });
        assert_eq!(unread.place(4).seen_from(2).to_string(), "at line 4, column 1");
        assert_eq!(unread.place(1).seen_from(2).to_string(), "at column 3");
        assert!(unread.skip_line() && unread.is_at_line_start());
        assert_eq!((unread.line(), unread.last_line()), (3, 2));
        unread.skip_blanks();
        assert_eq!((unread.rest(), unread.line()), (&b"f"[..], 4));
        assert!(!unread.skip_line());
        assert_eq!((unread.rest(), unread.last_line()), (&b""[..], 4));
    }
}
