//! The node's daemon: settings → telemetry → folders → port for operators → join the grid → exit code.

mod config;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use burla_blobs::make_private_dir;
use burla_daemon::config::{print_default, refuse};
use burla_daemon::http::{self, Readiness};
use burla_daemon::{logging, signals};
use burla_host::Metrics;
use clap::Parser;
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};

use crate::config::{Config, DEFAULT_FILE, Settings};

fn main() -> ExitCode {
    // A node starts its own binary to compile, which has to be known before there is a second thread.
    burla_host::compile_if_asked().unwrap_or_else(serve)
}

// Guests have threads of their own. What speaks with the scheduler and the operator is one connection after the other: on one thread no
// message is handed from one to the next. What takes long, such as linking a component, is done elsewhere.
#[tokio::main(worker_threads = 1)]
async fn serve() -> ExitCode {
    // On the worker, and not beside it as the main future is.
    match tokio::spawn(work()).await {
        Ok(code) => code,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn work() -> ExitCode {
    let settings = Settings::parse();
    if settings.print_config {
        return print_default(DEFAULT_FILE);
    }
    let config = match prepare(settings) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(settings: Settings) -> anyhow::Result<Config> {
    let config = settings.load()?;
    logging::init(config.log_format, Some(&config.log_filter))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let Config { node, http, .. } = config;
    for folder in [&node.data_dir, &node.sandbox_dir] {
        make_private_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let metrics = Arc::new(Metrics::default());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let signal = signals::shutdown().context("cannot listen for signals")?;
    let operators = match http {
        Some(address) => Some(http::bind(&address).await?),
        None => None,
    };

    let (joining, joined) = watch::channel(false);
    let (stopping, stops) = oneshot::channel();
    let shutdown = async move {
        signal.await;
        // Whoever follows is gone only when the node is, too.
        let _ = stopping.send(());
    };
    let (readiness, is_ready) = watch::channel(Readiness::NotReady("starting".to_owned()));
    let following = tokio::spawn(follow(joined, stops, readiness, node.scheduler_url.clone()));
    // Operators can look on until the last call has ended.
    let (running, ran) = oneshot::channel::<()>();
    let operators = operators.map(|listener| {
        tokio::spawn(http::serve(listener, is_ready, Arc::new(registry), async {
            let _ = ran.await;
        }))
    });
    burla_host::run(node, metrics, shutdown, joining).await?;
    drop(running);
    if let Some(operators) = operators {
        operators.await?;
    }
    following.await?;
    tracing::info!("shut down");
    Ok(())
}

/// Says whether the node is ready, which it is while it is part of the grid, until it is told to stop or has ended.
async fn follow(
    mut joined: watch::Receiver<bool>,
    mut stops: oneshot::Receiver<()>,
    readiness: watch::Sender<Readiness>,
    scheduler_url: String,
) {
    loop {
        readiness.send_replace(if *joined.borrow_and_update() {
            Readiness::Ready
        } else {
            Readiness::NotReady(format!("not connected to the scheduler at {scheduler_url}"))
        });
        tokio::select! {
            changed = joined.changed() => if changed.is_err() {
                return;
            },
            _ = &mut stops => {
                readiness.send_replace(Readiness::NotReady("shutting down".to_owned()));
                return;
            }
        }
    }
}
