//! `cargo burla up`: a grid of this machine that stays until it is told to go.

use burla::local_grid::{AnnounceError, Announcement};
use burla_daemon::signals;
use burla_host::machine;
use burla_types::Resources;

use crate::cli::Up;
use crate::embedded::{EmbeddedGrid, Keeps};
use crate::error::CommandError;

pub(super) fn up(arguments: &Up) -> Result<(), CommandError> {
    let listen = arguments.listen.look_up().map_err(|error| CommandError::Grid(error.into()))?;
    if !listen.is_loopback() {
        let reason = "it is for programs of this machine; for others, start `burla-scheduler` and `burla-node`";
        return Err(CommandError::Grid(anyhow::anyhow!("refusing to listen on {listen}: {reason}")));
    }
    // Its data would be found to be in use, too, and that says less.
    if let Some(address) = burla::local_grid::find() {
        return Err(CommandError::Grid(AnnounceError::Running { address: Some(address) }.into()));
    }
    let detected = machine::capacity();
    let capacity = Resources {
        cpu_millis: arguments.cpus.map_or(detected.cpu_millis, |cpus| cpus.millis),
        memory_bytes: arguments.memory.map_or(detected.memory_bytes, |memory| memory.bytes),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Grid(error.into()))?;
    runtime.block_on(async {
        let shutdown = signals::shutdown().map_err(|error| CommandError::Grid(error.into()))?;
        let mut grid = EmbeddedGrid::start(listen, capacity, Keeps::Jobs).await.map_err(CommandError::Grid)?;
        let stayed = tokio::select! {
            stayed = stay(&mut grid, capacity) => stayed,
            () = shutdown => Ok(()),
        };
        // Nobody finds it any more.
        grid.stop().await;
        stayed.map_err(CommandError::Grid)
    })
}

/// Lets programs find the grid, for as long as it lives and this is polled.
async fn stay(grid: &mut EmbeddedGrid, capacity: Resources) -> anyhow::Result<()> {
    let url = grid.url().await?;
    let _announced = Announcement::new(&url)?;
    // Scripts read there where it is.
    burla_daemon::config::print(&format!("listening on {url}\n"))?;
    let cpus = capacity.cpu_millis as f64 / 1000.0;
    super::tell(&format!("a grid of {cpus} CPUs is up; programs on this machine find it; Ctrl-C ends it"));
    grid.ended().await
}
