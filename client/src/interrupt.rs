//! Ctrl-C: the first cancels the jobs that run, the next ends the program at once, as it would have without jobs.
//!
//! A program that has set its own handler for SIGINT before its first job keeps it: its jobs are canceled all the same, but the
//! program is never ended from here. One that ignores SIGINT, as what runs in a shell's background does, goes on ignoring it. A
//! handler that is set only after the first job cannot be told from ours, so such a program is ended when no job runs.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::connection;

/// Jobs that run and have not been canceled. Those of an earlier generation have been, whether they have noticed or not: one that
/// is stuck in a write must not swallow the next Ctrl-C.
#[derive(Default)]
struct Jobs {
    generation: u64,
    count: usize,
}

fn jobs() -> MutexGuard<'static, Jobs> {
    static JOBS: Mutex<Jobs> = Mutex::new(Jobs { generation: 0, count: 0 });
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the interrupts that were for jobs.
fn interrupts() -> &'static watch::Sender<u64> {
    static INTERRUPTS: OnceLock<watch::Sender<u64>> = OnceLock::new();
    INTERRUPTS.get_or_init(|| watch::Sender::new(0))
}

/// Watches for a Ctrl-C on behalf of one job, until it is dropped.
pub(crate) fn watch() -> Interrupt {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(listen);
    let mut jobs = jobs();
    jobs.count += 1;
    Interrupt { interrupts: interrupts().subscribe(), generation: jobs.generation }
}

/// A job's ear for Ctrl-C.
pub(crate) struct Interrupt {
    interrupts: watch::Receiver<u64>,
    generation: u64,
}

impl Interrupt {
    /// Completes with the first Ctrl-C.
    pub(crate) async fn pressed(mut self) {
        // The sender is static.
        let _ = self.interrupts.changed().await;
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let mut jobs = jobs();
        if jobs.generation == self.generation {
            jobs.count -= 1;
        }
    }
}

/// A Ctrl-C is for the jobs that run, if there are any. Returns whether it was.
fn cancel_jobs() -> bool {
    let mut jobs = jobs();
    if jobs.count == 0 {
        return false;
    }
    *jobs = Jobs { generation: jobs.generation + 1, count: 0 };
    interrupts().send_modify(|count| *count += 1);
    true
}

/// Starts to listen, for the rest of the program's life: a handler that was set once cannot be taken back.
fn listen() {
    let others = disposition();
    if others == Disposition::Ignored {
        return;
    }
    let _runtime = connection::runtime().enter();
    match signal(SignalKind::interrupt()) {
        Ok(signals) => {
            connection::runtime().spawn(pass_on(signals, others));
        }
        Err(error) => tracing::warn!(%error, "cannot catch Ctrl-C; it ends the program at once"),
    }
}

async fn pass_on(mut signals: Signal, others: Disposition) {
    while signals.recv().await.is_some() {
        if !cancel_jobs() && others == Disposition::Default {
            let _ = signal_hook::low_level::emulate_default_handler(SignalKind::interrupt().as_raw_value());
        }
    }
}

/// What the program does with SIGINT by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disposition {
    Default,
    Caught,
    Ignored,
}

/// Read from `/proc`, since asking the system directly is not safe Rust. Where there is no `/proc`, it is taken for the default.
fn disposition() -> Disposition {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    disposition_in(&status)
}

fn disposition_in(status: &str) -> Disposition {
    let has = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask & (1 << (SignalKind::interrupt().as_raw_value() - 1)) != 0
    };
    match (has("SigIgn:"), has("SigCgt:")) {
        (true, _) => Disposition::Ignored,
        (false, true) => Disposition::Caught,
        (false, false) => Disposition::Default,
    }
}

/// Held by tests that run jobs, and by the one whose Ctrl-C would cancel them all.
#[cfg(test)]
pub(crate) static TESTS: std::sync::RwLock<()> = std::sync::RwLock::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_does_not_notice_does_not_swallow_the_next() {
        let _no_jobs_of_other_tests = TESTS.write().unwrap_or_else(PoisonError::into_inner);
        let (stuck, _runtime) = (watch(), connection::runtime().enter());
        assert!(cancel_jobs());
        assert!(!cancel_jobs(), "the second is not for it any more");
        let other = watch();
        drop(stuck);
        assert!(cancel_jobs(), "it is counted for itself");
        drop(other);
        drop(watch());
        assert!(!cancel_jobs());
    }

    #[test]
    fn what_a_program_does_with_sigint_is_read_from_its_status() {
        let status = |ignored, caught| format!("Name:\tx\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n");
        assert_eq!(disposition_in(&status(0, 0b1)), Disposition::Default, "SIGHUP is another");
        assert_eq!(disposition_in(&status(0, 0b10)), Disposition::Caught);
        assert_eq!(disposition_in(&status(0b10, 0)), Disposition::Ignored);
        assert_eq!(disposition_in(""), Disposition::Default);
    }
}
