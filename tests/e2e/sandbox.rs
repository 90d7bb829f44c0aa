//! What calls are given, and what they are told they took.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use burla::{CallErrorKind, Error, Limit, Usage, remote_parallel_map};
use burla_test_guests::limits;
use burla_tests::{Lines, LocalGrid, joined, until};
use burla_types::GridError;

/// A server that answers each line with `you said: ` and itself, for as long as the test runs.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = write!(stream, "you said: {line}");
        }
    });
    address
}

/// What a single call took.
fn usage(grid: &LocalGrid, rounds: u64, fuel: Option<u64>) -> Result<Usage, CallErrorKind> {
    let mut job = remote_parallel_map(limits::computes, [rounds]).grid(&grid.grid);
    if let Some(fuel) = fuel {
        job = job.fuel(fuel);
    }
    let end = job.generator().unwrap().detailed().next().unwrap().unwrap();
    end.result.map(|_| end.usage).map_err(|error| {
        assert_eq!(error.usage, end.usage);
        error.kind
    })
}

#[test]
fn fuel_is_the_same_on_every_run_and_ends_a_call_at_the_same_instruction() {
    let grid = LocalGrid::start(2);
    let fuel = usage(&grid, 100_000, None).unwrap().fuel;
    assert!(fuel > 100_000, "{fuel}");
    for _ in 0..5 {
        assert_eq!(usage(&grid, 100_000, None).unwrap().fuel, fuel);
    }
    assert_eq!(usage(&grid, 100_000, Some(fuel)).unwrap().fuel, fuel);
    assert_eq!(usage(&grid, 100_000, Some(fuel - 1)), Err(CallErrorKind::Exceeded(Limit::Fuel)));
    let fates = remote_parallel_map(limits::computes, [100_000]).fuel(5000).grid(&grid.grid).try_run().unwrap();
    let error = fates[0].as_ref().unwrap_err();
    assert_eq!((error.to_string().as_str(), error.usage.fuel), ("call 0 exceeded fuel of 5000 units", 5000));
}

#[test]
fn a_call_is_told_what_it_took_and_a_job_the_sum() {
    let grid = LocalGrid::start(1);
    let inputs = [(3 << 20, 5 << 20), (1 << 20, 1 << 20)];
    let mut ends = remote_parallel_map(limits::writes_and_holds, inputs).grid(&grid.grid).generator().unwrap().detailed();
    let mut each: Vec<_> = (&mut ends).map(Result::unwrap).collect();
    each.sort_by_key(|end| end.index);
    assert_eq!(each.iter().map(|end| end.usage.disk_bytes_written).collect::<Vec<_>>(), [3 << 20, 1 << 20]);
    let peaks: Vec<_> = each.iter().map(|end| end.usage.memory_bytes_peak).collect();
    // What it holds, what it writes, a MiB of its own and one for what the host holds.
    assert!(peaks[0] > 8 << 20 && peaks[0] < 14 << 20, "{peaks:?}");
    assert!(each.iter().all(|end| end.usage.wall_time > Duration::ZERO && end.usage.fuel > 0));
    let sum = ends.usage();
    assert_eq!((sum.disk_bytes_written, sum.memory_bytes_peak), (4 << 20, peaks[0]));
    assert_eq!(sum.fuel, each[0].usage.fuel + each[1].usage.fuel);
    until("the scheduler logs the same sum", || grid.scheduler.log().contains("written=4194304"));
}

#[test]
fn a_call_that_was_stopped_is_told_what_it_took_until_then() {
    let grid = LocalGrid::start(1);
    let job = remote_parallel_map(limits::computes_for, [60_000]).timeout(Duration::from_millis(200)).grid(&grid.grid);
    let end = job.generator().unwrap().detailed().next().unwrap().unwrap();
    assert_eq!(end.result.unwrap_err().kind, CallErrorKind::Exceeded(Limit::WallTime));
    assert!(end.usage.fuel > 1_000_000 && end.usage.wall_time >= Duration::from_millis(200), "{:?}", end.usage);
}

#[test]
fn func_cpu_below_one_is_a_share() {
    let grid = LocalGrid::start(1);
    let fuel = |cpus: f64| {
        let on = grid.grid.clone();
        std::thread::spawn(move || {
            let job = remote_parallel_map(limits::computes_for, [1000]).func_cpu(cpus).grid(&on);
            job.generator().unwrap().detailed().next().unwrap().unwrap().usage.fuel as f64
        })
    };
    // Both at the same time, beside whatever else this machine does. How exact it is, is tested on the account (throttle.rs); this
    // only tells a limit from none.
    let (whole, tenth) = (fuel(1.0), fuel(0.1));
    let (whole, tenth) = (joined(whole, "a job of one CPU has ended"), joined(tenth, "a job of a tenth has ended"));
    assert!(tenth < 0.5 * whole && tenth > 0.0, "{tenth} of {whole}");
}

/// WASI's streams tell why a write failed when they are asked; the libc of Rust 1.95 does not ask, and says EIO.
fn says_no_room(error: &str) -> bool {
    error.contains("No space left on device") || error.contains("I/O error")
}

#[test]
fn a_full_disk_is_an_error_that_a_function_can_handle() {
    let grid = LocalGrid::start(1);
    let outputs = remote_parallel_map(limits::fills_its_disk, [(); 3]).disk(0.015625).grid(&grid.grid).run().unwrap();
    for (kibibytes, error, room_again) in outputs {
        assert_eq!((kibibytes, room_again), (16 << 10, true));
        assert!(says_no_room(&error), "{error}");
    }
}

