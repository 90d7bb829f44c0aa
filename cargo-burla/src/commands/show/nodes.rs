//! `cargo burla nodes`: once, or again and again until Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use burla::NodeInfo;

use super::table::{table, time};
use crate::cli::Nodes;
use crate::commands::{shown, tell, unprintable};
use crate::error::CommandError;

/// Clears the terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(in crate::commands) fn nodes(arguments: &Nodes) -> Result<(), CommandError> {
    let grid = super::grid(&arguments.show.grid)?;
    let nodes = grid.nodes().map_err(CommandError::Job)?;
    let Some(interval) = arguments.watch else {
        return crate::commands::print_text(&text(&nodes, arguments.show.json)?);
    };
    let mut view = View { redraws: io::stdout().is_terminal(), json: arguments.show.json, shown: None };
    let mut told = None;
    let mut nodes = Ok(nodes);
    loop {
        match nodes {
            Ok(nodes) => {
                told = None;
                if !view.show(&nodes, &mut io::stdout().lock())? {
                    return Ok(());
                }
            }
            // It may be back; each reason is told once.
            Err(error) => {
                let reason = burla_types::with_causes(&error);
                if told.as_ref() != Some(&reason) {
                    tell(&format!("{reason}; trying again every {} s", interval.as_secs_f64()));
                    told = Some(reason);
                }
            }
        }
        std::thread::sleep(interval);
        nodes = grid.nodes();
    }
}

/// What a watcher sees.
struct View {
    /// Stdout is a terminal: the last view is overwritten, and else only one that differs is added.
    redraws: bool,
    json: bool,
    /// What was shown last, but for what changes with time alone.
    shown: Option<String>,
}

impl View {
    /// Shows the nodes where there is something new; false when nobody looks any more.
    fn show(&mut self, nodes: &[NodeInfo], to: &mut impl Write) -> Result<bool, CommandError> {
        let content = text(&nodes.iter().map(without_time).collect::<Vec<_>>(), self.json)?;
        if !self.redraws && self.shown.as_ref() == Some(&content) {
            return Ok(true);
        }
        self.shown = Some(content);
        let clear = if self.redraws { CLEAR } else { "" };
        let text = format!("{clear}{}", shown(&text(nodes, self.json)?, self.redraws));
        match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).map_err(unprintable),
        }
    }
}

fn without_time(node: &NodeInfo) -> NodeInfo {
    let mut node = node.clone();
    node.joined_seconds_ago = 0.0;
    node
}

fn text(nodes: &[NodeInfo], json: bool) -> Result<String, CommandError> {
    if json {
        let text = serde_json::to_string_pretty(nodes).map_err(|error| unprintable(error.into()))?;
        return Ok(text + "\n");
    }
    let header = ["NODE", "VERSION", "CPUS", "TAKEN", "GIB", "TAKEN", "RUNNING", "UP", ""];
    Ok(table(&header, nodes.iter().map(row)))
}

fn row(node: &NodeInfo) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    vec![
        node.name.clone(),
        node.version.clone(),
        node.cpus.to_string(),
        node.cpus_taken.to_string(),
        gib(node.memory_bytes),
        gib(node.memory_bytes_taken),
        node.running.to_string(),
        time(node.joined_seconds_ago),
        if node.leaving { "leaving".to_owned() } else { String::new() },
    ]
}

/// The shortest and the longest pause between two looks: a scheduler is asked twice a second at most, and whoever gives more than
/// a day has mistaken the unit.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(24 * 60 * 60);

/// Reads how long a watcher waits between two looks.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).trim().parse();
    let interval = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval
        .filter(|interval| INTERVALS.contains(interval))
        .ok_or_else(|| "give 0.5 to 86400 seconds between two looks".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_redrawn_only_what_changed_is_added() {
        let mut view = View { redraws: false, json: true, shown: None };
        let mut written = Vec::new();
        assert!(view.show(&[], &mut written).unwrap());
        assert!(view.show(&[], &mut written).unwrap());
        assert_eq!(written, b"[]\n");
        let mut view = View { redraws: true, ..view };
        written.clear();
        assert!(view.show(&[], &mut written).unwrap());
        assert_eq!(written, b"\x1b[2J\x1b[H[]\n");
    }

    #[test]
    fn a_watcher_whose_reader_is_gone_ends() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(!View { redraws: false, json: false, shown: None }.show(&[], &mut Gone).unwrap());
    }

    #[test]
    fn intervals_have_bounds() {
        assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_interval("5s"), Ok(Duration::from_secs(5)));
        for text in ["0", "-1", "0.4", "86401", "x", "nan", "inf"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
