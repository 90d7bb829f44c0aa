//! Leaves traces wherever it can, and looks for those of a former call: in its directory, in its statics, and in memory that it
//! has not written. It finds none, however often it is called.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Fills what a pool of memories may keep of each, and more.
const FRESH_BYTES: usize = 16 << 20;

/// Returns what it found.
#[burla::function]
fn attack() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    // The folder for temporary files is the node's own doing. There is nothing in it.
    for entry in fs::read_dir("/")?.chain(fs::read_dir("/tmp")?) {
        let path = entry?.path();
        if path != Path::new("/tmp") {
            found.push(format!("the file {}", path.display()));
        }
    }
    fs::write("secret", "of the former call")?;
    fs::create_dir("folder")?;
    fs::write("folder/secret", "of the former call")?;
    fs::write("tmp/secret", "of the former call")?;

    if CALLS.fetch_add(1, Ordering::Relaxed) > 0 {
        found.push("a static".to_owned());
    }

    let memory = fresh_memory();
    if let Some(position) = memory.iter().position(|byte| *byte != 0) {
        found.push(format!("memory at {position}"));
    }
    memory.fill(0xa5);
    std::hint::black_box(memory);
    Ok(found)
}

/// Memory as the node gives it. An allocator would clear it first.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "who plays by the rules cannot see what was left in memory")]
fn fresh_memory() -> &'static mut [u8] {
    let page = std::arch::wasm32::memory_grow::<0>(FRESH_BYTES >> 16);
    assert_ne!(page, usize::MAX, "there is memory");
    // SAFETY: these pages were added just now, nobody else knows of them, and every byte is a value.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(page << 16), FRESH_BYTES) }
}

#[cfg(not(target_arch = "wasm32"))]
fn fresh_memory() -> &'static mut [u8] {
    vec![0; FRESH_BYTES].leak()
}

fn main() {
    let _ = attack;
}
