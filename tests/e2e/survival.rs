//! What is lost and what is repeated when schedulers, nodes and clients die, freeze and come back: nothing.

use std::path::Path;
use std::pin::pin;

use burla::{CallErrorKind, Error, JobState, remote_parallel_map};
use burla_test_guests::{behavior, failing, typed};
use burla_tests::survivor::{self, Task, Told};
use burla_tests::{Lines, LocalGrid, Proxy, guests, joined, rounds, until};
use rustix::process::Signal;
use tokio_stream::StreamExt;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_survivor"))
}

/// Inputs of `behavior::answers`.
fn inputs(calls: u64, milliseconds: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..calls).map(move |number| (number, milliseconds))
}

fn answers(calls: u64) -> Vec<u64> {
    (0..calls).map(behavior::answer).collect()
}

/// Each call has shown its one line once.
#[track_caller]
fn assert_started_once(lines: &Lines, calls: u64) {
    let mut shown: Vec<_> = lines.take().into_iter().map(|(index, _, line)| (index, line)).collect();
    shown.sort_unstable();
    assert_eq!(shown, (0..calls).map(|index| (index, format!("start {index}"))).collect::<Vec<_>>());
}

#[test]
fn an_attached_job_outlives_its_scheduler() {
    let mut grid = LocalGrid::start(2);
    let (on, lines) = (grid.grid.clone(), Lines::default());
    let shown = lines.callback();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::answers, inputs(200, 100)).stdout(shown).grid(&on).run());
    until("some calls have ended", || grid.grid.jobs().unwrap().first().is_some_and(|job| job.calls_ended > 20));
    grid.restart_scheduler(&[]);
    assert_eq!(joined(job, "the job has ended").unwrap(), answers(200));
    assert_started_once(&lines, 200);
}

#[test]
fn a_detached_job_outlives_its_scheduler_and_its_client() {
    let mut grid = LocalGrid::start(2);
    let client = survivor::start(program(), &grid.grid, Task::Submit { calls: 200, milliseconds: 100, pause_micros: 0 });
    let id = survivor::job_of(&client);
    assert!(client.wait());
    let during = survivor::start(program(), &grid.grid, Task::Results { job: &id });
    during.wait_for("result ");
    grid.restart_scheduler(&[]);
    during.wait_for("over 200");
    assert_eq!(Told::by(&during).wrong_outputs(200), None);
    let after = survivor::start(program(), &grid.grid, Task::Results { job: &id });
    after.wait_for("over 200");
    assert_eq!(Told::by(&after).wrong_outputs(200), None);
    let info = grid.grid.job::<u64>(&id).unwrap().info().unwrap();
    assert_eq!((info.state, info.calls_ended, info.detached), (JobState::Finished, 200, true));
}

#[test]
fn a_submission_that_goes_on_after_a_scheduler_restart_is_whole() {
    let mut grid = LocalGrid::start(1);
    let client = survivor::start(program(), &grid.grid, Task::Submit { calls: 200, milliseconds: 1, pause_micros: 20_000 });
    until("some inputs are there", || grid.grid.jobs().unwrap().first().is_some_and(|job| job.inputs > 20));
    grid.restart_scheduler(&[]);
    let id = survivor::job_of(&client);
    assert_eq!(grid.grid.job::<u64>(&id).unwrap().results().unwrap(), answers(200));
}

#[test]
fn a_submission_that_is_never_finished_can_be_canceled() {
    let grid = LocalGrid::start(1);
    let client = survivor::start(program(), &grid.grid, Task::Submit { calls: 100_000, milliseconds: 1, pause_micros: 20_000 });
    until("some inputs are there", || grid.grid.jobs().unwrap().first().is_some_and(|job| job.inputs > 20));
    client.kill();
    let job = grid.grid.jobs().unwrap().remove(0);
    assert!(job.detached && !job.inputs_closed && job.state == JobState::Open, "{job:?}");
    grid.grid.cancel(job.id).unwrap();
    until("it is over", || grid.grid.job_info(job.id).unwrap().state == JobState::Canceled);
}

