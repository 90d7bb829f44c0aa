//! Finds where a JSON value ends, in one pass over its bytes and over any borders of chunks.
//!
//! It knows containers, strings and escapes, and sees at once where a value cannot go on, so that a broken value does
//! not swallow those behind it. It does not check numbers and words: the parser does, once the whole value is there.

use burla_types::codec::DEPTH_MAX;

/// A finding of the scanner in a chunk. Positions count from the chunk's first byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// The value goes on behind the chunk.
    More,
    /// The value ends before this position.
    End(usize),
    /// No JSON value goes on with the byte at this position, and why.
    Wrong(usize, &'static str),
    /// The bracket at this position opens one more level than an input may have.
    TooDeep(usize),
}

/// The state between two bytes of a value.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    expects: Expects,
    /// The containers that are open, outermost first.
    open: Vec<Container>,
    /// The string that is being read is a key.
    is_key: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Container {
    Array,
    Object,
}

#[derive(Clone, Copy, Debug, Default)]
enum Expects {
    #[default]
    Value,
    /// After `[`.
    ValueOrClose,
    /// After a comma in an object.
    Key,
    /// After `{`.
    KeyOrClose,
    Colon,
    /// After a value in a container.
    CommaOrClose,
    /// The rest of a number, `true`, `false` or `null`.
    Scalar,
    /// The rest of a string.
    Text,
    /// The character after a backslash.
    Escape,
    /// So many hexadecimal digits.
    Hex(u8),
}

impl Scanner {
    /// Reads on in the value. After an end or an error the scanner is of no more use.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.expects {
                // Most bytes are inside strings or numbers, so these two take as many at a time as there are.
                Expects::Text => {
                    let length = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                    let Some(length) = length else { return Step::More };
                    at += length;
                    match bytes[at] {
                        b'"' => self.expects = if self.is_key { Expects::Colon } else { Expects::CommaOrClose },
                        b'\\' => self.expects = Expects::Escape,
                        _ => return Step::Wrong(at, "a string has a line break or another control character"),
                    }
                    at += 1;
                }
                Expects::Scalar => {
                    let is_top = self.open.is_empty();
                    let length = bytes[at..].iter().position(|byte| ends_scalar(*byte, is_top));
                    let Some(length) = length else { return Step::More };
                    at += length;
                    self.expects = Expects::CommaOrClose;
                }
                _ => {
                    if let Err(why) = self.take(byte) {
                        return Step::Wrong(at, why);
                    }
                    // The codec would refuse the value, so the rest of it is not waited for.
                    if self.open.len() > usize::from(DEPTH_MAX) {
                        return Step::TooDeep(at);
                    }
                    // The first byte of a scalar is read again, as one of it.
                    at += usize::from(!matches!(self.expects, Expects::Scalar));
                }
            }
            if matches!(self.expects, Expects::CommaOrClose) && self.open.is_empty() {
                return Step::End(at);
            }
        }
        Step::More
    }

    /// Tells whether the value is whole when no more bytes come: a number or a word has no end of its own.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.expects, Expects::Scalar) && self.open.is_empty()
    }

    /// Takes one byte outside of the texts of strings and scalars.
    fn take(&mut self, byte: u8) -> Result<(), &'static str> {
        let is_blank = is_blank(byte);
        self.expects = match (self.expects, byte) {
            (Expects::Escape, b'u') => Expects::Hex(4),
            (Expects::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Expects::Text,
            (Expects::Escape, _) => return Err("a string has an escape that JSON does not have"),
            (Expects::Hex(1), byte) if byte.is_ascii_hexdigit() => Expects::Text,
            (Expects::Hex(digits), byte) if byte.is_ascii_hexdigit() => Expects::Hex(digits - 1),
            (Expects::Hex(_), _) => return Err("`\\u` has fewer than four hexadecimal digits"),
            (expects, _) if is_blank => expects,
            (Expects::Value | Expects::ValueOrClose, b'[') => self.enter(Container::Array),
            (Expects::Value | Expects::ValueOrClose, b'{') => self.enter(Container::Object),
            (Expects::Value | Expects::ValueOrClose, b'"') => self.text(false),
            (Expects::ValueOrClose, b']') | (Expects::KeyOrClose, b'}') => self.close(),
            (Expects::Value | Expects::ValueOrClose, b',' | b':' | b']' | b'}') if !self.open.is_empty() => {
                return Err("expected a value");
            }
            (Expects::Value | Expects::ValueOrClose, _) => Expects::Scalar,
            (Expects::Key | Expects::KeyOrClose, b'"') => self.text(true),
            (Expects::Key, _) => return Err("expected a key in double quotes"),
            (Expects::KeyOrClose, _) => return Err("expected a key in double quotes or `}`"),
            (Expects::Colon, b':') => Expects::Value,
            (Expects::Colon, _) => return Err("expected `:` after a key"),
            (Expects::CommaOrClose, byte) => match (self.open.last().copied(), byte) {
                (Some(Container::Array), b',') => Expects::Value,
                (Some(Container::Object), b',') => Expects::Key,
                (Some(Container::Array), b']') | (Some(Container::Object), b'}') => self.close(),
                (Some(Container::Array), _) => return Err("expected `,` or `]`"),
                (_, _) => return Err("expected `,` or `}`"),
            },
            (within @ (Expects::Scalar | Expects::Text), _) => within,
        };
        Ok(())
    }

    fn enter(&mut self, container: Container) -> Expects {
        self.open.push(container);
        match container {
            Container::Array => Expects::ValueOrClose,
            Container::Object => Expects::KeyOrClose,
        }
    }

    fn text(&mut self, is_key: bool) -> Expects {
        self.is_key = is_key;
        Expects::Text
    }

    fn close(&mut self) -> Expects {
        self.open.pop();
        Expects::CommaOrClose
    }
}

