//! The node: joins a grid, and joins it again when the connection breaks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burla_types::{GridError, Resources, with_causes};
use tokio::sync::watch;

use crate::executor::Executor;
use crate::jobs::Jobs;
use crate::machine;
use crate::outbound::Outbound;
use crate::session::{self, SessionError};

/// The wait before a second try to reach the scheduler; each further wait is twice as long.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);

/// The longest wait between two tries: how long a grid may be without this node after its scheduler is back.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);

/// Everything a node has to know before it starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The scheduler's address: `http://HOST:PORT`.
    pub scheduler_url: String,
    /// A name for people to recognise it by.
    pub name: String,
    /// What calls may have.
    pub capacity: Resources,
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Where calls' directories are made.
    pub sandbox_dir: PathBuf,
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

/// Runs a node until `shutdown`. While the scheduler cannot be reached, it tries again, and logs why. `joined` becomes true while
/// the node is part of the grid.
pub async fn run(config: NodeConfig, shutdown: impl Future<Output = ()>, joined: watch::Sender<bool>) -> Result<(), NodeError> {
    machine::raise_descriptor_limit();
    let executor = Executor::new(&config.data_dir, &config.sandbox_dir, machine::threads()).map_err(|source| {
        NodeError::Start { data_dir: config.data_dir.clone(), sandbox_dir: config.sandbox_dir.clone(), source }
    })?;
    let outbound = Arc::new(Outbound::default());
    let executor = Arc::new(executor);
    let jobs = Jobs::new(Arc::clone(&executor), Arc::clone(&outbound));

    tokio::pin!(shutdown);
    let mut delay = RECONNECT_DELAY_MIN;
    loop {
        let ended = tokio::select! {
            ended = session::run(&config, &jobs, &outbound, &joined) => ended,
            () = &mut shutdown => break,
        };
        if joined.send_replace(false) {
            delay = RECONNECT_DELAY_MIN;
        }
        jobs.stop_all();
        outbound.clear();
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
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(RECONNECT_DELAY_MAX),
            () = &mut shutdown => break,
        }
    }
    jobs.stop_all();
    executor.shut_down().await;
    Ok(())
}
