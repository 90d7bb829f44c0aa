//! Sorting, and the maps of std.

use std::collections::{BTreeMap, HashMap};

use crate::Random;

/// Sorts 2 million `u64`.
pub fn sort_integers() -> u64 {
    let mut random = Random(21);
    let mut numbers: Vec<u64> = (0..2_000_000).map(|_| random.bits()).collect();
    numbers.sort_unstable();
    numbers.iter().step_by(1000).fold(0, |sum: u64, number| sum.rotate_left(5) ^ number)
}

/// Sorts 200,000 short texts.
pub fn sort_texts() -> u64 {
    let mut random = Random(22);
    let mut words: Vec<String> = (0..200_000).map(|_| random.word()).collect();
    words.sort();
    words.iter().step_by(100).fold(0, |sum: u64, word| sum.rotate_left(5) ^ u64::from(word.as_bytes()[1]))
}

/// Counts 800,000 words of a text, with the hash function of std.
pub fn word_count() -> u64 {
    let mut random = Random(23);
    let words: Vec<String> = (0..5_000).map(|_| random.word()).collect();
    let mut text = String::new();
    for _ in 0..800_000 {
        text.push_str(&words[random.below(5_000).min(random.below(5_000)) as usize]);
        text.push(' ');
    }
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    counts.values().map(|count| count * count).fold(0, u64::wrapping_add)
}

/// Puts 200,000 numbers into a B-tree, looks up as many, and takes half of them out.
pub fn tree_map() -> u64 {
    const KEYS: u32 = 200_000;
    let mut random = Random(24);
    let mut map: BTreeMap<u32, u64> = BTreeMap::new();
    for _ in 0..KEYS {
        *map.entry(random.below(KEYS)).or_default() += 1;
    }
    let found: u64 = (0..KEYS).filter_map(|_| map.get(&random.below(KEYS))).sum();
    (0..KEYS).step_by(2).filter_map(|key| map.remove(&key)).fold(found, |sum, count| sum.rotate_left(1) ^ count)
}
