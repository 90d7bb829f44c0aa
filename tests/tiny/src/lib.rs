//! What benchmarks call. A component of these alone is as large as a user's first one; what a call costs grows with the memory that
//! its component begins with.

#![expect(clippy::print_stdout, reason = "a function that prints is one of them")]

use std::fs;
use std::time::Duration;

/// Doubles a number.
#[burla::function]
pub fn doubles(number: i64) -> i64 {
    number * 2
}

/// Prints a line.
#[burla::function]
pub fn prints(number: i64) {
    println!("{number}");
}

/// Writes a file of 1 KiB and reads it again. Returns how many bytes it read.
#[burla::function]
pub fn keeps_a_file(number: i64) -> std::io::Result<usize> {
    let path = format!("/{number}");
    fs::write(&path, [b'x'; 1024])?;
    Ok(fs::read(&path)?.len())
}

/// Does nothing for so many milliseconds.
#[burla::function]
pub fn sleeps(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Returns what it is given.
#[burla::function]
pub fn echoes(text: String) -> String {
    text
}
