//! Ctrl-C: the first cancels the jobs that run, the next ends the program at once, as it would have without jobs.
//!
//! A program that catches SIGINT itself keeps doing so: its jobs are canceled all the same, but the program is never ended from
//! here. One that ignores it, as what runs in a shell's background does, goes on ignoring it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::connection;

/// Jobs that run and have not been canceled.
static JOBS: AtomicUsize = AtomicUsize::new(0);

/// Counts the interrupts that were for jobs.
fn interrupts() -> &'static watch::Sender<u64> {
    static INTERRUPTS: OnceLock<watch::Sender<u64>> = OnceLock::new();
    INTERRUPTS.get_or_init(|| watch::Sender::new(0))
}

/// Watches for a Ctrl-C on behalf of one job, until it is dropped.
pub(crate) fn watch() -> Interrupt {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(listen);
    Interrupt { interrupts: interrupts().subscribe(), job: CountedJob::new() }
}

/// A job's ear for Ctrl-C.
pub(crate) struct Interrupt {
    interrupts: watch::Receiver<u64>,
    job: CountedJob,
}

impl Interrupt {
    /// Completes with the first Ctrl-C. From then on this job does not count any more: another Ctrl-C is not for it.
    pub(crate) async fn pressed(self) {
        let Self { mut interrupts, job } = self;
        // The sender is static.
        let _ = interrupts.changed().await;
        drop(job);
    }
}

struct CountedJob;

impl CountedJob {
    fn new() -> Self {
        JOBS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for CountedJob {
    fn drop(&mut self) {
        JOBS.fetch_sub(1, Ordering::SeqCst);
    }
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
        if JOBS.load(Ordering::SeqCst) > 0 {
            interrupts().send_modify(|count| *count += 1);
        } else if others == Disposition::Default {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_does_with_sigint_is_read_from_its_status() {
        let status = |ignored, caught| format!("Name:\tx\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n");
        assert_eq!(disposition_in(&status(0, 0b1)), Disposition::Default, "SIGHUP is another");
        assert_eq!(disposition_in(&status(0, 0b10)), Disposition::Caught);
        assert_eq!(disposition_in(&status(0b10, 0)), Disposition::Ignored);
        assert_eq!(disposition_in(""), Disposition::Default);
    }
}
