//! What this machine has to give.

mod control_groups;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use burla_types::{CPU_MILLIS_MIN, Resources};

use self::control_groups::{ControlGroups, Mount};

/// The share of the machine's memory that calls may reserve. The rest is for the node itself, the page cache, and what else runs
/// here.
const MEMORY_SHARE: f64 = 0.8;

/// The share of the free disk that calls' files may take together.
const DISK_SHARE: f64 = 0.8;

/// The CPUs and memory that calls may have, as far as the machine tells: affinity and the limits of control groups are
/// respected. A quota of less than one CPU counts as one, which is what a call asks for unless it is told otherwise: it
/// fits, and the kernel slows it down.
pub fn capacity() -> Resources {
    let groups = control_groups();
    let memory = physical_memory_bytes().min(groups.memory_bytes().unwrap_or(u64::MAX));
    let cpu_millis = (allowed_cpus() * 1000).min(groups.cpu_millis().unwrap_or(u64::MAX)).max(1000);
    Resources { cpu_millis, memory_bytes: (memory as f64 * MEMORY_SHARE) as u64 }
}

/// The CPUs that the system may run this process on, whatever its quota is. std counts those of a quota, in whole CPUs
/// and one at least.
fn allowed_cpus() -> u64 {
    // Fails on machines with more CPUs than such a set has room for.
    let allowed = rustix::thread::sched_getaffinity(None).map(|set| u64::from(set.count()));
    allowed.unwrap_or(threads().get() as u64).max(1)
}

/// The CPUs this process may use at the same time, in whole numbers.
pub fn threads() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Calls that a node may have at one time, most of them asleep: as many as its CPUs hold of the smallest share, within what the kernel
/// gives.
pub fn calls_max(cpu_millis: u64) -> u32 {
    let mappings_max = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    calls_within(cpu_millis, mappings_max.unwrap_or(MAPPINGS_MAX_DEFAULT))
}

/// What Linux lets a process have, unless it is told otherwise.
const MAPPINGS_MAX_DEFAULT: u64 = 65_530;

fn calls_within(cpu_millis: u64, mappings_max: u64) -> u32 {
    /// The address space of a process has room for three times as many, with all their tables.
    const MOST: u64 = 10_000;
    const LEAST: u64 = 64;
    /// Two for its stack, and four for its memory: what wasmtime's stack is, its initial data, its heap, and the rest.
    const MAPPINGS_PER_CALL: u64 = 6;
    /// For threads, libraries and machine code, and for calls with a resident place.
    const OWN_MAPPINGS: u64 = 5_000;
    let by_cpus = cpu_millis / u64::from(CPU_MILLIS_MIN);
    let by_mappings = mappings_max.saturating_sub(OWN_MAPPINGS) / MAPPINGS_PER_CALL;
    u32::try_from(by_cpus.min(by_mappings).clamp(LEAST, MOST)).unwrap_or(u32::MAX)
}

/// Lets this process open as many files as the system allows it at most: each of thousands of calls may want some.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Files that calls may have open together: what this process may, without what it needs for itself. Those are directories that are
/// kept for the next call, two for each component that is loaded, connections, logs and the cache.
pub(crate) fn files_for_calls() -> usize {
    use rustix::process::{Resource, getrlimit};
    const OWN: u64 = 4_000;
    /// Where the system allows hardly any. Calls then run out together with the node, which tells them so.
    const LEAST: u64 = 64;
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(all.saturating_sub(OWN).max(LEAST)).unwrap_or(usize::MAX)
}

/// What calls' files may take together, where nobody says: a share of what is free.
pub fn disk_for_calls(folder: &Path) -> u64 {
    (free_disk_bytes(folder) as f64 * DISK_SHARE) as u64
}

/// Bytes that are free in the file system of a folder, or of the nearest folder around it that exists.
fn free_disk_bytes(folder: &Path) -> u64 {
    let stats = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    if stats.is_none() {
        tracing::warn!(folder = %folder.display(), "cannot tell how much disk is free, so that calls get none: say how much they may have");
    }
    stats.map_or(0, |stats| stats.f_bavail * stats.f_frsize)
}

/// A name for people to recognize this machine by.
pub fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "node".to_owned() } else { name.trim().to_owned() }
}

