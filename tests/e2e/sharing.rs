//! Several jobs on one grid, and calls of every length.

use std::sync::atomic::{AtomicBool, Ordering};

use burla::{Grid, remote_parallel_map};
use burla_test_guests::{behavior, typed};
use burla_tests::{LocalGrid, received};

/// Says that it is enough, also when a test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A job without end on all of the grid, until the work beside it is done.
fn beside_an_endless_job(on: &Grid, milliseconds: u64, work: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, started) = std::sync::mpsc::channel();
        let endless = scope.spawn({
            let done = &done;
            move || {
                let slept = remote_parallel_map(behavior::sleeps, std::iter::repeat(milliseconds)).grid(on).generator();
                slept
                    .unwrap()
                    .take_while(|_| !done.load(Ordering::Relaxed))
                    .inspect(|_| {
                        let _ = sender.send(());
                    })
                    .count()
            }
        });
        let enough = Done(&done);
        received(&started, "the endless job has begun").unwrap();
        let (sender, worked) = std::sync::mpsc::channel();
        scope.spawn(move || {
            work();
            sender.send(())
        });
        received(&worked, "the work is done while the other job goes on").unwrap();
        drop(enough);
        assert!(endless.join().unwrap() > 0);
    });
}

#[test]
fn a_small_job_ends_while_a_large_one_has_the_grid() {
    let grid = LocalGrid::start(2);
    let on = &grid.grid;
    beside_an_endless_job(on, 20, || {
        let outputs = remote_parallel_map(typed::doubles, 0..100).grid(on).run().unwrap();
        assert_eq!(outputs[99], 198);
    });
}

#[test]
fn jobs_take_turns_on_a_single_slot() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "1"]);
    let on = &grid.grid;
    beside_an_endless_job(on, 1, || {
        beside_an_endless_job(on, 1, || {
            assert_eq!(remote_parallel_map(typed::doubles, 0..50).grid(on).run().unwrap().len(), 50);
        });
    });
}

#[test]
fn a_call_that_needs_the_whole_node_gets_it_beside_many_small_ones() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "4"]);
    let on = &grid.grid;
    beside_an_endless_job(on, 5, || {
        assert_eq!(remote_parallel_map(typed::doubles, [1, 2]).func_cpu(4.0).grid(on).run().unwrap(), [2, 4]);
    });
}

#[test]
fn short_calls_do_not_wait_behind_a_long_one() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "1"]);
    grid.add_node(&["--cpus", "1"]);
    // By the time of the long one, the others are known to be short, and many were sent to wait at each node.
    let inputs = (0..600).map(|index| if index == 200 { 4000 } else { 0 });
    let slept = remote_parallel_map(behavior::sleeps, inputs).grid(&grid.grid).generator().unwrap().indexed();
    let indices: Vec<_> = slept.map(|slept| slept.unwrap().0).collect();
    assert_eq!((indices.len(), indices.last()), (600, Some(&200)));
}

#[test]
fn calls_that_take_more_than_was_reserved_run_again_when_the_node_is_short() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "6", "--memory", "1"]);
    let held = remote_parallel_map(behavior::holds_memory, vec![(300, 200); 12]).grid(&grid.grid).run().unwrap();
    assert_eq!(held, [300 << 20; 12]);
    // One that asks for more than there is cannot be helped.
    let fates = remote_parallel_map(behavior::holds_memory, [(1200, 0)]).grid(&grid.grid).try_run().unwrap();
    let error = fates[0].as_ref().unwrap_err();
    assert!(error.message.contains("exceeded func_ram of 1024.0 MiB"), "{error}");
}
