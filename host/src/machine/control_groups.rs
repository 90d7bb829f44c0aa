//! The limits of the control groups that this process is in, and of those around them.
//!
//! Linux has two versions, and some systems run both (hybrid): version 1 has a hierarchy of its own for memory, CPUs
//! and sets of CPUs each, version 2 has one for all. A limit of either holds, so that the lowest of all counts. Where
//! the files lie is read from `mountinfo`: in a container the mount may begin at the container's own group, while
//! `cgroup` names the path from the root of all.

use std::path::{Component, Path, PathBuf};

/// The folders of the groups of one process: for each hierarchy its own group, and those around it up to the mount.
#[derive(Debug, Default)]
pub(super) struct ControlGroups {
    groups: Vec<PathBuf>,
}

/// Where a hierarchy of control groups is mounted.
#[derive(Debug)]
pub(super) struct Mount {
    /// None for version 2, which has all of them.
    controllers: Option<Vec<String>>,
    /// The group that is mounted, from the root of all.
    root: PathBuf,
    point: PathBuf,
}

/// The controllers of version 1 that limit what a node has to give.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "cpuset"];

/// Reads `/proc/self/mountinfo`. A mount that is not of control groups, or not readable, is passed over.
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3).map(unescaped);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let controllers = match file_system.next()? {
        "cgroup2" => None,
        "cgroup" => Some(file_system.nth(1)?.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Mount { controllers, root: root.into(), point: point.into() })
}

/// A path as `mountinfo` writes it, with `\040` for a space.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, letter)| text.replace(escape, letter))
}

impl ControlGroups {
    /// Those of a process with this `/proc/PID/cgroup`, below `root`, which is `/` but in tests.
    pub(super) fn new(cgroup: &str, mounts: &[Mount], root: &Path) -> Self {
        let mut groups = Vec::new();
        for mut line in cgroup.lines().map(|line| line.splitn(3, ':').skip(1)) {
            let (Some(controllers), Some(path)) = (line.next(), line.next()) else { continue };
            let own: Vec<&str> = controllers.split(',').filter(|name| CONTROLLERS.contains(name)).collect();
            let holds = |mount: &&Mount| match &mount.controllers {
                None => controllers.is_empty(),
                Some(names) => own.iter().any(|own| names.iter().any(|name| name == own)),
            };
            // The first is the system's own; others are what programs mount for themselves.
            if let Some(mount) = mounts.iter().find(holds) {
                groups.extend(mount.groups(Path::new(path), root));
            }
        }
        Self { groups }
    }

    /// The lowest limit of memory.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.lowest(memory_limit)
    }

    /// The least memory that is left below the limits. Pages of files that have not been used for a while do not count:
    /// the kernel takes them back when it needs them.
    pub(super) fn memory_left_bytes(&self) -> Option<u64> {
        self.lowest(|group| {
            let limit = memory_limit(group)?;
            let used = number(group, "memory.current").or_else(|| number(group, "memory.usage_in_bytes"))?;
            let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            // Version 1 has one number for the group alone, and one for those below it as well.
            let value =
                |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
            let idle_files: u64 = value("total_inactive_file").or_else(|| value("inactive_file")).unwrap_or(0);
            Some(limit.saturating_sub(used.saturating_sub(idle_files)))
        })
    }

    /// The lowest number of CPUs, in thousandths, by quotas of CPU time and by sets of CPUs.
    pub(super) fn cpu_millis(&self) -> Option<u64> {
        let quota = self.lowest(cpu_quota_millis);
        let set = self.lowest(|group| {
            ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"].iter().find_map(|name| cpus_in(&text(group, name)?))
        });
        quota.into_iter().chain(set.map(|cpus| cpus.saturating_mul(1000))).min()
    }

    fn lowest(&self, limit: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
        self.groups.iter().filter_map(|group| limit(group)).min()
    }
}

impl Mount {
    /// The folders of a group and of those around it, as far as they are mounted.
    fn groups(&self, path: &Path, root: &Path) -> Vec<PathBuf> {
        let below = |folder: &Path| folder.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>();
        let point = root.join(below(&self.point));
        // A group outside of what this process may see is named with `..`.
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        let inner = path.strip_prefix(&self.root).map(below).unwrap_or_else(|_| below(path));
        let own = if is_plain { point.join(inner) } else { point.clone() };
        own.ancestors().take_while(|group| group.starts_with(&point)).map(Path::to_owned).collect()
    }
}

/// Version 2 says `max` for no limit, which is no number; version 1 says one that is larger than any machine.
fn memory_limit(group: &Path) -> Option<u64> {
    number(group, "memory.max").into_iter().chain(number(group, "memory.limit_in_bytes")).min()
}

/// CPU time of a period over the length of the period: `max 100000` and `-1` are no quota.
fn cpu_quota_millis(group: &Path) -> Option<u64> {
    let version_2 = text(group, "cpu.max").and_then(|text| {
        let mut numbers = text.split_whitespace();
        millis(numbers.next()?.parse().ok()?, numbers.next().map_or(Some(100_000), |period| period.parse().ok())?)
    });
    let version_1 = number(group, "cpu.cfs_quota_us").zip(number(group, "cpu.cfs_period_us"));
    version_2.into_iter().chain(version_1.and_then(|(quota, period)| millis(quota, period))).min()
}

fn millis(quota: u64, period: u64) -> Option<u64> {
    (quota > 0).then_some(quota)?.saturating_mul(1000).checked_div(period)
}

