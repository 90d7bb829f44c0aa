//! The scheduler's daemon: settings → telemetry → data → ports → serve → exit code.

mod config;

use std::net::SocketAddr;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use burla_daemon::config::{print, print_default, refuse};
use burla_daemon::folders::Folder;
use burla_daemon::http::{self, Readiness};
use burla_daemon::{logging, signals};
use burla_scheduler::{Components, Metrics, ServeConfig, Storage, serve};
use clap::Parser;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::config::{Config, DEFAULT_FILE, Settings};

fn main() -> ExitCode {
    let settings = Settings::parse();
    if settings.print_config {
        return print_default(DEFAULT_FILE);
    }
    let config = match prepare(settings) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    match runtime().and_then(|runtime| runtime.block_on(run(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Half the machine's CPUs. A message passes several tasks here, each of which has next to nothing to do: it costs less for one
/// thread to run them all than for each to wake another thread.
fn runtime() -> anyhow::Result<Runtime> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads((cpus / 2).max(1)).enable_all().build().context("cannot start threads")
}

fn prepare(settings: Settings) -> anyhow::Result<Config> {
    let config = settings.load()?;
    logging::init(config.log_format, Some(&config.log_filter))?;
    if let Some(warning) = &config.data_dir.warning {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let Config { listen, data_dir: Folder { path: data_dir, .. }, http, drain_time, client_grace, store, .. } = config;
    let metrics = Arc::new(Metrics::default());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let components = Components::open(&data_dir, Arc::clone(&metrics))
        .with_context(|| format!("cannot keep components in {}", data_dir.display()))?;
    let storage =
        Storage::in_folder(&data_dir, store).await.with_context(|| format!("cannot keep jobs in {}", data_dir.display()))?;
    let signal = signals::shutdown().context("cannot listen for signals")?;
    let listener = listen.bind().await.with_context(|| format!("cannot listen on {listen}"))?;
    let operators = match http {
        Some(address) => Some(http::bind(&address).await?),
        None => None,
    };

    announce(listener.local_addr()?)?;
    let (readiness, is_ready) = watch::channel(Readiness::Ready);
    let shutdown = async move {
        signal.await;
        readiness.send_replace(Readiness::NotReady("shutting down".to_owned()));
    };
    // Operators can look on until the last job has ended.
    let (serving, served) = oneshot::channel::<()>();
    let operators = operators.map(|listener| {
        tokio::spawn(http::serve(listener, is_ready, Arc::new(registry), async {
            let _ = served.await;
        }))
    });
    serve(listener, components, storage, ServeConfig { drain_time, client_grace }, metrics, shutdown).await?;
    drop(serving);
    if let Some(operators) = operators {
        operators.await?;
    }
    tracing::info!("shut down");
    Ok(())
}

/// Scripts that ask for any free port read on stdout which it is.
fn announce(address: SocketAddr) -> anyhow::Result<()> {
    print(&format!("listening on http://{address}\n"))?;
    tracing::info!(%address, "listening");
    Ok(())
}