/// Stops a client until the scheduler has missed it, and lets it go on.
fn suspended_client(arguments: &[&str], until_gone: &str) {
    guests();
    let mut grid = LocalGrid::without_nodes_with(arguments);
    grid.add_node(&["--cpus", "2"]);
    let client = survivor::start(program(), &grid.grid, Task::Run { calls: 300, milliseconds: 100 });
    client.wait_for("result ");
    client.signal(Signal::STOP);
    // Heartbeats are answered within six seconds, or the connection counts as broken.
    grid.scheduler.wait_for(until_gone);
    client.signal(Signal::CONT);
    client.wait_for("over 300");
    let told = Told::by(&client);
    assert_eq!((told.wrong_outputs(300), told.wrong_lines(300)), (None, None));
}

#[test]
fn a_client_that_was_suspended_goes_on() {
    suspended_client(&[], "the connection to a job's client broke");
}

#[test]
fn a_client_that_was_suspended_past_the_grace_has_the_rest_run_again() {
    suspended_client(&["--client-grace-seconds", "2"], "job abandoned by its client");
}

#[test]
fn calls_of_a_node_that_freezes_run_elsewhere() {
    let grid = LocalGrid::start(2);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::answers, inputs(300, 100)).grid(&on).run());
    until("it runs", || grid.grid.nodes().unwrap().iter().all(|node| node.running == 2));
    grid.nodes[1].signal(Signal::STOP);
    grid.scheduler.wait_for("node left");
    // A node that is back before its calls have ended elsewhere goes on with them. They are the next to run there.
    let calls_ended = || grid.grid.jobs().unwrap()[0].calls_ended;
    let when_it_left = calls_ended();
    until("its calls have ended elsewhere", || calls_ended() >= when_it_left + 20);
    grid.nodes[1].signal(Signal::CONT);
    assert_eq!(joined(job, "the job has ended").unwrap(), answers(300));
    let ended = grid.grid.jobs_with_ended().unwrap().remove(0);
    assert!(ended.requeued > 0 && ended.calls_ended == 300, "{ended:?}");
}

#[test]
fn a_call_that_runs_while_its_node_is_cut_off_is_not_begun_again() {
    guests();
    let mut grid = LocalGrid::without_nodes();
    let proxy = Proxy::to(grid.grid.url());
    grid.add_node(&["--cpus", "2", "--scheduler", proxy.url()]);
    let (on, lines) = (grid.grid.clone(), Lines::default());
    let shown = lines.callback();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::answers, inputs(2, 3000)).stdout(shown).grid(&on).run());
    // That they are sent is not enough.
    until("they have begun", || lines.count() == 2);
    proxy.cut();
    grid.nodes[0].wait_for("joined the grid");
    assert_eq!(joined(job, "the job has ended").unwrap(), answers(2));
    assert_started_once(&lines, 2);
    assert_eq!(grid.grid.jobs_with_ended().unwrap()[0].requeued, 0);
}

#[test]
fn a_node_that_leaves_while_its_scheduler_dies_ends_its_calls_first() {
    guests();
    let mut grid = LocalGrid::without_nodes();
    grid.add_node(&["--cpus", "2", "--drain-seconds", "60"]);
    let (on, lines) = (grid.grid.clone(), Lines::default());
    let shown = lines.callback();
    let job = std::thread::spawn(move || remote_parallel_map(behavior::answers, inputs(2, 5000)).stdout(shown).grid(&on).run());
    until("they have begun", || lines.count() == 2);
    grid.nodes[0].signal(Signal::TERM);
    grid.scheduler.wait_for("node is leaving");
    grid.restart_scheduler(&[]);
    // There is no other node that could run them.
    assert_eq!(joined(job, "the job has ended").unwrap(), answers(2));
    assert_started_once(&lines, 2);
    assert!(grid.nodes.remove(0).wait());
}

#[test]
fn two_jobs_do_not_mix_while_processes_die() {
    let mut grid = LocalGrid::start(2);
    let (one, other) = (grid.grid.clone(), grid.grid.clone());
    let one = std::thread::spawn(move || remote_parallel_map(behavior::answers, inputs(200, 50)).grid(&one).run());
    let other = std::thread::spawn(move || {
        remote_parallel_map(behavior::answers_at_length, (0..200).map(|number| (number, 50, 100))).grid(&other).run()
    });
    until("both run", || {
        let jobs = grid.grid.jobs().unwrap();
        jobs.len() == 2 && jobs.iter().all(|job| job.calls_ended > 10)
    });
    grid.restart_node(0, &["--cpus", "2"]);
    grid.restart_scheduler(&[]);
    assert_eq!(joined(one, "the job has ended").unwrap(), answers(200));
    let expected: Vec<_> = (0..200).map(|number| (number, behavior::text_of(number, 100))).collect();
    assert_eq!(joined(other, "the job has ended").unwrap(), expected);
}

