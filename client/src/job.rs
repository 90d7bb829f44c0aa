//! A running job as messages: opens it, passes inputs on, shows what calls print, and passes outcomes back. Knows no user types.
//!
//! Nothing of the job is on a disk. When the connection breaks, the job is opened again under its id on another (`opening.rs`): a
//! scheduler that still has it goes on where it was, and one that does not is given what has not ended (`input_buffer.rs`).
//!
//! This is an edge file: generated types stop here.

mod opening;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport};
use burla_proto::v1::{self, map_response::Response};
use burla_types::{GridError, JobId, Outcome, Usage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use self::opening::{Again, Line, Opening};
use crate::backoff::is_break;
use crate::component::Component;
use crate::input_buffer::InputReceiver;
use crate::interrupt::Interrupt;
use crate::opening::new_job_id;
use crate::options::CheckedOptions;
use crate::overview::malformed;
use crate::progress::{self, Progress};
use crate::{CanceledBy, Error, Result, Stdout, connection};

/// How long a job waits before it says what for. Shorter waits are not worth a line.
const WAITING_NOTICE_DELAY: Duration = Duration::from_secs(1);

/// Bytes of outcomes that may wait for the user to take them. A single one may be larger, and then waits alone.
const OUTCOME_BYTES_MAX: usize = 16 << 20;

/// Bytes that a permit of the semaphore over them stands for, since it counts in 32 bits.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// How long a job that nobody wants any more waits for the scheduler to say that it is over. The program may exit right after,
/// and where the scheduler has only seen the connection close, it keeps the job for a grace time. Enough for a round trip to
/// another continent and back, and little to wait for at the end of a program.
pub(crate) const ABANDON_TIME_MAX: Duration = Duration::from_millis(100);

/// How long it is then waited for that the scheduler answers to another request, which says the same.
pub(crate) const CANCEL_TIME_MAX: Duration = Duration::from_millis(500);

/// Call events, and their bytes, after which the scheduler is told that the client has them. It keeps them until then: few enough
/// for its memory, and many enough that to tell costs nothing beside them.
const TAKEN_EVENTS: u64 = 1 << 10;
const TAKEN_BYTES: usize = 256 << 10;

/// After how long it is told of fewer. Longer than a small job takes, which needs to tell nothing: its end says it.
const TAKEN_DELAY: Duration = Duration::from_millis(50);

/// Calls that ended, and the room they take.
pub(crate) struct EndedBatch {
    pub(crate) ended: Vec<Ended>,
    _room: OwnedSemaphorePermit,
}

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
    pub(crate) stderr_tail: String,
    pub(crate) usage: Usage,
}

/// What to run, and how.
pub(crate) struct Job {
    pub(crate) function: String,
    pub(crate) component: Component,
    pub(crate) options: CheckedOptions,
    pub(crate) progress: Arc<Progress>,
    /// For how long a connection that broke is tried to be replaced; [`RECONNECT_TIME_MAX`](crate::backoff::RECONNECT_TIME_MAX).
    pub(crate) reconnect_time_max: Duration,
}

impl Job {
    /// Runs the job to its end. Ends early with a Ctrl-C, or when `unwanted` says or is dropped; then the scheduler is told that
    /// the job is over, if there is a connection to tell it by.
    pub(crate) async fn run(
        self,
        inputs: InputReceiver,
        outcomes: mpsc::Sender<EndedBatch>,
        interrupt: Interrupt,
        unwanted: oneshot::Receiver<v1::Abandon>,
    ) -> Result<()> {
        let progress = Arc::clone(&self.progress);
        let (id, url) = (new_job_id(), self.options.url.clone());
        let canceled = |by| Err(Error::JobCanceled { by, calls_ended: progress.calls_ended() });
        let is_connected = AtomicBool::new(false);
        let mut running = pin!(self.run_uninterrupted(id, &inputs, outcomes, &is_connected));
        let why = tokio::select! {
            ended = &mut running => return match ended {
                Err(Error::Grid(GridError::Canceled)) => canceled(CanceledBy::Operator),
                ended => ended,
            },
            () = interrupt.pressed() => v1::Abandon { canceled: true, ..v1::Abandon::default() },
            why = unwanted => why.unwrap_or_default(),
        };
        let canceled = canceled(CanceledBy::CtrlC);
        inputs.abandon(why.clone());
        // It takes no notice any more of what comes, but the end.
        if is_connected.load(Ordering::Relaxed) && tokio::time::timeout(ABANDON_TIME_MAX, running).await.is_err() {
            // That the job is not wanted stands behind inputs for which the scheduler has no room, so it is said by another way.
            let canceling = tokio::spawn(connection::cancel(url, id, Some(why)));
            let _ = tokio::time::timeout(CANCEL_TIME_MAX, canceling).await;
        }
        canceled
    }

