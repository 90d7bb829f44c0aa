//! Signals: the first SIGTERM, SIGINT or SIGHUP asks a daemon to finish what it is at, a SIGTERM or SIGINT after it
//! ends it at once.
//!
//! SIGHUP comes when the terminal that a daemon was started on is closed, mostly twice: from the shell, and from the
//! kernel when the shell is gone. So it is never the signal that ends a daemon at once. There is no reload that it
//! could ask for. A daemon that was started with it ignored, as `nohup` does, goes on ignoring it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM, SIGINT and SIGHUP from now on, in the current runtime, and completes with the first. Those that
/// come before it is polled are kept; a SIGTERM or SIGINT after it has completed ends the process with exit code 1,
/// whatever it is doing.
pub fn shutdown() -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals::listen()?;
    Ok(async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "shutting down; a second signal ends this process at once");
        // Nobody waits for this task: it is over when the process is.
        tokio::spawn(async move {
            let name = signals.next_but_hang_up().await;
            tracing::warn!(signal = name, "ending at once, since this is the second signal");
            std::process::exit(1);
        });
    })
}

const HANG_UP: &str = "SIGHUP";

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // Listening for it would take away that it is ignored.
            hang_up: if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn next_but_hang_up(&mut self) -> &'static str {
        loop {
            let name = self.next().await;
            if name != HANG_UP {
                return name;
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hang_up => HANG_UP,
        }
    }
}

/// Whether this process was started to survive its terminal. std has no way to ask, other than to change it.
fn hang_up_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, SignalKind::hangup()))
}

/// Reads it from `/proc/PID/status`, where ignored signals are a hexadecimal mask.
fn ignores(status: &str, signal: SignalKind) -> bool {
    let mask =
        status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::SignalKind;

    /// How long a signal may take before the test fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    // The only test that sends signals: they reach every listener of the process.
    #[tokio::test]
    async fn a_signal_that_comes_early_is_kept() {
        let mut signals = super::Signals::listen().unwrap();
        let mut expected = vec![(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")];
        if !super::hang_up_is_ignored() {
            expected.push((Signal::HUP, "SIGHUP"));
        }
        for (signal, name) in expected {
            kill_process(getpid(), signal).unwrap();
            assert_eq!(tokio::time::timeout(PATIENCE, signals.next()).await.unwrap(), name);
        }
        if !super::hang_up_is_ignored() {
            kill_process(getpid(), Signal::HUP).unwrap();
            let second = tokio::time::timeout(Duration::from_millis(200), signals.next_but_hang_up()).await;
            assert!(second.is_err(), "a terminal that closes sends several");
        }
        let shutdown = super::shutdown().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, shutdown).await.unwrap();
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert!(super::ignores(&status("0000000000001001"), SignalKind::hangup()));
        assert!(!super::ignores(&status("0000000000001000"), SignalKind::hangup()));
        assert!(super::ignores(&status("0000000000001000"), SignalKind::pipe()));
        assert!(!super::ignores("", SignalKind::hangup()));
    }
}
