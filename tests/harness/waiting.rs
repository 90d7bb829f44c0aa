//! Waits of tests. Each has a limit and says what it waited for when that is reached: a test that hangs tells nobody anything.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails. A hundred times what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command may take that compiles a project: ten times what it takes on two busy cores.
pub const BUILD_PATIENCE: Duration = Duration::from_secs(900);

/// How long a daemon of a test may run. The longest tests are the hostile ones, which take minutes on two cores. Whatever waits for
/// a daemon that is killed fails soon after.
pub const DAEMON_TIME_MAX: Duration = Duration::from_secs(1200);

/// The pause between two looks: asking without one takes CPUs from what is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait for the rest of a dead process's output, to show it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits until a condition holds, by asking again and again.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, is_so), "after {PATIENCE:?} still not so: {what}");
}

fn holds_within(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs a command to its end, without stdin.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    output_within(command, PATIENCE)
}

/// Runs a command that compiles a project to its end, without stdin.
#[track_caller]
pub fn output_of_build(command: &mut Command) -> Output {
    output_within(command, BUILD_PATIENCE)
}

#[track_caller]
fn output_within(command: &mut Command, time: Duration) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    ended_within(child, &format!("{command:?} ends"), time)
}

/// Closes a child's stdin, waits until it has ended, and returns what it wrote to its pipes.
#[track_caller]
pub fn ended(child: Child, what: &str) -> Output {
    ended_within(child, what, PATIENCE)
}

/// The same with another limit.
#[track_caller]
pub fn ended_within(mut child: Child, what: &str, time: Duration) -> Output {
    drop(child.stdin.take());
    let (stdout, stderr) = (child.stdout.take().map(rest_of), child.stderr.take().map(rest_of));
    let deadline = Instant::now() + time;
    let Some(status) = ended_or_killed(&mut child, time) else {
        let [stdout, stderr] = [stdout, stderr].map(|rest| rest.and_then(|rest| rest.recv_timeout(LAST_WORDS).ok()));
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned());
        panic!("after {time:?} still not so: {what}\nstdout:\n{stdout}\nstderr:\n{stderr}");
    };
    // What the child has started may have its pipes, and be alive.
    let collected = |rest: Option<Receiver<Vec<u8>>>| {
        rest.map_or_else(Vec::new, |rest| {
            let left = deadline.saturating_duration_since(Instant::now()).max(LAST_WORDS);
            rest.recv_timeout(left).unwrap_or_else(|_| panic!("after {time:?} its output is still open: {what}"))
        })
    };
    Output { status, stdout: collected(stdout), stderr: collected(stderr) }
}

fn rest_of(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, rest) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    rest
}

/// Waits until a child has ended, and does not read what it writes. Kills it when it takes too long.
#[track_caller]
pub fn status(child: &mut Child, what: &str) -> ExitStatus {
    ended_or_killed(child, PATIENCE).unwrap_or_else(|| panic!("after {PATIENCE:?} still not so: {what}"))
}

/// Waits until a child has ended. Kills it when it takes too long, and then returns nothing.
pub(crate) fn ended_or_killed(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let mut status = None;
    let has_ended = || {
        status = child.try_wait().expect("a child can be asked whether it has ended");
        status.is_some()
    };
    if !holds_within(time, has_ended) {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// Waits for a thread's result. Panics if the thread did.
#[track_caller]
pub fn joined<T>(thread: JoinHandle<T>, what: &str) -> T {
    assert!(holds_within(PATIENCE, || thread.is_finished()), "after {PATIENCE:?} still not so: {what}");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Waits for a message. Returns `None` if nobody is left who could send one.
#[track_caller]
pub fn received<T>(messages: &Receiver<T>, what: &str) -> Option<T> {
    match messages.recv_timeout(PATIENCE) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("after {PATIENCE:?} still not so: {what}"),
    }
}

/// The lines of a stream, for [`received`].
pub fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Sees to it that children can be sent SIGINT, also if the tests were started with that ignored, as `nohup` and `&` in a script do.
///
/// A child inherits an ignored signal, and the client rightly goes on ignoring it. A signal with a handler is reset in a child, so
/// this process gets a handler. It only notes the signal, so this process itself goes on ignoring it.
pub(crate) fn let_children_be_interrupted() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let number = signal_hook::consts::SIGINT;
    if ignored & 1 << (number - 1) != 0 {
        signal_hook::flag::register(number, Arc::new(AtomicBool::new(false))).expect("SIGINT can have a handler");
    }
}
