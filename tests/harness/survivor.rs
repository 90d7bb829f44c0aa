//! A client in a process of its own, so that it can be killed and suspended: what it does, and how tests start it and read what it
//! says.
//!
//! It says on stdout, each line flushed: `opening` when its inputs are first asked for, `job ID` once the grid has a detached job,
//! `line INDEX TEXT` for what calls print, `result INDEX OUTPUT` for each output as it comes, and `over COUNT` at the end. Any error
//! goes to stderr, and its exit code is 1.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use burla::{Grid, Stdout, remote_parallel_map};
use burla_test_guests::behavior;

use crate::Daemon;

/// What a client is to do.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a> {
    /// Run an attached job of so many calls of `behavior::answers` that each sleep for so many milliseconds.
    Run { calls: u64, milliseconds: u64 },
    /// Give the same job to the grid, and end. Between inputs it pauses for so many microseconds.
    Submit { calls: u64, milliseconds: u64, pause_micros: u64 },
    /// Give the same job to the grid without pauses, and then collect its results.
    SubmitAndCollect { calls: u64, milliseconds: u64 },
    /// Collect the results of a detached job.
    Results { job: &'a str },
}

impl Task<'_> {
    fn arguments(self) -> Vec<String> {
        let (word, numbers) = match self {
            Self::Run { calls, milliseconds } => ("run", vec![calls, milliseconds]),
            Self::Submit { calls, milliseconds, pause_micros } => ("submit", vec![calls, milliseconds, pause_micros]),
            Self::SubmitAndCollect { calls, milliseconds } => ("submit-and-collect", vec![calls, milliseconds]),
            Self::Results { job } => return vec!["results".to_owned(), job.to_owned()],
        };
        std::iter::once(word.to_owned()).chain(numbers.iter().map(u64::to_string)).collect()
    }
}

/// Starts a client. `program` is one whose `main` is [`main`].
pub fn start(program: &Path, grid: &Grid, task: Task<'_>) -> Daemon {
    // Its component is found beside this program's, where the test guests are packaged.
    crate::guests();
    Daemon::start(Command::new(program).args(task.arguments()).env("BURLA_URL", grid.url()))
}

/// Waits until a client has said the id of its detached job.
pub fn job_of(client: &Daemon) -> String {
    let line = client.wait_for("job ");
    line.strip_prefix("job ").expect("nothing else has this word").to_owned()
}

/// What a client has said of its job.
#[derive(Debug, Default)]
pub struct Told {
    /// Outputs by index, with how often each was told.
    pub outputs: BTreeMap<u64, (String, usize)>,
    /// Lines of calls by index.
    pub lines: BTreeMap<u64, Vec<String>>,
}

impl Told {
    /// Reads what a client has said so far.
    pub fn by(client: &Daemon) -> Self {
        let mut told = Self::default();
        for line in client.log().lines() {
            let mut words = line.splitn(3, ' ');
            let (word, Some(Ok(index)), Some(rest)) = (words.next(), words.next().map(str::parse), words.next()) else {
                continue;
            };
            match word {
                Some("result") => told.outputs.entry(index).or_insert_with(|| (rest.to_owned(), 0)).1 += 1,
                Some("line") => told.lines.entry(index).or_default().push(rest.to_owned()),
                _ => {}
            }
        }
        told
    }

    /// What is not as it has to be at the end of a job of so many calls of `behavior::answers`: all outputs are there, once each,
    /// and right.
    pub fn wrong_outputs(&self, calls: u64) -> Option<String> {
        let wrong = (0..calls).find_map(|index| match self.outputs.get(&index) {
            None => Some(format!("result {index} is missing, {} of {calls} are there", self.outputs.len())),
            Some((_, times)) if *times != 1 => Some(format!("result {index} came {times} times")),
            Some((output, _)) if *output != behavior::answer(index).to_string() => Some(format!("result {index} is {output}")),
            Some(_) => None,
        });
        wrong.or_else(|| (self.outputs.len() as u64 > calls).then(|| format!("there are {} of {calls}", self.outputs.len())))
    }

    /// The same of its lines: each call has shown the one that it prints at its start, once.
    pub fn wrong_lines(&self, calls: u64) -> Option<String> {
        (0..calls).find_map(|index| match self.lines.get(&index).map(Vec::as_slice) {
            Some([line]) if *line == format!("start {index}") => None,
            lines => Some(format!("call {index} has shown {lines:?}")),
        })
    }
}

/// The client itself.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match run(&arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> burla::Result<()> {
    let number = |position: usize| arguments[position].parse::<u64>().expect("a number");
    match arguments[0].as_str() {
        "run" => {
            let job = remote_parallel_map(behavior::answers, inputs(number(1), number(2), 0)).stdout(lines()).spinner(false);
            let mut count = 0;
            for result in job.generator()?.indexed() {
                let (index, output) = result?;
                say(format_args!("result {index} {output}"));
                count += 1;
            }
            say(format_args!("over {count}"));
            Ok(())
        }
        "submit" => submit(number(1), number(2), number(3)).map(drop),
        "submit-and-collect" => collect(&submit(number(1), number(2), 0)?),
        "results" => collect(&burla::job(&arguments[1])?.spinner(false)),
        other => panic!("`{other}` is none of run, submit, submit-and-collect and results"),
    }
}

fn submit(calls: u64, milliseconds: u64, pause_micros: u64) -> burla::Result<burla::JobHandle<u64>> {
    let job = remote_parallel_map(behavior::answers, inputs(calls, milliseconds, pause_micros)).spinner(false).detach()?;
    say(format_args!("job {}", job.id()));
    Ok(job)
}

fn collect(job: &burla::JobHandle<u64>) -> burla::Result<()> {
    let mut count = 0;
    for end in job.outcomes() {
        let end = end?;
        match end.result {
            Ok(output) => say(format_args!("result {} {output}", end.index)),
            Err(error) => return Err(burla::Error::Call(Box::new(error))),
        }
        count += 1;
    }
    say(format_args!("over {count}"));
    Ok(())
}

/// The pause is not there to wait for something: it is what a source of inputs takes that is slower than the grid.
fn inputs(calls: u64, milliseconds: u64, pause_micros: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..calls).map(move |number| {
        if number == 0 {
            say(format_args!("opening"));
        }
        if pause_micros > 0 {
            std::thread::sleep(Duration::from_micros(pause_micros));
        }
        (number, milliseconds)
    })
}

fn lines() -> Stdout {
    Stdout::to(|index, _, line| say(format_args!("line {index} {line}")))
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    // Whoever reads it has gone.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
