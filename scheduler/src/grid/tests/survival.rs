//! Nodes that come back with calls, schedulers that begin anew, tries that are made again.

use burla_types::OutputStream;

use super::super::event::{HeldCalls, ResentInput, RetryPauses};
use super::*;

fn slot() -> Resources {
    Resources { cpu_millis: 1000, memory_bytes: 128 << 20 }
}

fn done() -> CallReport {
    ended(Outcome::Done(Bytes::new()))
}

fn failed() -> CallReport {
    ended(Outcome::Failed { message: "no".into(), causes: vec![] })
}

fn resent(indices: impl IntoIterator<Item = u64>) -> Vec<ResentInput> {
    indices.into_iter().map(|index| ResentInput { index, input: Bytes::from_static(b"input"), shown: [0; 2] }).collect()
}

fn reopened() -> JobSpec {
    JobSpec { before: Before { openings: 1, ..Before::default() }, ..job(u64::MAX) }
}

impl World {
    /// A node's session breaks while its calls go on, and it is back with them at once.
    fn comes_back(&mut self, number: u8, cpus: u64) {
        let running = self.nodes[&node_id(number)].running.clone();
        self.happens(Event::NodeLeft(node_id(number)));
        self.is_back(number, cpus, running);
    }

    fn is_back(&mut self, number: u8, cpus: u64, running: Vec<(JobId, CallToRun)>) {
        self.nodes.entry(node_id(number)).or_default().running = running.clone();
        let mut held: BTreeMap<JobId, Vec<(u64, Attempt)>> = BTreeMap::new();
        running.iter().for_each(|(job, call)| held.entry(*job).or_default().push((call.index, call.attempt)));
        let held = held.into_iter().map(|(job, calls)| HeldCalls { job, slot: slot(), calls }).collect();
        self.happens(Event::NodeJoined(node_id(number), node(cpus), held));
        self.check();
    }
}

#[test]
fn a_node_that_is_back_goes_on_with_its_calls() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(u64::MAX), 3);
    let before = world.nodes[&node_id(1)].running.clone();
    world.comes_back(1, 2);
    assert_eq!(world.nodes[&node_id(1)].running, before, "the same attempts, and no others");
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1, 2]);
    assert!(world.ended[&job_id(1)].is_ok());
    assert_eq!(world.stopped.last(), Some(&(node_id(1), job_id(1))));
}

#[test]
fn the_older_attempt_wins_over_one_that_was_begun_since() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let running = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    assert_eq!(world.runs_now(node_id(2), job_id(1)), 1);
    world.is_back(1, 1, running);
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.runs_now(node_id(2), job_id(1))), (1, 0));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0]);
}

#[test]
fn a_node_that_comes_back_again_and_again_loses_no_call() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    (0..10).for_each(|_| world.comes_back(1, 1));
    world.all_end();
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().calls_failed, 0);
}

#[test]
fn calls_of_a_job_that_was_canceled_meanwhile_stop_when_their_node_is_back() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 2);
    let running = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.happens(Event::JobFailed(job_id(1), GridError::Canceled));
    world.is_back(1, 1, running);
    assert_eq!(world.runs_now(node_id(1), job_id(1)), 0);
    assert_eq!(world.grid.nodes[&node_id(1)].taken(), Resources::default());
}

#[test]
fn a_new_scheduler_takes_over_what_nodes_run() {
    let mut old = World::default();
    old.joins(1, 2);
    old.joins(2, 2);
    old.opens(1, job(u64::MAX), 10);
    let running = |number| old.nodes[&node_id(number)].running.clone();
    // One node is back before the job's client, one after it.
    let mut world = World::default();
    world.is_back(1, 2, running(1));
    assert_eq!(world.grid.nodes[&node_id(1)].taken(), Resources::default().plus(slot(), 2), "its room is taken");
    world.happens(Event::JobOpened(job_id(1), reopened()));
    world.happens(Event::InputsResent(job_id(1), resent(0..6), 6));
    world.check();
    world.happens(Event::InputsResent(job_id(1), resent(6..10), 10));
    world.happens(Event::InputsClosed(job_id(1)));
    world.check();
    world.passes(Duration::from_millis(500));
    assert!(world.nodes.get(&node_id(2)).is_none_or(|node| node.running.is_empty()), "the other may still come back");
    world.is_back(2, 2, running(2));
    let attempts: Vec<_> = world.nodes.values().flat_map(|node| &node.running).map(|(_, call)| call.attempt).collect();
    assert_eq!(attempts, [Attempt::FIRST; 4], "nothing was begun anew");
    world.passes(Duration::from_secs(3));
    world.all_end();
    world.check();
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());
    assert!(world.ended[&job_id(1)].is_ok());
}

