//! Rounds in which processes are killed at random while a job runs: all results have to be there at the end, once each, and right.
//!
//! Each round has a grid of its own: a scheduler and three nodes. Every third round runs an attached job, whose client is left
//! alone; the others give a detached job to the grid, and a client that is killed is followed by another that collects by the id.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burla_attacks::numbers;

use crate::survivor::{self, Task, Told};
use crate::{Daemon, LocalGrid, binary, until};

/// Nodes of each round's grid: one can go, and there are still two to move calls between.
const NODES: usize = 3;

/// Processes that are killed in one round, at most; at least one is.
const KILLS_MAX: u64 = 4;

/// How long each call sleeps, so that a job takes some seconds and can be met in its middle.
const CALL_MILLISECONDS: u64 = 1;

/// How long a scheduler may be away.
const AWAY_MILLISECONDS_MAX: u64 = 1000;

/// How long a round may take.
const ROUND_TIME_MAX: Duration = Duration::from_secs(120);

/// Runs so many rounds of so many calls each, with what `seed` draws, and prints a line of each. Returns the number of those that
/// failed.
#[expect(clippy::print_stdout, reason = "a line for each round is what it is run for")]
pub fn run(rounds: u64, calls: u64, seed: u64) -> u64 {
    let program = binary("survivor");
    assert!(program.exists(), "there is no {}: build it with `cargo build -p burla-tests --bin survivor`", program.display());
    // Kills are drawn over the time that a job takes which nobody disturbs.
    let span = Round { calls, program: program.clone(), is_attached: false, kills: Vec::new() }.run().0;
    println!("seed {seed}, {rounds} rounds of {calls} calls; undisturbed, a job takes {:.1} s", span.as_secs_f64());
    let mut failed = 0;
    for number in 1..=rounds {
        let mut drawn = numbers(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let is_attached = number % 3 == 0;
        let round = Round { calls, program: program.clone(), is_attached, kills: Kill::draw(&mut drawn, span, is_attached) };
        let kind = if is_attached { "attached" } else { "detached" };
        let planned = format!("{:?}", round.kills);
        match catch_unwind(AssertUnwindSafe(|| round.run())) {
            Ok((time, done)) => println!("round {number}, {kind}: {:.1} s, ok; {}", time.as_secs_f64(), done.join(", ")),
            Err(_) => {
                failed += 1;
                println!("round {number}, {kind}: FAILED (seed {seed}, round {number}); planned were {planned}");
            }
        }
    }
    println!("{} of {rounds} rounds are ok, seed {seed}", rounds - failed);
    failed
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    after: Duration,
    whom: Whom,
}

#[derive(Clone, Copy, Debug)]
enum Whom {
    /// Started again after so long.
    Scheduler(Duration),
    Node(usize),
    Client,
}

impl Kill {
    /// What is killed in a round and when, in that order.
    fn draw(drawn: &mut impl Iterator<Item = u64>, span: Duration, is_attached: bool) -> Vec<Self> {
        let mut below = |limit: u64| drawn.next().map_or(0, |number| number % limit);
        let kills = 1 + below(KILLS_MAX);
        let mut kills: Vec<_> = (0..kills)
            .map(|_| {
                let after = span.mul_f64(below(1000) as f64 / 1000.0);
                let whom = match below(if is_attached { 2 } else { 3 }) {
                    0 => Whom::Scheduler(Duration::from_millis(below(AWAY_MILLISECONDS_MAX))),
                    1 => Whom::Node(below(NODES as u64) as usize),
                    _ => Whom::Client,
                };
                Self { after, whom }
            })
            .collect();
        kills.sort_by_key(|kill| kill.after);
        kills
    }
}

struct Round {
    calls: u64,
    program: PathBuf,
    is_attached: bool,
    kills: Vec<Kill>,
}

impl Round {
    /// Returns how long the job took, and what was killed when. Panics when a result is missing, doubled or wrong.
    fn run(self) -> (Duration, Vec<String>) {
        let mut grid = LocalGrid::start(NODES);
        let (calls, milliseconds) = (self.calls, CALL_MILLISECONDS);
        let task =
            if self.is_attached { Task::Run { calls, milliseconds } } else { Task::SubmitAndCollect { calls, milliseconds } };
        let mut client = survivor::start(&self.program, &grid.grid, task);
        client.wait_for("opening");
        // Before that there is nothing to survive: an address at which nobody listens may be wrong, and is an error.
        until("the grid has the job", || grid.grid.jobs_with_ended().is_ok_and(|jobs| !jobs.is_empty()));
        let started = Instant::now();
        let (mut job, mut done) = (None, Vec::new());
        for kill in &self.kills {
            // Time is the subject here: that something dies at a moment which nobody chose.
            std::thread::sleep(kill.after.saturating_sub(started.elapsed()));
            done.push(format!("{:?} at {:.2} s", kill.whom, started.elapsed().as_secs_f64()));
            match kill.whom {
                Whom::Scheduler(away) => {
                    grid.scheduler.crash();
                    std::thread::sleep(away);
                    grid.start_scheduler(&[]);
                }
                Whom::Node(number) => grid.restart_node(number, &["--cpus", "2"]),
                Whom::Client => client = other_client(&self.program, &grid, client, &mut job),
            }
        }
        client.wait_within("over ", ROUND_TIME_MAX.saturating_sub(started.elapsed()));
        let time = started.elapsed();
        let wrong = Told::by(&client).wrong_outputs(calls);
        assert!(wrong.is_none(), "{wrong:?}; {done:?}; the scheduler's log:\n{}", grid.scheduler.log());
        (time, done)
    }
}

/// Kills a client as soon as the grid has its job, and lets another collect the results.
fn other_client(program: &Path, grid: &LocalGrid, client: Daemon, job: &mut Option<String>) -> Daemon {
    let id = job.get_or_insert_with(|| survivor::job_of(&client));
    client.kill();
    survivor::start(program, &grid.grid, Task::Results { job: id })
}
