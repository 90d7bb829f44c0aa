//! What whole-grid tests need: the binaries as users have them, the test guests as a component, and grids of real processes on
//! loopback ports.
//!
//! Nothing here sleeps in the hope that something is so by then: processes say when they are ready, or are asked again and again
//! ([`until`]), and every wait has a deadline that fails loudly.

pub mod rounds;
pub mod survivor;
mod waiting;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

pub use waiting::{
    BUILD_PATIENCE, DAEMON_TIME_MAX, PATIENCE, ended, ended_within, joined, lines_of, output, output_of_build, received, status,
    until,
};

/// The root of this repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A binary of this workspace, built as `cargo burla` builds it. Cargo does not build the binaries of other packages for a test,
/// so this asks it to, once.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        waiting::let_children_be_interrupted();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "-p", "cargo-burla", "-p", "burla-host", "-p", "burla-scheduler", "--bins"]);
        let built = output_of_build(command.current_dir(root()));
        assert!(built.status.success(), "the binaries do not build:\n{}", String::from_utf8_lossy(&built.stderr));
        let this = std::env::current_exe().expect("this test has a path");
        let folder = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
        folder.expect("it is in a folder").to_owned()
    });
    folder.join(name)
}

/// Whether this process is a test. A test is in `target/debug/deps`, a benchmark in `target/debug`.
fn is_test() -> bool {
    std::env::current_exe().is_ok_and(|this| this.parent().is_some_and(|folder| folder.ends_with("deps")))
}

/// Packages the test guests into `target/burla/`, where the client looks for the component of a test, once.
pub fn guests() -> PathBuf {
    static COMPONENT: OnceLock<PathBuf> = OnceLock::new();
    COMPONENT.get_or_init(|| component("burla-test-guests")).clone()
}

/// Packages the library of a package of this workspace into `target/burla/`, as its users do.
pub fn component(name: &str) -> PathBuf {
    let mut command = Command::new(binary("cargo-burla"));
    let built = output_of_build(command.args(["build", "--quiet", "--package", name, "--lib"]).current_dir(root()));
    assert!(built.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    root().join(format!("target/burla/{name}.wasm"))
}

/// A daemon, and what it has logged. Killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    lines: mpsc::Receiver<String>,
    /// Closed when this is dropped, which ends the thread that limits the daemon's time.
    _is_wanted: mpsc::Sender<()>,
}

impl Daemon {
    /// Starts a daemon and follows its stdout and stderr.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let (log, sender) = (Arc::clone(&log), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().expect("no panic while logging").push_str(&format!("{line}\n"));
                    let _ = sender.send(line);
                }
            });
        }
        Self { _is_wanted: limit_time(Pid::from_child(&child), &log), child, log, lines }
    }

    /// Waits for a line with `text` in it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_within(text, PATIENCE)
    }

    /// Waits for a line with `text` in it, for so long at most.
    pub fn wait_within(&self, text: &str, time: Duration) -> String {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => panic!("no `{text}` in the log:\n{}", self.log()),
            }
        }
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while logging").clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.crash();
    }

    /// Ends it as a crash would, and keeps what it has logged.
    pub fn crash(&mut self) {
        self.child.kill().expect("the daemon can be killed");
        status(&mut self.child, "a daemon that was killed has ended");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon can be signaled");
    }

    /// Waits until it has ended. Returns whether it ended well.
    pub fn wait(mut self) -> bool {
        self.has_ended_well()
    }

    /// The same, and keeps what it has logged.
    pub fn has_ended_well(&mut self) -> bool {
        let status = waiting::ended_or_killed(&mut self.child, PATIENCE);
        status.unwrap_or_else(|| panic!("after {PATIENCE:?} the daemon has not ended:\n{}", self.log())).success()
    }

    /// Asks it to end, and waits until it has. Returns whether it ended well.
    pub fn terminate(self) -> bool {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // It cannot catch or ignore that, so this takes as long as the kernel does.
        let _ = self.child.wait();
    }
}

/// Kills a daemon that is still wanted after [`DAEMON_TIME_MAX`], so that a job that never ends fails its test. Benchmarks take as
/// long as they are told to.
fn limit_time(pid: Pid, log: &Arc<Mutex<String>>) -> mpsc::Sender<()> {
    let (is_wanted, ended) = mpsc::channel();
    if is_test() {
        let log = Arc::clone(log);
        std::thread::spawn(move || {
            if ended.recv_timeout(DAEMON_TIME_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
                log.lock().expect("no panic while logging").push_str("killed by its test after DAEMON_TIME_MAX\n");
            }
        });
    }
    is_wanted
}

/// A scheduler and nodes, each a process of its own, with folders of their own.
pub struct LocalGrid {
    /// The nodes, in the order they were started.
    pub nodes: Vec<Daemon>,
    /// The scheduler.
    pub scheduler: Daemon,
    /// What jobs are given.
    pub grid: burla::Grid,
    /// Where everything is kept, removed at the end.
    pub folder: tempfile::TempDir,
}

impl LocalGrid {
    /// Starts a scheduler and this many nodes of 2 CPUs.
    pub fn start(nodes: usize) -> Self {
        guests();
        let mut grid = Self::without_nodes();
        for _ in 0..nodes {
            grid.add_node(&["--cpus", "2"]);
        }
        grid
    }

    /// Starts a scheduler alone.
    pub fn without_nodes() -> Self {
        Self::without_nodes_with(&[])
    }

