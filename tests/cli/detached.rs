//! Detached jobs from a shell: `map --detach`, `wait`, `results`, `logs`, `job`, `jobs --ended` and `cancel`.

use std::process::{Command, Output, Stdio};

use burla_tests::{Daemon, LocalGrid, ended, output, root, status, until};
use serde_json::{Value, json};

use super::map::{fed, map, map_command};
use super::{assert_exit, command, stderr, stdout};

/// A verb of `cargo burla` about what is on this grid.
pub(super) fn on(grid: &LocalGrid, arguments: &[&str]) -> Command {
    let mut command = command(root(), arguments);
    command.env("BURLA_URL", grid.grid.url());
    command
}

pub(super) fn told(grid: &LocalGrid, arguments: &[&str]) -> Output {
    output(&mut on(grid, arguments))
}

/// What it prints, when it has worked.
#[track_caller]
pub(super) fn printed(grid: &LocalGrid, arguments: &[&str]) -> String {
    let output = told(grid, arguments);
    assert_exit(&output, 0);
    stdout(&output)
}

/// Gives a job to the grid, and returns its id.
#[track_caller]
pub(super) fn detached(grid: &LocalGrid, arguments: &[&str], lines: &str) -> String {
    let output = map(grid, &[arguments, &["--detach"]].concat(), lines);
    assert_exit(&output, 0);
    let id = stdout(&output);
    assert!(stderr(&output).contains(&format!("cargo burla results {}", id.trim())), "{}", stderr(&output));
    id.trim().to_owned()
}

