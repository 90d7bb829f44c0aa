//! The pure-Rust crates that people use in functions, each doing what it is used for.

use std::io::{Cursor, Read, Write};

use anyhow::Context;
use sha2::Digest;

/// Parses, changes and writes JSON.
#[burla::function]
pub fn uses_serde_json(text: String) -> Result<String, serde_json::Error> {
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    value["seen"] = true.into();
    serde_json::to_string(&value)
}

/// Finds dates.
#[burla::function]
pub fn uses_regex(text: String) -> anyhow::Result<Vec<String>> {
    let dates = regex::Regex::new(r"\b(\d{4})-(\d{2})-(\d{2})\b")?;
    Ok(dates.captures_iter(&text).map(|found| format!("{}/{}/{}", &found[3], &found[2], &found[1])).collect())
}

/// Throws dice, seeded by the node's own randomness.
#[burla::function]
pub fn uses_rand(throws: usize) -> Vec<u8> {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..throws).map(|_| rng.random_range(1..=6)).collect()
}

/// Adds days to a date, and tells the year it is now.
#[burla::function]
pub fn uses_chrono(date: String, days: u64) -> anyhow::Result<(String, i32)> {
    use chrono::Datelike;
    let date: chrono::NaiveDate = date.parse()?;
    let later = date.checked_add_days(chrono::Days::new(days)).context("the date is out of range")?;
    Ok((later.to_string(), chrono::Utc::now().year()))
}

/// Sums a column.
#[burla::function]
pub fn uses_csv(text: String, column: usize) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        sum += record?.get(column).context("the row is too short")?.parse::<f64>()?;
    }
    Ok(sum)
}

/// Compresses and decompresses; returns the compressed size and what came back.
#[burla::function]
pub fn uses_flate2(text: String) -> std::io::Result<(usize, String)> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes())?;
    let compressed = encoder.finish()?;
    let mut back = String::new();
    flate2::read::GzDecoder::new(compressed.as_slice()).read_to_string(&mut back)?;
    Ok((compressed.len(), back))
}

/// Draws a gradient, writes it as PNG into its directory, reads it back, makes a thumbnail, and returns its size and one of its
/// pixels.
#[burla::function]
pub fn uses_image(side: u32) -> anyhow::Result<(u32, u32, [u8; 3])> {
    let shade = |position: u32| u8::try_from(position * 255 / side).unwrap_or(u8::MAX);
    let gradient = image::RgbImage::from_fn(side, side, |x, y| image::Rgb([shade(x), shade(y), 0]));
    gradient.save("gradient.png")?;
    let bytes = std::fs::read("gradient.png")?;
    let decoded = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.decode()?;
    let thumbnail = decoded.thumbnail(side / 2, side / 2).to_rgb8();
    Ok((thumbnail.width(), thumbnail.height(), thumbnail.get_pixel(side / 4, side / 4).0))
}

/// Hashes.
#[burla::function]
pub fn uses_sha2(text: String) -> String {
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
