//! The node: joins a grid, and joins it again when the connection breaks.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use burla_types::{GridError, NodeId, Resources, with_causes};
use tokio::sync::watch;

use crate::executor::{Executor, ExecutorConfig};
use crate::jobs::Jobs;
use crate::machine;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::policy::Policy;
use crate::session::{self, SessionError};

/// The wait before a second try to reach the scheduler; each further wait is twice as long.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);

/// The longest wait between two tries: how long a grid may be without this node after its scheduler is back. A scheduler that has
/// started again waits about as long for its nodes, before it runs elsewhere what they had.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// How long calls go on without any scheduler. A scheduler that is restarted, moved or repaired in a hurry is back by then; after that,
/// what they compute is more likely to be of use to nobody.
const ORPHAN_TIME_MAX: Duration = Duration::from_secs(600);

/// How long a node that has ended its calls waits for the scheduler to hear of it.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);

/// How often the gauges of what calls hold are set, as often as anyone looks at them, and the machine's memory is looked at.
const HELD_OBSERVED_EVERY: Duration = Duration::from_secs(1);

/// Everything a node has to know before it starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The scheduler's address: `http://HOST:PORT`.
    pub scheduler_url: String,
    /// A name for people to recognize it by.
    pub name: String,
    /// What calls may have.
    pub capacity: Resources,
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Where calls' directories are made.
    pub sandbox_dir: PathBuf,
    /// Bytes that calls' files may take together.
    pub disk_bytes: u64,
    /// What jobs may ask for.
    pub policy: Policy,
    /// How long calls that run may go on after the shutdown was asked for.
    pub drain_time: Duration,
}

/// Why a node ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It could not be set up.
    #[error("cannot start the node with data in {data_dir} and sandboxes in {sandbox_dir}")]
    Start {
        /// [`NodeConfig::data_dir`].
        data_dir: PathBuf,
        /// [`NodeConfig::sandbox_dir`].
        sandbox_dir: PathBuf,
        /// What went wrong.
        source: anyhow::Error,
    },
    /// The scheduler will not have it, and trying again will not change that.
    #[error("the scheduler at {url} refused this node")]
    Refused {
        /// The scheduler's address.
        url: String,
        /// Why.
        source: GridError,
    },
}

/// Runs a node until `shutdown`. While the scheduler cannot be reached, it tries again, and logs why; calls that run go on for ten
/// minutes. `joined` becomes true while the node is part of the grid.
///
/// From the shutdown on it takes no more calls; those that run may go on for the drain time, and what is left then is handed back
/// to the grid.
pub async fn run(
    config: NodeConfig,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
    joined: watch::Sender<bool>,
) -> Result<(), NodeError> {
    machine::raise_descriptor_limit();
    let policy = Arc::new(config.policy.clone());
    let executor_config = ExecutorConfig {
        data_dir: config.data_dir.clone(),
        sandbox_dir: config.sandbox_dir.clone(),
        threads: machine::threads(),
        calls_max: machine::calls_max(config.capacity.cpu_millis),
        memory_bytes: config.capacity.memory_bytes,
        disk_bytes: config.disk_bytes,
        policy: Arc::clone(&policy),
    };
    let cannot_start =
        |source| NodeError::Start { data_dir: config.data_dir.clone(), sandbox_dir: config.sandbox_dir.clone(), source };
    let node = new_node_id().map_err(cannot_start)?;
    let executor = Executor::new(executor_config, Arc::clone(&metrics)).map_err(cannot_start)?;
    let outbound = Arc::new(Outbound::default());
    let executor = Arc::new(executor);
    let jobs = Jobs::new(config.name.clone(), policy, Arc::clone(&executor), Arc::clone(&outbound), Arc::clone(&metrics));
    let gauge = tokio::spawn(observe_held(Arc::clone(&executor), Arc::clone(&metrics)));

    let ended = work(&config, node, &jobs, &outbound, &metrics, shutdown, &joined).await;
    gauge.abort();
    jobs.stop_all();
    executor.shut_down().await;
    ended
}

/// Who the node is, in each of its sessions: a scheduler tells by it what a node that comes back has.
fn new_node_id() -> anyhow::Result<NodeId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("choosing the node's id")?;
    Ok(NodeId::from_bytes(bytes))
}

/// Works for the scheduler, in one session after another.
async fn work(
    config: &NodeConfig,
    node: NodeId,
    jobs: &Jobs,
    outbound: &Outbound,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
    joined: &watch::Sender<bool>,
) -> Result<(), NodeError> {
    tokio::pin!(shutdown);
    let mut reconnect = Reconnect::default();
    let mut alone_since = Instant::now();
    loop {
        let began = Instant::now();
        let session = session::run(config, node, jobs, outbound, joined);
        tokio::pin!(session);
        let ended = tokio::select! {
            ended = &mut session => ended,
            never = note_joined(joined, metrics) => match never {},
            () = &mut shutdown => {
                leave(config, node, jobs, outbound, joined, session).await;
                return Ok(());
            }
        };
        metrics.connected.set(0);
        if joined.send_replace(false) {
            alone_since = Instant::now();
            reconnect.joined_for(began.elapsed());
        }
        // Not by a timer, which might stop what a session that is just beginning has said that the node holds.
        if alone_since.elapsed() >= ORPHAN_TIME_MAX && jobs.stop_all() {
            tracing::warn!(alone_for = ?alone_since.elapsed(), "no scheduler for too long; stopped the calls that ran");
        }
        let delay = reconnect.next_delay(jitter());
        let (url, Err(error)) = (&config.scheduler_url, ended);
        if let SessionError::Refused(source) = error {
            if !matches!(source, GridError::ShuttingDown) {
                return Err(NodeError::Refused { url: url.clone(), source });
            }
            tracing::info!(%url, "the scheduler is shutting down; waiting for it to come back");
        } else {
            tracing::warn!(%url, error = %with_causes(&error), ?delay, "not connected to the scheduler; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = &mut shutdown => {
                leave(config, node, jobs, outbound, joined, std::future::ready(Err(SessionError::Closed))).await;
                return Ok(());
            }
        }
    }
}