#[test]
fn what_ended_while_the_scheduler_was_gone_counts_when_the_job_is_open_again() {
    let mut old = World::default();
    old.joins(1, 2);
    old.opens(1, job(u64::MAX), 4);
    let (job, call) = old.first(1);
    let mut world = World::default();
    world.is_back(1, 2, vec![]);
    world.reports(node_id(1), job, call.clone(), done());
    world.reports(node_id(1), job, call, done());
    world.happens(Event::JobOpened(job, reopened()));
    world.happens(Event::InputsResent(job, resent(0..4), 4));
    world.happens(Event::InputsClosed(job));
    assert_eq!(world.indices_told(job), [0], "said twice, told once");
    world.passes(Duration::from_secs(3));
    world.all_end();
    assert_eq!(world.indices_told(job), [0, 1, 2, 3]);
}

#[test]
fn late_news_of_many_calls_is_taken_in_at_once() {
    let mut world = World::default();
    world.joins(1, 1);
    world.happens(Event::JobOpened(job_id(1), reopened()));
    world.happens(Event::InputsResent(job_id(1), resent((0..10_000).filter(|index| index % 2 == 0)), 10_000));
    let news = (0..10_000).map(|index| CallNews { index, attempt: Attempt::FIRST, report: done() }).collect();
    world.happens(Event::CallsReported(node_id(1), job_id(1), news));
    assert_eq!(world.indices_told(job_id(1)).len(), 5000, "those that had ended before are not told again");
    world.happens(Event::InputsClosed(job_id(1)));
    assert!(world.ended[&job_id(1)].is_ok());
}

#[test]
fn claims_for_which_nobody_comes_are_ended() {
    let mut old = World::default();
    old.joins(1, 2);
    old.opens(1, job(u64::MAX), 4);
    let mut world = World::default();
    world.is_back(1, 2, old.nodes[&node_id(1)].running.clone());
    // The driver tells the time while there is anything open.
    world.passes(Duration::from_secs(61));
    assert_eq!(world.stopped, [(node_id(1), job_id(1))]);
    assert_eq!(world.grid.nodes[&node_id(1)].taken(), Resources::default());
    world.check();
}

#[test]
fn claims_beyond_what_the_job_still_has_are_ended() {
    let mut old = World::default();
    old.joins(1, 2);
    old.opens(1, job(u64::MAX), 2);
    let mut world = World::default();
    world.is_back(1, 2, old.nodes[&node_id(1)].running.clone());
    world.happens(Event::JobOpened(job_id(1), reopened()));
    world.happens(Event::InputsResent(job_id(1), resent([1]), 2));
    world.happens(Event::InputsClosed(job_id(1)));
    world.check();
    let running: Vec<_> = world.nodes[&node_id(1)].running.iter().map(|(_, call)| call.index).collect();
    assert_eq!(running, [1], "the client has the outcome of 0");
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [1]);
}

#[test]
fn a_job_never_has_more_slots_than_it_may_even_when_a_node_comes_back() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(2), 4);
    let running = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 2);
    // Two of the others end there, and two go on, before it is back.
    world.one_ends(node_id(2));
    world.one_ends(node_id(2));
    world.is_back(1, 2, running);
    assert!(world.runs_now_everywhere(job_id(1)) <= 2);
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0, 1, 2, 3]);
}