#[test]
fn calls_of_a_job_that_was_canceled_while_their_node_was_away_stop() {
    let grid = LocalGrid::start(1);
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(failing::sleeps_or_fails, [false; 2]).grid(&on).run());
    until("they run", || grid.grid.nodes().unwrap()[0].running == 2);
    grid.nodes[0].signal(Signal::STOP);
    grid.grid.cancel(grid.grid.jobs().unwrap()[0].id).unwrap();
    assert!(matches!(joined(job, "the job has ended"), Err(Error::JobCanceled { .. })));
    grid.scheduler.wait_for("node left");
    grid.nodes[0].signal(Signal::CONT);
    until("nothing runs", || grid.grid.nodes().unwrap().first().is_some_and(|node| node.running == 0));
    // Its slots are free, too: the calls that had them would sleep for an hour.
    assert_eq!(remote_parallel_map(typed::doubles, [1, 2]).grid(&grid.grid).run().unwrap(), [2, 4]);
}

#[test]
fn a_call_that_loses_three_nodes_is_lost() {
    guests();
    let mut grid = LocalGrid::without_nodes();
    let on = grid.grid.clone();
    let job = std::thread::spawn(move || remote_parallel_map(failing::sleeps_or_fails, [false]).grid(&on).try_run());
    for _ in 0..3 {
        grid.add_node(&["--cpus", "1"]);
        until("it runs", || grid.grid.nodes().unwrap()[0].running == 1);
        grid.nodes.remove(0).kill();
        until("the node is gone", || grid.grid.nodes().unwrap().is_empty());
    }
    let fates = joined(job, "the job has ended").unwrap();
    let error = fates[0].as_ref().unwrap_err();
    assert!(error.kind == CallErrorKind::Lost && error.message.contains("node"), "{error:?}");
}

#[test]
fn calls_that_fail_are_tried_again_as_often_as_wanted() {
    let grid = LocalGrid::start(1);
    let by_chance = remote_parallel_map(behavior::fails_by_chance, (0..50).map(|number| (number, 50))).retries(20);
    assert_eq!(by_chance.grid(&grid.grid).run().unwrap(), (0..50).collect::<Vec<_>>());
    assert!(grid.grid.jobs_with_ended().unwrap()[0].retried > 0);
    let always = remote_parallel_map(behavior::fails_by_chance, [(7, 100)]).retries(2).grid(&grid.grid).run();
    let Err(Error::Call(error)) = always else { panic!("{always:?}") };
    assert_eq!((error.kind, error.message.as_str()), (CallErrorKind::Failed, "7 had no luck"));
}

#[test]
fn a_program_says_that_a_node_was_lost_and_what_it_waits_for() {
    guests();
    let mut grid = LocalGrid::start(1);
    let attached = survivor::start(program(), &grid.grid, Task::Run { calls: 8, milliseconds: 1000 });
    attached.wait_for("line ");
    grid.nodes.remove(0).kill();
    attached.wait_for("burla: node node-0 was lost; ");
    attached.wait_for("burla: the job waits: no node is connected; the job goes on when one comes back");
    grid.add_node(&[]);
    attached.wait_for("over 8");
    assert_eq!(Told::by(&attached).wrong_outputs(8), None);
}

#[test]
fn the_counters_of_a_job_outlive_its_scheduler() {
    let mut grid = LocalGrid::start(1);
    let job = remote_parallel_map(failing::sleeps_or_fails, [false; 2]).grid(&grid.grid).detach().unwrap();
    let info = || job.info().unwrap();
    until("its calls run", || info().running == 2);
    grid.nodes.remove(0).kill();
    until("its calls were lost", || info().requeued == 2);
    // It is written within a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    grid.restart_scheduler(&[]);
    assert_eq!(info().requeued, 2);
    grid.grid.cancel(job.id()).unwrap();
    assert_eq!((info().state, info().requeued), (JobState::Canceled, 2));
}

