//! How much memory an idle node takes, by an allocator that counts, and by what the system says.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burla_scheduler::grid::Grid;

use crate::world::{Setting, World};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Counts the bytes that are allocated at a moment.
pub(crate) struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without; it passes everything on")]
// SAFETY: what is asked for is asked of the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

pub(crate) fn lines() -> Vec<String> {
    // So many that pages of 4 KiB do not matter.
    let many = Setting { nodes: 20_000, cpus: 4, jobs: 1, per_message: 8, call_us: 1000, calls_per_second: 500_000 };
    let (bytes, resident, _grid) = taken_by(|| {
        let mut world = World::<Grid>::idle(many);
        world.drop_nodes();
        world
    });
    let per_node = |bytes: usize| bytes / many.nodes;
    let mut lines = vec![format!("an idle node takes {} bytes, resident {}", per_node(bytes), per_node(resident))];
    let few = Setting { nodes: 500, ..many };
    for (jobs, when) in [(1, "one job has had all it wanted"), (10, "ten jobs have had all they wanted")] {
        let (bytes, _, _world) = taken_by(|| {
            let mut world = World::<Grid>::idle(Setting { jobs, ..few });
            world.waves(20_000, 2);
            world.drop_nodes();
            world
        });
        lines.push(format!("an idle node takes {} bytes when {when} and stays open", bytes / few.nodes));
    }
    lines
}

/// Bytes that are allocated, and that are resident, for what this makes.
fn taken_by<T>(make: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = (ALLOCATED.load(Ordering::Relaxed), resident_bytes());
    let made = make();
    let after = (ALLOCATED.load(Ordering::Relaxed), resident_bytes());
    (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1), made)
}

/// What the system says that the process takes; nothing where it has no `/proc`.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