#[test]
fn failures_are_run_again_as_often_as_the_user_wants() {
    for (retries, failures, calls_failed) in [(0, 1, 1), (2, 2, 0), (2, 3, 1)] {
        let mut world = World::default();
        world.joins(1, 1);
        world.opens(1, JobSpec { retries, ..job(u64::MAX) }, 1);
        for failure in 0..failures {
            let (job, call) = world.take_first(1);
            assert_eq!(call.failures, failure);
            world.reports(node_id(1), job, call, failed());
            if failure < retries {
                assert_eq!(world.runs_now_everywhere(job), 0, "after a pause");
            }
            world.passes(SECOND);
            world.check();
        }
        world.all_end();
        let summary = world.ended[&job_id(1)].as_ref().unwrap();
        assert_eq!((summary.calls_failed, summary.calls), (calls_failed, 1));
        assert_eq!(summary.retried, u64::from(failures.min(retries)));
        assert_eq!(world.indices_told(job_id(1)), [0]);
    }
}

#[test]
fn the_pauses_before_retries_are_the_users() {
    let pauses =
        |first: Option<u64>, max: Option<u64>| RetryPauses::new(first.map(Duration::from_millis), max.map(Duration::from_millis));
    let after = |pauses: RetryPauses, failures| pauses.after(failures).as_millis();
    assert_eq!([1, 2, 5, 50].map(|failures| after(pauses(None, None), failures)), [100, 200, 1600, 10_000]);
    assert_eq!([1, 2, 50].map(|failures| after(pauses(Some(1), Some(3)), failures)), [1, 2, 3]);
    assert_eq!([1, 2].map(|failures| after(pauses(Some(20_000), None), failures)), [20_000, 20_000]);
    assert_eq!([1, 2].map(|failures| after(pauses(None, Some(5)), failures)), [5, 5]);
    assert_eq!([1, 50].map(|failures| after(pauses(Some(0), None), failures)), [0, 0]);

    // Ten retries within ten ticks, where the default takes half a minute.
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, JobSpec { retries: 10, retry_pauses: pauses(Some(1), Some(1)), ..job(u64::MAX) }, 1);
    for _ in 0..10 {
        let (job, call) = world.take_first(1);
        world.reports(node_id(1), job, call, failed());
        world.passes(event::TICK);
        assert_eq!(world.runs_now_everywhere(job), 1);
    }
    world.all_end();
    assert_eq!(world.ended[&job_id(1)].as_ref().unwrap().retried, 10);
}

#[test]
fn limits_are_not_tried_again_unless_asked() {
    for (retries_exceeded, told) in [(false, vec![0]), (true, vec![])] {
        let mut world = World::default();
        world.joins(1, 1);
        world.opens(1, JobSpec { retries: 1, retries_exceeded, ..job(u64::MAX) }, 1);
        let (job, call) = world.take_first(1);
        let exceeded = burla_types::Exceeded { limit: burla_types::Limit::Fuel, allowed: 1, wanted: None, peak: None };
        world.reports(node_id(1), job, call, ended(Outcome::Exceeded(exceeded)));
        assert_eq!(world.indices_told(job), told);
    }
}

#[test]
fn a_late_call_at_the_end_gets_a_second_node_and_the_first_to_end_counts() {
    for slow_wins in [false, true] {
        let mut world = World::default();
        world.joins(1, 1);
        world.joins(2, 1);
        world.opens(1, job(u64::MAX), 6);
        // Node 1 is stuck in one; the other does the rest.
        while world.runs_now(node_id(2), job_id(1)) > 0 {
            world.one_ends(node_id(2));
        }
        let stuck = world.first(1).1;
        world.passes(SECOND * 2);
        assert_eq!(world.runs_now(node_id(2), job_id(1)), 1, "it runs twice");
        world.check();
        world.one_ends(node_id(if slow_wins { 1 } else { 2 }));
        world.check();
        assert_eq!(world.indices_told(job_id(1)), (0..6).collect::<Vec<_>>());
        assert!(world.ended[&job_id(1)].is_ok());
        assert_eq!(world.runs_now_everywhere(job_id(1)), 0, "the other was stopped");
        world.reports(node_id(1), job_id(1), stuck, done());
        assert_eq!(world.indices_told(job_id(1)).len(), 6);
    }
}

