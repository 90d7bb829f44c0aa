//! The node's daemon: arguments → telemetry → configuration → join the grid → exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use burla_host::{NodeConfig, machine, run};
use burla_types::Resources;
use clap::Parser;
use etcetera::BaseStrategy;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Runs the calls of a Burla grid on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The scheduler to work for.
    #[arg(long, env = "BURLA_URL", value_name = "URL")]
    scheduler: String,

    /// Work for a scheduler on another machine, though nothing is encrypted and this node runs whatever it is sent.
    #[arg(long)]
    insecure: bool,

    /// A name for people to recognise it by. Default: the machine's.
    #[arg(long, env = "BURLA_NODE_NAME")]
    name: Option<String>,

    /// CPUs that calls may have together. Default: those of this machine.
    #[arg(long, env = "BURLA_NODE_CPUS", value_parser = parse_cpus)]
    cpus: Option<u64>,

    /// GiB of memory that calls may have together. Default: 80 % of this machine's, or of its control group's.
    #[arg(long, env = "BURLA_NODE_MEMORY", value_parser = parse_gib, value_name = "GIB")]
    memory: Option<u64>,

    /// Where compiled components are kept. Default: burla/node in the user's cache directory.
    #[arg(long, env = "BURLA_NODE_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Where calls' directories are made. Default: the system's directory for temporary files.
    #[arg(long, env = "BURLA_NODE_SANDBOX_DIR")]
    sandbox_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder().with_env_var("BURLA_LOG").with_default_directive(tracing::Level::INFO.into());
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr).init();
    match start(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(arguments: Arguments) -> anyhow::Result<()> {
    let config = config(arguments)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    };
    run(config, shutdown, watch::Sender::new(false)).await?;
    tracing::info!("shut down");
    Ok(())
}

fn config(arguments: Arguments) -> anyhow::Result<NodeConfig> {
    let url = arguments.scheduler;
    let host = host_of(&url)
        .with_context(|| format!("`{url}` is not the address of a scheduler: it looks like http://127.0.0.1:8420"))?;
    anyhow::ensure!(
        is_loopback(host) || arguments.insecure,
        "refusing to work for {url}: it is on another machine, and this version neither encrypts nor checks who it is; pass --insecure if \
         you trust it and the network between"
    );
    let detected = machine::capacity();
    let data_dir = match arguments.data_dir {
        Some(data_dir) => data_dir,
        None => etcetera::choose_base_strategy()
            .context("cannot tell the user's cache directory: pass --data-dir")?
            .cache_dir()
            .join("burla/node"),
    };
    Ok(NodeConfig {
        name: arguments.name.unwrap_or_else(machine::name),
        capacity: Resources {
            cpu_millis: arguments.cpus.unwrap_or(detected.cpu_millis),
            memory_bytes: arguments.memory.unwrap_or(detected.memory_bytes),
        },
        data_dir,
        sandbox_dir: arguments.sandbox_dir.unwrap_or_else(std::env::temp_dir),
        scheduler_url: url,
    })
}

/// The host of `http://HOST:PORT`.
fn host_of(url: &str) -> Option<&str> {
    let (host, port) = url.strip_prefix("http://")?.trim_end_matches('/').rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    (!host.is_empty()).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn parse_cpus(text: &str) -> Result<u64, String> {
    positive(text).map(|cpus| (cpus * 1000.0) as u64).ok_or_else(|| "give a number of CPUs above 0, such as 4 or 0.5".to_owned())
}

fn parse_gib(text: &str) -> Result<u64, String> {
    positive(text).map(|gib| (gib * f64::from(1 << 30)) as u64).ok_or_else(|| "give GiB above 0, such as 16 or 0.5".to_owned())
}

/// What a machine can have of anything: above nothing, and below what is surely a slip of the keyboard.
fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number| *number > 0.0 && *number <= 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_elsewhere_needs_insecure() {
        let config = |url: &str, insecure: &[&str]| {
            let arguments = ["burla-node", "--scheduler", url, "--data-dir", "/nowhere"];
            let arguments = arguments.iter().chain(insecure);
            super::config(Arguments::parse_from(arguments))
        };
        for here in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1/"] {
            assert!(config(here, &[]).is_ok(), "{here}");
        }
        assert!(config("http://10.0.0.1:1", &[]).unwrap_err().to_string().contains("--insecure"));
        assert!(config("http://10.0.0.1:1", &["--insecure"]).is_ok());
        for wrong in ["127.0.0.1:1", "http://:1", "http://host", "https://127.0.0.1:1"] {
            assert!(config(wrong, &[]).unwrap_err().to_string().contains("not the address"), "{wrong}");
        }
    }

    #[test]
    fn capacities_are_checked() {
        assert_eq!(parse_cpus("0.5"), Ok(500));
        assert_eq!(parse_gib("2"), Ok(2 << 30));
        for wrong in ["0", "-1", "NaN", "inf", "many"] {
            assert!(parse_cpus(wrong).is_err() && parse_gib(wrong).is_err(), "{wrong}");
        }
    }
}
