//! What a grid of real processes does with many inputs, large inputs, several jobs and lost nodes, each beside the same without that.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-scale [-- SECTION …]
//! ```
//!
//! Sections: prints, integers, streamed, streamed-long (only when it is named), megabytes, gigabyte, asleep, sharing, parallelism, kill, freeze, endless. Each runs in a process of its own, since the
//! memory that a process has had at most is told for its whole life. Bounded: 5,000,000 inputs and 4 GB of payload at most, some
//! four minutes, all on loopback.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use burla::{Stdout, remote_parallel_map};
use burla_test_guests::{behavior, typed};
use burla_tests::{LocalGrid, component, until};
use rustix::process::Signal;

const SECTIONS: [(&str, fn()); 12] = [
    ("prints", prints),
    ("integers", integers),
    ("streamed", || streamed(5_000_000)),
    (LONG, || streamed(50_000_000)),
    ("megabytes", megabytes),
    ("gigabyte", gigabyte),
    ("asleep", asleep),
    ("sharing", sharing),
    ("parallelism", parallelism),
    ("kill", kill),
    ("freeze", freeze),
    ("endless", endless),
];

/// Takes ten minutes, and so only runs when it is named.
const LONG: &str = "streamed-long";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match wanted.as_slice() {
        [section] => SECTIONS.iter().find(|(name, _)| name == section).expect("it is one of the sections").1(),
        wanted => {
            for (name, _) in
                SECTIONS.iter().filter(|(name, _)| (wanted.is_empty() && *name != LONG) || wanted.iter().any(|one| one == name))
            {
                assert!(Command::new(std::env::current_exe().unwrap()).arg(name).status().unwrap().success());
            }
        }
    }
}