    async fn run_uninterrupted(
        self,
        id: JobId,
        inputs: &InputReceiver,
        outcomes: mpsc::Sender<EndedBatch>,
        is_connected: &AtomicBool,
    ) -> Result<()> {
        let open =
            v1::OpenJob { job_id: convert::job_id_bytes(id), ..self.options.open_job(&self.function, self.component.digest) };
        let Self { component, options: CheckedOptions { url, stdout, .. }, progress, reconnect_time_max, .. } = self;
        let shown_progress = Arc::clone(&progress);
        let mut opening = Opening::new(url, open, component, inputs, progress, is_connected, reconnect_time_max);
        let mut line = opening.first().await?;
        shown_progress.running();
        let room = Arc::new(Semaphore::new(OUTCOME_BYTES_MAX / BYTES_PER_PERMIT));
        let mut events = Events {
            inputs,
            stdout,
            progress: shown_progress,
            notice: Notice::default(),
            outcomes,
            room,
            taken: Taken::default(),
        };
        loop {
            // Both directions at once: a grid that has no room for more inputs may have outcomes to get rid of first. Inputs end
            // when the iterator does; the job ends when the scheduler says so, and only then.
            match events.receive(&mut line, &mut opening).await {
                Ok(()) => {
                    if !inputs.is_abandoned() {
                        line.connection.keep();
                    }
                    return Ok(());
                }
                // Nothing is missing but the word that it is over.
                Err(broke) if is_break(&broke) && inputs.all_ended() => return Ok(()),
                Err(broke) if is_break(&broke) => {
                    // A scheduler that ends waits for its connections to do so.
                    drop(line);
                    line = match events.reconnect(broke, &mut opening).await {
                        Ok(again) => again,
                        Err(_) if inputs.all_ended() => return Ok(()),
                        Err(error) => return Err(error),
                    };
                }
                Err(error) => {
                    // The scheduler's own errors have ended the stream; with one of ours, it has to be told.
                    inputs.abandon(v1::Abandon { error: burla_types::with_causes(&error), canceled: false });
                    let _ = tokio::time::timeout(ABANDON_TIME_MAX, to_the_end(&mut line.responses)).await;
                    return Err(error);
                }
            }
        }
    }
}

/// Takes what still comes, and drops it.
async fn to_the_end(responses: &mut Streaming<v1::MapResponse>) {
    while let Ok(Some(_)) = responses.message().await {}
}

/// What comes back from the scheduler, and what becomes of it.
struct Events<'a> {
    inputs: &'a InputReceiver,
    stdout: Stdout,
    progress: Arc<Progress>,
    notice: Notice,
    outcomes: mpsc::Sender<EndedBatch>,
    room: Arc<Semaphore>,
    taken: Taken,
}

