//! How a call ended.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// How a call ended. A guest's fault is always one of these, never an error of the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned; this is its output, encoded.
    Done(Bytes),
    /// The function returned its own error.
    Failed {
        /// The error's text.
        message: String,
        /// The texts of the errors that caused it, nearest first.
        causes: Vec<String>,
    },
    /// The function panicked.
    Panicked {
        /// What it panicked with.
        message: String,
        /// Where.
        location: Option<Location>,
        /// What called what, innermost first.
        backtrace: Backtrace,
    },
    /// The guest did what WebAssembly does not allow, or ended itself.
    Trapped {
        /// Which trap.
        message: String,
        /// What called what, innermost first.
        backtrace: Backtrace,
    },
    /// The call reached a limit.
    Exceeded(Exceeded),
    /// The component would not start the function: it has none of that name, or the input is not of its type.
    Refused {
        /// What was wrong, and what there is instead.
        message: String,
    },
    /// The grid could not carry the call through: its nodes were lost, or could not use the component.
    Lost {
        /// What happened to it.
        reason: String,
    },
}

/// A limit, and the value that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit.
    pub limit: Limit,
    /// What the limit was, in its own unit: bytes, units of fuel, or milliseconds.
    pub allowed: u64,
    /// What the call had wanted, where that is known, in the same unit.
    pub wanted: Option<u64>,
    /// The most it had at any time, where that is known, in the same unit.
    pub peak: Option<u64>,
}

/// What a call took, however it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instructions, in wasmtime's units of fuel. The same component takes the same for the same input, if it does not look at
    /// clocks, random numbers or its environment.
    pub fuel: u64,
    /// From before its instance was made until after it was gone.
    pub wall_time: Duration,
    /// The most that its memories, its tables and what the host held for it took at any time, in bytes.
    pub memory_bytes_peak: u64,
    /// Bytes that it wrote to files.
    pub disk_bytes_written: u64,
}

impl Usage {
    /// Adds what another call took. Of the peaks, the larger remains.
    pub fn add(&mut self, other: &Self) {
        self.fuel = self.fuel.saturating_add(other.fuel);
        self.wall_time = self.wall_time.saturating_add(other.wall_time);
        self.memory_bytes_peak = self.memory_bytes_peak.max(other.memory_bytes_peak);
        self.disk_bytes_written = self.disk_bytes_written.saturating_add(other.disk_bytes_written);
    }
}

/// A limit of the sandbox, by the name of the option that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `func_ram`, in bytes.
    Memory,
    /// `fuel`, in units of fuel.
    Fuel,
    /// `timeout`, in milliseconds.
    WallTime,
    /// The encoded size of one output, in bytes.
    OutputSize,
    /// Files open at one time.
    OpenFiles,
    /// Files, streams, sockets and everything else that the host keeps for the call, at one time.
    Handles,
    /// What one host call may be given, in bytes.
    HostCall,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let allowed = self.allowed;
        match self.limit {
            Limit::Memory => {
                write!(f, "exceeded func_ram of {}", mib(allowed))?;
                match (self.wanted, self.peak) {
                    (Some(wanted), Some(peak)) => write!(f, ": the call had {} and wanted {}", mib(peak), mib(wanted)),
                    (Some(wanted), None) => write!(f, ": the call wanted {}", mib(wanted)),
                    (None, _) => Ok(()),
                }
            }
            Limit::Fuel => write!(f, "exceeded fuel of {allowed} units"),
            Limit::WallTime => write!(f, "exceeded timeout of {} s", allowed as f64 / 1000.0),
            Limit::OutputSize => {
                write!(f, "exceeded the output size limit of {}", mib(allowed))?;
                self.wanted.map_or(Ok(()), |wanted| write!(f, ": the output is {}", mib(wanted)))
            }
            Limit::OpenFiles => write!(f, "exceeded the limit of {allowed} open files"),
            Limit::Handles => {
                write!(f, "exceeded the limit of {allowed} handles: files, streams, sockets and pollables together")
            }
            Limit::HostCall => write!(f, "exceeded the limit of {} for one host call: pass data in smaller pieces", mib(allowed)),
        }
    }
}

/// A place in the function's source, as the compiler names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub String);

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The functions that were active when a call ended badly, innermost first, demangled, and without the machinery below the panic
/// and above the function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtrace(pub Vec<String>);

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, frame) in self.0.iter().enumerate() {
            writeln!(f, "{number:4}: {frame}")?;
        }
        Ok(())
    }
}

/// Which of a call's two streams a line was printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// `println!`.
    Stdout,
    /// `eprintln!`.
    Stderr,
}
