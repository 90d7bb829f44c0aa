//! The grid as a whole: events in, actions out, no clock and no network.

mod history;
mod policy;
mod survival;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use burla_types::Attempt;
use bytes::Bytes;

use super::event::{Before, Progress, Tries};
use super::*;
use world::{NodeWorld, World, ended, inputs, job, job_id, limits, node, node_id, took};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_job_runs_to_its_end() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 5);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 2);
    world.now = SECOND;
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1, 2, 3, 4]);
    let usage = Usage { fuel: 5000, wall_time: 5 * Duration::from_micros(20), memory_bytes_peak: 2 << 20, disk_bytes_written: 0 };
    assert_eq!(
        world.ended[&job_id(1)],
        Ok(JobSummary { calls: 5, calls_failed: 0, elapsed: SECOND, usage, retried: 0, requeued: 0 })
    );
    assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
}

#[test]
fn a_job_without_inputs_ends_at_once_even_without_nodes() {
    let mut world = World::default();
    world.opens(1, job(u64::MAX), 0);
    assert_eq!(
        world.ended[&job_id(1)],
        Ok(JobSummary { calls: 0, calls_failed: 0, elapsed: Duration::ZERO, usage: Usage::default(), retried: 0, requeued: 0 })
    );
}

#[test]
fn a_job_whose_nodes_are_all_lost_says_so_and_for_how_long() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 3);
    world.happens(Event::NodeLeft(node_id(1)));
    assert_eq!(world.lost, [(job_id(1), NodeLost { name: "node".into(), calls: 2 })]);
    let waits_for = |world: &World| world.waiting[&job_id(1)].clone().unwrap();
    assert!(waits_for(&world).starts_with("no node is connected; the job goes on when one comes back"), "{}", waits_for(&world));
    world.passes(Duration::from_secs(11));
    assert!(waits_for(&world).starts_with("no node is connected, for 10 s now;"), "{}", waits_for(&world));
    world.passes(Duration::from_secs(60));
    assert!(waits_for(&world).starts_with("no node is connected, for 1 min now;"), "{}", waits_for(&world));
    world.joins(2, 2);
    assert_eq!(world.waiting[&job_id(1)], None);
    world.all_end();
    assert!(world.ended[&job_id(1)].is_ok());
    assert_eq!(world.tries[&job_id(1)], Tries { retried: 0, requeued: 2 });
}

#[test]
fn a_job_of_an_earlier_scheduler_waits_for_nodes_that_were_there() {
    let mut world = World::default();
    let tries = Tries { retried: 2, requeued: 4 };
    world.opens(1, JobSpec { before: Before { openings: 1, tries, ..Before::default() }, ..job(u64::MAX) }, 1);
    world.passes(Duration::from_secs(3));
    let reason = world.waiting[&job_id(1)].clone().unwrap();
    assert!(reason.starts_with("no node is connected since the scheduler started"), "{reason}");
    let job = world.grid.job(Timestamp(world.now), job_id(1)).unwrap();
    assert_eq!((job.retried, job.requeued), (2, 4), "they go on from what they were");
}

#[test]
fn a_job_that_waits_says_for_what() {
    let mut world = World::default();
    world.opens(1, job(u64::MAX), 1);
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("no node has joined"));
    world.joins(1, 1);
    assert_eq!(world.waiting[&job_id(1)], None);
    world.opens(2, job(u64::MAX), 1);
    assert!(world.waiting[&job_id(2)].as_ref().unwrap().contains("1 CPUs"));
    world.all_end();
    assert_eq!(world.waiting[&job_id(2)], None);
}

