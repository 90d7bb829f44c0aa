//! Random histories.

use std::sync::{Arc, LazyLock};

use burla_proto::convert::Work;
use proptest::prelude::*;

use super::*;

/// What a random history is made of.
#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leaving(u8),
    Leave(u8),
    Inputs(u8, usize),
    Close(u8),
    End(u8, u8),
    Late(u8),
    MemoryShort(u8),
    Abandon(u8),
    Take(u8),
    Pass(u64),
    Arrive(u8),
    Hear(u8),
    Trouble(u8, u8),
    Refuse(u8, u8),
    Print(u8),
}

/// More than half of what a client may leave untaken.
static LINES: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; 20 << 20]));

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5u8).prop_map(Step::Join),
        1 => (1..5u8).prop_map(Step::Leaving),
        2 => (1..5u8).prop_map(Step::Leave),
        8 => (1..4u8, 1..30usize).prop_map(|(job, count)| Step::Inputs(job, count)),
        1 => (1..4u8).prop_map(Step::Close),
        24 => (1..5u8, 1..20u8).prop_map(|(node, count)| Step::End(node, count)),
        2 => (1..4u8).prop_map(Step::Late),
        1 => (1..5u8).prop_map(Step::MemoryShort),
        1 => (1..4u8).prop_map(Step::Abandon),
        4 => (1..4u8).prop_map(Step::Take),
        8 => (1..200u64).prop_map(Step::Pass),
        16 => (1..5u8).prop_map(Step::Arrive),
        16 => (1..5u8).prop_map(Step::Hear),
        1 => (1..5u8, 1..4u8).prop_map(|(node, job)| Step::Trouble(node, job)),
    ]
}

/// The same, and nodes that refuse jobs and calls that print much.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        90 => step(),
        1 => (1..5u8, 1..4u8).prop_map(|(node, job)| Step::Refuse(node, job)),
        2 => (1..5u8).prop_map(Step::Print),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_history_keeps_the_invariants(steps in prop::collection::vec(step(), 0..160), parallelism in 1..6u64) {
        plays(steps, parallelism)?;
    }

    #[test]
    fn any_history_with_refusals_and_much_output_does(
        steps in prop::collection::vec(any_step(), 0..160),
        parallelism in 1..6u64,
    ) {
        plays(steps, parallelism)?;
    }
}