#[test]
fn an_attached_job_whose_client_is_killed_ends_and_a_detached_one_goes_on() {
    guests();
    let mut grid = LocalGrid::without_nodes_with(&["--client-grace-seconds", "1"]);
    grid.add_node(&["--cpus", "2"]);
    let attached = survivor::start(program(), &grid.grid, Task::Run { calls: 1000, milliseconds: 1000 });
    attached.wait_for("line ");
    attached.kill();
    grid.scheduler.wait_for("job abandoned by its client");
    let detached = survivor::start(program(), &grid.grid, Task::SubmitAndCollect { calls: 100, milliseconds: 50 });
    let id = survivor::job_of(&detached);
    detached.kill();
    assert_eq!(grid.grid.job::<u64>(&id).unwrap().results().unwrap(), answers(100));
    let jobs = |grid: &LocalGrid| {
        let mut jobs = grid.grid.jobs_with_ended().unwrap();
        jobs.sort_by_key(|job| job.detached);
        jobs.into_iter().map(|job| (job.detached, job.state, job.calls_ended, job.nodes)).collect::<Vec<_>>()
    };
    let before = jobs(&grid);
    assert_eq!(before.iter().map(|job| job.1).collect::<Vec<_>>(), [JobState::Abandoned, JobState::Finished]);
    assert_eq!(before[1].3, ["node-0"]);
    until("both are in the history on disk", || jobs(&grid) == before);
    grid.restart_scheduler(&[]);
    assert_eq!(jobs(&grid).len(), 2);
}

#[test]
fn a_disk_that_is_full_holds_detached_jobs_up_and_loses_nothing() {
    let grid = LocalGrid::start(2);
    let job = remote_parallel_map(behavior::answers, inputs(300, 50)).grid(&grid.grid).detach().unwrap();
    until("some calls have ended", || job.info().unwrap().calls_ended > 20);
    grid.fill_disk(true);
    until("it says what it waits for", || job.info().unwrap().waiting.is_some_and(|reason| reason.contains("cannot keep jobs")));
    // Nothing of an attached job is on the disk, and of one that is handed over now nothing can be.
    let (on, lines) = (grid.grid.clone(), Lines::default());
    assert_eq!(
        remote_parallel_map(behavior::answers, inputs(20, 1)).stdout(lines.callback()).grid(&on).run().unwrap(),
        answers(20)
    );
    assert_started_once(&lines, 20);
    let refused = remote_parallel_map(behavior::answers, inputs(20, 1)).grid(&on).detach();
    let Err(Error::Grid(error)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().starts_with("the grid cannot keep the job: cannot keep jobs"), "{error}");
    grid.fill_disk(false);
    assert_eq!(job.results().unwrap(), answers(300));
    until("what was refused is over", || grid.grid.jobs().unwrap().is_empty());
}

#[test]
fn a_scheduler_that_dies_while_its_disk_is_full_goes_on_with_what_was_kept() {
    let mut grid = LocalGrid::start(1);
    let job = remote_parallel_map(behavior::answers, inputs(100, 50)).grid(&grid.grid).detach().unwrap();
    until("some calls have ended", || job.info().unwrap().calls_ended > 10);
    grid.fill_disk(true);
    until("it says what it waits for", || job.info().unwrap().waiting.is_some());
    grid.restart_scheduler(&[]);
    assert_eq!(job.results().unwrap(), answers(100));
}

#[test]
fn a_job_that_is_dropped_stops_also_when_the_grid_takes_no_more_inputs() {
    guests();
    let mut grid = LocalGrid::without_nodes_with(&["--client-grace-seconds", "3600"]);
    grid.add_node(&["--cpus", "2"]);
    let endless = (0_u64..).map(|number| (number, 3_600_000));
    let job = remote_parallel_map(behavior::answers, endless).stdout(burla::Stdout::Discard).grid(&grid.grid);
    let (drop_it, dropped) = tokio::sync::oneshot::channel::<()>();
    let user = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut outputs = pin!(job.stream());
            tokio::select! {
                output = outputs.next() => panic!("{output:?}"),
                _ = dropped => {}
            }
        });
    });
    until("the grid has all the inputs that it takes", || {
        grid.grid.jobs().unwrap().first().is_some_and(|job| job.inputs >= 200_000)
    });
    drop_it.send(()).unwrap();
    joined(user, "the user has dropped the job");
    until("nothing runs", || grid.grid.nodes().unwrap()[0].running == 0);
}

#[test]
fn rounds_of_random_kills_lose_and_repeat_nothing() {
    assert_eq!(rounds::run(2, 2000, 6), 0);
}
