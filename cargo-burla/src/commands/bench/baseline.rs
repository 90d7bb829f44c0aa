//! What this machine does without a grid: processes, a connection to itself, and the same functions as native code.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::failed;
use crate::error::CommandError;

/// How long a connection of this machine to itself may stand still. It is a second of a machine that is much too busy.
const LOOPBACK_PATIENCE: Duration = Duration::from_secs(10);

/// Processes a second, one after another, started for `time`.
pub(super) fn processes_per_second(time: Duration) -> Result<f64, CommandError> {
    let (started, mut processes) = (Instant::now(), 0);
    while started.elapsed() < time {
        let ran = Command::new("true").status();
        ran.map_err(|source| CommandError::Start { program: "true".to_owned(), source })?;
        processes += 1;
    }
    Ok(f64::from(processes) / started.elapsed().as_secs_f64())
}

/// Bytes a second, both ways added, of `messages` that go to an echo on this machine and come back, over one connection.
pub(super) fn loopback_bytes_per_second(message: &[u8], messages: u32) -> Result<f64, CommandError> {
    echo(message, messages).map_err(|error| failed("payload", format!("no connection of this machine to itself: {error}")))
}

fn echo(message: &[u8], messages: u32) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    for end in [&near, &far] {
        end.set_read_timeout(Some(LOOPBACK_PATIENCE))?;
        end.set_write_timeout(Some(LOOPBACK_PATIENCE))?;
    }
    let mut buffer = vec![0; message.len()];
    let started = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut buffer = vec![0; message.len()];
            (0..messages).try_for_each(|_| {
                far.read_exact(&mut buffer)?;
                far.write_all(&buffer)
            })
        });
        // Each is there whole before it comes back, so that no two writes wait for each other.
        (0..messages).try_for_each(|_| {
            near.write_all(message)?;
            near.read_exact(&mut buffer)
        })
    })?;
    Ok(2.0 * message.len() as f64 * f64::from(messages) / started.elapsed().as_secs_f64())
}

/// The rounds of a function, by its name, that the program of the project runs on this machine: of each the result and the seconds.
pub(super) fn native(program: &Path, name: &'static str, rounds: u64) -> Result<Vec<(u64, f64)>, CommandError> {
    let cannot = |source| CommandError::Start { program: program.display().to_string(), source };
    let no_folder = |source| CommandError::File { act: "make a folder in", path: std::env::temp_dir(), source };
    let folder = tempfile::tempdir().map_err(no_folder)?;
    let output = Command::new(program).args([name, &rounds.to_string()]).current_dir(&folder).output().map_err(cannot)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rounds_run: Vec<_> = text.lines().filter_map(round).collect();
    if !output.status.success() || rounds_run.len() as u64 != rounds {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(name, format!("as native code it ended with {}: {}", output.status, said.trim())));
    }
    Ok(rounds_run)
}

fn round(line: &str) -> Option<(u64, f64)> {
    let (result, seconds) = line.split_once(' ')?;
    Some((result.parse().ok()?, seconds.parse().ok()?))
}
