//! What the grid runs, and what it is given:
//!
//! 1. [`Chunks`] cuts texts into pieces that end where a line does, and holds one at a time (`chunks.rs`);
//! 2. [`count`] counts the words of one piece.

mod chunks;

use std::collections::{BTreeMap, HashMap};

use serde_bytes::ByteBuf;

pub use chunks::Chunks;

/// How often each word was found.
pub type Counts = BTreeMap<String, u64>;

/// Counts the words of a text, in lower case. A word is as many letters, of any script, as stand together; what is not UTF-8 is
/// between words.
#[burla::function]
pub fn count(text: ByteBuf) -> Counts {
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    counts.into_iter().map(|(word, times)| (word.to_owned(), times)).collect()
}

/// Adds what was found in another text.
pub fn add(total: &mut Counts, counts: Counts) {
    for (word, times) in counts {
        *total.entry(word).or_default() += times;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(expected: &[(&str, u64)]) -> Counts {
        expected.iter().map(|&(word, times)| (word.to_owned(), times)).collect()
    }

    #[test]
    fn words_are_letters_in_lower_case() {
        let text = "Zwei Äpfel, zwei_birnen 2x: don't\nÄPFEL";
        let expected = [("birnen", 1), ("don", 1), ("t", 1), ("x", 1), ("zwei", 2), ("äpfel", 2)];
        assert_eq!(count(ByteBuf::from(text)), counts(&expected));
        assert_eq!(count(ByteBuf::new()), Counts::new());
    }

    #[test]
    fn what_is_not_utf8_is_between_words() {
        assert_eq!(count(ByteBuf::from(b"one\xffTwo \xc3".to_vec())), counts(&[("one", 1), ("two", 1)]));
    }

    #[test]
    fn chunks_together_have_the_words_of_the_whole() {
        let text: String = (0_u32..500).map(|line| format!("line a{} of\n", "b".repeat(line as usize % 7))).collect();
        let mut total = Counts::new();
        for chunk in Chunks::new([Ok(text.as_bytes())].into_iter(), 64) {
            add(&mut total, count(ByteBuf::from(chunk.unwrap())));
        }
        assert_eq!(total, count(ByteBuf::from(text)));
    }
}
