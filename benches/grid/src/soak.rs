//! Whether a grid stays as it is: many calls, honest and hostile, and what both daemons hold of the machine meanwhile.
//!
//! ```text
//! cargo run -p burla-bench-grid --bin bench-soak [-- CALLS]
//! ```
//!
//! Bounded: `CALLS` calls (100,000 unless given) of a fixed mix, four jobs at a time, on one scheduler and one node, all on
//! loopback. Ends with a failure if an honest call fails.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use burla::remote_parallel_map;
use burla_attacks::{Attack, Target, numbers, prepared};
use burla_test_guests::typed;
use burla_tests::{LocalGrid, until};

/// How often a job is honest, of as many as all weights together.
const HONEST_WEIGHT: u64 = 100;

/// How often it is which attack: those that end at once, so that there are many.
const ATTACK_WEIGHTS: &[(&str, u64)] = &[
    ("spin_out_of_fuel", 2),
    ("deep_recursion", 2),
    ("stack_overflow", 2),
    ("memory_bomb_one_step", 2),
    ("many_memories", 1),
    ("table_bomb", 2),
    ("host_allocation_handles", 2),
    ("poll_bomb", 1),
    ("random_bomb", 2),
    ("amplified_result", 1),
    ("report_too_long", 1),
    ("error_string_huge", 1),
    ("invalid_utf8_output", 3),
    ("stream_misuse", 2),
    ("disk_sparse", 3),
    ("disk_deep_tree", 1),
    ("descriptor_hoarder", 2),
    ("path_escapes", 2),
    ("network_loopback", 3),
    ("network_loopback_with_everything_granted", 1),
    ("network_http_with_everything_granted", 1),
    ("network_dns", 1),
    ("network_udp_and_listen", 1),
    ("env_and_args", 3),
    ("leaves_behind", 1),
    ("thread_spawn", 2),
    ("exit_zero", 3),
    ("exit_three", 3),
    ("panics", 5),
    ("panic_while_panicking", 2),
    ("abort", 3),
    ("unreachable", 3),
    ("start_function_traps", 2),
    ("data_out_of_bounds", 1),
    ("malformed_result", 1),
    ("core_module", 1),
    ("not_exporting_handler", 1),
    ("imports_not_granted", 1),
    ("nested_types", 1),
    ("network_loopback_granted", 1),
];

/// Calls of one job with one input: enough that it is calls that are measured and not jobs.
const JOB_CALLS: usize = 50;

/// Jobs at one time.
const JOBS_AT_ONCE: usize = 4;

/// How often is told how it goes.
const REPORTS: u64 = 10;

/// Deviations that are shown whole.
const DEVIATIONS_SHOWN: usize = 20;

