//! Texts of bounded length: whatever a guest says of its end travels to the user, and must not be endless.

use std::borrow::Cow;

/// What is kept of one text that a guest says of its end: more than anyone reads.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// Room for the words that say how much is missing.
const NOTE_BYTES_MAX: usize = 48;

/// The text, cut at a character so that it is at most `bytes_max` long with a note of how much is missing. A text that was cut
/// stays as it is when it is cut to the same length again.
pub fn truncated(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let kept = &text[..text.floor_char_boundary(bytes_max.saturating_sub(NOTE_BYTES_MAX))];
    Cow::Owned(format!("{kept}… ({} bytes more)", text.len() - kept.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_so() {
        let text = "é".repeat(100);
        let cut = truncated(&text, 101);
        assert_eq!(cut, format!("{}… (148 bytes more)", "é".repeat(26)));
        assert!(cut.len() <= 101);
        assert_eq!(truncated(&cut, 101), cut);
        assert_eq!(truncated("short", 5), "short");
    }

    #[test]
    fn the_note_always_fits() {
        assert!("… (18446744073709551615 bytes more)".len() <= NOTE_BYTES_MAX);
    }
}
