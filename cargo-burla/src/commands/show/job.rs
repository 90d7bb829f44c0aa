//! `cargo burla job`: all that is known of a job, in rows.

use burla::{JobInfo, JobOptions};

use super::jobs::short_id;
use super::table::time;

/// All that is known of a job, as names and values.
pub(super) fn job_rows(job: &JobInfo) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("job", job.id.to_string()),
        ("short id", short_id(job.id)),
        ("name", job.name.clone()),
        ("function", job.function.clone()),
        ("state", job.state.to_string()),
    ];
    rows.extend(job.error.iter().map(|error| ("because", error.clone())));
    rows.extend(job.waiting.iter().map(|reason| ("waits for", reason.clone())));
    rows.push(("opened", format!("{} ago", time(job.opened_seconds_ago))));
    if let Some(ago) = job.ended_seconds_ago {
        rows.push(("over since", time(ago)));
        rows.push(("ran for", time(job.opened_seconds_ago - ago)));
    }
    let kept = match (job.detached, job.expired) {
        (false, _) => "attached: its program has them",
        (true, false) => "kept by the grid",
        (true, true) => "not kept any more",
    };
    rows.push(("results", kept.to_owned()));
    rows.push(("inputs", format!("{}{}", job.inputs, if job.inputs_closed { "" } else { ", more may come" })));
    rows.push(("ended", format!("{} calls, {} run", job.calls_ended, job.running)));
    let kinds: Vec<_> = job.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let failed =
        if kinds.is_empty() { job.calls_failed.to_string() } else { format!("{}: {}", job.calls_failed, kinds.join(", ")) };
    rows.push(("failed", failed));
    rows.push(("run again", format!("{} that failed, {} that were lost or late", job.retried, job.requeued)));
    let reserved = if job.memory_bytes > 0 { format!(", {} reserved", size(job.memory_bytes)) } else { String::new() };
    rows.push(("slot", format!("{} CPUs{reserved}", job.cpus)));
    rows.push(("took", format!("{:.3} s and {} units of fuel", job.call_seconds, job.fuel)));
    rows.push(("memory", format!("{} at most", size(job.memory_bytes_peak))));
    rows.push(("files", format!("{} written", size(job.disk_bytes_written))));
    rows.push(("nodes", if job.nodes.is_empty() { "none yet".to_owned() } else { job.nodes.join(", ") }));
    rows.extend(job.options.iter().flat_map(option_rows));
    rows
}

/// What a job was opened with, as far as it was given.
fn option_rows(options: &JobOptions) -> Vec<(&'static str, String)> {
    let mut rows = vec![("func_cpu", options.func_cpu.to_string())];
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    let given = [
        ("component", options.component.clone()),
        ("func_ram", options.func_ram.map(|gib| format!("{gib} GiB"))),
        ("parallelism", options.max_parallelism.map(|calls| calls.to_string())),
        ("retries", (options.retries > 0).then(|| options.retries.to_string())),
        ("", options.retry_exceeded.then(|| "also of calls that exceed a limit".to_owned())),
        ("retry pause", options.retry_pause_seconds.map(|seconds| format!("{seconds} s at first"))),
        ("", options.retry_pause_max_seconds.map(|seconds| format!("{seconds} s at most"))),
        ("timeout", options.timeout_seconds.map(|seconds| format!("{seconds} s"))),
        ("fuel", options.fuel.map(|units| units.to_string())),
        ("disk", options.disk.map(|gib| format!("{gib} GiB"))),
        ("environment", listed(&options.env)),
        ("network", listed(&options.allow_network)),
        ("prints", (!options.wants_output).then(|| "discarded".to_owned())),
    ];
    rows.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    rows
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
