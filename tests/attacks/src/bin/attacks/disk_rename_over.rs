//! Renames files over others. Over one that is gone after that, as programs replace a file, it can go on for ever. Over a second
//! name of the same file, which POSIX does nothing about, and over a file that is open, which stays, nothing becomes free.

use std::fs::{self, File};
use std::io;

const FILE_BYTES: u64 = 8 << 20;

/// Four times what it is given, where nothing stops it.
const FILES_MAX: u64 = 32;

/// Returns what went wrong, where it may hold this much.
#[burla::function]
fn attack(mebibytes: u64) -> io::Result<Vec<String>> {
    let bytes = vec![7u8; FILE_BYTES as usize];
    let mut wrong = Vec::new();

    let replaces = |_| fs::write("new", &bytes).and_then(|()| fs::rename("new", "kept"));
    if let Some(error) = (0..FILES_MAX).map(replaces).find_map(Result::err) {
        wrong.push(format!("a file cannot be replaced again and again: {error}"));
    }
    let _ = fs::remove_file("new");

    let doubles = |number: &u64| {
        let (one, other) = (format!("one-{number}"), format!("other-{number}"));
        let renamed = |()| fs::rename(&one, &other);
        fs::write(&one, &bytes).and_then(|()| fs::hard_link(&one, &other)).and_then(renamed).is_ok()
    };
    let doubled = (0..FILES_MAX).take_while(doubles).count() as u64 * FILE_BYTES;
    if doubled > mebibytes << 20 {
        wrong.push(format!("it holds {doubled} bytes under two names"));
    }
    for number in 0..FILES_MAX {
        let _ = fs::remove_file(format!("one-{number}"));
        let _ = fs::remove_file(format!("other-{number}"));
    }

    let mut open = Vec::new();
    let buries = |_: &u64| {
        open.extend(File::open("kept"));
        fs::write("new", &bytes).and_then(|()| fs::rename("new", "kept")).is_ok()
    };
    let buried = (0..FILES_MAX).take_while(buries).count() as u64 * FILE_BYTES;
    if buried > mebibytes << 20 {
        wrong.push(format!("it holds {buried} bytes open that have no name"));
    }
    Ok(wrong)
}