#[test]
fn what_no_node_could_ever_run_is_refused() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 4);
    world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 1);
    let Err(GridError::NoNodeFits { wanted, largest }) = &world.ended[&job_id(1)] else { panic!("{:?}", world.ended) };
    assert_eq!((wanted.cpu_millis, largest.cpu_millis), (8000, 4000));
    // Also when the first node comes after the job.
    let mut world = World::default();
    world.opens(1, JobSpec { memory_bytes: Some(65 << 30), ..job(u64::MAX) }, 1);
    world.joins(1, 2);
    assert!(matches!(world.ended[&job_id(1)], Err(GridError::NoNodeFits { .. })));
}

#[test]
fn memory_binds_as_cpus_do() {
    let mut world = World::default();
    world.joins(1, 100);
    world.opens(1, JobSpec { memory_bytes: Some(16 << 30), ..job(u64::MAX) }, 100);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
}

#[test]
fn a_lost_node_loses_no_call() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    world.happens(Event::NodeLeft(node_id(1)));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_call_that_loses_three_nodes_is_lost() {
    let mut world = World::default();
    for number in 1..=3 {
        if number == 1 {
            world.joins(1, 1);
            world.opens(1, job(u64::MAX), 1);
        } else {
            world.joins(number, 1);
        }
        assert_eq!(world.first(number).1.attempt, Attempt(u32::from(number)));
        world.happens(Event::NodeLeft(node_id(number)));
    }
    let CallReport::Ended { outcome: Outcome::Lost { reason }, .. } = &world.told[&job_id(1)][0].report else { panic!() };
    assert!(reason.contains("3 times"), "{reason}");
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().calls_failed, 1);
}

#[test]
fn calls_that_had_not_begun_lose_no_attempt_with_their_node() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 50);
    // Once their length is known, many wait at the node.
    world.one_ends(node_id(1));
    assert!(world.nodes[&node_id(1)].sent() > 10);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 50);
    let losses: Vec<_> = world.nodes[&node_id(2)].running.iter().map(|(_, call)| call.losses).collect();
    assert_eq!((losses[0], losses[1..].iter().max()), (1, Some(&0)));
}

#[test]
fn a_nodes_own_trouble_is_not_the_end_of_a_call() {
    let lost = || ended(Outcome::Lost { reason: "no space left".into() });
    // Where there is another node, that one runs it, and all the others, too.
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 20);
    let (job, call) = world.take_first(1);
    world.reports(node_id(1), job, call, lost());
    assert_eq!(world.runs_now(node_id(1), job), 0, "it keeps off that node");
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job), (0..20).collect::<Vec<_>>());

    // Where there is none, it is tried again after a while.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, super::tests::job(u64::MAX), 1);
    for attempt in 1..=3 {
        let (job, call) = world.take_first(1);
        assert_eq!(call.attempt, Attempt(attempt));
        assert!(world.told.is_empty());
        world.reports(node_id(1), job, call, lost());
        if attempt < 3 {
            assert!(world.waiting[&job].as_ref().unwrap().contains("no space left"));
            world.passes(AVOID_TIME);
        }
    }
    assert_eq!(world.indices_told(job), [0]);
}

#[test]
fn a_node_that_cannot_make_a_component_ready_is_not_the_only_one() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    world.happens(Event::NodeTroubled(node_id(1), job_id(1), "no memory to compile".into()));
    assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());

    // When nobody can, the job fails.
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 10);
    for _ in 0..TROUBLES_MAX {
        assert!(world.ended.is_empty());
        world.happens(Event::NodeTroubled(node_id(1), job_id(1), "no memory to compile".into()));
        world.passes(AVOID_TIME);
    }
    assert!(matches!(world.ended[&job_id(1)], Err(GridError::InvalidComponent { .. })));
}

#[test]
fn slots_that_are_given_while_others_are_taken_away_are_used() {
    let mut world = World { long_calls: true, ..World::default() };
    world.joins(1, 4);
    world.opens(1, job(u64::MAX), 100);
    // Calls that do not end. Another job comes, is promised slots, and goes.
    world.opens(2, job(u64::MAX), 100);
    world.passes(Duration::from_millis(100));
    world.happens(Event::JobAbandoned(job_id(2)));
    world.passes(Duration::from_millis(100));
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
    // Two of them end, and all four slots work again.
    (0..2).for_each(|_| assert!(world.one_ends(node_id(1))));
    assert_eq!(world.runs_now_everywhere(job_id(1)), 4);
}

