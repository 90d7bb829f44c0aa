//! Results as they come: generators, streams, endless inputs.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burla::{CallErrorKind, Error, Stdout, remote_parallel_map};
use burla_test_guests::{behavior, typed};
use burla_tests::{LocalGrid, until};
use tokio_stream::Stream;

#[test]
fn a_generator_gives_outputs_as_calls_finish() {
    let grid = LocalGrid::start(1);
    let slept = remote_parallel_map(behavior::sleeps, [1500, 0, 0]).grid(&grid.grid).generator().unwrap().indexed();
    let mut indices: Vec<_> = slept.map(|slept| slept.unwrap().0).collect();
    assert_eq!(indices.pop(), Some(0), "the slow one is last");
    indices.sort_unstable();
    assert_eq!(indices, [1, 2]);
}

#[test]
fn endless_inputs_are_taken_as_they_are_used_and_the_nodes_are_free_when_nobody_wants_more() {
    let grid = LocalGrid::start(2);
    let taken = Cell::new(0u64);
    let endless = (0..).inspect(|_| taken.set(taken.get() + 1));
    let outputs = remote_parallel_map(typed::doubles, endless).grid(&grid.grid).generator().unwrap();
    let outputs: Vec<_> = outputs.take(1000).collect::<burla::Result<_>>().unwrap();
    let stopped = Instant::now();
    assert!(outputs.iter().all(|output| output % 2 == 0));
    until("the nodes are free", || {
        let nodes = grid.grid.nodes().unwrap();
        nodes.len() == 2 && nodes.iter().all(|node| node.running == 0 && node.cpus_taken == 0.0)
    });
    eprintln!("free after {:?}, {} inputs taken", stopped.elapsed(), taken.get());
    assert!(grid.grid.jobs().unwrap().is_empty());
    // What a scheduler holds of a job, and what is on the way there.
    assert!(taken.get() < 2_000_000, "{} inputs were taken for 1000 outputs", taken.get());
}