fn main() -> ExitCode {
    let calls: u64 = std::env::args().nth(1).map_or(100_000, |calls| calls.parse().expect("a number of calls"));
    let mix = Mix::new();
    let grid = LocalGrid::start(1);
    // Nobody listens there.
    let target = Target { grid: grid.grid.clone(), server: "127.0.0.1:1".to_owned(), patience: JOBS_AT_ONCE as u32 };
    assert!(honest(&target).wrong.is_none(), "the grid works");

    let (over, jobs) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sender, ended) = mpsc::sync_channel(JOBS_AT_ONCE);
    let mut totals = Totals::default();
    println!("{:>10} {:>9}  {:<38}  {:<28}", "calls", "calls/s", "node", "scheduler");
    std::thread::scope(|scope| {
        for _ in 0..JOBS_AT_ONCE {
            let (mix, target, over, jobs, sender) = (&mix, &target, &over, &jobs, sender.clone());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let job = match mix.pick(jobs.fetch_add(1, Ordering::Relaxed)) {
                        None => honest(target),
                        Some(attack) => hostile(attack, target),
                    };
                    if sender.send(job).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut since = Since::start(&grid);
        // Until the threads have ended, so that what was under way counts too.
        for job in ended {
            totals.add(job);
            if totals.calls * REPORTS / calls.max(1) > since.reports && since.reports < REPORTS {
                since.report(&grid, totals.calls);
            }
            over.fetch_or(totals.calls >= calls, Ordering::Relaxed);
        }
    });
    until("nothing is left of any call", || left_by_calls(&grid) == 0);
    println!("at the end, with nothing running: {}; {}", node(&grid), scheduler(&grid));
    totals.show();
    if totals.honest_failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What jobs are drawn from.
struct Mix {
    /// Each with the sum of all weights up to its own. What is above is honest.
    attacks: Vec<(u64, Attack)>,
    weights: u64,
}

impl Mix {
    fn new() -> Self {
        let mut weights = 0;
        let mut attacks = Vec::new();
        for (name, weight) in ATTACK_WEIGHTS {
            let attack = prepared().iter().find(|attack| attack.name == *name).expect("it is in the list");
            weights += weight;
            attacks.push((weights, attack.times(JOB_CALLS)));
        }
        Self { attacks, weights: weights + HONEST_WEIGHT }
    }

    /// The attack that this job is, or none. The same job is the same every time.
    fn pick(&self, job: u64) -> Option<&Attack> {
        let drawn = numbers(job).next()? % self.weights;
        self.attacks.iter().find(|(below, _)| drawn < *below).map(|(_, attack)| attack)
    }
}

/// How a job ended.
struct Job {
    /// Each in a word.
    outcomes: Vec<String>,
    is_honest: bool,
    /// What is not as it has to be.
    wrong: Option<String>,
}

fn honest(target: &Target) -> Job {
    let inputs = 0..JOB_CALLS as i64;
    let job = remote_parallel_map(typed::doubles, inputs.clone()).spinner(false).grid(&target.grid).try_run();
    let is_honest = true;
    let fates = match job {
        Ok(fates) => fates,
        Err(error) => return Job { outcomes: vec!["job".to_owned()], is_honest, wrong: Some(error.to_string()) },
    };
    let wrong = fates.iter().zip(inputs).find_map(|(fate, input)| match fate {
        Ok(output) if *output == input * 2 => None,
        Ok(output) => Some(format!("twice {input} is not {output}")),
        Err(error) => Some(error.to_string()),
    });
    let word = |is_ok| String::from(if is_ok { "honest" } else { "honest and failed" });
    let outcomes = fates.iter().map(|fate| word(fate.is_ok())).collect();
    Job { outcomes, is_honest, wrong }
}

fn hostile(attack: &Attack, target: &Target) -> Job {
    let ended = attack.run(target);
    let wrong = attack.deviation(&ended).map(|got| format!("{}: expected {}, got {got}", attack.name, attack.expected()));
    Job { outcomes: ended.into_iter().map(|ended| ended.outcome).collect(), is_honest: false, wrong }
}

/// How all jobs ended so far.
#[derive(Default)]
struct Totals {
    calls: u64,
    outcomes: BTreeMap<String, u64>,
    honest_failures: Vec<String>,
    deviations: Vec<String>,
}

impl Totals {
    fn add(&mut self, job: Job) {
        for outcome in job.outcomes {
            self.calls += 1;
            *self.outcomes.entry(outcome).or_default() += 1;
        }
        let wrong = if job.is_honest { &mut self.honest_failures } else { &mut self.deviations };
        wrong.extend(job.wrong);
    }

    fn show(&self) {
        for (outcome, count) in &self.outcomes {
            println!("{count:>10}  {outcome}");
        }
        for (what, wrong) in [("honest jobs that failed", &self.honest_failures), ("other deviations", &self.deviations)] {
            println!("{what}: {}", wrong.len());
            wrong.iter().take(DEVIATIONS_SHOWN).for_each(|wrong| println!("  {wrong}"));
        }
    }
}

/// What the last report was about.
struct Since {
    time: Instant,
    calls: u64,
    reports: u64,
}

impl Since {
    fn start(grid: &LocalGrid) -> Self {
        println!("{:>10} {:>9}  {:<38}  {:<28}", 0, "", node(grid), scheduler(grid));
        Self { time: Instant::now(), calls: 0, reports: 0 }
    }

    fn report(&mut self, grid: &LocalGrid, calls: u64) {
        let rate = (calls - self.calls) as f64 / self.time.elapsed().as_secs_f64();
        println!("{calls:>10} {rate:>9.0}  {:<38}  {:<28}", node(grid), scheduler(grid));
        *self = Self { time: Instant::now(), calls, reports: self.reports + 1 };
    }
}

fn node(grid: &LocalGrid) -> String {
    let directories: usize = entries(&grid.sandboxes(0)).iter().map(|of_node| entries(of_node).len()).sum();
    format!("{}, {directories} directories", held(grid.nodes[0].pid()))
}

fn scheduler(grid: &LocalGrid) -> String {
    held(grid.scheduler.pid())
}

/// What a process holds of the machine.
fn held(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let count = |of: &str| entries(Path::new(&format!("/proc/{pid}/{of}"))).len();
    format!("{} MiB, {} fds, {} threads", kibibytes / 1024, count("fd"), count("task"))
}

/// Entries in the directories of calls. Directories without any wait for the next calls.
fn left_by_calls(grid: &LocalGrid) -> usize {
    let of_calls: Vec<PathBuf> = entries(&grid.sandboxes(0)).iter().flat_map(|of_node| entries(of_node)).collect();
    of_calls.iter().map(|of_call| entries(of_call).len()).sum()
}

/// What is in a directory; nothing, if it is gone by now.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
