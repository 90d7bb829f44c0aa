//! What a job tells people on stderr while it runs: a line that shows how far it is, and a last one that stays.
//!
//! The line is there only on a terminal. It goes away before anything else is written: what calls print, and whatever the program
//! itself writes between two results. Elsewhere, no control character is ever written. Of several jobs at one time, the first has
//! the line.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burla_types::text::truncated;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

use crate::connection;
use crate::terminal::neutralized;

/// How often the line is drawn anew, and how long after its start a job has none: one that is over by then needs none.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The time over which the rate of calls is measured: long enough to be steady, short enough to follow.
const RATE_TIME: Duration = Duration::from_secs(5);

/// Bytes that are shown of what a job waits for: it is a sentence, and a peer may send anything.
const REASON_BYTES_MAX: usize = 1 << 10;

/// The progress of one job.
pub(crate) struct Progress {
    show: Show,
    calls_done: AtomicU64,
    calls_failed: AtomicU64,
    state: Mutex<State>,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Show {
    Nothing,
    /// The last line only: stderr is not a terminal, or another job has the line.
    LastLine,
    /// The line as well.
    Line,
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
    drawing: Option<AbortHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Preparing,
    Uploading {
        bytes: usize,
    },
    /// The inputs of a detached job go to the grid, which has so many of them on its disk.
    Submitting {
        kept: u64,
    },
    Running,
    Over,
}

impl Progress {
    /// Begins to show a job. `wanted` is the user's choice; without one, progress is shown on a terminal.
    pub(crate) fn start(wanted: Option<bool>) -> Arc<Self> {
        let show = match (wanted, is_terminal()) {
            (Some(false), _) | (None, false) => Show::Nothing,
            (_, true) if Screen::claim() => Show::Line,
            (Some(true), _) | (None, true) => Show::LastLine,
        };
        let progress = Arc::new(Self::new(show));
        if show == Show::Line {
            let drawn = Arc::clone(&progress);
            let drawing = connection::runtime().spawn(async move {
                loop {
                    tokio::time::sleep(DRAW_INTERVAL).await;
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

    pub(crate) fn submitting(&self, kept: u64) {
        self.lock().phase = Phase::Submitting { kept };
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
        self.lock().waiting = reason.map(|reason| shown_reason(&reason));
    }

    pub(crate) fn call_ended(&self, done: bool) {
        let count = if done { &self.calls_done } else { &self.calls_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls have ended so far, where the grid counts them.
    pub(crate) fn set_ended(&self, done: u64, failed: u64) {
        self.calls_done.store(done, Ordering::Relaxed);
        self.calls_failed.store(failed, Ordering::Relaxed);
    }

    /// Calls that have ended, in any way.
    pub(crate) fn calls_ended(&self) -> u64 {
        self.calls_done.load(Ordering::Relaxed) + self.calls_failed.load(Ordering::Relaxed)
    }

    /// Whether people see in the line what the job waits for.
    pub(crate) fn has_line(&self) -> bool {
        self.show == Show::Line
    }

    /// Writes something else to the terminal, where the line may be.
    pub(crate) fn instead<T>(&self, write: impl FnOnce() -> T) -> T {
        let _kept_off = KeptOff::new();
        write()
    }

    /// The program goes on, and may write to the terminal; or it waits for the job again.
    pub(crate) fn program_has_terminal(&self, has: bool) {
        if self.show == Show::Line {
            Screen::lock().set_program_has_it(has);
        }
    }

    /// Every call has ended.
    pub(crate) fn finished(&self) {
        self.end(finished_line);
    }

    /// The job ended before that: it failed, or nobody wants the rest.
    pub(crate) fn stopped(&self) {
        self.end(|state, done, failed| stopped_line(state, done + failed));
    }

    /// A detached job is the grid's from now on.
    pub(crate) fn submitted(&self, inputs: u64) {
        self.end(|state, _, _| format!("the grid keeps the job and its {inputs} inputs, {}", time(state.started.elapsed())));
    }

    /// Nobody watches the job any more, and what became of it is no news.
    pub(crate) fn unwatched(&self) {
        self.end(|_, _, _| String::new());
    }

    fn end(&self, line: impl FnOnce(&State, u64, u64) -> String) {
        let (done, failed) = (self.calls_done.load(Ordering::Relaxed), self.calls_failed.load(Ordering::Relaxed));
        let mut state = self.lock();
        if std::mem::replace(&mut state.phase, Phase::Over) == Phase::Over {
            return;
        }
        if let Some(drawing) = state.drawing.take() {
            drawing.abort();
        }
        if self.show == Show::Nothing {
            return;
        }
        let line = line(&state, done, failed);
        drop(state);
        if self.show == Show::Line {
            Screen::lock().release();
        }
        if !line.is_empty() {
            self.instead(|| tell(&line));
        }
    }

    fn draw(&self) {
        let ended = self.calls_ended();
        let mut state = self.lock();
        if state.phase == Phase::Over {
            return;
        }
        let rate = state.sample(Instant::now(), ended);
        let line = progress_line(&state, ended, rate);
        drop(state);
        Screen::lock().draw(line);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a job waits for, as people are shown it: on one line, and without anything that their terminal would obey. It comes from
/// scheduler and nodes.
pub(crate) fn shown_reason(reason: &str) -> String {
    let line = neutralized(reason).replace(['\n', '\t'], " ");
    truncated(&line, REASON_BYTES_MAX).into_owned()
}

/// Tells people something on a line of its own. A stderr that is gone is nobody's to tell, and no reason to fail.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "burla: {line}");
}

/// Whether stderr is a terminal that can draw.
fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// The line on the terminal. There is one for the whole program.
struct Screen {
    /// There while a job has it.
    line: Option<ProgressBar>,
    is_drawn: bool,
    program_has_it: bool,
    /// Those that write something else at this moment.
    writers: usize,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen { line: None, is_drawn: false, program_has_it: false, writers: 0 });

impl Screen {
    /// Locks stderr first: whoever holds it in the program must not wait for someone who waits for it.
    fn lock() -> LockedScreen {
        let stderr = io::stderr().lock();
        LockedScreen { screen: SCREEN.lock().unwrap_or_else(PoisonError::into_inner), _stderr: stderr }
    }

    /// Takes the line for a job, if no other has it.
    fn claim() -> bool {
        let mut screen = Self::lock();
        let is_free = screen.line.is_none();
        if is_free {
            screen.line = Some(bar());
        }
        is_free
    }

    fn release(&mut self) {
        self.clear();
        self.line = None;
        self.program_has_it = false;
    }

    fn set_program_has_it(&mut self, has: bool) {
        self.program_has_it = has;
        if has {
            self.clear();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn)
            && let Some(line) = &self.line
        {
            line.finish_and_clear();
        }
    }

    fn draw(&mut self, text: String) {
        if self.program_has_it || self.writers > 0 {
            return;
        }
        let Some(line) = &self.line else { return };
        if !self.is_drawn {
            line.reset();
        }
        line.set_message(text);
        line.tick();
        self.is_drawn = true;
    }
}

struct LockedScreen {
    screen: MutexGuard<'static, Screen>,
    _stderr: io::StderrLock<'static>,
}

impl std::ops::Deref for LockedScreen {
    type Target = Screen;

    fn deref(&self) -> &Screen {
        &self.screen
    }
}

impl std::ops::DerefMut for LockedScreen {
    fn deref_mut(&mut self) -> &mut Screen {
        &mut self.screen
    }
}

/// Keeps the line off the terminal while something else is written. Nothing is locked meanwhile: what is written may be a
/// callback of the user's, and take its time.
struct KeptOff;

impl KeptOff {
    fn new() -> Self {
        let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
        screen.writers += 1;
        let must_clear = screen.is_drawn;
        drop(screen);
        if must_clear {
            Screen::lock().clear();
        }
        Self
    }
}

impl Drop for KeptOff {
    fn drop(&mut self) {
        SCREEN.lock().unwrap_or_else(PoisonError::into_inner).writers -= 1;
    }
}

fn bar() -> ProgressBar {
    // Cut to the terminal's width, whatever the width of its characters.
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

impl State {
    /// Calls per second of late.
    fn sample(&mut self, now: Instant, ended: u64) -> f64 {
        self.samples.push_back((now, ended));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now - *at > RATE_TIME) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, ended));
        let elapsed = (now - since).as_secs_f64();
        if elapsed > 0.0 { ended.saturating_sub(before) as f64 / elapsed } else { 0.0 }
    }
}

fn progress_line(state: &State, ended: u64, rate: f64) -> String {
    match state.phase {
        Phase::Preparing => return "preparing".to_owned(),
        Phase::Uploading { bytes } => return format!("uploading the component, {}", size(bytes)),
        Phase::Submitting { kept } => {
            let of = state.total.map_or(String::new(), |total| format!(" of {total}"));
            let waits = state.waiting.as_ref().map_or(String::new(), |reason| format!(", waiting: {reason}"));
            return format!("{kept}{of} inputs kept{waits}");
        }
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
        // Some iterators say that they have more than can ever be.
        let left = state.total.and_then(|total| Duration::try_from_secs_f64(total.saturating_sub(ended) as f64 / rate).ok());
        line += &left.map(|left| format!(", {} left", time(left))).unwrap_or_default();
    }
    line
}

fn finished_line(state: &State, done: u64, failed: u64) -> String {
    let calls = if failed == 0 { format!("{done} calls done") } else { format!("{done} calls done and {failed} failed") };
    let on = if state.nodes_max > 0 { format!(" on {}", nodes(state.nodes_max)) } else { String::new() };
    format!("{calls} in {}{on}", time(state.started.elapsed()))
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
        let mut submitting = state(Phase::Submitting { kept: 20 });
        assert_eq!(progress_line(&submitting, 0, 0.0), "20 of 1000 inputs kept");
        (submitting.total, submitting.waiting) = (None, Some("a scheduler".to_owned()));
        assert_eq!(progress_line(&submitting, 0, 0.0), "20 inputs kept, waiting: a scheduler");
        let mut running = state(Phase::Running);
        assert_eq!(progress_line(&running, 0, 0.0), "0/1000 done, 8 running on 4 nodes");
        assert_eq!(progress_line(&running, 250, 12.5), "250/1000 done, 8 running on 4 nodes, 12/s, 60 s left");
        running.total = Some(u64::MAX);
        assert!(progress_line(&running, 250, 0.1).ends_with("0.1/s"), "an iterator may claim anything");
        running.total = None;
        assert_eq!(progress_line(&running, 250, 2.5), "250 done, 8 running on 4 nodes, 2.5/s");
        running.waiting = Some("no node has joined".to_owned());
        assert_eq!(progress_line(&running, 250, 2.5), "250 done, waiting: no node has joined");
    }

    #[test]
    fn what_a_job_waits_for_is_shown_on_one_line_and_without_commands() {
        let progress = Progress::new(Show::Nothing);
        progress.running();
        progress.set_waiting(Some("no\r\nnode\tof \x1b[2J\u{9b}2J".to_owned()));
        assert_eq!(progress_line(&progress.lock(), 3, 0.0), "3 done, waiting: no node of ␛[2J\\u{9b}2J");
        // Letters that become longer on their way: what is shown counts.
        progress.set_waiting(Some("\u{9b}".repeat(REASON_BYTES_MAX)));
        let shown = progress.lock().waiting.clone().unwrap();
        assert!(shown.len() <= REASON_BYTES_MAX && shown.ends_with(" bytes more)"), "{shown}");
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
