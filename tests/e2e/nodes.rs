//! Nodes that are lost, come back, and leave; and connections that are cut.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use burla::{Grid, remote_parallel_map};
use burla_test_guests::{behavior, typed};
use burla_tests::{LocalGrid, Proxy, guests, joined, until};
use rustix::process::Signal;

#[test]
fn a_node_that_freezes_and_comes_back_repeats_nothing() {
    let grid = LocalGrid::start(3);
    let (mut indices, mut frozen, mut thawed) = (Vec::new(), false, false);
    // Until it has come back, and then some more.
    let more = AtomicBool::new(true);
    let inputs = std::iter::repeat(50).take_while(|_| more.load(Ordering::Relaxed));
    let slept = remote_parallel_map(behavior::sleeps, inputs).grid(&grid.grid).generator().unwrap().indexed();
    for slept in slept {
        indices.push(slept.unwrap().0);
        if indices.len() == 20 {
            grid.nodes[1].signal(Signal::STOP);
            frozen = true;
        }
        if frozen && !thawed && grid.scheduler.log().contains("node left") {
            grid.nodes[1].signal(Signal::CONT);
            thawed = true;
        }
        if thawed && grid.nodes[1].log().matches("joined the grid").count() == 2 {
            more.store(false, Ordering::Relaxed);
        }
        // However many the scheduler holds already, these are enough.
        if !more.load(Ordering::Relaxed) && indices.len() > 1000 {
            break;
        }
    }
    assert!(thawed);
    assert_eq!(indices.iter().collect::<HashSet<_>>().len(), indices.len(), "once each");
    until("all three are back", || grid.grid.nodes().unwrap().len() == 3);
    assert_eq!(remote_parallel_map(typed::doubles, 0..100).grid(&grid.grid).run().unwrap().len(), 100);
}

#[test]
fn a_node_that_is_asked_to_end_ends_its_calls_first() {
    let mut grid = LocalGrid::start(2);
    let leaving = grid.nodes.remove(0);
    let (on, mut leaving) = (grid.grid.clone(), Some(leaving));
    let slept = remote_parallel_map(behavior::sleeps, vec![300; 40]).grid(&on).generator().unwrap();
    let mut ended = None;
    for (position, slept) in slept.enumerate() {
        slept.unwrap();
        if position == 3 {
            // In a thread of its own: the job goes on meanwhile.
            let leaving = leaving.take().unwrap();
            ended = Some(std::thread::spawn(move || {
                leaving.signal(Signal::TERM);
                leaving.wait_for("shut down");
                (leaving.log(), leaving.wait())
            }));
        }
    }
    let (log, ended_well) = joined(ended.unwrap(), "the node has ended");
    assert!(ended_well && !log.contains("handing them back"), "{log}");
    grid.scheduler.wait_for("node is leaving");
    grid.scheduler.wait_for("node left");
    assert!(!grid.scheduler.log().contains("session broke"), "it said goodbye:\n{}", grid.scheduler.log());
}

#[test]
fn calls_that_take_too_long_for_a_node_that_leaves_run_elsewhere() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "1", "--drain-seconds", "0"]);
    let leaving = grid.nodes.remove(0);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::sleeps, [2000, 1]).grid(&on).run());
    until("it runs", || grid.grid.nodes().unwrap()[0].running == 1);
    assert!(leaving.terminate());
    grid.scheduler.wait_for("node left");
    assert!(!job.is_finished());
    grid.add_node(&["--cpus", "1"]);
    assert_eq!(joined(job, "the job has ended").unwrap().len(), 2);
}

#[test]
fn a_scheduler_that_is_asked_to_end_lets_jobs_end_and_new_ones_wait_for_the_next() {
    let mut local = LocalGrid::start(1);
    let grid = local.grid.clone();
    let on = grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::sleeps, [5000; 2]).grid(&on).run());
    until("it runs", || grid.nodes().unwrap()[0].running == 2);
    local.scheduler.signal(Signal::TERM);
    local.scheduler.wait_for("no more jobs are taken");
    let on = grid.clone();
    let next = std::thread::spawn(move || remote_parallel_map(typed::doubles, [1]).grid(&on).run());
    assert_eq!(joined(job, "the job has ended").unwrap().len(), 2);
    assert!(local.scheduler.has_ended_well());
    local.start_scheduler(&[]);
    assert_eq!(joined(next, "the job has ended").unwrap(), [2]);
    local.nodes[0].wait_for("trying again");
}

#[test]
fn the_next_job_works_after_a_connection_was_cut() {
    let grid = LocalGrid::start(1);
    let proxy = Proxy::to(grid.grid.url());
    let through = Grid::at(proxy.url()).unwrap();
    let doubles = || remote_parallel_map(typed::doubles, [4]).grid(&through).run();
    assert_eq!(doubles().unwrap(), [8]);
    let mut outputs = remote_parallel_map(behavior::sleeps, [0, 1000]).grid(&through).generator().unwrap();
    outputs.next().unwrap().unwrap();
    proxy.cut();
    assert_eq!(doubles().unwrap(), [8]);
    assert!(outputs.next().unwrap().is_ok(), "it goes on over another");
    assert!(outputs.next().is_none());
    until("nothing is left of them", || grid.grid.jobs().unwrap().is_empty());
}

#[test]
fn a_node_whose_connection_was_cut_comes_back() {
    guests();
    let mut grid = LocalGrid::without_nodes();
    let proxy = Proxy::to(grid.grid.url());
    grid.add_node(&["--cpus", "2", "--scheduler", proxy.url()]);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::sleeps, vec![100; 30]).grid(&on).run());
    until("it runs", || grid.grid.nodes().unwrap()[0].running == 2);
    proxy.cut();
    grid.nodes[0].wait_for("joined the grid");
    assert_eq!(joined(job, "the job has ended").unwrap().len(), 30);
}