#[test]
fn calls_that_have_not_begun_come_back_from_a_client_that_is_behind() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 100);
    world.one_ends(node_id(1));
    assert!(world.nodes[&node_id(1)].sent() > 50);
    let (job, call) = world.first(1);
    world.reports(
        node_id(1),
        job,
        call,
        CallReport::Printed {
            stream: burla_types::OutputStream::Stdout,
            first_line: 0,
            lines: Bytes::from(vec![b'x'; 40 << 20]),
        },
    );
    assert!(world.output_paused[&job]);
    assert_eq!(world.nodes[&node_id(1)].sent(), 1);
}

#[test]
fn slots_that_are_added_are_told_even_when_nothing_is_sent() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 1);
    world.opens(2, job(u64::MAX), 500);
    // Job 2 has one slot, and sends many while its calls are short; then they turn long, and job 1 ends.
    for wall_time in [Duration::from_micros(20), 10 * SECOND] {
        let running = &mut world.nodes.get_mut(&node_id(1)).unwrap().running;
        let position = running.iter().position(|(of, _)| *of == job_id(2)).unwrap();
        let (job, call) = running.remove(position);
        let report = ended(Outcome::Done(Bytes::new()));
        let news = took(&call, report, wall_time, 0);
        world.nodes.get_mut(&node_id(1)).unwrap().start();
        world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    }
    let sent = world.nodes[&node_id(1)].sent();
    assert_eq!(world.runs_now(node_id(1), job_id(2)), 1);
    world.one_ends(node_id(1));
    assert_eq!(world.nodes[&node_id(1)].sent(), sent - 1, "nothing more was sent");
    assert_eq!(world.runs_now(node_id(1), job_id(2)), 2);
}

#[test]
fn calls_that_need_more_memory_than_any_node_has_still_run() {
    let mut world = World::default();
    world.joins(1, 4);
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    world.happens(Event::InputsArrived(job_id(1), inputs(1)));
    let (job, call) = world.take_first(1);
    let news = took(&call, ended(Outcome::Done(Bytes::new())), SECOND, 100 << 30);
    world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    world.happens(Event::InputsArrived(job, inputs(2)));
    assert_eq!(world.runs_now_everywhere(job), 1);
    world.joins(2, 1);
    assert!(world.ended.is_empty());
}

#[test]
fn a_job_waits_for_a_large_node_to_come_back() {
    let mut world = World::default();
    world.joins(1, 8);
    world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 2);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 2);
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("large enough"));
    world.joins(3, 8);
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1]);
}

#[test]
fn late_news_counts_while_the_call_is_open_and_only_then() {
    let done = || ended(Outcome::Done(Bytes::new()));
    // Open, and waiting for another node.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let (job, first) = world.first(1);
    world.happens(Event::NodeLeft(node_id(1)));
    world.reports(node_id(1), job, first.clone(), ended(Outcome::Lost { reason: "no space left".into() }));
    assert!(world.indices_told(job).is_empty(), "that is no outcome");
    world.joins(2, 0);
    world.reports(node_id(2), job, first.clone(), done());
    assert_eq!(world.indices_told(job), [0]);
    assert!(world.ended[&job].is_ok());

    // Open, and running elsewhere: the slower one is stopped, and not heard any more.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, super::tests::job(u64::MAX), 2);
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    let (_, slower) = world.first(2);
    assert_eq!(slower.index, 0);
    world.reports(node_id(1), job, first, done());
    assert_eq!((world.indices_told(job), world.runs_now_everywhere(job)), (vec![0], 1));
    world.reports(
        node_id(2),
        job,
        slower.clone(),
        CallReport::Printed { stream: burla_types::OutputStream::Stdout, first_line: 0, lines: Bytes::from_static(b"x") },
    );
    world.reports(node_id(2), job, slower, done());
    assert_eq!(world.told[&job].len(), 1);
    assert_eq!(world.first(2).1.index, 1);
    world.all_end();
    assert_eq!(world.indices_told(job), [0, 1]);
    assert_eq!(world.ended[&job].as_ref().unwrap().calls, 2);
}