/// The waits between tries to reach the scheduler.
#[derive(Debug, Default)]
struct Reconnect {
    /// The last wait, before chance made it shorter.
    delay: Duration,
    /// The next try is made at once.
    at_once: bool,
}

impl Reconnect {
    /// The node was part of the grid for this long. A connection that broke after a while is made again at once; one that breaks soon
    /// each time must not be.
    fn joined_for(&mut self, time: Duration) {
        *self = Self { delay: Duration::ZERO, at_once: time >= RECONNECT_DELAY_MAX };
    }

    /// How long to wait for the next try. `jitter` is from 0 to 1, and takes up to half of the wait away: the many nodes that lost
    /// the same scheduler at the same moment then do not come back at the same moment.
    fn next_delay(&mut self, jitter: f64) -> Duration {
        if std::mem::take(&mut self.at_once) {
            return Duration::ZERO;
        }
        self.delay = (self.delay * 2).clamp(RECONNECT_DELAY_MIN, RECONNECT_DELAY_MAX);
        self.delay.mul_f64(1.0 - jitter / 2.0)
    }
}

/// A number from 0 to 1, by chance; 0 where there is none to be had, which is no reason not to try.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)
}

/// Ends what is running, or hands it back, and says goodbye. A scheduler that goes away meanwhile is dialed again: what runs is not
/// thrown away for that, nor what has ended and is not acknowledged.
async fn leave(
    config: &NodeConfig,
    node: NodeId,
    jobs: &Jobs,
    outbound: &Outbound,
    joined: &watch::Sender<bool>,
    session: impl Future<Output = Result<Infallible, SessionError>>,
) {
    if !*joined.borrow() && jobs.is_idle() && outbound.is_empty() {
        // Nobody misses it.
        return;
    }
    let sessions = async {
        let mut reconnect = Reconnect::default();
        let mut ended = session.await;
        loop {
            let Err(error) = ended;
            joined.send_replace(false);
            match error {
                // It has heard everything.
                SessionError::Closed if outbound.is_closed() => return,
                SessionError::Refused(source) if !matches!(source, GridError::ShuttingDown) => return,
                error => tracing::warn!(error = %with_causes(&error), "lost the scheduler while leaving; trying again"),
            }
            tokio::time::sleep(reconnect.next_delay(jitter())).await;
            ended = session::run(config, node, jobs, outbound, joined).await;
        }
    };
    let goodbye = async {
        tracing::info!(drain_time = ?config.drain_time, "leaving the grid: waiting for the calls that run");
        if tokio::time::timeout(config.drain_time, jobs.drain()).await.is_err() {
            tracing::warn!("calls are still running; handing them back");
            jobs.hand_back().await;
        }
        outbound.close();
        // The session ends when the scheduler has heard everything.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::time::timeout(config.drain_time + FAREWELL_TIME_MAX, sessions) => {}
        () = goodbye => {}
    }
}

async fn note_joined(joined: &watch::Sender<bool>, metrics: &Metrics) -> Infallible {
    let mut joined = joined.subscribe();
    if joined.wait_for(|joined| *joined).await.is_ok() {
        metrics.connected.set(1);
        metrics.sessions.inc();
    }
    std::future::pending().await
}

async fn observe_held(executor: Arc<Executor>, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(HELD_OBSERVED_EVERY);
    loop {
        ticks.tick().await;
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.memory_held_bytes.set(gauge(executor.memory_held_bytes()));
        metrics.disk_held_bytes.set(gauge(executor.disk_held_bytes()));
        executor.ask_machine();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over() {
        let delays = |reconnect: &mut Reconnect, jitter: f64| {
            let delays: Vec<_> = (0..7).map(|_| reconnect.next_delay(jitter).as_millis()).collect();
            delays
        };
        let mut reconnect = Reconnect::default();
        assert_eq!(delays(&mut reconnect, 0.0), [100, 200, 400, 800, 1600, 2000, 2000]);
        reconnect.joined_for(RECONNECT_DELAY_MAX);
        assert_eq!(delays(&mut reconnect, 1.0), [0, 50, 100, 200, 400, 800, 1000]);
        reconnect.joined_for(RECONNECT_DELAY_MAX - Duration::from_millis(1));
        assert_eq!(delays(&mut reconnect, 0.5), [75, 150, 300, 600, 1200, 1500, 1500]);
    }

    #[test]
    fn chance_is_from_0_to_1_and_ids_differ() {
        assert!((0..1000).map(|_| jitter()).all(|jitter| (0.0..=1.0).contains(&jitter)));
        assert_ne!(new_node_id().unwrap(), new_node_id().unwrap());
    }
}
