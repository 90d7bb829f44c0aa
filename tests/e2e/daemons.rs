//! The daemons as an operator meets them.

use std::process::Command;

use burla::remote_parallel_map;
use burla_test_guests::{behavior, typed};
use burla_tests::{Daemon, LocalGrid, binary, joined, output};

#[test]
fn other_addresses_than_loopback_need_insecure() {
    let refused = |name: &str, arguments: &[&str]| {
        let output = output(Command::new(binary(name)).args(arguments));
        assert!(!output.status.success());
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("--insecure"), "{log}");
    };
    refused("burla-scheduler", &["--listen", "0.0.0.0:0"]);
    refused("burla-node", &["--scheduler", "http://192.0.2.1:8420"]);
    let folder = tempfile::tempdir().unwrap();
    let mut insecure = Command::new(binary("burla-scheduler"));
    insecure.args(["--listen", "0.0.0.0:0", "--insecure", "--data-dir"]).arg(folder.path());
    Daemon::start(&mut insecure).wait_for("listening on http://0.0.0.0:");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let grid = LocalGrid::without_nodes();
    let address = grid.grid.url().strip_prefix("http://").unwrap();
    let mut scheduler = Command::new(binary("burla-scheduler"));
    let output = output(scheduler.args(["--listen", address, "--data-dir"]).arg(grid.folder.path()));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && log.contains(&format!("cannot listen on {address}")), "{log}");
}

#[test]
fn a_component_travels_once_and_stays_compiled_across_restarts() {
    let mut grid = LocalGrid::start(0);
    let data = grid.folder.path().join("data");
    grid.add_node_with_data(&[], &data);
    let run = |grid: &LocalGrid| remote_parallel_map(typed::doubles, [4]).grid(&grid.grid).run().unwrap();
    assert_eq!((run(&grid), run(&grid)), (vec![8], vec![8]));
    let compiled = |grid: &LocalGrid| grid.nodes[0].log().matches("compiled a component").count();
    assert_eq!(compiled(&grid), 1);
    assert_eq!(grid.scheduler.log().matches("component uploaded").count(), 1);
    let files = || std::fs::read_dir(data.join("compiled")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files().len(), 1);
    // The same folder, another process.
    let restart = |grid: &mut LocalGrid| {
        grid.nodes.remove(0).kill();
        grid.add_node_with_data(&[], &data);
    };
    restart(&mut grid);
    assert_eq!((run(&grid), compiled(&grid)), (vec![8], 0));
    // What was altered is not loaded, but compiled again. It is another file: the node that still runs has the old one mapped.
    let file = files().remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    restart(&mut grid);
    assert_eq!((run(&grid), compiled(&grid)), (vec![8], 1));
}

#[test]
fn a_node_that_is_killed_loses_no_call() {
    let mut grid = LocalGrid::start(3);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::sleeps, vec![20; 600]).grid(&on).run());
    // In the middle: some calls have ended, most have not.
    grid.scheduler.wait_for("job opened");
    grid.nodes.remove(1).kill();
    let slept = joined(job, "the job has ended").unwrap();
    assert_eq!(slept.len(), 600);
    grid.scheduler.wait_for("node left");
}

#[test]
fn nodes_may_come_before_their_scheduler_and_come_back_after_it() {
    let grid = LocalGrid::start(1);
    let address = grid.grid.url().strip_prefix("http://").unwrap().to_owned();
    let LocalGrid { scheduler, nodes, folder, grid } = grid;
    scheduler.kill();
    nodes[0].wait_for("trying again");
    let mut again = Command::new(binary("burla-scheduler"));
    again.args(["--listen", &address, "--data-dir"]).arg(folder.path().join("scheduler"));
    let _again = Daemon::start(&mut again);
    nodes[0].wait_for("joined the grid");
    assert_eq!(remote_parallel_map(typed::doubles, [1]).grid(&grid).run().unwrap(), [2]);
}

#[test]
fn a_job_without_nodes_waits_until_one_comes() {
    burla_tests::guests();
    let mut grid = LocalGrid::without_nodes();
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(typed::doubles, [1]).grid(&on).run());
    grid.scheduler.wait_for("job opened");
    grid.add_node(&["--cpus", "1"]);
    assert_eq!(joined(job, "the job has ended").unwrap(), [2]);
}

#[test]
fn both_daemons_end_well_when_asked_to() {
    let LocalGrid { scheduler, mut nodes, .. } = LocalGrid::start(1);
    assert!(nodes.remove(0).terminate());
    assert!(scheduler.terminate());
}
