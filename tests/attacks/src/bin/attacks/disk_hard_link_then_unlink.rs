//! Writes a file, gives it a second name, removes the first, and writes the next: accounts that are kept by name forget what is
//! still there. What it holds in the end is no more than it was given, or there are no second names.

use std::fs;

const FILE_BYTES: u64 = 8 << 20;

/// Four times what it is given, where nothing stops it.
const FILES_MAX: u64 = 32;

/// Returns how many bytes it holds.
#[burla::function]
fn attack() -> u64 {
    let bytes = vec![7u8; FILE_BYTES as usize];
    let hides = |number: &u64| {
        fs::write("original", &bytes)
            .and_then(|()| fs::hard_link("original", format!("hidden-{number}")))
            .and_then(|()| fs::remove_file("original"))
            .is_ok()
    };
    FILE_BYTES * (0..FILES_MAX).take_while(hides).count() as u64
}
