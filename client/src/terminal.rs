//! What others wrote, on the user's terminal.
//!
//! A terminal obeys what it is sent. A text with control sequences in it could write over what stands above it, hide what
//! follows, set the title, write the clipboard, or make the terminal answer, and the shell would read that answer as if it had
//! been typed. What calls print and how they fail comes from code and data of anyone, so its control characters are made visible
//! here.
//!
//! There is no exception for colors. To let them through is to tell them apart from everything else just as every terminal
//! does, and one mistake in that lets everything through; they can also hide a text by themselves, and stay on for the lines of
//! other calls.

use std::borrow::Cow;

/// How many bytes are looked at together: enough for the compiler to use vectors, few enough to stop soon.
#[cfg(not(target_family = "wasm"))]
const CHUNK_BYTES: usize = 64;

/// `text` without anything that a terminal would obey. Newlines and tabs stay; `\r\n` becomes a newline. Other control
/// characters of ASCII become their pictures, such as `␛`; the rest, and what changes the direction of what follows, becomes an
/// escape such as `\u{9b}`.
pub(crate) fn neutralized(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((at, control)) = rest.char_indices().find(|(_, char)| is_obeyed(*char)) {
        shown.push_str(&rest[..at]);
        rest = &rest[at + control.len_utf8()..];
        match control {
            '\r' if rest.starts_with('\n') => {}
            '\x7f' => shown.push('\u{2421}'),
            '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + u32::from(control))),
            _ => shown.extend(control.escape_unicode()),
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// The same for bytes that should be a text: what is none becomes U+FFFD, and with it the control characters of terminals that
/// do not know UTF-8.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn neutralized_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => match neutralized(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Cow::Owned(text) => Cow::Owned(neutralized(&text).into_owned().into_bytes()),
    }
}

/// Whether all is ASCII that can be shown as it is, as in most lines. Much cheaper than [`neutralized_bytes`].
#[cfg(not(target_family = "wasm"))]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    bytes.chunks(CHUNK_BYTES).all(|chunk| chunk.iter().fold(true, |all, &byte| all & is_plain(byte)))
}

/// Whether a terminal does something else with it than to show it where it stands.
fn is_obeyed(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        // Those of ASCII, and those that are an escape sequence in one character.
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        // The separators of lines and paragraphs, and what reverses the direction: `exe.txt` could be `txt.exe`.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        for (text, expected) in [
            ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
            ("\x1b]0;title\x07", "␛]0;title␇"),
            ("\x1b]52;c;aGk=\x1b\\", "␛]52;c;aGk=␛\\"),
            ("\x1b[6n", "␛[6n"),
            ("\0\x01\x08\x0b\x0c\x0e\x1f\x7f", "␀␁␈␋␌␎␟␡"),
            ("over\rwritten", "over␍written"),
            ("line\r\nline\r\n\r\n", "line\nline\n\n"),
            ("\r\r\n\r", "␍\n␍"),
            ("\u{9b}31m \u{9d}0;title\u{9c} \u{80}\u{85}\u{9f}", "\\u{9b}31m \\u{9d}0;title\\u{9c} \\u{80}\\u{85}\\u{9f}"),
            ("a\u{202e}b\u{2066}c\u{2069}", "a\\u{202e}b\\u{2066}c\\u{2069}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
        ] {
            assert_eq!(neutralized(text), expected);
            assert_eq!(neutralized_bytes(text.as_bytes()), expected.as_bytes());
            assert!(!is_plain(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_a_text_stays_where_it_is() {
        for text in ["", "a line\n\tand another\n", "~ !", "grüße, 世界 🦀 שלום e\u{301}\u{a0}\u{2027}\u{202f}\u{2065}\u{206a}"]
        {
            assert!(matches!(neutralized(text), Cow::Borrowed(shown) if shown == text));
            assert!(matches!(neutralized_bytes(text.as_bytes()), Cow::Borrowed(shown) if shown == text.as_bytes()));
            assert_eq!(is_plain(text.as_bytes()), text.is_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(neutralized_bytes(b"a\x9b31mb\xff\x1b\xe4"), "a\u{fffd}31mb\u{fffd}␛\u{fffd}".as_bytes());
        // The continuation of a character is not on its own what it looks like.
        assert_eq!(neutralized_bytes("ě".as_bytes()), "ě".as_bytes());
    }

    /// Nothing a terminal would obey, by the standard library's word for it.
    fn assert_is_tame(shown: &str) {
        let is_tame = |char: char| matches!(char, '\n' | '\t') || !char.is_control();
        assert!(shown.chars().all(is_tame), "{shown:?}");
        assert!(
            !shown.contains(['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2028}', '\u{2029}']),
            "{shown:?}"
        );
        assert!(!shown.contains(['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}']), "{shown:?}");
        assert!(matches!(neutralized(shown), Cow::Borrowed(_)), "once is enough: {shown:?}");
    }

    #[test]
    fn no_character_passes_that_a_terminal_obeys() {
        let mut text = String::new();
        for char in '\0'..=char::MAX {
            text.clear();
            text.extend(['a', char, char, '\n']);
            assert_is_tame(&neutralized(&text));
        }
    }

    #[test]
    fn no_bytes_pass_that_a_terminal_obeys() {
        for pair in 0..=u16::MAX {
            let [first, second] = pair.to_be_bytes();
            for bytes in
                [&[first, second][..], &[b'a', first, second, b'b'], &[0xe2, first, second], &[first, 0x80, second, b'\n']]
            {
                let shown = neutralized_bytes(bytes);
                assert_is_tame(std::str::from_utf8(&shown).unwrap());
                if is_plain(bytes) {
                    assert_eq!(shown, bytes, "the short way leads to the same");
                }
            }
        }
    }
}
