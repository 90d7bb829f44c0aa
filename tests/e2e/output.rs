//! What calls print, and when it arrives.

use burla::{OutputStream, Stdout, remote_parallel_map};
use burla_test_guests::behavior;
use burla_tests::{Lines, LocalGrid};

#[test]
fn every_line_arrives_once_whole_and_in_order() {
    let grid = LocalGrid::start(2);
    let lines = Lines::default();
    let inputs: Vec<_> = (0..200).map(|number| (number, 1 + number % 5)).collect();
    remote_parallel_map(behavior::prints, inputs.clone()).stdout(lines.callback()).grid(&grid.grid).run().unwrap();
    let lines = lines.take();
    for (number, count) in inputs {
        let of_call: Vec<_> = lines.iter().filter(|(index, ..)| *index == number).map(|(_, _, line)| line.clone()).collect();
        let expected: Vec<_> = (0..count).map(|line| format!("call {number} line {line}")).collect();
        assert_eq!(of_call, expected);
    }
}

#[test]
fn both_streams_arrive_as_what_they_are() {
    let grid = LocalGrid::start(1);
    let lines = Lines::default();
    remote_parallel_map(behavior::prints_to_both, [7]).stdout(lines.callback()).grid(&grid.grid).run().unwrap();
    let expected = [(0, OutputStream::Stdout, "out 7".to_owned()), (0, OutputStream::Stderr, "err 7".to_owned())];
    assert_eq!(lines.take(), expected);
}

#[test]
fn discarded_output_is_not_shown_but_the_end_of_stderr_stays_with_the_error() {
    let grid = LocalGrid::start(1);
    let job = remote_parallel_map(behavior::prints_and_may_fail, [1, 3]).stdout(Stdout::Discard);
    let fates = job.grid(&grid.grid).try_run().unwrap();
    assert_eq!(fates[0], Ok(1));
    assert_eq!(fates[1].as_ref().unwrap_err().stderr_tail, "working on 3\n");
}

#[test]
fn a_flood_of_lines_arrives_whole() {
    let grid = LocalGrid::start(1);
    let (mut next, mut wrong) = (vec![0u64; 4], 0u64);
    let counts = std::sync::Arc::new(std::sync::Mutex::new((0u64, 0u64)));
    let shared = std::sync::Arc::clone(&counts);
    let reader = Stdout::to(move |index, _, line| {
        let call = usize::try_from(index).unwrap();
        if line != format!("call {index} line {}", next[call]) {
            wrong += 1;
        }
        next[call] += 1;
        *shared.lock().unwrap() = (next.iter().sum(), wrong);
    });
    let lines = 50_000;
    let inputs = (0..4).map(|number| (number, lines));
    remote_parallel_map(behavior::prints, inputs).stdout(reader).grid(&grid.grid).run().unwrap();
    assert_eq!(*counts.lock().unwrap(), (4 * lines, 0));
}
