//! Leaves as many files behind as it may, in many directories, and is done. Whoever clears that away is in nobody's way.

use std::fs;
use std::io;

const DIRECTORIES: u32 = 100;
const FILES_EACH: u32 = 50;

#[burla::function]
fn attack() -> io::Result<bool> {
    match litter() {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(true),
    }
}

fn litter() -> io::Result<()> {
    for directory in 0..DIRECTORIES {
        fs::create_dir(directory.to_string())?;
        for file in 0..FILES_EACH {
            fs::write(format!("{directory}/{file}"), [7; 1024])?;
        }
    }
    Ok(())
}
