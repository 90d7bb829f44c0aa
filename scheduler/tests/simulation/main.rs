//! A grid in simulated time: the real core of the scheduler, and around it clients, nodes, a network and a disk that fail as a seed
//! says. The same seed gives the same run, step by step.
//!
//! What has to be so, after every step:
//!
//! 1. each index of a job is told once, of a detached job kept once, and at the end of a job all of them are;
//! 2. no outcome without its input, and none of another's;
//! 3. no node has more calls than room, and no job more than its `max_parallelism`;
//! 4. lines of a call are shown once, in order, and all of an attempt's before its outcome;
//! 5. when the faults are over, every job ends, and nothing of it is left on any node;
//! 6. what calls took is counted once, and none is tried more often than it may be.
//!
//! `SEEDS=10000` runs as many; `SEED=123` with `-- --nocapture` prints what happens in that one.

#![expect(clippy::print_stdout, reason = "who asks for a seed wants to see its run")]

mod client;
mod faults;
mod function;
mod invariants;
mod kept;
mod messages;
mod network;
mod node;
mod rng;
mod scheduler;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use faults::Planted;
use world::{Trace, World};

/// Seeds that are run where nobody says how many.
const SEEDS: u64 = 300;

/// Seeds within which a planted mistake must be found.
const SEEDS_PLANTED: u64 = 6000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}")))
}

/// Runs a seed. Says what went wrong, a panic of the grid included.
fn run(seed: u64, planted: Planted, trace: Option<Trace>) -> Result<u64, String> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, planted, trace);
        world.run().map(|()| world.steps)
    }));
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

fn print(trace: &Trace) {
    trace.borrow().iter().for_each(|line| println!("{line}"));
}

#[test]
fn nothing_is_lost_and_nothing_repeated_whatever_fails() {
    if let Some(seed) = number("SEED") {
        let trace = Trace::default();
        let result = run(seed, Planted::Nothing, Some(trace.clone()));
        print(&trace);
        assert_eq!(result.map(|steps| println!("{steps} steps")), Ok(()), "seed {seed}");
        return;
    }
    let first = number("FIRST").unwrap_or(0);
    let mut failed = Vec::new();
    for seed in first..first + number("SEEDS").unwrap_or(SEEDS) {
        if let Err(error) = run(seed, Planted::Nothing, None) {
            println!("seed {seed}: {error}");
            failed.push(seed);
        }
    }
    if let Some(seed) = failed.first() {
        let trace = Trace::default();
        let again = run(*seed, Planted::Nothing, Some(trace.clone()));
        print(&trace);
        panic!("{} seeds failed; the first is {seed}: {again:?}", failed.len());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let traces = [Trace::default(), Trace::default()];
        let results = traces.each_ref().map(|trace| run(seed, Planted::Nothing, Some(trace.clone())));
        assert_eq!(results[0], results[1], "seed {seed}");
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

/// A driver does not take in twice what a node says again; the grid stands it all the same, since no two attempts have one number.
#[test]
fn what_is_heard_twice_does_no_harm() {
    for seed in 0..SEEDS {
        assert_eq!(run(seed, Planted::HearsTwice, None).err(), None, "seed {seed}");
    }
}

/// The simulation is worth something only where it can fail.
#[test]
fn planted_mistakes_are_found() {
    let planted = [
        Planted::ForgetsUntaken,
        Planted::KeepsBeforeCommit,
        Planted::TellsBeforeCommit,
        Planted::AcknowledgesBeforeCommit,
        Planted::CommitsTwice,
        Planted::ForgetsShown,
        Planted::ForgetsOutcomes,
        Planted::ResumesUnheard,
    ];
    for planted in planted {
        let found = (0..SEEDS_PLANTED).find_map(|seed| Some((seed, run(seed, planted, None).err()?)));
        let (seed, error) = found.unwrap_or_else(|| panic!("{planted:?} was not found"));
        println!("{planted:?} is found with seed {seed}: {error}");
    }
}
