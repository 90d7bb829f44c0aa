//! Tells by its first bytes whether a text is UTF-16 or UTF-32, which no input is read from.

/// The longest byte order mark.
const MARK_BYTES_MAX: usize = 4;

/// The encoding that the first bytes of a text show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    /// It is UTF-8, as far as these bytes tell.
    Utf8,
    Utf16,
    Utf32,
    /// More bytes are needed to tell.
    Unknown,
}

impl Encoding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 | Self::Unknown => "UTF-8",
            Self::Utf16 => "UTF-16",
            Self::Utf32 => "UTF-32",
        }
    }
}

/// Judges a text by its beginning. Without a byte order mark, the zeros of JSON tell: it begins with two characters of
/// ASCII, or has only one, and none of them is a zero. Other text may have zeros.
pub(super) fn encoding(beginning: &[u8], is_json: bool, is_last: bool) -> Encoding {
    let is_short = beginning.len() < MARK_BYTES_MAX && !is_last;
    match *beginning {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Encoding::Utf32,
        [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] if is_json => Encoding::Utf32,
        [0xff, 0xfe, ..] | [0, 0, ..] if is_short => Encoding::Unknown,
        [_, 0, ..] if is_short && is_json => Encoding::Unknown,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Encoding::Utf16,
        [0, _, ..] | [_, 0, ..] if is_json => Encoding::Utf16,
        [] | [_] if !is_last => Encoding::Unknown,
        _ => Encoding::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf32(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|char| bytes(char.into())).collect()
    }

    #[test]
    fn an_encoding_is_told_by_the_first_bytes() {
        for text in ["\u{feff}1\n", "1\n", "[1]", "\u{feff}\"\u{e4}\"\r\n", "{}"] {
            for (bytes, expected) in [
                (utf16(text, u16::to_le_bytes), Encoding::Utf16),
                (utf16(text, u16::to_be_bytes), Encoding::Utf16),
                (utf32(text, u32::to_le_bytes), Encoding::Utf32),
                (utf32(text, u32::to_be_bytes), Encoding::Utf32),
                (text.as_bytes().to_vec(), Encoding::Utf8),
            ] {
                assert_eq!(encoding(&bytes, true, true), expected, "{bytes:?}");
                // With fewer bytes it waits, and is not wrong.
                let told = (0..bytes.len()).map(|count| encoding(&bytes[..count], true, false));
                assert!(told.clone().all(|told| told == expected || told == Encoding::Unknown), "{bytes:?}");
            }
        }
        // The first line of a pipe is not held up.
        assert_eq!(encoding(b"1\n", true, false), Encoding::Utf8);
        for text in [&b""[..], b"1", b"\n"] {
            assert_eq!(encoding(text, true, true), Encoding::Utf8);
        }
        // A plain line may have a zero in it, and a mark tells all the same.
        assert_eq!(encoding(b"a\0b", false, false), Encoding::Utf8);
        assert_eq!(encoding(&utf16("\u{feff}1", u16::to_le_bytes), false, false), Encoding::Utf16);
    }
}
