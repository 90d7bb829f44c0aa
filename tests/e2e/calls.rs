//! What functions can take, return and do.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use burla::remote_parallel_map;
use burla_test_crates as crates;
use burla_test_guests::{behavior, typed};
use burla_tests::{LocalGrid, component};

#[test]
fn outputs_come_back_in_the_order_of_the_inputs() {
    let grid = LocalGrid::start(3);
    let outputs = remote_parallel_map(typed::doubles, 0..10_000).grid(&grid.grid).run().unwrap();
    assert_eq!(outputs, (0..10_000).map(|number| number * 2).collect::<Vec<_>>());
    assert_eq!(remote_parallel_map(typed::doubles, []).grid(&grid.grid).run().unwrap(), Vec::<i64>::new());
    assert_eq!(remote_parallel_map(typed::doubles, []).grid(&grid.grid).try_run().unwrap(), Vec::new());
}

#[test]
fn functions_of_every_shape_work() {
    let grid = LocalGrid::start(1);
    assert_eq!(remote_parallel_map(typed::nothing, [(), ()]).grid(&grid.grid).run().unwrap(), [(), ()]);
    let joined = remote_parallel_map(typed::joins, [("a".to_owned(), "b".to_owned(), 2)]).grid(&grid.grid).run().unwrap();
    assert_eq!(joined, ["abab"]);
    assert_eq!(remote_parallel_map(typed::factorial, [20]).grid(&grid.grid).run().unwrap(), [typed::factorial(20)]);
    let shapes = vec![typed::Shape::Circle { radius: 0.5 }, typed::Shape::Dot, typed::Shape::Polygon(vec![(1, -1)])];
    let summary = remote_parallel_map(typed::summarizes, [shapes.clone()]).grid(&grid.grid).run().unwrap();
    assert_eq!(summary, [typed::summarizes(shapes)]);
    // Borrowed iterators and values that are not `Send` are fine: they never leave this thread.
    let words = std::rc::Rc::new(["one", "two"]);
    let echoed = remote_parallel_map(typed::echoes, words.iter().map(ToString::to_string)).grid(&grid.grid).run().unwrap();
    assert_eq!(echoed, *words);
}

#[test]
fn large_inputs_and_outputs_arrive() {
    let grid = LocalGrid::start(2);
    let texts: Vec<String> = (0..20).map(|number: u8| char::from(b'a' + number).to_string().repeat(3_000_000)).collect();
    let echoed = remote_parallel_map(typed::echoes, texts.clone()).grid(&grid.grid).run().unwrap();
    assert!(echoed == texts, "20 texts of 3 MB come back as they were");
}

#[test]
fn every_call_is_the_first_in_its_instance() {
    let grid = LocalGrid::start(1);
    let counts = remote_parallel_map(behavior::counts_calls, vec![(); 500]).grid(&grid.grid).run().unwrap();
    assert!(counts.iter().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn every_call_has_a_directory_with_nothing_but_tmp_and_leaves_none() {
    let grid = LocalGrid::start(1);
    let seen = remote_parallel_map(behavior::uses_its_directory, 0..200).grid(&grid.grid).run().unwrap();
    for (number, (before, read, after)) in seen.into_iter().enumerate() {
        assert_eq!(before, ["tmp"], "call {number}");
        assert_eq!((read, after), (format!("written by {number}"), ["deep", "file.txt", "tmp"].map(str::to_owned).to_vec()));
    }
    assert_eq!(remote_parallel_map(behavior::looks_outside, [()]).grid(&grid.grid).run().unwrap(), [Vec::<String>::new()]);
    // Whoever shut down well has left nothing.
    let sandboxes = grid.sandboxes(0);
    let LocalGrid { mut nodes, .. } = grid;
    assert!(nodes.remove(0).terminate());
    assert_eq!(std::fs::read_dir(sandboxes).unwrap().count(), 0);
}

#[test]
fn the_environment_is_the_jobs_and_nothing_else() {
    let grid = LocalGrid::start(1);
    let job = remote_parallel_map(behavior::environment, [()]).env("GREETING", "hello there").env("B", "");
    let seen = job.grid(&grid.grid).run().unwrap();
    let expected = [("B", ""), ("GREETING", "hello there")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(seen, [expected.to_vec()]);
}

#[test]
fn clocks_run_and_calls_run_at_the_same_time() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "50"]);
    let started = Instant::now();
    let slept = remote_parallel_map(behavior::sleeps, vec![500; 50]).grid(&grid.grid).run().unwrap();
    assert!(started.elapsed() < Duration::from_secs(15), "50 calls of half a second took {:?}", started.elapsed());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (milliseconds, at) in slept {
        assert!(milliseconds >= 500, "slept only {milliseconds} ms");
        assert!(now.abs_diff(at) < 60, "the call's clock says {at}, ours {now}");
    }
}