#[test]
fn a_small_job_gets_its_share_of_a_busy_grid_at_once() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 1000);
    // Short calls, of which many wait at the nodes.
    (1..=2).for_each(|number| assert!(world.one_ends(node_id(number))));
    world.opens(2, job(u64::MAX), 10);
    assert_eq!(world.runs_now_everywhere(job_id(2)), 0, "what runs is not stopped");
    for _ in 0..2 {
        (1..=2).for_each(|number| assert!(world.one_ends(node_id(number))));
    }
    assert_eq!((world.runs_now_everywhere(job_id(1)), world.runs_now_everywhere(job_id(2))), (2, 2));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..1000).collect::<Vec<_>>());
    assert_eq!(world.indices_told(job_id(2)), (0..10).collect::<Vec<_>>());
}

#[test]
fn jobs_take_turns_where_there_are_fewer_slots_than_jobs() {
    let mut world = World::default();
    world.joins(1, 1);
    (1..4).for_each(|number| world.opens(number, job(u64::MAX), 1000));
    for _ in 0..20 {
        // Calls of a tenth of a turn.
        (0..10).for_each(|_| assert!(world.one_ends(node_id(1))));
        world.passes(Duration::from_millis(100));
    }
    for number in 1..4 {
        let ended = world.indices_told(job_id(number)).len();
        assert!((40..=120).contains(&ended), "job {number} got {ended} of 200 calls");
    }
}

#[test]
fn calls_that_are_stuck_behind_a_long_one_go_elsewhere() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 30);
    world.one_ends(node_id(1));
    assert_eq!(world.nodes[&node_id(1)].sent(), 29, "they are short, so all were sent");
    world.joins(2, 2);
    assert_eq!(world.runs_now(node_id(2), job_id(1)), 0, "it may be about to end");
    world.passes(Duration::from_millis(100));
    assert_eq!((world.nodes[&node_id(1)].sent(), world.runs_now(node_id(2), job_id(1))), (1, 2));
    while world.one_ends(node_id(2)) {}
    assert_eq!(world.indices_told(job_id(1)).len(), 29);
    world.all_end();
    assert!(world.ended[&job_id(1)].is_ok());
}

#[test]
fn a_node_that_leaves_ends_what_it_runs_and_gives_back_the_rest() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 50);
    world.one_ends(node_id(1));
    world.happens(Event::NodeLeaving(node_id(1)));
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.nodes[&node_id(1)].sent()), (2, 2));
    world.joins(2, 2);
    while world.one_ends(node_id(1)) {}
    assert_eq!(world.indices_told(job_id(1)).len(), 3);
    world.happens(Event::NodeLeft(node_id(1)));
    assert!(world.nodes[&node_id(2)].running.iter().all(|(_, call)| call.losses == 0), "nothing was lost");
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_call_that_was_stopped_for_lack_of_memory_runs_again_with_all_it_may_have() {
    let mut world = World::default();
    let capacity = Resources { cpu_millis: 8000, memory_bytes: 9 << 30 };
    world.happens(Event::NodeJoined(node_id(1), NodeSpec { capacity, ..node(8) }, vec![]));
    world.opens(1, job(u64::MAX), 100);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 8, "little is reserved at first");
    let (job, stopped) = world.take_first(1);
    let returned = CallsReturned { calls: vec![(stopped.index, stopped.attempt)], reason: ReturnReason::MemoryShort };
    world.happens(Event::CallsReturned(node_id(1), job, returned));
    while world.indices_told(job).len() < 20 {
        assert!(world.one_ends(node_id(1)));
    }
    assert_eq!(world.runs_now_everywhere(job), 2, "4 GiB for each, of 9");
    world.all_end();
    assert_eq!(world.indices_told(job), (0..100).collect::<Vec<_>>());
}

