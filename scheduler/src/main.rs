//! The scheduler's daemon: arguments → telemetry → data → port → serve → exit code.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use burla_scheduler::{Components, serve};
use clap::Parser;
use etcetera::BaseStrategy;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Decides which node of a Burla grid runs which call.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The address on which clients and nodes reach it; port 0 takes any free one.
    #[arg(long, env = "BURLA_SCHEDULER_LISTEN", default_value = "127.0.0.1:8420")]
    listen: SocketAddr,

    /// Listen on an address that other machines can reach, though nothing is encrypted and anyone who reaches it may run code.
    #[arg(long)]
    insecure: bool,

    /// Where components are kept. Default: burla/scheduler in the user's data directory.
    #[arg(long, env = "BURLA_SCHEDULER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder().with_env_var("BURLA_LOG").with_default_directive(tracing::Level::INFO.into());
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let listen = arguments.listen;
    anyhow::ensure!(
        listen.ip().is_loopback() || arguments.insecure,
        "refusing to listen on {listen}: other machines could reach it, and this version neither encrypts nor asks who they are; listen on \
         127.0.0.1, or pass --insecure if everyone who can reach it may run code on the grid"
    );
    let data_dir = match arguments.data_dir {
        Some(data_dir) => data_dir,
        None => etcetera::choose_base_strategy()
            .context("cannot tell the user's data directory: pass --data-dir")?
            .data_dir()
            .join("burla/scheduler"),
    };
    let components = Components::open(&data_dir).with_context(|| format!("cannot keep components in {}", data_dir.display()))?;
    let mut terminated = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    announce(listener.local_addr()?);
    let shutdown = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    };
    serve(listener, components, shutdown).await?;
    tracing::info!("shut down");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "scripts that ask for any free port read here which it is")]
fn announce(address: SocketAddr) {
    println!("listening on http://{address}");
    tracing::info!(%address, "listening");
}