#[test]
fn a_call_that_runs_twice_survives_either_node() {
    for lost in [1, 2] {
        let mut world = World::default();
        world.joins(1, 1);
        world.joins(2, 1);
        world.opens(1, job(u64::MAX), 6);
        while world.runs_now(node_id(2), job_id(1)) > 0 {
            world.one_ends(node_id(2));
        }
        world.passes(SECOND * 2);
        world.happens(Event::NodeLeft(node_id(lost)));
        world.check();
        assert_eq!(world.runs_now_everywhere(job_id(1)), 1);
        world.all_end();
        assert_eq!(world.indices_told(job_id(1)), (0..6).collect::<Vec<_>>());
    }
}

#[test]
fn nobody_gets_a_second_node_while_others_want_it() {
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 6);
    while world.runs_now(node_id(2), job_id(1)) > 0 {
        world.one_ends(node_id(2));
    }
    world.opens(2, job(u64::MAX), 100);
    world.passes(SECOND * 2);
    assert_eq!(world.runs_now(node_id(2), job_id(1)), 0);
}

#[test]
fn lines_of_a_call_that_runs_again_are_shown_once() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let print = |world: &mut World, first_line, lines: &'static str| {
        let number = if world.nodes.contains_key(&node_id(1)) { 1 } else { 2 };
        let (job, call) = world.first(number);
        let lines = Bytes::from_static(lines.as_bytes());
        world.reports(node_id(number), job, call, CallReport::Printed { stream: OutputStream::Stdout, first_line, lines });
    };
    print(&mut world, 0, "a\nb\n");
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    print(&mut world, 0, "a\n");
    print(&mut world, 1, "b\nc\n");
    world.all_end();
    let shown = world.told[&job_id(1)].iter().filter_map(|update| match &update.report {
        CallReport::Printed { lines, .. } => Some(String::from_utf8(lines.to_vec()).unwrap()),
        CallReport::Ended { .. } => None,
    });
    assert_eq!(shown.collect::<String>(), "a\nb\nc\n");
}

#[test]
fn what_a_call_printed_that_was_thought_lost_is_shown_before_its_late_end() {
    for runs_again in [false, true] {
        let mut world = World::default();
        world.joins(1, 1);
        world.opens(1, job(u64::MAX), 1);
        let (job, call) = world.take_first(1);
        world.happens(Event::NodeLeft(node_id(1)));
        if runs_again {
            world.joins(2, 1);
        }
        // It ended while the session was broken, so the node does not hold it any more, and says again what was not acknowledged.
        world.is_back(1, if runs_again { 1 } else { 0 }, vec![]);
        let lines = Bytes::from_static(b"a\n");
        let printed = CallReport::Printed { stream: OutputStream::Stdout, first_line: 0, lines };
        world.reports(node_id(1), job, call.clone(), printed);
        world.reports(node_id(1), job, call, done());
        let told: Vec<_> = world.told[&job].iter().map(|update| matches!(update.report, CallReport::Ended { .. })).collect();
        assert_eq!(told, [false, true], "runs again: {runs_again}");
    }
}

#[test]
fn a_call_that_is_back_has_its_slot_instead_of_another() {
    let mut world = World::default();
    world.joins(1, 2);
    world.opens(1, job(2), 8);
    let running = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 4);
    assert_eq!(world.runs_now(node_id(2), job_id(1)), 2);
    world.is_back(1, 2, running);
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.runs_now(node_id(2), job_id(1))), (2, 0));
    world.passes(SECOND);
    assert_eq!(world.runs_now_everywhere(job_id(1)), 2, "what it gave up it does not keep");
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_node_that_leaves_finishes_what_it_claims_and_gets_no_more() {
    let mut old = World::default();
    old.joins(1, 1);
    old.opens(1, job(u64::MAX), 3);
    let mut world = World::default();
    world.is_back(1, 1, old.nodes[&node_id(1)].running.clone());
    world.happens(Event::NodeLeaving(node_id(1)));
    world.happens(Event::JobOpened(job_id(1), reopened()));
    world.happens(Event::InputsResent(job_id(1), resent(0..3), 3));
    world.happens(Event::InputsClosed(job_id(1)));
    world.check();
    world.one_ends(node_id(1));
    world.passes(SECOND * 3);
    world.check();
    assert_eq!((world.indices_told(job_id(1)), world.runs_now(node_id(1), job_id(1))), (vec![0], 0));
}

