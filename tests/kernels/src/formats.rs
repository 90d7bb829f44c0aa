//! What people use crates for: hashing, parsing, searching, compressing.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::Random;

/// Hashes 12 MB.
pub fn sha256() -> u64 {
    let mut random = Random(31);
    let bytes: Vec<u8> = (0..12_000_000 / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
    first_bytes(&hmac_sha256::Hash::hash(&bytes))
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    paid: bool,
    amounts: Vec<f64>,
    note: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    count: u32,
}

/// Writes 12,000 orders as JSON, reads them back as they are and as untyped values, and writes the latter.
pub fn json() -> u64 {
    let mut random = Random(32);
    let orders: Vec<Order> = (0..12_000)
        .map(|id| Order {
            id,
            customer: format!("{} \"{}\"", random.word(), random.word()),
            paid: random.below(2) == 0,
            amounts: (0..3).map(|_| f64::from(random.below(1_000_000)) / 100.0).collect(),
            note: (random.below(3) == 0).then(|| random.word()),
            items: (0..random.below(5)).map(|_| Item { name: random.word(), count: random.below(100) }).collect(),
        })
        .collect();
    let text = serde_json::to_string(&orders).unwrap_or_default();
    let back: Vec<Order> = serde_json::from_str(&text).unwrap_or_default();
    let values: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    u64::from(back == orders) + values.to_string().len() as u64
}

/// Reads a table of 120,000 rows with five columns, some of them quoted, and sums a column.
pub fn csv() -> u64 {
    let mut random = Random(33);
    let mut text = String::from("id,name,city,amount,note\n");
    for id in 0..120_000 {
        let (name, city, amount, note) = (random.word(), random.word(), random.below(1_000_000), random.word());
        let _ = writeln!(text, "{id},{name},{city},{}.{},\"{note}, \"\"{name}\"\"\"", amount / 100, amount % 100);
    }
    let (mut sum, mut letters) = (0.0, 0);
    for record in ::csv::Reader::from_reader(text.as_bytes()).records().map_while(Result::ok) {
        sum += record[3].parse().unwrap_or(0.0);
        letters += record[4].len();
    }
    sum as u64 + letters as u64
}

/// Finds dates and pairs of words with capitals in 4 MB of text. The expression has no letters that all matches begin with, which
/// the crate would search for with code of its own for each processor.
pub fn regular_expression() -> u64 {
    let mut random = Random(34);
    let mut text = String::new();
    while text.len() < 4_000_000 {
        match random.below(20) {
            0 => {
                let _ = write!(text, "{}-{:02}-{:02} ", 1900 + random.below(200), 1 + random.below(12), 1 + random.below(31));
            }
            1 => text.extend(
                random.word().char_indices().map(|(at, letter)| if at == 0 { letter.to_ascii_uppercase() } else { letter }),
            ),
            _ => text.push_str(&random.word()),
        }
        text.push(' ');
    }
    let Ok(pattern) = regex::Regex::new(r"\b[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]\b|\b[A-Z][a-z]+ [A-Z][a-z]+\b") else { return 0 };
    pattern.find_iter(&text).map(|found| found.len() as u64).sum()
}

/// Compresses 1 MB of words, and decompresses it five times.
pub fn deflate() -> u64 {
    let mut random = Random(35);
    let words: Vec<String> = (0..2_000).map(|_| random.word()).collect();
    let mut text = String::new();
    while text.len() < 1_000_000 {
        text.push_str(&words[random.below(2_000).min(random.below(2_000)) as usize]);
        text.push(' ');
    }
    let compressed = miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6);
    let sizes = (0..5).filter_map(|_| miniz_oxide::inflate::decompress_to_vec(&compressed).ok()).map(|back| back.len() as u64);
    sizes.sum::<u64>() + compressed.len() as u64
}

/// Writes 200,000 `f64` as text, and reads them back.
pub fn numbers_as_text() -> u64 {
    let mut random = Random(36);
    let mut text = String::new();
    for number in 0..200_000 {
        let value = random.unit() * f64::from(10_u32.pow(number % 7));
        let _ = if number % 2 == 0 { writeln!(text, "{value}") } else { writeln!(text, "{value:.3}") };
    }
    text.lines().filter_map(|line| line.parse::<f64>().ok()).fold(0, |sum: u64, value| sum.rotate_left(5) ^ value.to_bits())
}

fn first_bytes(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