fn lines_of(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_detached_job_is_waited_for_and_collected_by_its_id() {
    let grid = LocalGrid::start(1);
    let inputs: String = (0..500).map(|number| format!("{number}\n")).collect();
    let id = detached(&grid, &["doubles", "--name", "nightly"], &inputs);
    assert_eq!(printed(&grid, &["wait", &id]), "");
    let outputs: String = (0..500).map(|number| format!("{}\n", number * 2)).collect();
    // As often as wanted, and by the beginning of its id.
    assert_eq!(printed(&grid, &["results", &id]), outputs);
    assert_eq!(printed(&grid, &["results", &id[..8]]), outputs);
    let indexed = printed(&grid, &["results", &id, "--indexed", "--as-finished"]);
    let mut indexed: Vec<_> = indexed.lines().map(parsed).collect();
    indexed.sort_by_key(|line| line["index"].as_u64());
    assert_eq!(indexed, (0..500).map(|index| json!({ "index": index, "output": index * 2 })).collect::<Vec<_>>());

    assert_eq!(parsed(&printed(&grid, &["jobs", "--json"])), json!([]));
    let history = parsed(&printed(&grid, &["jobs", "--ended", "--json"]));
    let job = parsed(&printed(&grid, &["job", &id, "--json"]));
    assert_eq!((&history[0]["id"], &history[0]["name"]), (&job["id"], &json!("nightly")));
    let expected = json!({
        "id": id, "name": "nightly", "state": "finished", "detached": true, "expired": false, "calls_ended": 500,
        "calls_failed": 0, "failures": {}, "inputs": 500, "inputs_closed": true, "nodes": ["node-0"],
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(job[field], *value, "{field}");
    }
    assert!(job["fuel"].as_u64().unwrap() > 500 && job["ended_seconds_ago"].is_number(), "{job}");
    let shown = printed(&grid, &["job", &id]);
    for row in [["state", "finished"], ["results", "kept by the grid"], ["slot", "1 CPUs"], ["nodes", "node-0"]] {
        assert!(shown.lines().any(|line| line.starts_with(row[0]) && line.ends_with(row[1])), "no {row:?} in\n{shown}");
    }

    // Whoever reads no more has what it wanted.
    let mut results = on(&grid, &["results", &id]).stdout(Stdio::piped()).spawn().unwrap();
    drop(results.stdout.take());
    assert_eq!(status(&mut results, "`results` without a reader has ended").code(), Some(0));
}

#[test]
fn what_a_detached_job_printed_is_shown_on_the_streams_it_was_printed_to() {
    let grid = LocalGrid::start(1);
    let id = detached(&grid, &["prints_to_both"], "7\n8\n9\n");
    let logs = told(&grid, &["logs", &id, "--follow"]);
    assert_exit(&logs, 0);
    assert_eq!(lines_of(&stdout(&logs)), ["out 7", "out 8", "out 9"]);
    assert_eq!(lines_of(&stderr(&logs)), ["err 7", "err 8", "err 9"]);
    let logs = told(&grid, &["logs", &id, "--prefix"]);
    assert_exit(&logs, 0);
    assert_eq!(lines_of(&stdout(&logs)), ["[0] out 7", "[1] out 8", "[2] out 9"]);
    assert_eq!(lines_of(&stderr(&logs)), ["[0] err 7", "[1] err 8", "[2] err 9"]);
}

#[test]
fn results_and_logs_follow_a_job_that_runs_also_when_its_scheduler_is_started_again() {
    let mut grid = LocalGrid::start(1);
    let inputs: String = (0..60).map(|number| format!("[{number}, 100]\n")).collect();
    let id = detached(&grid, &["behavior::answers"], &inputs);
    let results = Daemon::start(&mut on(&grid, &["results", &id, "--as-finished"]));
    let logs = Daemon::start(&mut on(&grid, &["logs", &id, "--follow"]));
    logs.wait_for("start ");
    grid.restart_scheduler(&[]);
    assert_exit(&told(&grid, &["wait", &id]), 0);
    let (mut results, mut logs) = (results, logs);
    assert!(results.has_ended_well() && logs.has_ended_well(), "{}{}", results.log(), logs.log());
    let starts: Vec<_> = (0..60).map(|number| format!("start {number}")).collect();
    let mut expected: Vec<_> = starts.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(lines_of(&logs.log()), expected);
    let answers: Vec<_> = (0..60).map(|number| burla_test_guests::behavior::answer(number).to_string()).collect();
    let mut expected: Vec<_> = answers.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(lines_of(&results.log()), expected);
}

#[test]
fn how_a_job_ended_is_in_the_exit_code() {
    let grid = LocalGrid::start(1);
    let failing = detached(&grid, &["fails_plainly"], "1\n2\n");
    assert_exit(&told(&grid, &["wait", &failing]), 15);
    assert_exit(&told(&grid, &["results", &failing]), 15);
    let all = told(&grid, &["results", &failing, "--keep-going", "--indexed"]);
    assert_exit(&all, 15);
    let mut errors: Vec<_> = stdout(&all).lines().map(|line| parsed(line)["error"]["message"].clone()).collect();
    errors.sort_by_key(ToString::to_string);
    assert_eq!(errors, [json!("plain error 1"), json!("plain error 2")]);
    assert_eq!(parsed(&printed(&grid, &["job", &failing, "--json"]))["failures"], json!({ "failed": 2 }));

    let endless = detached(&grid, &["sleeps_or_fails"], "false\n");
    assert_exit(&told(&grid, &["wait", &endless, "--timeout", "0.2"]), 18);
    assert_eq!(printed(&grid, &["logs", &endless]), "");
    assert_exit(&told(&grid, &["cancel", &endless]), 0);
    assert_exit(&told(&grid, &["wait", &endless]), 130);
    assert_exit(&told(&grid, &["results", &endless]), 130);
    let again = told(&grid, &["cancel", &endless]);
    assert_exit(&again, 17);
    assert!(stderr(&again).contains(&format!("job {endless} is over: canceled")), "{}", stderr(&again));

    // What an attached job returned went to its program.
    assert_exit(&map(&grid, &["doubles", "--name", "attached"], "1\n"), 0);
    let history = parsed(&printed(&grid, &["jobs", "--ended", "--json"]));
    let attached = history.as_array().unwrap().iter().find(|job| job["name"] == "attached").unwrap()["id"].clone();
    let none = told(&grid, &["results", attached.as_str().unwrap()]);
    assert_exit(&none, 17);
    assert!(stderr(&none).contains("--detach"), "{}", stderr(&none));
    assert_exit(&told(&grid, &["wait", attached.as_str().unwrap()]), 0);
    let mut running = map_command(&grid, &["sleeps_or_fails", "--name", "running"]);
    let running = fed(&mut running, "false\n");
    let open = || parsed(&printed(&grid, &["jobs", "--json"]));
    until("it runs", || open()[0]["running"] == json!(1));
    let id = open()[0]["id"].as_str().unwrap().to_owned();
    let timed_out = told(&grid, &["wait", &id, "--timeout", "2"]);
    assert_exit(&timed_out, 18);
    assert!(!stderr(&timed_out).contains("connection"), "{}", stderr(&timed_out));
    assert_exit(&told(&grid, &["cancel", &id]), 0);
    assert_exit(&told(&grid, &["wait", &id]), 130);
    assert_exit(&ended(running, "the canceled job has ended"), 130);
    for verb in ["job", "wait", "results", "logs", "cancel"] {
        let unknown = told(&grid, &[verb, "00000000-0000-7000-8000-000000000000"]);
        assert_exit(&unknown, 17);
        let text = format!("no job 00000000000070008000000000000000 on the grid at {}", grid.grid.url());
        assert!(stderr(&unknown).contains(&text), "{verb}: {}", stderr(&unknown));
    }
}

#[test]
fn a_line_that_is_no_input_cancels_what_was_submitted_or_is_left_out() {
    let grid = LocalGrid::start(1);
    let refused = map(&grid, &["doubles", "--detach"], "1\n2\nthree\n4\n");
    assert_exit(&refused, 16);
    assert_eq!(stdout(&refused), "");
    assert!(stderr(&refused).contains("line 3"), "{}", stderr(&refused));
    let history = parsed(&printed(&grid, &["jobs", "--ended", "--json"]));
    assert!(history.as_array().unwrap().iter().all(|job| job["state"] == "canceled"), "{history}");

    let kept = map(&grid, &["doubles", "--detach", "--keep-going"], "1\n2\nthree\n4\n");
    assert_exit(&kept, 16);
    assert_eq!(printed(&grid, &["results", stdout(&kept).trim()]), "2\n4\n8\n");
}
