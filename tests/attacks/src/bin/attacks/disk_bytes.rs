//! Writes a file until there is no more space. It sees what a program sees on a full disk, and goes on: what it removes makes
//! room again.

use std::fs::{self, File};
use std::io::{self, Write};

/// What is written where nothing stops it: four times what it is given.
const BYTES_MAX: u64 = 256 << 20;

/// What the libc of Rust 1.95 makes of any stream that fails, without asking why.
const EIO: i32 = 29;

/// Returns how many bytes there was space for.
#[burla::function]
fn attack() -> io::Result<u64> {
    let mebibyte = vec![7u8; 1 << 20];
    let mut file = File::create("full")?;
    let mut written = 0;
    while written < BYTES_MAX {
        match file.write(&mebibyte) {
            Ok(bytes) => written += bytes as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull || error.raw_os_error() == Some(EIO) => break,
            Err(error) => return Err(error),
        }
    }
    drop(file);
    fs::remove_file("full")?;
    fs::write("after", &mebibyte)?;
    if fs::read("after")? == mebibyte { Ok(written) } else { Err(io::Error::other("what was written last is not there")) }
}