/// The addresses that this machine has now, as far as it knows them: not one that a router keeps for it.
pub(crate) fn own_addresses() -> Vec<IpAddr> {
    let routes = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell this machine's own IPv4 addresses, so that calls may reach those that are public");
        String::new()
    });
    // Where there is no IPv6, there is no such file.
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut addresses = local_ipv4(&routes);
    addresses.extend(local_ipv6(&interfaces));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The addresses in `fib_trie` that are the machine's own: each is on a line of its own, and below it what it is.
fn local_ipv4(routes: &str) -> Vec<IpAddr> {
    let mut address: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in routes.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(address.map(IpAddr::V4));
        }
    }
    found
}

/// The addresses in `if_inet6`, which has one a line: 32 hexadecimal digits, and what it is.
fn local_ipv6(interfaces: &str) -> Vec<IpAddr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    interfaces.lines().filter_map(address).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))).collect()
}

fn physical_memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo_bytes(&meminfo, "MemTotal:").unwrap_or(1 << 30)
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Memory that this process and its neighbors can still have before the machine, or a control group, has none left.
fn available_memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = meminfo_bytes(&meminfo, "MemAvailable:").unwrap_or(u64::MAX);
    machine.min(control_groups().memory_left_bytes().unwrap_or(u64::MAX))
}

/// Memory that calls could have: what this process has taken since it first asked, and what is left. Both are what the kernel counts,
/// so that what a guest has asked for and not touched is in neither.
pub(crate) fn memory_for_calls_bytes() -> u64 {
    static BASELINE: OnceLock<u64> = OnceLock::new();
    let resident = resident_bytes();
    let baseline = *BASELINE.get_or_init(|| resident);
    available_memory_bytes().saturating_add(resident.saturating_sub(baseline))
}

/// What of this process is in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    meminfo_bytes(&status, "VmRSS:").unwrap_or(0)
}

/// The control groups of this process, which may be moved from one to another.
fn control_groups() -> ControlGroups {
    // On a machine with thousands of mounts they take long to list, and this is asked many times a second when memory
    // is short.
    static MOUNTS: LazyLock<Vec<Mount>> = LazyLock::new(|| {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        control_groups::mounts(&mountinfo)
    });
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    ControlGroups::new(&own, &MOUNTS, Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gives_no_more_than_the_process_may_have() {
        let Resources { cpu_millis, memory_bytes } = capacity();
        assert!((1000..=allowed_cpus() * 1000).contains(&cpu_millis), "{cpu_millis}");
        assert!(memory_bytes > 0 && memory_bytes < physical_memory_bytes());
    }

    #[test]
    fn calls_are_as_many_as_cpus_and_mappings_allow() {
        for (cpus, mappings_max, calls) in [
            (1, MAPPINGS_MAX_DEFAULT, 100),
            (64, MAPPINGS_MAX_DEFAULT, 6_400),
            (1_000, MAPPINGS_MAX_DEFAULT, 10_000),
            (1_000, 1 << 20, 10_000),
            (1_000, 11_000, 1_000),
            (1_000, 0, 64),
        ] {
            assert_eq!(calls_within(cpus * 1000, mappings_max), calls, "{cpus} CPUs, {mappings_max} mappings");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let meminfo = "MemFree: 1 kB\nMemTotal:       24615440 kB\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal:"), Some(24_615_440 << 10));
        assert_eq!(meminfo_bytes(meminfo, "MemAvailable:"), None);
        assert!(available_memory_bytes() > 0 && resident_bytes() > 1 << 20);
    }

    #[test]
    fn own_addresses_are_read_from_what_linux_tells() {
        let routes = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 203.0.113.0/24 2 0 2
        |-- 203.0.113.0
           /24 link UNICAST
        |-- 203.0.113.7
           /32 host LOCAL
        |-- 203.0.113.255
           /32 link BROADCAST
Local:
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 link UNICAST
              /32 host LOCAL
";
        let interfaces = "2a010db8000000000000000000000007 02 40 00 80     eth0
00000000000000000000000000000001 01 80 10 80       lo

what is no address
";
        let addresses = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
        assert_eq!(local_ipv4(routes), addresses(["203.0.113.7", "127.0.0.1"]));
        assert_eq!(local_ipv6(interfaces), addresses(["2a01:db8::7", "::1"]));
        assert!(own_addresses().contains(&"127.0.0.1".parse().unwrap()));
    }
}
