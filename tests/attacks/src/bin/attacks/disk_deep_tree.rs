//! Makes a tree of 15,000 levels, which whoever takes it apart by recursion does not survive. It goes away like any other, or
//! there is no space for so many entries.

use std::fs;
use std::io;

const LEVELS: u32 = 15_000;

/// Returns how deep it became.
#[burla::function]
fn attack() -> io::Result<u32> {
    for level in 0..LEVELS {
        match deepen() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(level),
            Err(error) => return Err(error),
        }
    }
    Ok(LEVELS)
}

/// Puts the tree into a new directory. From the inside out, since no path may be as long as this tree is deep.
fn deepen() -> io::Result<()> {
    fs::create_dir("outer")?;
    if fs::exists("inner")? {
        fs::rename("inner", "outer/inner")?;
    }
    fs::rename("outer", "inner")
}
