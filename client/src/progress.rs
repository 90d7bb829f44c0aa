//! What a job tells people on stderr while it runs: a line that shows how far it is, and a last one that stays.
//!
//! The line is there only on a terminal. It goes away before anything else is written: what calls print, and whatever the program
//! itself writes between two results. Elsewhere, no control character is ever written.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

use crate::connection;

/// How often the line is drawn anew.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The time over which the rate of calls is measured: long enough to be steady, short enough to follow.
const RATE_TIME: Duration = Duration::from_secs(5);

/// The progress of one job.
pub(crate) struct Progress {
    show: Show,
    calls_done: AtomicU64,
    calls_failed: AtomicU64,
    state: Mutex<State>,
}

/// Where progress goes.
enum Show {
    /// Nowhere.
    Nothing,
    /// stderr, which is not a terminal: the last line only.
    LastLine,
    /// A terminal.
    Bar(ProgressBar),
}

#[derive(Debug)]
struct State {
    started: Instant,
    phase: Phase,
    total: Option<u64>,
    running: u64,
    nodes: u64,
    nodes_max: u64,
    waiting: Option<String>,
    /// When how many calls had ended, over the last [`RATE_TIME`].
    samples: VecDeque<(Instant, u64)>,
    program_has_terminal: bool,
    is_drawn: bool,
    drawing: Option<AbortHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Preparing,
    Uploading { bytes: usize },
    Running,
    Over,
}

impl Progress {
    /// Begins to show a job. `wanted` is the user's choice; without one, progress is shown on a terminal.
    pub(crate) fn start(wanted: Option<bool>) -> Arc<Self> {
        let is_terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let show = match (wanted, is_terminal) {
            (Some(false), _) | (None, false) => Show::Nothing,
            (Some(true), false) => Show::LastLine,
            (_, true) => Show::Bar(bar()),
        };
        let progress = Arc::new(Self::new(show));
        if let Show::Bar(_) = progress.show {
            let drawn = Arc::clone(&progress);
            let drawing = connection::runtime().spawn(async move {
                let mut ticks = tokio::time::interval(DRAW_INTERVAL);
                loop {
                    ticks.tick().await;
                    // A terminal may be stopped with Ctrl-S.
                    tokio::task::block_in_place(|| drawn.draw());
                }
            });
            progress.lock().drawing = Some(drawing.abort_handle());
        }
        progress
    }

    fn new(show: Show) -> Self {
        let state = State {
            started: Instant::now(),
            phase: Phase::Preparing,
            total: None,
            running: 0,
            nodes: 0,
            nodes_max: 0,
            waiting: None,
            samples: VecDeque::new(),
            program_has_terminal: false,
            is_drawn: false,
            drawing: None,
        };
        Self { show, calls_done: AtomicU64::new(0), calls_failed: AtomicU64::new(0), state: Mutex::new(state) }
    }

    pub(crate) fn set_total(&self, total: u64) {
        self.lock().total = Some(total);
    }

    pub(crate) fn uploading(&self, bytes: usize) {
        self.lock().phase = Phase::Uploading { bytes };
    }

    pub(crate) fn running(&self) {
        self.lock().phase = Phase::Running;
    }

    pub(crate) fn set_running(&self, running: u64, nodes: u64) {
        let mut state = self.lock();
        (state.running, state.nodes) = (running, nodes);
        state.nodes_max = state.nodes_max.max(nodes);
    }

    pub(crate) fn set_waiting(&self, reason: Option<String>) {
        self.lock().waiting = reason;
    }

    pub(crate) fn call_ended(&self, done: bool) {
        let count = if done { &self.calls_done } else { &self.calls_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that have ended, in any way.
    pub(crate) fn calls_ended(&self) -> u64 {
        self.calls_done.load(Ordering::Relaxed) + self.calls_failed.load(Ordering::Relaxed)
    }

    /// Whether people see here what the job waits for.
    pub(crate) fn is_shown(&self) -> bool {
        matches!(self.show, Show::Bar(_))
    }

    /// Writes something else to the terminal, above the line.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let Show::Bar(bar) = &self.show else { return write() };
        let state = self.lock();
        if state.is_drawn { bar.suspend(write) } else { write() }
    }

    /// The program goes on, and may write to the terminal; or it waits for the job again.
    pub(crate) fn program_has_terminal(&self, has: bool) {
        let Show::Bar(bar) = &self.show else { return };
        let mut state = self.lock();
        state.program_has_terminal = has;
        if has {
            state.clear(bar);
        }
    }

    /// Every call has ended.
    pub(crate) fn finished(&self) {
        self.end(|state, done, failed| finished_line(state, done, failed));
    }

    /// The job ended before that: it failed, or nobody wants the rest.
    pub(crate) fn stopped(&self) {
        self.end(|state, done, failed| stopped_line(state, done + failed));
    }

    #[expect(clippy::print_stderr, reason = "people are told on stderr")]
    fn end(&self, line: impl FnOnce(&State, u64, u64) -> String) {
        let mut state = self.lock();
        if state.phase == Phase::Over {
            return;
        }
        state.phase = Phase::Over;
        if let Some(drawing) = state.drawing.take() {
            drawing.abort();
        }
        match &self.show {
            Show::Nothing => return,
            Show::LastLine => {}
            Show::Bar(bar) => state.clear(bar),
        }
        eprintln!("burla: {}", line(&state, self.calls_done.load(Ordering::Relaxed), self.calls_failed.load(Ordering::Relaxed)));
    }

    fn draw(&self) {
        let Show::Bar(bar) = &self.show else { return };
        let ended = self.calls_ended();
        let mut state = self.lock();
        if state.phase == Phase::Over || state.program_has_terminal {
            return;
        }
        let rate = state.sample(Instant::now(), ended);
        if !state.is_drawn {
            bar.reset();
        }
        bar.set_message(progress_line(&state, ended, rate));
        bar.tick();
        state.is_drawn = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self, bar: &ProgressBar) {
        if std::mem::take(&mut self.is_drawn) {
            bar.finish_and_clear();
        }
    }

    /// Calls per second of late.
    fn sample(&mut self, now: Instant, ended: u64) -> f64 {
        self.samples.push_back((now, ended));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now - *at > RATE_TIME) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, ended));
        let elapsed = (now - since).as_secs_f64();
        if elapsed > 0.0 { (ended - before) as f64 / elapsed } else { 0.0 }
    }
}

