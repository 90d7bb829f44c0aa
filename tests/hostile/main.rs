//! Every attack of `tests/attacks/attacks.toml`, on grids of real processes. Each ends as the list says, and whoever runs beside
//! it or after it, on the same node, does not notice.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burla::remote_parallel_map;
use burla_attacks::{Attack, Ended, Target, list, prepared};
use burla_test_guests::typed;
use burla_tests::{LocalGrid, guests, root, until};

/// Descriptors that a node may have more when all attacks are over, for each of their components: what the memory of one begins
/// with is mapped from a file, which is open for as long as the component is kept ready.
const DESCRIPTORS_PER_COMPONENT: usize = 2;

/// And besides them: directories that wait for the next calls, and what comes and goes with a job.
const DESCRIPTORS_MORE_MAX: usize = 32;

/// Threads that a node may have more: some for work that blocks, which end ten seconds after they had any.
const THREADS_MORE_MAX: usize = 8;

/// Calls that run beside all attacks at once, at least: they go on until the last attack has ended.
const HONEST_CALLS: usize = 50;

/// How much longer calls may take when all attacks run at once, on two CPUs.
const PATIENCE_AT_ONCE: u32 = 4;

/// An honest call takes a millisecond. One that takes longer than this was harmed.
const HONEST_TIME_MAX: Duration = Duration::from_secs(60);

/// Its job waits for a slot as well, and for the grid to take and to answer it. One that takes longer than this never ends.
const HONEST_JOB_TIME_MAX: Duration = Duration::from_secs(150);

