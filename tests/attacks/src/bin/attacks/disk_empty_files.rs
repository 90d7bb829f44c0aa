//! Makes 100,000 files with nothing in them, which take no bytes and keep the disk busy for seconds. Entries are limited too:
//! there is no space long before.

use std::fs::File;
use std::io;

const FILES: u32 = 100_000;

/// Returns how many there was space for.
#[burla::function]
fn attack() -> io::Result<u32> {
    for number in 0..FILES {
        match File::create(number.to_string()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(number),
            Err(error) => return Err(error),
        }
    }
    Ok(FILES)
}