fn bar() -> ProgressBar {
    // Cut to the terminal's width, whatever the width of its characters.
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

fn progress_line(state: &State, ended: u64, rate: f64) -> String {
    match state.phase {
        Phase::Preparing => return "preparing".to_owned(),
        Phase::Uploading { bytes } => return format!("uploading the component, {}", size(bytes)),
        Phase::Running | Phase::Over => {}
    }
    let mut line = match state.total {
        Some(total) => format!("{ended}/{total} done"),
        None => format!("{ended} done"),
    };
    if let Some(reason) = &state.waiting {
        line += &format!(", waiting: {reason}");
        return line;
    }
    line += &format!(", {} running on {}", state.running, nodes(state.nodes));
    if rate > 0.0 {
        line += &format!(", {}/s", number(rate));
        if let Some(total) = state.total {
            line += &format!(", {} left", time(Duration::from_secs_f64(total.saturating_sub(ended) as f64 / rate)));
        }
    }
    line
}

fn finished_line(state: &State, done: u64, failed: u64) -> String {
    let elapsed = state.started.elapsed();
    let calls = if failed == 0 { format!("{done} calls done") } else { format!("{done} calls done and {failed} failed") };
    let on = if state.nodes_max > 0 { format!(" on {}", nodes(state.nodes_max)) } else { String::new() };
    format!("{calls} in {}{on}", time(elapsed))
}

fn stopped_line(state: &State, ended: u64) -> String {
    let of = state.total.map_or(String::new(), |total| format!(" of {total}"));
    format!("stopped after {ended}{of} calls, {}", time(state.started.elapsed()))
}

fn nodes(nodes: u64) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

fn number(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

fn size(bytes: usize) -> String {
    let kilobytes = bytes as f64 / 1000.0;
    if kilobytes < 1000.0 { format!("{kilobytes:.0} KB") } else { format!("{:.1} MB", kilobytes / 1000.0) }
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..120 => format!("{} s", time.as_secs()),
        120..7200 => format!("{} min", time.as_secs() / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase) -> State {
        let progress = Progress::new(Show::Nothing);
        progress.set_total(1000);
        progress.set_running(8, 4);
        let mut state = progress.state.into_inner().unwrap();
        state.phase = phase;
        state
    }

    #[test]
    fn each_phase_has_its_line() {
        assert_eq!(progress_line(&state(Phase::Preparing), 0, 0.0), "preparing");
        assert_eq!(progress_line(&state(Phase::Uploading { bytes: 209_400 }), 0, 0.0), "uploading the component, 209 KB");
        let mut running = state(Phase::Running);
        assert_eq!(progress_line(&running, 0, 0.0), "0/1000 done, 8 running on 4 nodes");
        assert_eq!(progress_line(&running, 250, 12.5), "250/1000 done, 8 running on 4 nodes, 12/s, 60 s left");
        running.total = None;
        assert_eq!(progress_line(&running, 250, 2.5), "250 done, 8 running on 4 nodes, 2.5/s");
        running.waiting = Some("no node has joined".to_owned());
        assert_eq!(progress_line(&running, 250, 2.5), "250 done, waiting: no node has joined");
    }

    #[test]
    fn the_last_line_says_what_came_out() {
        assert!(finished_line(&state(Phase::Running), 1000, 0).starts_with("1000 calls done in 0."));
        assert!(finished_line(&state(Phase::Running), 997, 3).starts_with("997 calls done and 3 failed in 0."));
        assert!(stopped_line(&state(Phase::Running), 12).starts_with("stopped after 12 of 1000 calls, 0."));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut state, start) = (state(Phase::Running), Instant::now());
        state.sample(start, 0);
        assert!((state.sample(start + Duration::from_secs(2), 100) - 50.0).abs() < 1e-9);
        assert!(state.sample(start + Duration::from_secs(60), 100) < 2.0);
        assert!(state.sample(start + Duration::from_secs(61), 100) < 1e-9);
    }
}