    /// Starts a scheduler alone, with more arguments.
    pub fn without_nodes_with(arguments: &[&str]) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder for the grid"), arguments)
    }

    /// The same in a folder that was prepared. The scheduler keeps its data in `scheduler/` there.
    pub fn in_folder(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let scheduler = Daemon::start(&mut scheduler_command(folder.path(), "127.0.0.1:0", arguments));
        let line = scheduler.wait_for("listening on ");
        let url = line.rsplit(' ').next().expect("the line ends in the address").to_owned();
        Self { nodes: Vec::new(), scheduler, grid: burla::Grid::at(url).expect("the address is one"), folder }
    }

    /// The scheduler's address, without `http://`.
    pub fn address(&self) -> &str {
        self.grid.url().strip_prefix("http://").expect("it is an address")
    }

    /// Where the scheduler keeps its data.
    pub fn data(&self) -> PathBuf {
        data_of(self.folder.path())
    }

    /// Ends the scheduler as a crash would, and starts another at its address and on its data. Returns when it listens.
    pub fn restart_scheduler(&mut self, arguments: &[&str]) {
        self.scheduler.crash();
        self.start_scheduler(arguments);
    }

    /// Starts a scheduler at the address and on the data of the one before, which has ended. Returns when it listens.
    pub fn start_scheduler(&mut self, arguments: &[&str]) {
        self.scheduler = Daemon::start(&mut scheduler_command(self.folder.path(), self.address(), arguments));
        self.scheduler.wait_for("listening on ");
    }

    /// From now on the scheduler can write no file, as on a disk that is full; or it can again.
    pub fn fill_disk(&self, is_full: bool) {
        let pid = Pid::from_raw(self.scheduler.pid().cast_signed());
        let limit = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: if is_full { Some(0) } else { limit }, maximum: limit })
            .expect("the scheduler can be limited");
    }

    /// Ends a node as a crash would, and starts another of its name in its place. Returns when that has joined.
    pub fn restart_node(&mut self, number: usize, arguments: &[&str]) {
        self.nodes[number].crash();
        self.nodes[number] = self.start_node(number, arguments, &shared_compiled());
    }

    /// Starts another node, and waits until it has joined. An argument that is given here replaces the usual one. It keeps compiled components where all tests do, so that each is
    /// compiled once.
    pub fn add_node(&mut self, arguments: &[&str]) {
        self.add_node_with_data(arguments, &shared_compiled());
    }

    /// Starts another node that keeps compiled components in `data_dir`.
    pub fn add_node_with_data(&mut self, arguments: &[&str], data_dir: &Path) {
        let node = self.start_node(self.nodes.len(), arguments, data_dir);
        self.nodes.push(node);
    }

    fn start_node(&self, number: usize, arguments: &[&str], data_dir: &Path) -> Daemon {
        std::fs::create_dir_all(self.sandboxes(number)).expect("a folder for sandboxes");
        let scheduler = if arguments.contains(&"--scheduler") { vec![] } else { vec!["--scheduler", self.grid.url()] };
        let node = Daemon::start(
            Command::new(binary("burla-node"))
                .args(scheduler)
                .args(["--name", &format!("node-{number}"), "--data-dir"])
                .arg(data_dir)
                .arg("--sandbox-dir")
                .arg(self.sandboxes(number))
                .args(arguments),
        );
        node.wait_for("joined the grid");
        node
    }

    /// Where a node makes the directories of its calls.
    pub fn sandboxes(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("sandboxes-{number}"))
    }
}

fn scheduler_command(folder: &Path, listen: &str, arguments: &[&str]) -> Command {
    // Without this, a write beyond `LocalGrid::fill_disk` would be its end, and not an error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(binary("burla-scheduler"));
    command.args(["--listen", listen, "--data-dir"]).arg(data_of(folder)).args(arguments);
    command
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("scheduler")
}

/// Where the nodes of all tests keep compiled components.
fn shared_compiled() -> PathBuf {
    root().join("target/burla-tests")
}

/// What an HTTP server at `ADDRESS:PORT` answers: the status and the text.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("someone listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read can have a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("there is an answer");
    let (head, text) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
    (status, text.to_owned())
}

/// Something between two ends of connections that can cut them.
pub struct Proxy {
    url: String,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Passes on what comes to a port of its own, for as long as the test runs.
    pub fn to(url: &str) -> Self {
        let target = url.strip_prefix("http://").expect("it is an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                for (mut from, mut to) in [(&near, &far), (&far, &near)].map(|(from, to)| (copy_of(from), copy_of(to))) {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                all.lock().expect("no panic in between").extend([near, far]);
            }
        });
        Self { url, connections }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends all connections there are. New ones work.
    pub fn cut(&self) {
        for connection in self.connections.lock().expect("no panic in between").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn copy_of(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a connection has two ends")
}

/// Lines that calls printed, as a callback collects them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<(u64, burla::OutputStream, String)>>>);

impl Lines {
    /// What to give `.stdout(…)`.
    pub fn callback(&self) -> burla::Stdout {
        let lines = self.clone();
        burla::Stdout::to(move |index, stream, line| {
            lines.0.lock().expect("no panic while collecting").push((index, stream, line.to_owned()));
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().expect("no panic while collecting").len()
    }

    /// What came, in the order it came.
    pub fn take(&self) -> Vec<(u64, burla::OutputStream, String)> {
        std::mem::take(&mut self.0.lock().expect("no panic while collecting"))
    }
}
