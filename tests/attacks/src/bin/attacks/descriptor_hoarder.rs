//! Opens a file as often as it can: each time takes a descriptor of the node, which has so many for all calls together. The call
//! ends at its own limit of open files.

use std::fs::{self, File};
use std::io;

#[burla::function]
fn attack() -> io::Result<usize> {
    fs::write("file", "x")?;
    let open = (0..100_000).map(|_| File::open("file")).collect::<io::Result<Vec<_>>>()?;
    Ok(open.len())
}
