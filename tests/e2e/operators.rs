//! What operators and their tools see: configuration, health, metrics, nodes and jobs.

use std::process::Command;

use burla::{CanceledBy, Error, remote_parallel_map};
use burla_test_guests::{behavior, failing, typed};
use burla_tests::{Daemon, LocalGrid, binary, http_get, joined, output, until};

#[test]
fn the_configuration_file_that_is_printed_is_one() {
    let folder = tempfile::tempdir().unwrap();
    for (daemon, arguments, ready) in [
        ("burla-scheduler", &["--listen", "127.0.0.1:0"][..], "listening on"),
        ("burla-node", &["--scheduler", "http://127.0.0.1:1"], "not connected"),
    ] {
        let printed = output(Command::new(binary(daemon)).arg("--print-config"));
        assert!(printed.status.success());
        let file = folder.path().join(daemon);
        std::fs::write(&file, &printed.stdout).unwrap();
        let mut command = Command::new(binary(daemon));
        command.args(arguments).arg("--config").arg(&file).arg("--data-dir").arg(folder.path());
        Daemon::start(&mut command).wait_for(ready);

        std::fs::write(&file, "drain-secnds = 5\n").unwrap();
        let refused = output(&mut command);
        assert!(!refused.status.success());
        let log = String::from_utf8(refused.stderr).unwrap();
        assert!(log.contains("drain-secnds") && log.contains(file.to_str().unwrap()), "{log}");
    }
}

#[test]
fn a_ledger_that_cannot_be_used_is_named_and_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.redb");
    let refused = |text: &str| {
        let mut command = Command::new(binary("burla-scheduler"));
        let output = output(command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(text) && log.contains(file.to_str().unwrap()), "{log}");
    };
    std::fs::write(&file, "a letter to a friend").unwrap();
    refused("is not a ledger; move it away");
    assert_eq!(std::fs::read(&file).unwrap(), b"a letter to a friend");
    std::fs::remove_file(&file).unwrap();
    let grid = LocalGrid::in_folder(tempfile::tempdir().unwrap(), &[]);
    let mut second = Command::new(binary("burla-scheduler"));
    let second = output(second.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(grid.data()));
    let log = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && log.contains("is in use by another process"), "{log}");
}

#[test]
fn health_and_metrics_are_told_by_both_daemons() {
    let mut grid = LocalGrid::without_nodes_with(&["--http", "127.0.0.1:0"]);
    burla_tests::guests();
    grid.add_node(&["--cpus", "2", "--http", "127.0.0.1:0"]);
    let address = |daemon: &Daemon| {
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains("health and metrics on http://")).expect("it says where").to_owned();
        line.rsplit("http://").next().unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let fates = remote_parallel_map(behavior::prints_and_may_fail, 0..10).grid(&grid.grid).try_run().unwrap();
    assert_eq!(fates.iter().filter(|fate| fate.is_err()).count(), 1);
    let (scheduler, node) = (address(&grid.scheduler), address(&grid.nodes[0]));
    for daemon in [&scheduler, &node] {
        assert_eq!(http_get(daemon, "/healthz").0, 200);
        assert_eq!(http_get(daemon, "/readyz").0, 200);
        assert_eq!(http_get(daemon, "/nothing").0, 404);
    }
    let has = |daemon: &str, lines: &[&str]| {
        let (status, text) = http_get(daemon, "/metrics");
        assert_eq!(status, 200);
        for line in lines {
            assert!(text.lines().any(|told| told == *line), "no `{line}` in\n{text}");
        }
    };
    has(
        &scheduler,
        &[
            "burla_scheduler_nodes 1",
            "burla_scheduler_cpus 2.0",
            "burla_scheduler_jobs 0",
            "burla_scheduler_inputs_total 10",
            "burla_scheduler_calls_ended_total{result=\"done\"} 9",
            "burla_scheduler_calls_ended_total{result=\"failed\"} 1",
            "burla_scheduler_jobs_ended_total{result=\"finished\"} 1",
        ],
    );
    has(
        &node,
        &[
            "burla_node_connected 1",
            "burla_node_calls_ended_total{outcome=\"done\"} 9",
            "burla_node_calls_ended_total{outcome=\"failed\"} 1",
            "burla_node_calls_running 0",
        ],
    );
    // A node without its scheduler is alive and not ready.
    let LocalGrid { scheduler, nodes, .. } = grid;
    scheduler.kill();
    nodes[0].wait_for("trying again");
    until("it is not ready", || http_get(&node, "/readyz").0 == 503);
    assert_eq!(http_get(&node, "/healthz").0, 200);
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("burla-scheduler"));
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"]).arg(folder.path());
    let daemon = Daemon::start(&mut command);
    let line = daemon.wait_for("\"message\":\"listening\"");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "INFO");
}

#[test]
fn nodes_and_jobs_are_listed_and_jobs_canceled() {
    let grid = LocalGrid::start(2);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || {
        remote_parallel_map(failing::sleeps_or_fails, vec![false; 10]).name("a long one").grid(&on).run()
    });
    until("all slots are taken", || grid.grid.nodes().unwrap().iter().all(|node| node.running == 2));
    until("all inputs are there", || grid.grid.jobs().unwrap()[0].inputs_closed);
    let nodes = grid.grid.nodes().unwrap();
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node-0", "node-1"]);
    assert!(nodes.iter().all(|node| (node.cpus, node.cpus_taken) == (2.0, 2.0)), "{nodes:?}");
    let jobs = grid.grid.jobs().unwrap();
    let [open] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((open.name.as_str(), open.inputs, open.inputs_closed, open.running), ("a long one", 10, true, 4));
    let id = open.id;
    grid.grid.cancel(id).unwrap();
    let canceled = joined(job, "the job has ended").unwrap_err();
    assert!(matches!(canceled, Error::JobCanceled { by: CanceledBy::Operator, calls_ended: 0 }), "{canceled:?}");
    let again = grid.grid.cancel(id).unwrap_err();
    assert_eq!(again.to_string(), format!("job {id} is over: canceled"));
    assert_eq!(remote_parallel_map(typed::doubles, [1]).grid(&grid.grid).run().unwrap(), [2]);
}
