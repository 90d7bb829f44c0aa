//! What a call may use. Each limit is reached by a guest that means to.

use std::time::{Duration, Instant};

use burla::{CallErrorKind, Limit, remote_parallel_map};
use burla_test_guests::{failing, typed};
use burla_tests::{LocalGrid, joined};

#[test]
fn memory_is_capped_by_func_ram() {
    let grid = LocalGrid::start(1);
    let fates = remote_parallel_map(failing::eats_memory, [()]).func_ram(0.0625).grid(&grid.grid).try_run().unwrap();
    let error = fates[0].as_ref().unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Exceeded(Limit::Memory), "{error:?}");
    assert!(error.message.contains("exceeded func_ram of 64.0 MiB"), "{error}");
    // A guest that can do without is not failed for asking.
    let asked = remote_parallel_map(failing::asks_for_memory, [8, 100]).func_ram(0.0625).grid(&grid.grid).run().unwrap();
    assert_eq!(asked, [true, false]);
}

#[test]
fn time_is_capped_by_timeout_whether_a_call_computes_or_sleeps() {
    let grid = LocalGrid::start(1);
    let timeout = Duration::from_millis(300);
    let started = Instant::now();
    let spinning = remote_parallel_map(failing::spins, [()]).timeout(timeout).grid(&grid.grid).try_run().unwrap();
    let sleeping = remote_parallel_map(failing::sleeps_or_fails, [false]).timeout(timeout).grid(&grid.grid).try_run().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    for error in [spinning[0].as_ref().unwrap_err(), sleeping[0].as_ref().unwrap_err()] {
        assert_eq!(error.kind, CallErrorKind::Exceeded(Limit::WallTime));
        assert_eq!(error.to_string(), "call 0 exceeded timeout of 0.3 s");
    }
}

#[test]
fn calls_that_compute_for_ever_leave_the_node_its_voice_and_others_their_turn() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "16"]);
    let (on, timeout) = (grid.grid.clone(), Duration::from_secs(5));
    let spinning =
        std::thread::spawn(move || remote_parallel_map(failing::spins, vec![(); 8]).timeout(timeout).grid(&on).try_run());
    let outputs = remote_parallel_map(typed::doubles, 0..100).grid(&grid.grid).run().unwrap();
    assert_eq!(outputs.len(), 100);
    assert!(!spinning.is_finished(), "the others were not waited for");
    let fates = joined(spinning, "the job has ended").unwrap();
    assert!(fates.iter().all(|fate| fate.as_ref().is_err_and(|error| error.kind == CallErrorKind::Exceeded(Limit::WallTime))));
}

#[test]
fn the_network_is_denied() {
    let grid = LocalGrid::start(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let worked = remote_parallel_map(failing::reaches_out, [address]).grid(&grid.grid).run().unwrap();
    assert_eq!(worked, [Vec::<String>::new()]);
}

#[test]
fn a_tree_too_deep_for_recursion_goes_away() {
    let grid = LocalGrid::start(1);
    let fates = remote_parallel_map(failing::makes_a_deep_tree, [250, 3000]).grid(&grid.grid).try_run().unwrap();
    assert_eq!(fates[0], Ok(()));
    assert!(fates[1].as_ref().unwrap_err().message.contains("No space left"), "{:?}", fates[1]);
    assert_eq!(remote_parallel_map(typed::doubles, [1]).grid(&grid.grid).run().unwrap(), [2]);
    let sandboxes = grid.sandboxes(0);
    let LocalGrid { mut nodes, .. } = grid;
    assert!(nodes.remove(0).terminate());
    assert_eq!(std::fs::read_dir(sandboxes).unwrap().count(), 0);
}