#[test]
fn an_output_does_not_wait_for_an_iterator_that_blocks() {
    let grid = LocalGrid::start(1);
    // The component is there and compiled.
    remote_parallel_map(typed::doubles, [1]).grid(&grid.grid).run().unwrap();
    let (seen, outputs) = mpsc::channel();
    let (mut given, mut is_late) = (0, false);
    let inputs = std::iter::from_fn(move || {
        given += 1;
        is_late |= given > 1 && outputs.recv_timeout(Duration::from_secs(10)).is_err();
        (given <= 2 && !is_late).then_some(given)
    });
    let doubled = remote_parallel_map(typed::doubles, inputs).grid(&grid.grid).generator().unwrap().map(|output| {
        let _ = seen.send(());
        output.unwrap()
    });
    assert_eq!(doubled.collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn a_crawler_feeds_its_own_inputs_from_a_thread_and_is_refused_without_one() {
    let grid = LocalGrid::start(1);
    let (sender, numbers) = mpsc::channel();
    sender.send(1).unwrap();
    let refused = remote_parallel_map(typed::doubles, numbers).grid(&grid.grid).generator().err().unwrap();
    assert!(matches!(refused, Error::BlockingInputs), "{refused:?}");

    let (sender, numbers) = mpsc::channel();
    sender.send(1).unwrap();
    let (mut sender, mut found) = (Some(sender), Vec::new());
    for doubled in remote_parallel_map(typed::doubles, burla::from_thread(|| numbers)).grid(&grid.grid).generator().unwrap() {
        let doubled = doubled.unwrap();
        found.push(doubled);
        if doubled < 64 {
            sender.as_ref().unwrap().send(doubled).unwrap();
        } else {
            sender = None;
        }
    }
    assert_eq!(found, [2, 4, 8, 16, 32, 64], "the job ends when the sender is dropped");
}

#[tokio::test]
async fn inputs_come_from_a_stream_and_outputs_before_the_next_input() {
    let grid = LocalGrid::start(1);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let inputs = burla::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let mut outputs = remote_parallel_map(typed::doubles, inputs).grid(&grid.grid).stream();
    for number in 1..=3 {
        sender.send(number).await.unwrap();
        let output = poll_fn(|context| Pin::new(&mut outputs).poll_next(context)).await;
        assert_eq!(output.unwrap().unwrap(), 2 * number);
    }
    drop(sender);
    assert!(poll_fn(|context| Pin::new(&mut outputs).poll_next(context)).await.is_none());
}

#[test]
fn a_failed_call_is_an_item_and_the_others_follow() {
    let grid = LocalGrid::start(1);
    let job = remote_parallel_map(behavior::prints_and_may_fail, 0..6).stdout(Stdout::Discard).grid(&grid.grid);
    let (done, failed): (Vec<_>, Vec<_>) = job.generator().unwrap().partition(Result::is_ok);
    assert_eq!(done.len(), 5);
    let Some(Err(Error::Call(error))) = failed.into_iter().next() else { panic!("no error") };
    assert_eq!((error.index, error.kind), (3, CallErrorKind::Failed));
}

#[test]
fn an_option_that_cannot_be_meant_fails_before_anything_begins() {
    let error = remote_parallel_map(typed::doubles, 0..).func_cpu(0.0).generator().err().unwrap();
    assert!(matches!(error, Error::InvalidLimit(_)), "{error:?}");
}

#[tokio::test]
async fn blocking_methods_work_on_a_thread_of_an_asynchronous_runtime() {
    let grid = LocalGrid::start(1);
    // More steps than tokio lets a task make before its runtime has had a turn.
    let slept = remote_parallel_map(behavior::sleeps, vec![1; 1000]).grid(&grid.grid).run().unwrap();
    assert_eq!(slept.len(), 1000);
    let slept = remote_parallel_map(behavior::sleeps, vec![1; 1000]).grid(&grid.grid).generator().unwrap();
    assert_eq!(slept.map(Result::unwrap).count(), 1000);
    for _ in 0..300 {
        assert_eq!(grid.grid.nodes().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_gives_outputs_under_any_runtime_and_stops_when_dropped() {
    let grid = LocalGrid::start(1);
    let mut outputs = remote_parallel_map(typed::doubles, 0..).grid(&grid.grid).stream().indexed();
    for _ in 0..50 {
        let next = poll_fn(|context| Pin::new(&mut outputs).poll_next(context)).await;
        let (index, output) = next.unwrap().unwrap();
        assert_eq!(output, 2 * i64::try_from(index).unwrap());
    }
    drop(outputs);
    tokio::task::spawn_blocking(move || until("the job is gone", || grid.grid.jobs().unwrap().is_empty())).await.unwrap();
}

#[test]
fn a_reader_that_takes_its_time_holds_the_grid_back_and_loses_nothing() {
    let grid = LocalGrid::start(1);
    // 100 MB of outputs: more than client, connection and scheduler hold together.
    const CALLS: usize = 100;
    let job = remote_parallel_map(typed::repeats, (0..CALLS as u64).map(|number| (number, 1_000_000))).grid(&grid.grid);
    let mut outputs = job.generator().unwrap().indexed();
    let first = outputs.next().unwrap().unwrap();
    // Nothing runs, twice in a row and with the same number of calls done, and yet the job is open.
    let mut before = None;
    until("the grid does no more", || {
        let jobs = grid.grid.jobs().unwrap();
        let now = jobs.first().map(|job| (job.running, job.calls_ended));
        let stands_still = now == before && now.is_none_or(|(running, _)| running == 0);
        before = now;
        stands_still
    });
    let (_, ended) = before.expect("the job is open");
    assert!((ended as usize) < CALLS, "it was held back after {ended} calls");
    let mut seen: Vec<_> = std::iter::once(first).chain(outputs.map(Result::unwrap)).collect();
    seen.sort_by_key(|(index, _)| *index);
    assert_eq!(seen.len(), CALLS);
    assert!(seen.iter().zip(0..).all(|((index, text), number)| *index == number && text.len() == 1_000_000));
}

#[test]
fn payloads_of_a_hundred_megabytes_arrive() {
    let grid = LocalGrid::start(1);
    let text = "x".repeat(100 << 20);
    let echoed = remote_parallel_map(typed::echoes, [text.clone()]).timeout(Duration::from_secs(60)).grid(&grid.grid).run();
    assert!(echoed.unwrap() == [text]);
}