/// CPUs in a list such as `0-3,7`. An empty one means those of the group around it.
fn cpus_in(list: &str) -> Option<u64> {
    let mut cpus = 0u64;
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        cpus = cpus.saturating_add(last.checked_sub(first)?.saturating_add(1));
    }
    (cpus > 0).then_some(cpus)
}

fn number(group: &Path, name: &str) -> Option<u64> {
    text(group, name)?.trim().parse().ok()
}

fn text(group: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(group.join(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";

    /// What version 1 mounts for the three controllers.
    const V1: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
31 23 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
32 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 23 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset";

    /// (memory, memory that is left, CPUs in thousandths) of a process, by files below `/sys/fs/cgroup`.
    fn limits(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> (Option<u64>, Option<u64>, Option<u64>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        let groups = ControlGroups::new(cgroup, &mounts(mountinfo), root.path());
        (groups.memory_bytes(), groups.memory_left_bytes(), groups.cpu_millis())
    }

    #[test]
    fn the_lowest_limit_of_nested_groups_of_version_2_counts() {
        let files = [
            ("memory.max", "max"),
            ("a/memory.max", "1000"),
            ("a/memory.current", "900"),
            ("a/memory.stat", "anon 1\ninactive_file 150"),
            ("a/b/memory.max", "4096"),
            ("a/b/memory.current", "10"),
            ("a/cpu.max", "150000 100000"),
            ("a/b/cpu.max", "max 100000"),
            ("a/b/cpuset.cpus.effective", "0-3,7"),
        ];
        assert_eq!(limits("0::/a/b", V2, &files), (Some(1000), Some(250), Some(1500)));
        assert_eq!(limits("0::/", V2, &files), (None, None, None));
        assert_eq!(limits("0::/c", V2, &files), (None, None, None));
        let set = [("a/cpuset.cpus.effective", "2,4"), ("a/b/cpuset.cpus.effective", ""), ("a/cpu.max", "250000")];
        assert_eq!(limits("0::/a/b", V2, &set).2, Some(2000));
    }

    #[test]
    fn the_lowest_limit_of_nested_groups_of_version_1_counts() {
        const UNLIMITED: &str = "9223372036854771712";
        let cgroup = "12:cpuset:/s\n11:memory:/a/b\n4:cpu,cpuacct:/q\n1:name=systemd:/elsewhere";
        let files = [
            ("memory/memory.limit_in_bytes", UNLIMITED),
            ("memory/a/memory.limit_in_bytes", "2000"),
            ("memory/a/memory.usage_in_bytes", "1500"),
            ("memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 300"),
            ("memory/a/b/memory.limit_in_bytes", "3000"),
            ("memory/a/b/memory.usage_in_bytes", "0"),
            ("memory/elsewhere/memory.limit_in_bytes", "1"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "-1"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000"),
            ("cpu,cpuacct/q/cpu.cfs_quota_us", "50000"),
            ("cpu,cpuacct/q/cpu.cfs_period_us", "100000"),
            ("cpuset/s/cpuset.cpus", "0"),
        ];
        assert_eq!(limits(cgroup, V1, &files), (Some(2000), Some(800), Some(500)));
        // The number that means none stays larger than any machine.
        let (memory, ..) = limits("3:memory:/", V1, &files);
        assert_eq!(memory, Some(9_223_372_036_854_771_712));
        // Numbers that are none, or too large to be.
        let odd = [
            ("memory/memory.limit_in_bytes", "99999999999999999999999"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "18446744073709551615"),
            ("cpu,cpuacct/cpu.cfs_period_us", "0"),
            ("cpuset/cpuset.cpus", "3-1"),
        ];
        assert_eq!(limits("1:memory:/\n2:cpu:/\n3:cpuset:/", V1, &odd), (None, None, None));
    }

    #[test]
    fn where_both_versions_are_mounted_both_count() {
        let mountinfo = format!("{V1}\n40 23 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
        let cgroup = "11:memory:/a\n4:cpu,cpuacct:/a\n0::/a";
        let files = [
            ("memory/a/memory.limit_in_bytes", "2000"),
            ("unified/a/cgroup.procs", "1"),
            ("cpu,cpuacct/a/cpu.cfs_quota_us", "400000"),
            ("cpu,cpuacct/a/cpu.cfs_period_us", "100000"),
            ("unified/a/cpu.max", "300000 100000"),
        ];
        assert_eq!(limits(cgroup, &mountinfo, &files), (Some(2000), None, Some(3000)));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount() {
        // Docker with version 1: the path is from the root of all, the mount begins at the container.
        let mountinfo = "31 23 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let files = [("memory/memory.limit_in_bytes", "512"), ("memory/inner/memory.limit_in_bytes", "256")];
        assert_eq!(limits("5:memory:/docker/abc", mountinfo, &files).0, Some(512));
        assert_eq!(limits("5:memory:/docker/abc/inner", mountinfo, &files).0, Some(256));
        // A group that the container does not see.
        assert_eq!(limits("5:memory:/other", mountinfo, &files).0, Some(512));
        assert_eq!(limits("0::/../../other", V2, &[("memory.max", "7")]).0, Some(7));
        let spaced = "31 23 0:28 / /sys/fs/cgroup/my\\040groups rw - cgroup2 cgroup2 rw";
        assert_eq!(limits("0::/", spaced, &[("my groups/memory.max", "9")]).0, Some(9));
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        for (cgroup, mountinfo) in [("", ""), ("0::/a", ""), ("", V2), ("nonsense", "nonsense - cgroup"), ("1:memory:/a", V2)] {
            assert_eq!(limits(cgroup, mountinfo, &[("memory.max", "1"), ("a/memory.max", "1")]), (None, None, None), "{cgroup}");
        }
    }
}