#[test]
fn progress_is_told_when_it_changes() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 4);
    world.passes(event::TICK);
    assert_eq!(world.progress[&job_id(1)], Progress { running: 4, nodes: 2 });
    world.progress.clear();
    world.passes(event::TICK);
    assert!(world.progress.is_empty());
}

#[test]
fn a_job_that_is_abandoned_or_fails_gives_everything_back() {
    for event in
        [Event::JobAbandoned(job_id(1)), Event::JobFailed(job_id(1), GridError::InvalidComponent { reason: "bad".into() })]
    {
        let mut world = World::default();
        world.joins(1, 2);
        world.opens(1, job(u64::MAX), 10);
        world.opens(2, job(u64::MAX), 10);
        assert_eq!(world.runs_now_everywhere(job_id(2)), 0);
        world.happens(event);
        assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
        assert_eq!(world.runs_now_everywhere(job_id(2)), 2);
    }
}

#[test]
fn a_client_that_does_not_take_what_it_is_told_is_told_no_more() {
    let mut world = World::default();
    world.joins(1, 1);
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    world.happens(Event::InputsArrived(job_id(1), inputs(10)));
    let (job, call) = world.first(1);
    let lines = CallReport::Printed {
        stream: burla_types::OutputStream::Stdout,
        first_line: 0,
        lines: Bytes::from(vec![b'x'; 40 << 20]),
    };
    world.reports(node_id(1), job, call, lines);
    assert!(world.output_paused[&job]);
    world.all_end();
    assert_eq!(world.indices_told(job), [0], "no call was started while the client was behind");
    let untaken = world.untaken[&job];
    world.happens(Event::ClientTook(job, untaken));
    assert!(!world.output_paused[&job]);
    world.all_end();
    assert_eq!(world.indices_told(job).len(), 10);
}

#[test]
fn inputs_are_held_back_when_too_many_wait() {
    let mut world = World::default();
    world.happens(Event::JobOpened(job_id(1), job(u64::MAX)));
    let large = || vec![Bytes::from(vec![0; 50 << 20])];
    for _ in 0..4 {
        assert!(!world.inputs_paused.contains_key(&job_id(1)));
        world.happens(Event::InputsArrived(job_id(1), large()));
    }
    assert!(world.inputs_paused[&job_id(1)]);
    world.joins(1, 8);
    world.one_ends(node_id(1));
    assert!(world.inputs_paused[&job_id(1)], "not before half of it is gone");
    world.all_end();
    assert!(!world.inputs_paused[&job_id(1)]);
}

#[test]
fn calls_that_need_more_memory_than_guessed_reserve_it() {
    let mut world = World::default();
    world.joins(1, 100);
    world.opens(1, job(u64::MAX), 1000);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 100);
    let (job, call) = world.take_first(1);
    let news = took(&call, ended(Outcome::Done(Bytes::new())), SECOND, 4 << 30);
    world.happens(Event::CallsReported(node_id(1), job, vec![news]));
    // What runs goes on; nobody else gets what is not there any more.
    world.opens(2, super::tests::job(u64::MAX), 10);
    assert_eq!(world.runs_now_everywhere(job_id(2)), 0);
}

#[test]
fn what_lost_calls_say_they_took_is_not_counted() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    while !world.ended.contains_key(&job_id(1)) {
        world.now += SECOND;
        world.happens(Event::Tick);
        if world.runs_now_everywhere(job_id(1)) > 0 {
            let (job, call) = world.take_first(1);
            world.reports(node_id(1), job, call, ended(Outcome::Lost { reason: "full".into() }));
        }
    }
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().usage, Usage::default());
}
