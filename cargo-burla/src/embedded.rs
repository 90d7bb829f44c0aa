//! A grid of this machine alone, inside this process: the same scheduler and the same node as the daemons, on a loopback port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use burla_daemon::folders::{self, Folder};
use burla_daemon::listen::Listen;
use burla_host::{Authorities, NetworkPolicy, NodeConfig, Policy, machine};
use burla_scheduler::{Components, ServeConfig, Storage, StoreConfig};
use burla_types::{DISK_BYTES_MAX, Resources};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Any free port of this machine.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long an embedded grid waits for jobs when its program has ended. They are being abandoned at that moment.
const DRAIN_TIME: Duration = Duration::from_millis(200);

/// How long an attached job goes on without its client, as with `burla-scheduler`.
const CLIENT_GRACE: Duration = Duration::from_secs(60);

/// What is kept of detached jobs, as with `burla-scheduler`.
const KEPT: StoreConfig = StoreConfig {
    retention: Duration::from_secs(7 * 24 * 3600),
    bytes_max: 10 << 30,
    history_jobs_max: 1000,
    skip_damaged: false,
};

/// Whether what a grid is told to keep outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// It ends with a program, and takes no detached jobs.
    Nothing,
    /// The next one goes on with its jobs. There is one at a time.
    Jobs,
}

/// A running grid. It ends when it is dropped with the runtime it runs on.
pub(crate) struct EmbeddedGrid {
    url: String,
    joined: watch::Receiver<bool>,
    scheduler: JoinHandle<anyhow::Result<()>>,
    node: JoinHandle<anyhow::Result<()>>,
    stop_scheduler: watch::Sender<bool>,
    stop_node: watch::Sender<bool>,
}

impl EmbeddedGrid {
    /// Starts a grid whose scheduler listens on an address of this machine and whose node gives this much to calls.
    pub(crate) async fn start(listen: impl Into<Listen>, capacity: Resources, keeps: Keeps) -> anyhow::Result<Self> {
        let folder = cache_dir()?;
        let scheduler_metrics = Arc::default();
        let components = Components::open(&folder, Arc::clone(&scheduler_metrics))
            .with_context(|| format!("cannot keep components in {}", folder.display()))?;
        let storage = match keeps {
            Keeps::Nothing => Storage::in_memory(KEPT).await?,
            Keeps::Jobs => {
                let folder = data_dir()?;
                let opened = Storage::in_folder(&folder, KEPT).await;
                opened.with_context(|| format!("cannot keep jobs in {}", folder.display()))?
            }
        };
        let listen = listen.into();
        let listener = listen.bind().await.with_context(|| format!("cannot listen on {listen}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop_scheduler, scheduler_stops) = watch::channel(false);
        let (stop_node, node_stops) = watch::channel(false);
        let until = |mut stop: watch::Receiver<bool>| async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let scheduler = burla_scheduler::serve(
            listener,
            components,
            storage,
            ServeConfig { drain_time: DRAIN_TIME, client_grace: CLIENT_GRACE },
            scheduler_metrics,
            until(scheduler_stops),
        );
        let sandbox_dir = std::env::temp_dir();
        let config = NodeConfig {
            scheduler_url: url.clone(),
            name: "embedded".to_owned(),
            capacity,
            data_dir: folder,
            disk_bytes: machine::disk_for_calls(&sandbox_dir),
            sandbox_dir,
            policy: policy(),
            drain_time: DRAIN_TIME,
        };
        let (joining, joined) = watch::channel(false);
        let node = burla_host::run(config, Arc::default(), until(node_stops), joining);
        Ok(Self {
            url,
            joined,
            scheduler: tokio::spawn(async { Ok(scheduler.await?) }),
            node: tokio::spawn(async { Ok(node.await?) }),
            stop_scheduler,
            stop_node,
        })
    }

    /// Where it is, once its node has joined.
    pub(crate) async fn url(&mut self) -> anyhow::Result<String> {
        tokio::select! {
            joined = self.joined.wait_for(|joined| *joined) => {
                if joined.is_ok() {
                    return Ok(self.url.clone());
                }
            }
            ended = &mut self.scheduler => ended??,
        }
        // The sender is gone, so the node has ended, and says why.
        (&mut self.node).await??;
        anyhow::bail!("the embedded grid ended before it began")
    }

    /// Waits for what should not happen: that a part of it ends by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            ended = &mut self.scheduler => ended,
            ended = &mut self.node => ended,
        };
        ended??;
        anyhow::bail!("a part of the grid ended by itself")
    }

    /// Ends it, and waits until what its calls left behind is gone. The node goes first: it would miss its scheduler.
    pub(crate) async fn stop(self) {
        for (stop, part) in [(self.stop_node, self.node), (self.stop_scheduler, self.scheduler)] {
            stop.send_replace(true);
            if part.is_finished() {
                // Who waited for it has heard how it ended.
                continue;
            }
            if let Err(error) = part.await.map_err(anyhow::Error::from).and_then(|ended| ended) {
                tracing::warn!("the embedded grid ended badly: {error:#}");
            }
        }
    }
}

/// What the jobs of this machine's own user may ask for. Addresses of the machine itself are private to them, too: granted by name
/// or number, calls may reach a server that the user runs beside.
fn policy() -> Policy {
    let loopback = ["127.0.0.0/8", "::1/128"].map(|range| range.parse().expect("it is a range"));
    let network = NetworkPolicy { private: loopback.to_vec(), authorities: authorities(), ..NetworkPolicy::default() };
    Policy { network: Arc::new(network), disk_bytes_max: DISK_BYTES_MAX }
}

/// Mozilla's certificate authorities, and those of the file that many programs take from this variable, such as a
/// company's own. Most jobs need none of them, so that a file of no use is no reason not to run.
fn authorities() -> Authorities {
    const VARIABLE: &str = "SSL_CERT_FILE";
    let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Authorities::default();
    };
    Authorities::read(&path).unwrap_or_else(|error| {
        tracing::warn!("ignoring {VARIABLE}: {}", burla_types::with_causes(&error));
        Authorities::default()
    })
}

/// Detached jobs stay here.
fn data_dir() -> anyhow::Result<PathBuf> {
    Ok(told(folders::data_dir("burla/up", "HOME or XDG_DATA_HOME, or detached jobs are lost with them")?))
}

/// Compiled components stay here from run to run. Several grids may use it at the same time.
fn cache_dir() -> anyhow::Result<PathBuf> {
    Ok(told(folders::cache_dir("burla/embedded", "HOME or XDG_CACHE_HOME")?))
}

/// The folder, whose user is told when it is not where it should be.
fn told(folder: Folder) -> PathBuf {
    if let Some(warning) = folder.warning {
        tracing::warn!("{warning}");
    }
    folder.path
}