#[test]
fn a_call_that_fails_on_a_full_disk_says_so() {
    let grid = LocalGrid::start(1);
    let job = remote_parallel_map(limits::writes_and_holds, [(2 << 20, 0)]).disk(0.0009765625).grid(&grid.grid);
    let error = &job.try_run().unwrap()[0].clone().unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Failed);
    assert!(error.stderr_tail.contains("no space left: its files may take 1.0 MiB together (.disk)"), "{error:?}");
}

#[test]
fn all_calls_together_have_no_more_disk_than_their_node_gives() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--cpus", "2", "--disk", "0.015625"]);
    let (kibibytes, error, _) = &remote_parallel_map(limits::fills_its_disk, [()]).grid(&grid.grid).run().unwrap()[0];
    assert!(*kibibytes <= 16 << 10 && says_no_room(error), "{kibibytes}: {error}");
}

#[test]
fn the_network_is_what_was_granted() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--allow-private", "127.0.0.0/8,::1/128"]);
    let (server, other) = (server(), server());
    let ask = |address: String, grants: &[&str]| {
        let mut job = remote_parallel_map(limits::asks, [(address, "hello".to_owned())]).grid(&grid.grid);
        for grant in grants {
            job = job.allow_network(*grant);
        }
        job.run().map(|answers| answers[0].clone()).map_err(|error| format!("{error:?}"))
    };
    assert_eq!(ask(server.to_string(), &[&server.to_string()]).unwrap(), "you said: hello\n");
    assert_eq!(ask(server.to_string(), &["127.0.0.1:*"]).unwrap(), "you said: hello\n");
    assert_eq!(ask(format!("localhost:{}", server.port()), &["localhost:*"]).unwrap(), "you said: hello\n");
    for (address, grants) in [
        (server.to_string(), &[][..]),
        (server.to_string(), &[other.to_string().as_str()]),
        (server.to_string(), &["localhost:*"]),
        (format!("localhost:{}", server.port()), &[&*server.to_string()]),
        (format!("localhost:{}", server.port()), &["*.localhost:*", "example.com:*"]),
    ] {
        let error = ask(address.clone(), grants).unwrap_err();
        assert!(error.contains("not granted"), "{address} with {grants:?}: {error}");
    }
    // A look-up alone tells a server of the name's owner who asked.
    let names = remote_parallel_map(limits::looks_up, ["localhost:80".to_owned()]).grid(&grid.grid).try_run().unwrap();
    assert!(names[0].is_err());
}

#[test]
fn private_addresses_are_not_reached_even_where_they_are_granted() {
    let grid = LocalGrid::start(1);
    let server = server();
    for (address, grant) in [(server.to_string(), server.to_string()), (format!("localhost:{}", server.port()), "*".to_owned())] {
        let job = remote_parallel_map(limits::asks, [(address, "hello".to_owned())]).allow_network(grant).grid(&grid.grid);
        let error = format!("{:?}", job.run().unwrap_err());
        assert!(error.contains("allow-private"), "{error}");
    }
}

#[test]
fn a_job_that_asks_for_more_than_any_node_allows_is_told_which_setting_says_no() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--allow-network", "*.example.com:443", "--disk-per-call", "1"]);
    let refused = |disk: f64, grant: &str| {
        let job = remote_parallel_map(limits::computes, [1]).disk(disk).allow_network(grant).grid(&grid.grid);
        match job.run().unwrap_err() {
            Error::Grid(GridError::RefusedByPolicy { reason }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let network = refused(1.0, "api.example.org:443");
    assert!(
        network.contains("node-0") && network.contains("`allow-network`") && network.contains("api.example.org:443"),
        "{network}"
    );
    let disk = refused(2.0, "api.example.com:443");
    assert!(disk.contains("`disk-per-call`"), "{disk}");
    // Who does not ask gets what there is.
    assert!(remote_parallel_map(limits::computes, [1]).grid(&grid.grid).run().is_ok());
    // Where another node allows it, that one runs it all.
    grid.add_node(&[]);
    let outputs = remote_parallel_map(limits::computes, 0..50).allow_network("api.example.org:443").grid(&grid.grid).run();
    assert_eq!(outputs.unwrap().len(), 50);
}

#[test]
fn grants_that_mean_nothing_are_refused_before_anything_runs() {
    let grid = LocalGrid::without_nodes();
    for grant in ["example.com", "http://example.com:80", ""] {
        let job = remote_parallel_map(limits::computes, [1]).allow_network(grant).grid(&grid.grid);
        assert!(matches!(job.run(), Err(Error::InvalidGrant { .. })), "{grant}");
    }
}

#[test]
fn what_a_call_prints_beyond_its_cap_is_told_with_its_size() {
    const LINES: u64 = 1_000_000;
    let grid = LocalGrid::start(1);
    let lines = Lines::default();
    remote_parallel_map(limits::prints_much, [LINES]).stdout(lines.callback()).grid(&grid.grid).run().unwrap();
    let printed = lines.take();
    let note = printed.iter().position(|(_, _, line)| line.starts_with("[burla: ")).expect("it says what is missing");
    let dropped: u64 = printed[note].2.split(' ').nth(1).unwrap().parse().unwrap();
    let kept: u64 = printed.iter().filter(|(_, _, line)| !line.starts_with('[')).map(|(_, _, line)| line.len() as u64 + 1).sum();
    assert!(kept.abs_diff(LINES * 100 - dropped) <= 1, "{kept} kept, {dropped} dropped");
    assert_eq!(printed[0].2, format!("{:099}", 0));
    assert_eq!(printed.last().unwrap().2, format!("{:099}", LINES - 1));
}
