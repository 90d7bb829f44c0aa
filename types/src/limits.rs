//! What one call may use, and what it occupies on a node.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::NetworkGrant;

/// The least CPU a call can ask for, in thousandths of a CPU.
pub const CPU_MILLIS_MIN: u32 = 10;

/// The most CPU a call can ask for, in thousandths of a CPU: the original's limit of 32.
pub const CPU_MILLIS_MAX: u32 = 32_000;

/// The most memory a call can ask for: the original's limit of 128 GiB.
pub const MEMORY_BYTES_MAX: u64 = 128 << 30;

/// The memory cap of a call that asks for none: 4 GiB, the address space of one wasm32 memory.
pub const MEMORY_BYTES_DEFAULT: u64 = 4 << 30;

/// The most one input or one output may be, encoded. It travels as one gRPC message, which is held whole on each of the three
/// machines it passes, so this also bounds what one call can make each of them hold. A function has 4 GiB of memory for the
/// encoded and the decoded value.
pub const LIMIT_PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// What a call may write to its directory where its user gave no `disk`, and its node does not give less.
pub const DISK_BYTES_DEFAULT: u64 = 4 << 30;

/// The most disk a call can ask for: what a few calls may take of a machine's.
pub const DISK_BYTES_MAX: u64 = 1 << 40;

/// Bytes of environment a job may bring. It is sent to every node and copied into every call; Linux gives a process two
/// megabytes.
pub const ENV_BYTES_MAX: usize = 1 << 20;

/// The bytes of an environment: names and values together, and what each takes beside its letters.
pub fn env_bytes(env: &BTreeMap<String, String>) -> usize {
    const VARIABLE_BYTES: usize = 2 * size_of::<String>() + 16;
    env.iter().map(|(key, value)| key.len() + value.len() + VARIABLE_BYTES).sum()
}

/// Bytes of a job's or a function's name.
pub const NAME_BYTES_MAX: usize = 4096;

/// What the sandbox of one call enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU that the call may use at any time. One instance is one thread, so that 1000 and more is no limit.
    pub cpu_millis_max: u64,
    /// The sum of all linear memories and tables of the call, and of what the host holds for it.
    pub memory_bytes_max: u64,
    /// The instructions the call may run, in wasmtime's units of fuel; `None` is no limit.
    pub fuel_max: Option<u64>,
    /// Wall clock from the call's start, sleeping and host calls included; `None` is no limit.
    pub wall_time_max: Option<Duration>,
    /// Bytes that the files of the call's directory may take; `None` is what a node gives those that do not ask.
    pub disk_bytes_max: Option<u64>,
    /// What it may reach over the network; nothing, where this is empty.
    pub network: Vec<NetworkGrant>,
}

/// CPUs and memory: what a slot occupies, what a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Resources {
    /// How many slots of `one` fit into these at the same time.
    pub fn slots_of(&self, one: Resources) -> u64 {
        let by = |have: u64, need: u64| have.checked_div(need).unwrap_or(u64::MAX);
        by(self.cpu_millis, one.cpu_millis).min(by(self.memory_bytes, one.memory_bytes))
    }

    /// These and `slots` slots of `one` together.
    pub fn plus(self, one: Resources, slots: u64) -> Self {
        Self { cpu_millis: self.cpu_millis + one.cpu_millis * slots, memory_bytes: self.memory_bytes + one.memory_bytes * slots }
    }

    /// These without `slots` slots of `one`; never below nothing.
    pub fn minus(self, one: Resources, slots: u64) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(one.cpu_millis * slots),
            memory_bytes: self.memory_bytes.saturating_sub(one.memory_bytes * slots),
        }
    }
}

/// An option whose value cannot be meant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{option}({value}) is out of range: {remedy}")]
pub struct InvalidLimit {
    /// The option's name.
    pub option: &'static str,
    /// What was given.
    pub value: f64,
    /// What can be given.
    pub remedy: &'static str,
}

/// `func_cpu` in thousandths of a CPU. Refuses what is not within 0.01..=32, and NaN.
pub fn cpu_millis_from_cpus(cpus: f64) -> Result<u32, InvalidLimit> {
    let millis = cpus * 1000.0;
    // Written so that NaN, which compares as neither, is refused.
    if millis >= f64::from(CPU_MILLIS_MIN) && millis <= f64::from(CPU_MILLIS_MAX) {
        Ok(millis.round() as u32)
    } else {
        let remedy = "give the CPUs per call, from 0.01 to 32";
        Err(InvalidLimit { option: "func_cpu", value: cpus, remedy })
    }
}

/// `func_ram` in bytes. Refuses what is not above 0 and up to 128 GiB, and NaN.
pub fn memory_bytes_from_gib(gib: f64) -> Result<u64, InvalidLimit> {
    let bytes = gib * (1u64 << 30) as f64;
    if bytes >= 1.0 && bytes <= MEMORY_BYTES_MAX as f64 {
        Ok(bytes as u64)
    } else {
        let remedy = "give the GiB of memory per call, above 0 and up to 128";
        Err(InvalidLimit { option: "func_ram", value: gib, remedy })
    }
}

/// `disk` in bytes. Refuses what is not above 0 and up to 1024 GiB, and NaN.
pub fn disk_bytes_from_gib(gib: f64) -> Result<u64, InvalidLimit> {
    let bytes = gib * (1u64 << 30) as f64;
    if bytes >= 1.0 && bytes <= DISK_BYTES_MAX as f64 {
        Ok(bytes as u64)
    } else {
        let remedy = "give the GiB that a call may write to its directory, above 0 and up to 1024";
        Err(InvalidLimit { option: "disk", value: gib, remedy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn func_cpu_is_refused_outside_its_range() {
        for cpus in [0.0, -1.0, 0.009, 32.1, f64::NAN, f64::INFINITY] {
            assert!(cpu_millis_from_cpus(cpus).is_err(), "{cpus}");
        }
        for (cpus, millis) in [(0.01, 10), (0.25, 250), (1.0, 1000), (32.0, 32_000)] {
            assert_eq!(cpu_millis_from_cpus(cpus), Ok(millis));
        }
    }

    #[test]
    fn func_ram_is_refused_outside_its_range() {
        for gib in [0.0, -1.0, 128.1, f64::NAN, f64::INFINITY] {
            assert!(memory_bytes_from_gib(gib).is_err(), "{gib}");
        }
        for (gib, bytes) in [(0.5, 1 << 29), (4.0, 4 << 30), (128.0, 128 << 30)] {
            assert_eq!(memory_bytes_from_gib(gib), Ok(bytes));
        }
    }

    #[test]
    fn disk_is_refused_outside_its_range() {
        for gib in [0.0, -1.0, 1024.1, f64::NAN, f64::INFINITY] {
            assert!(disk_bytes_from_gib(gib).is_err(), "{gib}");
        }
        for (gib, bytes) in [(0.5, 1 << 29), (1024.0, DISK_BYTES_MAX)] {
            assert_eq!(disk_bytes_from_gib(gib), Ok(bytes));
        }
    }

    #[test]
    fn slots_are_bound_by_the_scarcer_resource() {
        let node = Resources { cpu_millis: 4000, memory_bytes: 10 };
        assert_eq!(node.slots_of(Resources { cpu_millis: 1000, memory_bytes: 1 }), 4);
        assert_eq!(node.slots_of(Resources { cpu_millis: 1000, memory_bytes: 4 }), 2);
        assert_eq!(node.slots_of(Resources { cpu_millis: 8000, memory_bytes: 1 }), 0);
    }
}
