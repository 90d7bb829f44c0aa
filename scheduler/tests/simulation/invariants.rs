//! What has to be so, after each step and at the end. `main.rs` says it in words.

use burla_proto::convert::CallReport;
use burla_scheduler::grid::event::{CallToRun, CallUpdate, JobSummary, NodeCommand};
use burla_types::{GridError, JobId, Outcome, Resources};

use crate::client::Client;
use crate::function;
use crate::messages::Told;
use crate::world::World;

/// How many times a call may lose its node, as in the grid.
const LOSSES_MAX: u32 = 3;

impl World {
    /// Something is not as it has to be: the run is over.
    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.trace(|| format!("VIOLATED: {what}"));
            self.violation = Some(what);
        }
    }

    fn client_of(&self, job: JobId) -> Option<&Client> {
        self.clients.iter().find(|client| client.job == job)
    }

    /// No slot is given twice, and no job has more than it may.
    pub(crate) fn check_step(&mut self) {
        let now = self.grid_time();
        let Some(life) = &self.life else { return };
        let overcommitted = life.grid.nodes(now).into_iter().find(|node| node.taken.cpu_millis > node.capacity.cpu_millis);
        let mut greedy = None;
        for job in life.grid.jobs(now) {
            let stopping = life.stopping.iter().filter(|(_, of, ..)| *of == job.id).count() as u64;
            let most = self.client_of(job.id).map_or(u64::MAX, |client| client.spec.parallelism_max);
            // One may begin in the place of one that is to stop, until what gives its slot up has arrived.
            let is_recalled = life.recalling.iter().any(|(_, of)| *of == job.id);
            if job.running.saturating_sub(stopping) > most && !is_recalled {
                greedy = Some((job, most));
            }
        }
        if let Some(node) = overcommitted {
            self.violated(|| format!("more is taken of a node than it has: {node:?}"));
        }
        if let Some((job, most)) = greedy {
            self.violated(|| format!("a job runs more than {most} calls: {job:?}"));
        }
    }

    /// What really runs on a node fits it.
    pub(crate) fn check_room(&mut self, node: usize) {
        let it = &self.nodes[node];
        let (mut cpu_millis, mut calls) = (0, 0);
        for (job, of) in &it.jobs {
            let cpu = self.client_of(*job).map_or(0, |client| client.spec.cpu_millis);
            cpu_millis += of.running.len() as u64 * cpu;
            calls += of.running.len() as u64;
        }
        if cpu_millis > it.spec.capacity.cpu_millis || calls > it.spec.calls_max {
            let capacity = it.spec.capacity;
            self.violated(|| format!("node {node} of {capacity:?} runs {calls} calls with {cpu_millis} CPU millis"));
        }
    }

    pub(crate) fn check_command(&mut self, command: &NodeCommand) {
        let NodeCommand::RunCalls(job, calls) = command else { return };
        let retries = self.client_of(*job).map_or(0, |client| client.spec.retries);
        let wrong = calls.iter().find(|call| call.losses >= LOSSES_MAX || call.failures > retries);
        if let Some(call) = wrong {
            self.violated(|| format!("{call:?} of {job} is run once more than it may"));
        }
    }

    pub(crate) fn check_start(&mut self, node: usize, job: JobId, call: &CallToRun) {
        self.ran.insert(job);
        if call.input != function::input(job, call.index) {
            self.violated(|| format!("call {} of {job} got the input of another", call.index));
        }
        let runs = self.nodes[node].jobs.get(&job).is_some_and(|of| {
            of.running.iter().any(|run| (run.index, run.attempt) == (call.index, call.attempt)) //
        });
        if runs {
            self.violated(|| format!("{:?} at call {} of {job} runs there already", call.attempt, call.index));
        }
    }

    /// The grid tells how each call ended once.
    pub(crate) fn check_told(&mut self, job: JobId, update: &CallUpdate) {
        let CallReport::Ended { usage, .. } = &update.report else { return };
        let Some(life) = &mut self.life else { return };
        *life.fuel.entry(job).or_default() += usage.fuel;
        if !life.told.entry(job).or_default().insert(update.index) {
            self.violated(|| format!("the grid told twice how call {} of {job} ended", update.index));
        }
    }

    pub(crate) fn check_summary(&mut self, job: JobId, result: &Result<JobSummary, GridError>) {
        let Ok(summary) = result else { return };
        let Some(life) = &self.life else { return };
        let told = life.told.get(&job).map_or(0, |told| told.len() as u64);
        let fuel = life.fuel.get(&job).copied().unwrap_or(0);
        if summary.calls != told {
            self.violated(|| format!("{job} ended with {} calls, and {told} were told", summary.calls));
        }
        // Tries that failed and were made again took something, too.
        if summary.usage.fuel < fuel || (summary.retried == 0 && summary.usage.fuel != fuel) {
            self.violated(|| format!("the calls of {job} took {fuel}, and it says {}", summary.usage.fuel));
        }
    }

    /// Lines are shown once, in order, and without a gap.
    pub(crate) fn check_lines(&mut self, client: usize, index: u64, stream: usize, first: u64, lines: &[u8]) {
        let job = self.clients[client].job;
        let shown = self.clients[client].shown.get(&index).copied().unwrap_or_default()[stream];
        let mut next = first;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if line != function::line(index, stream, next).as_bytes() {
                self.violated(|| format!("line {next} of stream {stream} of call {index} of {job} is not what it printed"));
            }
            next += 1;
        }
        if first < shown {
            self.violated(|| format!("line {first} of stream {stream} of call {index} of {job} was shown twice"));
        }
        if first > shown && !self.may_miss_lines(client) {
            self.violated(|| format!("lines {shown} to {first} of stream {stream} of call {index} of {job} were not shown"));
        }
        if self.clients[client].outcomes.contains_key(&index) {
            self.violated(|| format!("call {index} of {job} printed after its end"));
        }
        self.clients[client].shown.entry(index).or_default()[stream] = next;
    }

    /// Lines of an attached job that a scheduler had taken in and that its client had not been told are gone with the scheduler.
    fn may_miss_lines(&self, client: usize) -> bool {
        !self.clients[client].is_detached && self.lives > 1
    }

    pub(crate) fn check_outcome(&mut self, client: usize, index: u64, outcome: &Outcome) {
        let it = &self.clients[client];
        let job = it.job;
        let shown = it.shown.get(&index).copied().unwrap_or_default();
        if it.outcomes.contains_key(&index) {
            self.violated(|| format!("call {index} of {job} ended twice"));
        } else if index >= it.inputs {
            self.violated(|| format!("call {index} of {job} ended, which has no input"));
        }
        let printed = match outcome {
            Outcome::Done(output) => {
                if *output != function::output(&function::input(job, index)) {
                    self.violated(|| format!("the output of call {index} of {job} is another's"));
                }
                function::lines(job, index)
            }
            Outcome::Failed { message, .. } | Outcome::Panicked { message, .. } => {
                let mut counts = message.split(' ').filter_map(|count| count.parse().ok());
                [counts.next().unwrap_or(0), counts.next().unwrap_or(0)]
            }
            _ => [0; 2],
        };
        if (0..2).any(|stream| shown[stream] < printed[stream]) && !self.may_miss_lines(client) {
            self.violated(|| format!("call {index} of {job} printed {printed:?} lines, and {shown:?} were shown at its end"));
        }
    }

    /// Whoever follows a job sees the same in the same order.
    pub(crate) fn check_kept(&mut self, client: usize, what: usize, first: u64, updates: &[Told]) {
        let job = self.clients[client].job;
        let seen = self.seen.entry((job, what)).or_default();
        for (place, update) in (first as usize..).zip(updates) {
            match seen.get(place) {
                Some(before) if before != update => {
                    let (before, update) = (before.clone(), update.clone());
                    return self.violated(|| format!("event {place} of {job} was {before:?}, and is {update:?}"));
                }
                Some(_) => {}
                None => seen.push(update.clone()),
            }
        }
    }

    /// A job ends with all that it was to do, or because of something that is allowed to end it.
    pub(crate) fn check_end(&mut self, client: usize) {
        let it = &self.clients[client];
        let (job, outcomes, inputs) = (it.job, it.outcomes.len() as u64, it.inputs);
        match &it.end {
            Some(Ok(calls)) => {
                let all_counted = !it.is_detached || *calls == inputs;
                if outcomes != inputs || !all_counted {
                    let calls = *calls;
                    self.violated(|| format!("{job} ended with {outcomes} outcomes of {inputs} inputs, and counts {calls}"));
                }
            }
            Some(Err(GridError::Canceled)) if it.was_canceled => {}
            Some(Err(GridError::InvalidComponent { .. })) if self.troubles.contains(&job) => {}
            Some(Err(GridError::NoNodeFits { .. })) if !self.ran.contains(&job) => {}
            end => {
                let end = end.clone();
                self.violated(|| format!("{job} ended with {end:?}"));
            }
        }
    }

    /// What a node was told to forget about is on the disk.
    pub(crate) fn check_acknowledged(&mut self, kept: usize) {
        let early = self.acknowledged.iter().find(|(_, position)| **position > kept).map(|(node, _)| *node);
        if let Some(node) = early {
            self.violated(|| format!("{node} was told that something is kept which was not"));
        }
    }

    /// Whether nothing of any job is left anywhere.
    pub(crate) fn is_clean(&self) -> bool {
        let now = self.grid_time();
        let Some(life) = &self.life else { return false };
        let is_idle = |id| self.clients.iter().find(|client| client.job == id).is_none_or(Client::is_through);
        life.grid.nodes(now).iter().all(|node| node.taken == Resources::default() && node.running == 0)
            && life.grid.jobs(now).iter().all(|job| !is_idle(job.id))
            && self.nodes.iter().all(|node| node.jobs.values().all(|job| job.running.is_empty()))
    }
}
