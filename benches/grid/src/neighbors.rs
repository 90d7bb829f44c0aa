//! What honest calls notice of attacks on the same node: how long one takes while an attack runs beside it without a pause.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-neighbors [-- ATTACK …]
//! ```
//!
//! All attacks of `tests/attacks/attacks.toml`, unless some are named. Bounded: 200 calls beside each, on one node of four slots;
//! some two minutes for all, all on loopback. Each is compared with a quiet grid, and with one that has another honest client: what
//! any client costs on this machine is not an attack's doing.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burla::{Grid, remote_parallel_map};
use burla_attacks::{Attack, Target, prepared};
use burla_test_guests::typed;
use burla_tests::LocalGrid;

/// Calls beside each attack, one after another.
const CALLS: usize = 200;

/// An attack has one slot of these, so that a call which waits does not wait for a slot.
const SLOTS: &str = "4";

/// A call that takes longer is counted as one that failed.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Calls of one job of an attack that ends by itself: what is measured is what its calls do to the node, and not what it costs a
/// client to read a component and open a job.
const CALLS_PER_JOB: usize = 20;

/// The attack with one call at a time, and many of them where none takes until its timeout.
fn many_at_once(attack: &Attack) -> Attack {
    let times = if attack.lasts() { 1 } else { CALLS_PER_JOB };
    attack.times(times).one_at_a_time()
}

/// The first argument of the process that attacks: then the grid's address, and the attack's name or [`HONEST`].
const ATTACKER: &str = "--attacker";

/// No attack, for comparison.
const HONEST: &str = "--honest";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [attacker, url, name] = wanted.as_slice()
        && attacker == ATTACKER
    {
        return attack_for_ever(url, name);
    }
    let is_wanted = |attack: &&Attack| wanted.is_empty() || wanted.contains(&attack.name);
    let attacks: Vec<&Attack> = prepared().iter().filter(is_wanted).collect();
    assert!(!attacks.is_empty(), "none of these is in the list: {wanted:?}");

    let mut local = LocalGrid::start(0);
    // Where nothing was compiled yet: compiling is an attack, too.
    let data = local.folder.path().join("data");
    local.add_node_with_data(&["--cpus", SLOTS], &data);
    let grid = local.grid.clone();
    // Compiled and warm before anything is measured.
    measure(&grid);
    let quiet = measure(&grid);
    // What any other client costs, on a machine that has clients, scheduler and node together on few CPUs.
    let (busy, honest_runs) = measure_beside(HONEST, &grid);
    println!("{CALLS} calls, one after another, i64 -> i64, on a node of {SLOTS} slots; times of a call in ms");
    let heads = ["median", "99 %", "to quiet", "to honest", "failed", "times"].map(|head| format!("{head:>10}"));
    println!("{:<48}{}", "beside", heads.concat());
    show("nothing", &quiet, [&quiet, &busy], 0);
    show("another honest client", &busy, [&quiet, &busy], honest_runs);
    for attack in attacks {
        let (beside, runs) = measure_beside(&attack.name, &grid);
        show(&attack.name, &beside, [&quiet, &busy], runs);
    }
}

/// Attacks again and again, and writes a line whenever it begins, until someone ends this process.
fn attack_for_ever(url: &str, name: &str) {
    let grid = Grid::at(url).expect("it is an address");
    // Nobody listens there.
    let target = Target { grid: grid.clone(), server: "127.0.0.1:1".to_owned(), patience: 1 };
    let attack = prepared().iter().find(|attack| attack.name == name).map(many_at_once);
    loop {
        println!("again");
        match &attack {
            Some(attack) => drop(attack.run(&target)),
            None => assert!(is_done(&grid, 1), "an honest call failed"),
        }
    }
}

/// Whether a call is done, and well.
fn is_done(grid: &Grid, number: i64) -> bool {
    let outputs = remote_parallel_map(typed::doubles, [number]).timeout(TIME_MAX).spinner(false).grid(grid).run();
    outputs.is_ok_and(|outputs| outputs == [number * 2])
}

/// The same while another client, a process of its own, attacks again and again, and how often it began.
fn measure_beside(name: &str, grid: &Grid) -> (Measured, u64) {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    let mut other = command.args([ATTACKER, grid.url(), name]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(other.stdout.take().expect("piped")).lines();
    // It has read what it needs, and begins.
    lines.next().expect("it begins").expect("it says so");
    let beside = measure(grid);
    other.kill().expect("it can be ended");
    other.wait().expect("it ends");
    (beside, 1 + lines.map_while(Result::ok).count() as u64)
}

/// What calls took, and how many failed.
struct Measured {
    /// In seconds, the shortest first.
    times: Vec<f64>,
    failed: usize,
}

impl Measured {
    /// What this share of the calls did not exceed, in milliseconds.
    fn milliseconds(&self, share: f64) -> f64 {
        let position = (self.times.len() as f64 * share) as usize;
        self.times.get(position).or(self.times.last()).map_or(f64::NAN, |seconds| seconds * 1e3)
    }
}

fn measure(grid: &Grid) -> Measured {
    let mut measured = Measured { times: Vec::new(), failed: 0 };
    for number in 0..CALLS as i64 {
        let started = Instant::now();
        if is_done(grid, number) {
            measured.times.push(started.elapsed().as_secs_f64());
        } else {
            measured.failed += 1;
        }
    }
    measured.times.sort_by(f64::total_cmp);
    measured
}

fn show(beside: &str, measured: &Measured, baselines: [&Measured; 2], runs: u64) {
    let (median, rare) = (measured.milliseconds(0.5), measured.milliseconds(0.99));
    let [quiet, honest] = baselines.map(|baseline| median / baseline.milliseconds(0.5));
    println!("{beside:<48}{median:>10.2}{rare:>10.2}{quiet:>10.2}{honest:>10.2}{:>10}{runs:>10}", measured.failed);
}