impl Events<'_> {
    /// Receives until the scheduler says that the job is over.
    async fn receive(&mut self, line: &mut Line, opening: &mut Opening<'_>) -> Result<()> {
        loop {
            let message = tokio::select! {
                message = line.responses.message() => message,
                () = self.notice.due() => {
                    // Stderr may be full, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    tokio::task::block_in_place(|| self.notice.show());
                    continue;
                }
                () = self.taken.due() => {
                    self.inputs.report_taken(self.taken.report());
                    continue;
                }
            };
            let Some(message) = message.map_err(|status| line.connection.error(status))? else {
                if self.inputs.all_ended() || self.inputs.is_abandoned() {
                    return Ok(());
                }
                // Something between us and the scheduler has ended the stream.
                return Err(line.connection.error(Status::unavailable("the stream ended before the job did")));
            };
            if self.inputs.is_abandoned() {
                continue;
            }
            if !matches!(message.response, Some(Response::Opened(_))) {
                opening.went_on(line);
            }
            match message.response {
                Some(Response::Events(events)) => {
                    self.notice.told = None;
                    self.take(events).await?;
                }
                Some(Response::Waiting(waiting)) => {
                    let reason = (!waiting.reason.is_empty()).then_some(waiting.reason);
                    if reason.is_none() {
                        self.notice.told = None;
                    }
                    self.set_waiting(reason);
                }
                Some(Response::Progress(progress)) => self.progress.set_running(progress.running, progress.nodes),
                Some(Response::NodeLost(lost)) => self.tell_lost(&lost),
                Some(Response::Opened(opened)) => tracing::debug!(job = ?opened.job_id, "job opened"),
                None => {}
            }
        }
    }

    /// Opens the job again on another connection, and says meanwhile that it does.
    async fn reconnect(&mut self, broke: Error, opening: &mut Opening<'_>) -> Result<Line> {
        if !self.progress.has_line() {
            self.notice.set(Some(opening.broke_text(&broke)));
        }
        let taken = self.taken.events;
        let (line, again) = {
            let mut reopening = pin!(opening.again(broke, taken));
            loop {
                tokio::select! {
                    opened = &mut reopening => break opened?,
                    () = self.notice.due() => tokio::task::block_in_place(|| self.notice.show()),
                }
            }
        };
        // What the scheduler was told in opening counts as reported.
        self.taken = Taken { events: if again == Again::Resumed { taken } else { 0 }, ..Taken::default() };
        self.set_waiting(None);
        self.progress.running();
        Ok(line)
    }

    /// Says that a node was lost, on a line of its own: what it costs is time, and nothing else tells why.
    fn tell_lost(&self, lost: &v1::NodeLost) {
        let text = node_lost_text(lost);
        tokio::task::block_in_place(|| self.progress.instead(|| progress::tell(&text)));
    }

    fn set_waiting(&mut self, reason: Option<String>) {
        self.progress.set_waiting(reason.clone());
        if !self.progress.has_line() {
            self.notice.set(reason);
        }
    }

    /// Shows what was printed, and hands on what ended, as soon as there is room for it.
    async fn take(&mut self, events: v1::CallEvents) -> Result<()> {
        let (ended, bytes) = self.handle(events)?;
        if self.taken.is_much() {
            self.inputs.report_taken(self.taken.report());
        }
        if ended.is_empty() {
            return Ok(());
        }
        // Not taking them off the connection is what holds the grid back.
        let permits = bytes.min(OUTCOME_BYTES_MAX) / BYTES_PER_PERMIT;
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        // Nobody closes the semaphore; but the user may have dropped the job, and then nobody wants the rest.
        let handed_on = match Arc::clone(&self.room).acquire_many_owned(permits).await {
            Ok(room) => self.outcomes.send(EndedBatch { ended, _room: room }).await.is_ok(),
            Err(_) => false,
        };
        if !handed_on {
            self.inputs.abandon(v1::Abandon::default());
        }
        Ok(())
    }

    /// Shows what was printed, in order, and keeps what ended, with the bytes of that.
    fn handle(&mut self, events: v1::CallEvents) -> Result<(Vec<Ended>, usize)> {
        let (mut ended, mut bytes) = (Vec::with_capacity(events.events.len()), 0);
        for event in events.events {
            let index = event.index;
            let report = convert::call_report(event).map_err(malformed)?;
            let held_bytes = report.held_bytes();
            self.taken.add(report.wire_bytes());
            match report {
                CallReport::Printed { stream, first_line, lines } => {
                    let newlines = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                    if !self.inputs.shown(index, stream, first_line.saturating_add(newlines)) {
                        tracing::warn!(index, "dropped lines of a call that has ended");
                        continue;
                    }
                    // A terminal may be slow, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    let stdout = &mut self.stdout;
                    let show = || stdout.show(index, stream, &lines);
                    tokio::task::block_in_place(|| self.progress.instead(show)).map_err(Error::Print)?;
                }
                CallReport::Ended { outcome, stderr_tail, usage } => {
                    if !self.inputs.ended(index) {
                        tracing::warn!(index, "dropped another outcome of a call that has ended");
                        continue;
                    }
                    self.progress.call_ended(matches!(outcome, Outcome::Done(_)));
                    ended.push(Ended { index, outcome, stderr_tail, usage });
                    bytes += held_bytes;
                }
            }
        }
        Ok((ended, bytes))
    }
}

fn node_lost_text(v1::NodeLost { name, calls }: &v1::NodeLost) -> String {
    let calls = if *calls == 1 { "1 call runs".to_owned() } else { format!("{calls} calls run") };
    format!("node {} was lost; its {calls} again", progress::shown_reason(name))
}

/// How many call events the client has, as far as the scheduler that it speaks with counts them.
#[derive(Default)]
struct Taken {
    events: u64,
    /// Those that the scheduler has not been told of.
    unreported: u64,
    unreported_bytes: usize,
    /// When it is told of them at the latest, however few there are.
    due: Option<Instant>,
}

impl Taken {
    fn add(&mut self, bytes: usize) {
        self.events += 1;
        self.unreported += 1;
        self.unreported_bytes += bytes;
        if self.due.is_none() {
            self.due = Some(Instant::now() + TAKEN_DELAY);
        }
    }

    fn is_much(&self) -> bool {
        self.unreported >= TAKEN_EVENTS || self.unreported_bytes >= TAKEN_BYTES
    }

    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn report(&mut self) -> u64 {
        *self = Self { events: self.events, ..Self::default() };
        self.events
    }
}

/// What the job waits for, and when to say so.
#[derive(Default)]
struct Notice {
    waiting: Option<(Instant, String)>,
    /// What was told last, which need not be told again each time that a connection is tried.
    told: Option<String>,
}

impl Notice {
    fn set(&mut self, reason: Option<String>) {
        let due = || Instant::now() + WAITING_NOTICE_DELAY;
        let reason = reason.map(|reason| progress::shown_reason(&reason)).filter(|reason| self.told.as_ref() != Some(reason));
        self.waiting = reason.map(|reason| (due(), reason));
    }

    async fn due(&self) {
        match &self.waiting {
            Some((due, _)) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    fn show(&mut self) {
        if let Some((_, reason)) = self.waiting.take() {
            progress::tell(&format!("the job waits: {reason}"));
            self.told = Some(reason);
        }
    }
}
