//! What this machine has to give.

use std::num::NonZero;
use std::path::Path;

use burla_types::Resources;

/// The share of the machine's memory that calls may reserve. The rest is for the node itself, the page cache, and what else runs
/// here.
const MEMORY_SHARE: f64 = 0.8;

/// The CPUs and memory that calls may have, as far as the machine tells: cgroup limits and affinity are respected.
pub fn capacity() -> Resources {
    let memory = physical_memory_bytes().min(cgroup_memory_bytes().unwrap_or(u64::MAX));
    Resources { cpu_millis: threads().get() as u64 * 1000, memory_bytes: (memory as f64 * MEMORY_SHARE) as u64 }
}

/// The CPUs this process may use at the same time.
pub fn threads() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Lets this process open as many files as the system allows it at most: every call that runs has two open before it opens any.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// A name for people to recognise this machine by.
pub fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "node".to_owned() } else { name.trim().to_owned() }
}

fn physical_memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo_total_bytes(&meminfo).unwrap_or(1 << 30)
}

fn meminfo_total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The limit of the control group this process is in, or of one around it, under cgroup v2; `max` and older systems have none.
fn cgroup_memory_bytes() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    lowest_limit(Path::new("/sys/fs/cgroup"), path.trim_start_matches('/'))
}

/// The lowest `memory.max` from the root of all groups down to `path`.
fn lowest_limit(root: &Path, path: &str) -> Option<u64> {
    let own = root.join(path);
    let groups = own.ancestors().take_while(|group| group.starts_with(root));
    groups.filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_nested_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(lowest_limit(root.path(), "a/b"), None);
        for (group, limit) in [("a/b", "4096\n"), ("a", "1024\n"), ("", "max\n")] {
            std::fs::write(root.path().join(group).join("memory.max"), limit).unwrap();
        }
        assert_eq!(lowest_limit(root.path(), "a/b"), Some(1024));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(meminfo_total_bytes("MemFree: 1 kB\nMemTotal:       24615440 kB\n"), Some(24_615_440 << 10));
        assert_eq!(meminfo_total_bytes("nothing"), None);
    }
}