#[test]
fn no_more_calls_run_at_one_time_than_allowed() {
    let mut grid = LocalGrid::start(0);
    (0..4).for_each(|_| grid.add_node(&["--cpus", "2"]));
    let job = remote_parallel_map(behavior::occupies, vec![50; 40]).max_parallelism(3);
    assert_eq!(overlap(&job.grid(&grid.grid).run().unwrap()), 3);
    // Slots by CPU: one of two CPUs fits once on each node.
    let job = remote_parallel_map(behavior::occupies, vec![50; 24]).func_cpu(2.0);
    assert_eq!(overlap(&job.grid(&grid.grid).run().unwrap()), 4);
}

#[test]
fn slots_are_bound_by_memory_too() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "16", "--memory", "2"]);
    let job = remote_parallel_map(behavior::occupies, vec![50; 12]).func_ram(1.0);
    assert_eq!(overlap(&job.grid(&grid.grid).run().unwrap()), 2);
}

/// The most intervals that share a moment.
fn overlap(intervals: &[(u128, u128)]) -> usize {
    let at = |moment: u128| intervals.iter().filter(|(start, end)| *start <= moment && moment < *end).count();
    intervals.iter().map(|(start, _)| at(*start)).max().unwrap_or(0)
}

#[test]
fn the_crates_that_people_use_work() {
    component("burla-test-crates");
    let grid = LocalGrid::start(1);
    let on = &grid.grid;
    assert_eq!(
        remote_parallel_map(crates::uses_serde_json, [r#"{"a":[1,2.5,null]}"#.to_owned()]).grid(on).run().unwrap(),
        [r#"{"a":[1,2.5,null],"seen":true}"#]
    );
    let text = "from 2024-02-29 to 2025-12-01, not 24-1-1".to_owned();
    assert_eq!(remote_parallel_map(crates::uses_regex, [text]).grid(on).run().unwrap(), [["29/02/2024", "01/12/2025"]]);
    let throws = remote_parallel_map(crates::uses_rand, [200, 200]).grid(on).run().unwrap();
    assert!(throws.iter().flatten().all(|throw| (1..=6).contains(throw)));
    assert_ne!(throws[0], throws[1], "two calls throw differently");
    let dates = remote_parallel_map(crates::uses_chrono, [("2024-02-28".to_owned(), 2)]).grid(on).run().unwrap();
    assert_eq!(dates[0].0, "2024-03-01");
    assert!(dates[0].1 >= 2025);
    let table = "name,weight\na,1.5\n\"b, c\",2.25\n".to_owned();
    assert_eq!(remote_parallel_map(crates::uses_csv, [(table, 1)]).grid(on).run().unwrap(), [3.75]);
    let text = "compress me ".repeat(1000);
    let compressed = remote_parallel_map(crates::uses_flate2, [text.clone()]).grid(on).run().unwrap();
    assert!(compressed[0].0 < text.len() / 20 && compressed[0].1 == text);
    let thumbnail = remote_parallel_map(crates::uses_image, [64]).grid(on).run().unwrap();
    assert_eq!((thumbnail[0].0, thumbnail[0].1), (32, 32));
    assert!(thumbnail[0].2[0].abs_diff(127) < 6, "half-way across the gradient: {:?}", thumbnail[0].2);
    assert_eq!(
        remote_parallel_map(crates::uses_sha2, ["abc".to_owned()]).grid(on).run().unwrap(),
        ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
    );
}

#[test]
fn an_iterator_may_run_jobs_of_its_own() {
    let grid = LocalGrid::start(1);
    let double = |number| remote_parallel_map(typed::doubles, [number]).grid(&grid.grid).run().unwrap()[0];
    assert_eq!(remote_parallel_map(typed::doubles, (0..3).map(double)).grid(&grid.grid).run().unwrap(), [0, 4, 8]);
}

#[tokio::test]
async fn a_job_can_be_awaited_beside_others() {
    let grid = LocalGrid::start(1);
    let job = |from: i64| remote_parallel_map(typed::doubles, from..from + 100).grid(&grid.grid).into_future();
    let (a, b) = tokio::join!(job(0), job(1000));
    assert_eq!((a.unwrap()[99], b.unwrap()[99]), (198, 2198));
}