#[test]
fn no_attempt_has_the_number_of_one_that_was_given_up_for_an_older_one() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let first = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    let second = world.first(2).1.attempt;
    world.is_back(1, 1, first);
    // The other has stopped, and gets the call again when the first is lost once more.
    world.happens(Event::NodeLeft(node_id(1)));
    assert!(world.first(2).1.attempt > second, "{:?} was there before", world.first(2));
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), [0]);
}

#[test]
fn an_attempt_that_ends_before_it_hears_that_an_older_one_goes_on_counts() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let first = world.nodes[&node_id(1)].running.clone();
    world.happens(Event::NodeLeft(node_id(1)));
    world.joins(2, 1);
    world.lag = true;
    world.is_back(1, 1, first);
    let (job, call) = world.take_first(2);
    world.reports(node_id(2), job, call, done());
    world.hear(node_id(2));
    world.arrive(node_id(1));
    assert_eq!((world.indices_told(job), world.runs_now(node_id(1), job)), (vec![0], 0));
    assert!(world.ended[&job].is_ok());
}

#[test]
fn a_job_that_ran_before_waits_for_a_node_that_is_large_enough() {
    let large = || JobSpec { cpu_millis: 3000, ..reopened() };
    for small_first in [false, true] {
        let mut world = World::default();
        if small_first {
            world.joins(1, 1);
        }
        world.happens(Event::JobOpened(job_id(1), large()));
        world.happens(Event::InputsResent(job_id(1), resent([0]), 1));
        world.happens(Event::InputsClosed(job_id(1)));
        if !small_first {
            world.joins(1, 1);
        }
        world.passes(SECOND * 3);
        assert!(!world.ended.contains_key(&job_id(1)), "the small one is back before the large one, and no reason to give up");
        world.joins(2, 4);
        world.all_end();
        assert!(world.ended[&job_id(1)].is_ok());
    }
}

#[test]
fn a_call_that_was_given_back_is_sent_under_another_number() {
    let mut world = World::default();
    world.joins(1, 1);
    world.opens(1, job(u64::MAX), 1);
    let (job, call) = world.take_first(1);
    let returned = || CallsReturned { calls: vec![(call.index, call.attempt)], reason: ReturnReason::GivenBack };
    world.happens(Event::CallsReturned(node_id(1), job, returned()));
    assert_eq!(world.runs_now(node_id(1), job), 1, "it runs again");
    // A new scheduler hears of it once more, and the node holds the second try.
    let running = world.nodes[&node_id(1)].running.clone();
    let mut world = World::default();
    world.is_back(1, 1, running);
    world.happens(Event::JobOpened(job, reopened()));
    world.happens(Event::InputsResent(job, resent([0]), 1));
    world.happens(Event::CallsReturned(node_id(1), job, returned()));
    assert_eq!(world.runs_now(node_id(1), job), 1, "it is not sent there a second time");
    world.all_end();
    assert_eq!(world.indices_told(job), [0]);
}

#[test]
fn of_a_call_that_ran_twice_both_count_also_when_one_was_away() {
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 6);
    while world.runs_now(node_id(2), job_id(1)) > 0 {
        world.one_ends(node_id(2));
    }
    world.passes(SECOND * 2);
    let second = world.nodes[&node_id(2)].running.clone();
    world.happens(Event::NodeLeft(node_id(2)));
    // It is back, and says what it has before it hears that the first goes on.
    world.lag = true;
    world.is_back(2, 1, second.clone());
    let (job, call) = second[0].clone();
    let lines = Bytes::from_static(b"a\n");
    world.reports(node_id(2), job, call.clone(), CallReport::Printed { stream: OutputStream::Stdout, first_line: 0, lines });
    world.reports(node_id(2), job, call, done());
    world.hear(node_id(2));
    let told: Vec<_> = world.told[&job].iter().map(|update| matches!(update.report, CallReport::Ended { .. })).collect();
    assert_eq!(told, [true, true, true, true, true, false, true], "the line, and then the end");
    assert!(world.ended[&job].is_ok());
}