/// Whatever happens in whatever order, and however late nodes hear of it: a job's calls end once each; no node runs more than
/// it has, no job more than it may, at any moment; and when nodes stay and inputs end, so do jobs.
fn plays(steps: Vec<Step>, parallelism: u64) -> Result<(), TestCaseError> {
    let mut world = World { lag: true, ..World::default() };
    let mut given: BTreeMap<u8, usize> = BTreeMap::new();
    let mut abandoned = Vec::new();
    let mut lost: Vec<(NodeId, JobId, CallToRun)> = Vec::new();
    // With the memory reserved that they may have, one of them fits a node of these.
    let limits = limits(50 << 30);
    for number in 1..4u8 {
        let spec = job(if number == 1 { parallelism } else { u64::MAX });
        let work = Work { limits: limits.clone(), ..Work::clone(&spec.work) };
        world.happens(Event::JobOpened(job_id(number), JobSpec { work: Arc::new(work), ..spec }));
    }
    let mut closed = Vec::new();
    for step in steps {
        match step {
            Step::Join(number) if !world.grid.nodes.contains_key(&node_id(number)) => world.joins(number, 3),
            Step::Join(_) => {}
            Step::Leaving(number) => world.happens(Event::NodeLeaving(node_id(number))),
            Step::Leave(number) => {
                let calls = world.nodes.get(&node_id(number)).map(|node| node.running.clone()).unwrap_or_default();
                lost.extend(calls.into_iter().map(|(job, call)| (node_id(number), job, call)));
                world.happens(Event::NodeLeft(node_id(number)));
            }
            Step::Inputs(number, count) if !closed.contains(&number) => {
                *given.entry(number).or_default() += count;
                world.happens(Event::InputsArrived(job_id(number), inputs(count)));
            }
            Step::Inputs(..) => {}
            Step::Close(number) => {
                closed.push(number);
                world.happens(Event::InputsClosed(job_id(number)));
            }
            Step::End(number, count) => {
                for _ in 0..count {
                    world.one_ends(node_id(number));
                }
            }
            Step::Late(number) => {
                if let Some(position) = lost.iter().position(|(_, job, _)| *job == job_id(number)) {
                    let (node, job, call) = lost.remove(position);
                    world.reports(node, job, call, ended(Outcome::Done(Bytes::new())));
                }
            }
            Step::MemoryShort(number) => {
                if let Some(node) = world.nodes.get_mut(&node_id(number)).filter(|node| !node.running.is_empty()) {
                    let (job, call) = node.running.remove(0);
                    node.start();
                    let calls = vec![(call.index, call.attempt)];
                    let returned = CallsReturned { calls, reason: ReturnReason::MemoryShort };
                    world.says(node_id(number), Event::CallsReturned(node_id(number), job, returned));
                }
            }
            Step::Trouble(number, job) => {
                // Before any call of it could run.
                let knows = |node: &&mut NodeWorld| node.slots.contains_key(&job_id(job)) && node.runs(job_id(job)) == 0;
                if let Some(node) = world.nodes.get_mut(&node_id(number)).filter(knows) {
                    node.troubled.insert(job_id(job));
                    world.says(node_id(number), Event::NodeTroubled(node_id(number), job_id(job), "trouble".into()));
                }
            }
            Step::Refuse(number, job) => {
                if let Some(node) = world.nodes.get_mut(&node_id(number))
                    && node.slots.contains_key(&job_id(job))
                    && node.runs(job_id(job)) == 0
                {
                    node.troubled.insert(job_id(job));
                    world.says(node_id(number), Event::NodeRefused(node_id(number), job_id(job), "refused".into()));
                }
            }
            Step::Print(number) => {
                let running = world.nodes.get(&node_id(number)).and_then(|node| node.running.first().cloned());
                if let Some((job, call)) = running {
                    let printed =
                        CallReport::Printed { stream: burla_types::OutputStream::Stdout, first_line: 0, lines: LINES.clone() };
                    world.reports(node_id(number), job, call, printed);
                }
            }
            Step::Abandon(number) => {
                abandoned.push(number);
                world.happens(Event::JobAbandoned(job_id(number)));
            }
            Step::Take(number) => {
                let untaken = world.untaken.insert(job_id(number), 0).unwrap_or(0);
                world.happens(Event::ClientTook(job_id(number), untaken));
            }
            Step::Pass(milliseconds) => world.passes(Duration::from_millis(milliseconds)),
            Step::Arrive(number) => world.arrive(node_id(number)),
            Step::Hear(number) => world.hear(node_id(number)),
        }
        world.check();
        // Of a job that is over, nodes may not have heard yet.
        let is_open = |number: &u8| world.grid.jobs.contains_key(&job_id(*number));
        prop_assert!(!is_open(&1) || world.runs_now_everywhere(job_id(1)) <= parallelism);
        for node in world.nodes.keys() {
            let at_once: u64 = (1..4).filter(is_open).map(|number| world.runs_now(*node, job_id(number))).sum();
            prop_assert!(at_once <= 3, "{at_once} calls of one CPU each on a node of three");
        }
    }
    world.joins(9, 3);
    for number in 1..4u8 {
        world.happens(Event::InputsClosed(job_id(number)));
    }
    for _ in 0..1000 {
        let nodes: Vec<_> = world.nodes.keys().copied().collect();
        nodes.iter().for_each(|node| world.arrive(*node));
        world.all_end();
        nodes.iter().for_each(|node| world.hear(*node));
        for number in 1..4u8 {
            let untaken = world.untaken.insert(job_id(number), 0).unwrap_or(0);
            world.happens(Event::ClientTook(job_id(number), untaken));
        }
        world.passes(event::TICK);
        world.check();
        let open = (1..4u8).any(|number| !abandoned.contains(&number) && !world.ended.contains_key(&job_id(number)));
        if !open {
            break;
        }
    }
    // One that had nothing but trouble has failed.
    let failed = |number: &u8| world.ended.get(&job_id(*number)).is_some_and(Result::is_err);
    for number in (1..4u8).filter(|number| !abandoned.contains(number) && !failed(number)) {
        let told = world.indices_told(job_id(number));
        prop_assert_eq!(told, (0..given.get(&number).copied().unwrap_or(0) as u64).collect::<Vec<_>>());
        prop_assert!(world.ended.contains_key(&job_id(number)));
    }
    Ok(())
}