/// 1,000 calls that print a line, on 1,000 slots that four nodes advertise.
fn prints() {
    let mut grid = LocalGrid::start(0);
    (0..4).for_each(|_| grid.add_node(&["--cpus", "250", "--memory", "32"]));
    let lines = Arc::new(AtomicU64::new(0));
    let run = |inputs: u64| {
        let counted = Arc::clone(&lines);
        let stdout = Stdout::to(move |_, _, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        seconds(|| {
            drop(
                remote_parallel_map(behavior::prints, (0..inputs).map(|n| (n, 1))).stdout(stdout).grid(&grid.grid).run().unwrap(),
            )
        })
    };
    let first = run(1000);
    let warm = median((0..9).map(|_| run(1000)).collect());
    assert_eq!(lines.load(Ordering::Relaxed), 10_000, "every line of every run");
    let one = median((0..9).map(|_| run(1)).collect());
    println!(
        "prints: 1,000 calls that print, 1,000 slots on 4 nodes, all lines there: {:.0} ms warm (median of 9), {:.0} ms the first time; 1 call: {:.1} ms",
        warm * 1e3,
        first * 1e3,
        one * 1e3
    );
}

fn integers() {
    const INPUTS: i64 = 5_000_000;
    // A small component: what a call costs grows with the memory its component begins with.
    component("burla-tiny");
    let grid = LocalGrid::start(1);
    let elapsed = seconds(|| {
        let outputs = remote_parallel_map(burla_tiny::doubles, 0..INPUTS).grid(&grid.grid).run().unwrap();
        assert!(outputs.len() as i64 == INPUTS && outputs.iter().zip(0..).all(|(output, input)| *output == 2 * input));
    });
    println!("integers: {INPUTS} inputs in {elapsed:.0} s, {:.0} calls/s; at most {}", INPUTS as f64 / elapsed, memory(&grid));
}

/// The same without a list of the outputs: what a client, a scheduler and a node take must not grow with the inputs.
fn streamed(inputs: i64) {
    component("burla-tiny");
    let grid = LocalGrid::start(1);
    let mut sum = 0;
    let elapsed = seconds(|| {
        for output in remote_parallel_map(burla_tiny::doubles, 0..inputs).grid(&grid.grid).generator().unwrap() {
            sum += output.unwrap();
        }
    });
    assert_eq!(sum, inputs * (inputs - 1));
    println!("streamed: {inputs} inputs in {elapsed:.0} s, {:.0} calls/s; at most {}", inputs as f64 / elapsed, memory(&grid));
}

fn megabytes() {
    component("burla-tiny");
    let grid = LocalGrid::start(1);
    let text = "x".repeat(1_000_000);
    let mut count = 0;
    let elapsed = seconds(|| {
        let inputs = (0..2000).map(|_| text.clone());
        for output in remote_parallel_map(burla_tiny::echoes, inputs).grid(&grid.grid).generator().unwrap() {
            assert!(output.unwrap() == text);
            count += 1;
        }
    });
    assert_eq!(count, 2000);
    println!(
        "megabytes: 2,000 texts of 1 MB echoed in {elapsed:.1} s, {:.0} MB/s both ways added; at most {}",
        4000.0 / elapsed,
        memory(&grid)
    );
}

/// The largest input and output there can be.
fn gigabyte() {
    let grid = LocalGrid::start(1);
    // MessagePack puts five bytes before a text of this length.
    let text = "x".repeat((1 << 30) - 5);
    let elapsed = seconds(|| {
        let echoed = remote_parallel_map(typed::echoes, [text.clone()]).grid(&grid.grid).run().unwrap();
        assert!(echoed[0] == text);
    });
    println!("gigabyte: a text of 1 GiB echoed in {elapsed:.1} s; at most {}", memory(&grid));
    let too_large = remote_parallel_map(typed::echoes, [text + "x"]).grid(&grid.grid).run().unwrap_err();
    println!("gigabyte: one byte more: {too_large}");
}

/// A job of 100 calls of 10 ms, alone and while another has 100,000.
fn sharing() {
    let grid = LocalGrid::start(2);
    let small = || seconds(|| drop(remote_parallel_map(behavior::sleeps, vec![10; 100]).grid(&grid.grid).run().unwrap()));
    small();
    let alone = median((0..5).map(|_| small()).collect());
    println!("sharing: 100 calls of 10 ms on 4 slots, alone: {alone:.2} s (median of 5)");
    for milliseconds in [0, 1, 10] {
        let (done, on) = (AtomicBool::new(false), &grid.grid);
        std::thread::scope(|scope| {
            let (sender, started) = mpsc::channel();
            scope.spawn({
                let done = &done;
                move || {
                    let inputs = std::iter::repeat_n(milliseconds, 100_000);
                    let slept = remote_parallel_map(behavior::sleeps, inputs).grid(on).generator().unwrap();
                    slept.take_while(|_| !done.load(Ordering::Relaxed)).for_each(|_| {
                        let _ = sender.send(());
                    });
                }
            });
            started.recv().unwrap();
            let beside = small();
            println!(
                "sharing: while another job of 100,000 calls of {milliseconds} ms runs: {beside:.2} s, {:.1} times as long",
                beside / alone
            );
            done.store(true, Ordering::Relaxed);
        });
    }
}

fn parallelism() {
    let grid = LocalGrid::start(4);
    let intervals = remote_parallel_map(behavior::occupies, vec![20; 200]).max_parallelism(3).grid(&grid.grid).run().unwrap();
    let at = |moment: u128| intervals.iter().filter(|(start, end)| *start <= moment && moment < *end).count();
    let peak = intervals.iter().map(|(start, _)| at(*start)).max().unwrap();
    println!(
        "parallelism: max_parallelism(3), 200 calls of 20 ms on 4 nodes of 2: at most {peak} at one time by their own clocks"
    );
}

fn kill() {
    let run = |kill: bool| {
        let mut grid = LocalGrid::start(3);
        drop(remote_parallel_map(typed::doubles, 0..100).grid(&grid.grid).run().unwrap());
        let mut indices = HashSet::new();
        let elapsed = seconds(|| {
            let slept = remote_parallel_map(behavior::sleeps, vec![20; 1200]).grid(&grid.grid).generator().unwrap().indexed();
            for (position, slept) in slept.enumerate() {
                if kill && position == 600 {
                    grid.nodes.remove(1).kill();
                }
                assert!(indices.insert(slept.unwrap().0), "once each");
            }
        });
        assert_eq!(indices.len(), 1200);
        elapsed
    };
    let (without, with) = (run(false), run(true));
    println!(
        "kill: 1,200 calls of 20 ms on 3 nodes of 2: {without:.2} s; with kill -9 of one in the middle: {with:.2} s, all there, once each"
    );
}

fn freeze() {
    const FROZEN: Duration = Duration::from_secs(60);
    let grid = LocalGrid::start(3);
    let mut indices = HashSet::new();
    let elapsed = seconds(|| {
        let slept = remote_parallel_map(behavior::sleeps, vec![100; 4000]).grid(&grid.grid).generator().unwrap().indexed();
        let mut frozen: Option<Instant> = None;
        let mut thawed = false;
        for (position, slept) in slept.enumerate() {
            assert!(indices.insert(slept.unwrap().0), "once each");
            if position == 100 {
                grid.nodes[1].signal(Signal::STOP);
                frozen = Some(Instant::now());
            }
            if !thawed && frozen.is_some_and(|since| since.elapsed() > FROZEN) {
                grid.nodes[1].signal(Signal::CONT);
                thawed = true;
            }
        }
        assert!(thawed, "it came back before the job was over");
    });
    assert_eq!(indices.len(), 4000);
    until("it is back", || grid.grid.nodes().unwrap().len() == 3);
    println!(
        "freeze: 4,000 calls of 100 ms on 3 nodes of 2, one of them stopped for a minute and back: {elapsed:.1} s, all there, once each; at best {:.1} s",
        4000.0 * 0.1 / 6.0
    );
}

/// 10,000 calls that sleep at the same time, on one node.
fn asleep() {
    const CALLS: u64 = 10_000;
    /// Longer than it may take to start all of them, so that they are asleep together.
    const SLEEP_MILLISECONDS: u64 = 10_000;
    component("burla-tiny");
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "100", "--memory", "100"]);
    remote_parallel_map(burla_tiny::sleeps, [0]).grid(&grid.grid).run().unwrap();
    for run in ["the first time", "once more"] {
        let mut resident = 0;
        let elapsed = std::thread::scope(|scope| {
            let job = || {
                let inputs = (0..CALLS).map(|_| SLEEP_MILLISECONDS);
                let calls = remote_parallel_map(burla_tiny::sleeps, inputs).func_cpu(0.01).func_ram(0.0022);
                seconds(|| drop(calls.grid(&grid.grid).run().unwrap()))
            };
            let job = scope.spawn(job);
            while !job.is_finished() {
                resident = resident.max(resident_mib(grid.nodes[0].pid()));
                std::thread::sleep(Duration::from_millis(20));
            }
            job.join().unwrap()
        });
        println!(
            "asleep: {CALLS} calls that sleep for {:.0} s at the same time on one node, {run}: {elapsed:.2} s; at most {resident} MiB in the node",
            SLEEP_MILLISECONDS as f64 / 1e3
        );
    }
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

fn endless() {
    let grid = LocalGrid::start(2);
    let outputs = remote_parallel_map(typed::doubles, 0..).grid(&grid.grid).generator().unwrap();
    assert_eq!(outputs.take(1000).map(Result::unwrap).count(), 1000);
    let free = seconds(|| until("the nodes are free", || grid.grid.nodes().unwrap().iter().all(|node| node.running == 0)));
    println!("endless: 1,000 outputs of endless inputs taken; the nodes are idle {:.1} ms after", free * 1e3);
}

fn memory(grid: &LocalGrid) -> String {
    let peak = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
    };
    let (client, scheduler, node) = (peak(std::process::id()), peak(grid.scheduler.pid()), peak(grid.nodes[0].pid()));
    format!("{client} MiB in the client, {scheduler} in the scheduler, {node} in the node")
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
