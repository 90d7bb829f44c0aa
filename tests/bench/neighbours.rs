//! What honest calls notice of attacks on the same node: how long one takes while an attack runs beside it without a pause.
//!
//! ```text
//! cargo run -p burla-tests --bin bench-neighbours [-- ATTACK …]
//! ```
//!
//! All attacks of `tests/attacks/attacks.toml`, unless some are named. Bounded: 200 calls beside each, on one node of four slots;
//! some two minutes for all, all on loopback.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burla::remote_parallel_map;
use burla_attacks::{Attack, Target, prepared};
use burla_test_guests::typed;
use burla_tests::{LocalGrid, until};

/// Calls beside each attack, one after another.
const CALLS: usize = 200;

/// An attack has one slot of these, so that a call which waits does not wait for a slot.
const SLOTS: &str = "4";

/// A call that takes longer is counted as one that failed.
const TIME_MAX: Duration = Duration::from_secs(10);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |attack: &&Attack| wanted.is_empty() || wanted.contains(&attack.name);
    let attacks: Vec<&Attack> = prepared().iter().filter(is_wanted).collect();
    assert!(!attacks.is_empty(), "none of these is in the list: {wanted:?}");

    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", SLOTS]);
    // Nobody listens there.
    let target = Target { grid: grid.grid.clone(), server: "127.0.0.1:1".to_owned(), patience: 1 };
    // Compiled and warm before anything is measured.
    measure(&grid);
    let quiet = measure(&grid);
    println!("{CALLS} calls, one after another, i64 -> i64, on a node of {SLOTS} slots; times of a call in ms");
    println!("{:<48}{:>10}{:>10}{:>10}{:>10}{:>10}", "beside", "median", "99 %", "ratio", "failed", "attacks");
    show("nothing", &quiet, &quiet, 0);
    for attack in attacks {
        let (beside, runs) = measure_beside(attack, &grid, &target);
        show(&attack.name, &beside, &quiet, runs);
    }
}

/// The same while the attack runs, again and again.
fn measure_beside(attack: &Attack, grid: &LocalGrid, target: &Target) -> (Measured, u64) {
    let (over, runs) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                attack.run(target);
                runs.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("the attack is under way", || runs.load(Ordering::Relaxed) > 0 || running(grid) > 0);
        let beside = measure(grid);
        over.store(true, Ordering::Relaxed);
        (beside, runs.load(Ordering::Relaxed))
    })
}

/// Calls that run on the grid.
fn running(grid: &LocalGrid) -> u64 {
    grid.grid.nodes().map(|nodes| nodes.iter().map(|node| node.running).sum::<u64>()).unwrap_or_default()
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

fn measure(grid: &LocalGrid) -> Measured {
    let mut measured = Measured { times: Vec::new(), failed: 0 };
    for number in 0..CALLS as i64 {
        let started = Instant::now();
        let outputs = remote_parallel_map(typed::doubles, [number]).timeout(TIME_MAX).spinner(false).grid(&grid.grid).run();
        if outputs.is_ok_and(|outputs| outputs == [number * 2]) {
            measured.times.push(started.elapsed().as_secs_f64());
        } else {
            measured.failed += 1;
        }
    }
    measured.times.sort_by(f64::total_cmp);
    measured
}

fn show(beside: &str, measured: &Measured, quiet: &Measured, runs: u64) {
    let (median, rare) = (measured.milliseconds(0.5), measured.milliseconds(0.99));
    let ratio = median / quiet.milliseconds(0.5);
    println!("{beside:<48}{median:>10.2}{rare:>10.2}{ratio:>10.2}{:>10}{runs:>10}", measured.failed);
}