/// A byte of JSON's white space.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Outside of containers, `1,2` is one thing that is no value, and not a value and something else.
fn ends_scalar(byte: u8, is_top: bool) -> bool {
    match byte {
        b',' | b':' | b']' | b'}' => !is_top,
        b'[' | b'{' | b'"' => true,
        byte => is_blank(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Step {
        Scanner::default().scan(text.as_bytes())
    }

    #[test]
    fn a_value_ends_where_it_does() {
        for (value, rest) in [
            ("{}", ""),
            ("[]", "[]"),
            ("[ ]", " "),
            ("{ \"a\" : 1 }", "x"),
            ("[1,2 , [\"]\"]]", "\n"),
            (r#""a\"b\\""#, "\""),
            (r#"{"\u00e4}":[{}]}"#, "}"),
            ("12", "\n"),
            ("-1.5e3", "\t"),
            ("true", "[1]"),
            ("1,2", " "),
            ("]", "\n"),
            ("{\n  \"a\": [\n    1\n  ]\n}", "\n{"),
        ] {
            assert_eq!(scan(&format!("{value}{rest}")), Step::End(value.len()), "{value}{rest}");
        }
        for text in ["", "{", "[1", "\"a", "\"\\", "12", "{\"a\"", "{\"a\":", "[1,", "\"\\u00"] {
            assert_eq!(scan(text), Step::More, "{text}");
        }
    }

    #[test]
    fn what_cannot_go_on_is_seen_at_once() {
        for (text, at, why) in [
            ("{'a':1}", 1, "expected a key in double quotes or `}`"),
            ("{\"a\":1,}", 7, "expected a key in double quotes"),
            ("{\"a\" 1}", 5, "expected `:` after a key"),
            ("{\"a\":}", 5, "expected a value"),
            ("{\"a\":\n{\"b\":1}\n{\"c\":2}", 14, "expected `,` or `}`"),
            ("[1 2]", 3, "expected `,` or `]`"),
            ("[1}", 2, "expected `,` or `]`"),
            ("[,", 1, "expected a value"),
            ("\"a\nb\"", 2, "a string has a line break or another control character"),
            (r#""\x""#, 2, "a string has an escape that JSON does not have"),
            (r#""\u12g4""#, 5, "`\\u` has fewer than four hexadecimal digits"),
        ] {
            assert_eq!(scan(text), Step::Wrong(at, why), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_too_deep_is_refused_at_the_bracket() {
        let depth = usize::from(DEPTH_MAX);
        for (bracket, length) in [("[", 1), ("[\n", 2), ("{\"a\":", 5)] {
            assert_eq!(scan(&bracket.repeat(depth)), Step::More, "{bracket}");
            assert_eq!(scan(&bracket.repeat(depth + 1)), Step::TooDeep(depth * length), "{bracket}");
        }
        let wide = format!("[{}]", ["[{}]"; 3000].join(","));
        assert_eq!(scan(&wide), Step::End(wide.len()), "only open brackets count");
    }

    #[test]
    fn only_numbers_and_words_are_whole_without_an_end_of_their_own() {
        for (text, is_whole) in [("1", true), ("nul", true), ("\"a", false), ("[1", false), ("{", false), ("", false)] {
            let mut scanner = Scanner::default();
            assert_eq!((scanner.scan(text.as_bytes()), scanner.is_whole()), (Step::More, is_whole), "{text}");
        }
    }
}