#[test]
fn every_function_program_and_text_is_in_the_list() {
    let attacks = list();
    let names: BTreeSet<_> = attacks.iter().map(|attack| attack.name.as_str()).collect();
    assert_eq!(names.len(), attacks.len(), "each name is there once");
    for (kind, folder, extension) in [("attack", "src/bin/attacks", "rs"), ("program", "src/bin", "rs"), ("wat", "wat", "wat")] {
        let sources = attacks.iter().map(Attack::source).filter(|(of_kind, _)| *of_kind == kind);
        let mut listed: BTreeSet<String> = sources.map(|(_, name)| name.to_owned()).collect();
        if kind == "attack" {
            // It has the modules.
            listed.insert("main".to_owned());
        }
        let files = fs::read_dir(root().join("tests/attacks").join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let of_kind = files.filter(|path| path.extension().is_some_and(|of_path| of_path == extension));
        let there: BTreeSet<String> = of_kind.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(listed, there, "what the list names, and what is in {folder}");
    }
}

#[test]
fn attacks_end_as_they_have_to_and_their_node_goes_on() {
    let _turn = turn();
    let attacks = prepared();
    guests();
    let mut grid = LocalGrid::without_nodes();
    // Where nothing was compiled yet: compiling is attacked, too.
    let data = grid.folder.path().join("data");
    grid.add_node_with_data(&["--cpus", "2"], &data);
    let server = Server::start();
    let target = Target { grid: grid.grid.clone(), server: server.address.clone(), patience: 1 };
    honest_call(&grid).unwrap();
    let before = Vitals::of(grid.nodes[0].pid());

    let mut deviations = Deviations::default();
    for attack in attacks {
        deviations.look_at(attack, &attack.run(&target));
        if let Err(got) = honest_call(&grid) {
            deviations.add(&format!("a call after {}", attack.name), "done".to_owned(), got);
        }
    }
    deviations.look_for_visitors(&server);
    deviations.assert_none();

    look_after(&grid);
    let components = attacks.iter().map(Attack::file).collect::<BTreeSet<_>>().len();
    let descriptors_max = before.descriptors + components * DESCRIPTORS_PER_COMPONENT + DESCRIPTORS_MORE_MAX;
    let threads_max = before.threads + THREADS_MORE_MAX;
    let now = || Vitals::of(grid.nodes[0].pid());
    until("the node has closed what it had open", || now().descriptors <= descriptors_max);
    until("the node's threads have ended", || now().threads <= threads_max);
}

#[test]
fn honest_calls_are_served_beside_all_attacks_at_once() {
    let _turn = turn();
    let attacks = prepared();
    guests();
    let mut grid = LocalGrid::without_nodes();
    // Where nothing was compiled yet, with a slot for each, however few CPUs there are.
    let data = grid.folder.path().join("data");
    grid.add_node_with_data(&["--cpus", "128"], &data);
    let server = Server::start();
    let target = Target { grid: grid.grid.clone(), server: server.address.clone(), patience: PATIENCE_AT_ONCE };
    honest_call(&grid).unwrap();

    let mut deviations = Deviations::default();
    std::thread::scope(|scope| {
        let target = &target;
        let running: Vec<_> = attacks.iter().map(|attack| (attack, scope.spawn(move || attack.run(target)))).collect();
        let mut number = 0;
        while number < HONEST_CALLS || running.iter().any(|(_, running)| !running.is_finished()) {
            if let Err(got) = honest_call(&grid) {
                deviations.add(&format!("honest call {number}"), "done".to_owned(), got);
            }
            number += 1;
        }
        for (attack, running) in running {
            deviations.look_at(attack, &running.join().unwrap());
        }
    });
    deviations.look_for_visitors(&server);
    deviations.assert_none();
    look_after(&grid);
}

/// One grid at a time: what is counted and timed here is one node's.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What whoever shares the node wants: that a call is done. Panics when its job does not end: nothing that follows would.
fn honest_call(grid: &LocalGrid) -> Result<(), String> {
    let (sender, ended) = mpsc::channel();
    let on = grid.grid.clone();
    // A job that is stuck is left where it is, and ends with the test's process.
    std::thread::spawn(move || {
        let ran = remote_parallel_map(typed::doubles, [21]).timeout(HONEST_TIME_MAX).spinner(false).grid(&on).run();
        let _ = sender.send(ran);
    });
    match ended.recv_timeout(HONEST_JOB_TIME_MAX) {
        Ok(Ok(outputs)) if outputs == [42] => Ok(()),
        Ok(Ok(outputs)) => Err(format!("it returned {outputs:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(RecvTimeoutError::Disconnected) => Err("its program panicked".to_owned()),
        Err(RecvTimeoutError::Timeout) => {
            let (scheduler, node) = (grid.scheduler.log(), grid.nodes[0].log());
            panic!("an honest job had not ended after {HONEST_JOB_TIME_MAX:?}; the scheduler:\n{scheduler}\nthe node:\n{node}");
        }
    }
}

/// Both processes are those that were started, neither has lost the other, and nothing is left of any call.
fn look_after(grid: &LocalGrid) {
    for (what, daemon) in [("the scheduler", &grid.scheduler), ("the node", &grid.nodes[0])] {
        assert!(is_alive(daemon.pid()), "{what} has ended:\n{}", daemon.log());
    }
    let log = grid.nodes[0].log();
    assert_eq!(log.matches("joined the grid").count(), 1, "the node was never away:\n{log}");
    until("nothing is left of any call", || left_by_calls(&grid.sandboxes(0)) == 0);
}

/// Whether a process runs. One that has ended stays in the list until someone asks how.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Entries in the directories of calls. Directories without any wait for the next calls.
fn left_by_calls(sandboxes: &Path) -> usize {
    let of_calls = entries(sandboxes).iter().flat_map(|of_node| entries(of_node)).collect::<Vec<_>>();
    of_calls.iter().map(|of_call| entries(of_call).len()).sum()
}

/// What is in a directory; nothing, if it is gone by now.
fn entries(directory: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// What a process holds of the machine's.
struct Vitals {
    descriptors: usize,
    threads: usize,
}

impl Vitals {
    fn of(pid: u32) -> Self {
        let count = |of: &str| entries(Path::new(&format!("/proc/{pid}/{of}"))).len();
        Self { descriptors: count("fd"), threads: count("task") }
    }
}

/// What the node's own machine may have, and no function may reach.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    packets: UdpSocket,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let packets = UdpSocket::bind(address).expect("the port is free for packets");
        packets.set_nonblocking(true).expect("a socket can be asked without waiting");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nsecret");
            }
        });
        Self { address: address.to_string(), connections, packets }
    }

    /// How often it was reached.
    fn visits(&self) -> usize {
        let packets = std::iter::from_fn(|| self.packets.recv(&mut [0; 64]).ok()).count();
        self.connections.load(Ordering::Relaxed) + packets
    }
}

/// What did not end as it has to.
#[derive(Default)]
struct Deviations(Vec<[String; 3]>);

impl Deviations {
    fn add(&mut self, name: &str, expected: String, got: String) {
        self.0.push([name.to_owned(), expected, got]);
    }

    fn look_at(&mut self, attack: &Attack, ended: &[Ended]) {
        if let Some(got) = attack.deviation(ended) {
            self.add(&attack.name, attack.expected(), got);
        }
    }

    fn look_for_visitors(&mut self, server: &Server) {
        let visits = server.visits();
        if visits > 0 {
            self.add("the server on this machine", "nobody reaches it".to_owned(), format!("it was reached {visits} times"));
        }
    }

    #[track_caller]
    fn assert_none(&self) {
        let heads = ["attack", "expected", "got"].map(str::to_owned);
        let rows: Vec<&[String; 3]> = std::iter::once(&heads).chain(&self.0).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (names, expected) = (width(0), width(1));
        let lines = rows.iter().map(|row| format!("{:names$}  {:expected$}  {}\n", row[0], row[1], row[2]));
        assert!(self.0.is_empty(), "{} did not end as they have to:\n{}", self.0.len(), lines.collect::<String>());
    }
}
