//! What honest calls notice of attacks on the same node: how long one takes while an attack runs beside it without a pause.
//!
//! ```text
//! cargo run -p burla-tests --bin bench-neighbours [-- ATTACK …]
//! ```
//!
//! All attacks of `tests/attacks/attacks.toml`, unless some are named. Bounded: 200 calls beside each, on one node of four slots;
//! some two minutes for all, all on loopback. Each is compared with a quiet grid, and with one that has another honest client: what
//! any client costs on this machine is not an attack's doing.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |attack: &&Attack| wanted.is_empty() || wanted.contains(&attack.name);
    let attacks: Vec<Attack> = prepared().iter().filter(is_wanted).map(Attack::one_at_a_time).collect();
    assert!(!attacks.is_empty(), "none of these is in the list: {wanted:?}");

    let mut local = LocalGrid::start(0);
    // Where nothing was compiled yet: compiling is an attack, too.
    let data = local.folder.path().join("data");
    local.add_node_with_data(&["--cpus", SLOTS], &data);
    let grid = local.grid.clone();
    // Nobody listens there.
    let target = Target { grid: grid.clone(), server: "127.0.0.1:1".to_owned(), patience: 1 };
    // Compiled and warm before anything is measured.
    measure(&grid);
    let quiet = measure(&grid);
    // What any other client costs, on a machine that has clients, scheduler and node together on few CPUs.
    let (busy, honest_runs) = measure_beside(|| honest(&grid), &grid);
    println!("{CALLS} calls, one after another, i64 -> i64, on a node of {SLOTS} slots; times of a call in ms");
    let heads = ["median", "99 %", "to quiet", "to honest", "failed", "times"].map(|head| format!("{head:>10}"));
    println!("{:<48}{}", "beside", heads.concat());
    show("nothing", &quiet, [&quiet, &busy], 0);
    show("another honest client", &busy, [&quiet, &busy], honest_runs);
    for attack in &attacks {
        let (beside, runs) = measure_beside(|| drop(attack.run(&target)), &grid);
        show(&attack.name, &beside, [&quiet, &busy], runs);
    }
}

fn honest(grid: &Grid) {
    assert!(is_done(grid, 1), "an honest call failed");
}

/// Whether a call is done, and well.
fn is_done(grid: &Grid, number: i64) -> bool {
    let outputs = remote_parallel_map(typed::doubles, [number]).timeout(TIME_MAX).spinner(false).grid(grid).run();
    outputs.is_ok_and(|outputs| outputs == [number * 2])
}

/// The same while something else runs, again and again, and how often that began. From the start: an attack on compiling is over
/// once it was run.
fn measure_beside(other: impl Fn() + Sync, grid: &Grid) -> (Measured, u64) {
    let (over, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                begun.fetch_add(1, Ordering::Relaxed);
                other();
            }
        });
        let beside = measure(grid);
        over.store(true, Ordering::Relaxed);
        (beside, begun.load(Ordering::Relaxed))
    })
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
