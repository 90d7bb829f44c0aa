//! Signals: the first SIGTERM or SIGINT asks a daemon to finish what it is at, the second ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM and SIGINT from now on, in the current runtime, and completes with the first. Those that come before it
/// is polled are kept; those after it has completed end the process with exit code 1, whatever it is doing.
pub fn shutdown() -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    Ok(async move {
        let name = signals.next().await;
        tracing::info!(signal = name, "shutting down; a second signal ends this process at once");
        // Nobody waits for this task: it is over when the process is.
        tokio::spawn(async move {
            let name = signals.next().await;
            tracing::warn!(signal = name, "ending at once, since this is the second signal");
            std::process::exit(1);
        });
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    // The only test that sends signals: they reach every listener of the process.
    #[tokio::test]
    async fn a_signal_that_comes_early_is_kept() {
        let shutdown = super::shutdown().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(60), shutdown).await.unwrap();
    }
}
