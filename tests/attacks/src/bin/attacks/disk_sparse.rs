//! Makes files that are larger than the disk, without writing them. Their size counts, and not what the disk keeps of it: there
//! is no space.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

const FAR: u64 = 4 << 40;

/// What the libc of Rust 1.95 makes of any stream that fails, without asking why.
const EIO: i32 = 29;

/// Returns what did not end as on a full disk.
#[burla::function]
fn attack() -> io::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut tried = |what: &str, result: io::Result<()>| match result {
        Ok(()) => wrong.push(format!("{what} worked")),
        Err(error) if error.kind() == io::ErrorKind::StorageFull || error.raw_os_error() == Some(EIO) => {}
        Err(error) => wrong.push(format!("{what} ended as {:?}", error.kind())),
    };
    tried("set_len", File::create("long")?.set_len(FAR));
    let mut file = File::create("far")?;
    file.seek(SeekFrom::Start(FAR))?;
    tried("write", file.write_all(b"x"));
    // Step by step, each a small one.
    let steps = File::create("steps")?;
    tried("set_len in steps", (1..=1024).try_for_each(|step| steps.set_len(step * (FAR / 1024))));
    Ok(wrong)
}
