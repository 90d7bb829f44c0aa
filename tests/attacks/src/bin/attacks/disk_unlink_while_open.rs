//! Writes a file, keeps it open, removes it, and writes the next: what has no name is still on the disk. What it holds in the end
//! is no more than it was given.

use std::fs::{self, File};
use std::io::Write;

const FILE_BYTES: u64 = 8 << 20;

/// Four times what it is given, where nothing stops it.
const FILES_MAX: usize = 32;

/// Returns how many bytes it holds.
#[burla::function]
fn attack() -> u64 {
    let bytes = vec![7u8; FILE_BYTES as usize];
    let mut open = Vec::new();
    while open.len() < FILES_MAX {
        let written = File::create("file").and_then(|mut file| file.write_all(&bytes).map(|()| file));
        match written.and_then(|file| fs::remove_file("file").map(|()| file)) {
            Ok(file) => open.push(file),
            Err(_) => break,
        }
    }
    FILE_BYTES * open.len() as u64
}
