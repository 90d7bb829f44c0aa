//! Nodes that refuse jobs.

use super::*;

fn refuses(world: &mut World, node: u8) {
    world.happens(Event::NodeRefused(node_id(node), job_id(1), format!("node {node} refuses it")));
}

fn refused(reason: &str) -> Result<JobSummary, GridError> {
    Err(GridError::RefusedByPolicy { reason: reason.to_owned() })
}

#[test]
fn a_job_that_one_node_refuses_runs_on_another_and_fails_when_all_refuse() {
    let mut world = World::default();
    world.joins(1, 2);
    world.joins(2, 2);
    world.opens(1, job(u64::MAX), 10);
    refuses(&mut world, 1);
    // Not after a while, either, and not after it had trouble as well.
    world.happens(Event::NodeTroubled(node_id(1), job_id(1), "late news".into()));
    world.now = 10 * SECOND;
    world.happens(Event::Tick);
    assert_eq!((world.runs_now(node_id(1), job_id(1)), world.runs_now(node_id(2), job_id(1))), (0, 2));
    refuses(&mut world, 2);
    assert_eq!(world.ended[&job_id(1)], refused("node 2 refuses it"));
}

#[test]
fn a_node_that_is_too_small_or_about_to_leave_is_no_reason_to_wait() {
    for leaves in [false, true] {
        let mut world = World::default();
        world.joins(1, 8);
        world.joins(2, if leaves { 8 } else { 1 });
        world.opens(1, JobSpec { cpu_millis: 8000, ..job(u64::MAX) }, 1);
        refuses(&mut world, 1);
        if leaves {
            assert!(!world.ended.contains_key(&job_id(1)));
            world.happens(Event::NodeLeaving(node_id(2)));
        }
        assert_eq!(world.ended[&job_id(1)], refused("node 1 refuses it"), "leaves: {leaves}");
    }
}

#[test]
fn a_job_that_a_node_has_taken_on_waits_for_it_to_come_back() {
    let mut world = World::default();
    world.joins(1, 1);
    world.joins(2, 1);
    world.opens(1, job(u64::MAX), 10);
    refuses(&mut world, 1);
    assert!(world.one_ends(node_id(2)));
    world.happens(Event::NodeLeft(node_id(2)));
    assert!(!world.ended.contains_key(&job_id(1)));
    assert!(world.waiting[&job_id(1)].as_ref().unwrap().contains("node 1 refuses it"));
    world.joins(3, 1);
    world.all_end();
    assert_eq!(world.indices_told(job_id(1)), (0..10).collect::<Vec<_>>());
}
