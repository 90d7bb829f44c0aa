//! How failures reach the user.

use std::time::{Duration, Instant};

use burla::{CallErrorKind, Error, Grid, remote_parallel_map};
use burla_test_guests::{behavior, failing, typed};
use burla_tests::{LocalGrid, guests, joined};

/// The one error of a one-call job.
fn error_of<F: burla::IntoFunction<Kind>, Kind>(grid: &LocalGrid, function: F, input: F::Input) -> burla::CallError {
    let mut fates = remote_parallel_map(function, [input]).grid(&grid.grid).try_run().unwrap();
    fates.remove(0).err().expect("the call fails")
}

#[test]
fn an_error_brings_its_causes() {
    let grid = LocalGrid::start(1);
    let error = error_of(&grid, failing::fails_with_causes, 7);
    assert_eq!(error.kind, CallErrorKind::Failed);
    assert_eq!(error.message, "expedition 7");
    assert_eq!(error.causes, ["cannot read the map", "the disk is on fire"]);
    let sources = std::iter::successors(std::error::Error::source(&error), |cause| (*cause).source());
    assert_eq!(sources.map(ToString::to_string).collect::<Vec<_>>(), error.causes, "for who prints the chain");
    assert_eq!(error_of(&grid, failing::fails_plainly, 9).to_string(), "call 0 failed: plain error 9");
}

#[test]
fn a_panic_says_what_where_and_from_where() {
    let grid = LocalGrid::start(1);
    let error = error_of(&grid, failing::panics, 5);
    assert_eq!(error.kind, CallErrorKind::Panicked);
    assert_eq!(error.message, "number 5 is too small");
    let location = error.location.clone().unwrap().to_string();
    assert!(location.contains("tests/guests/src/failing.rs:"), "{location}");
    assert_eq!(location.split(':').count(), 3, "file:line:column, not {location}");
    let functions = ["failing::inner", "failing::outer", "failing::panics"].map(|name| format!("burla_test_guests::{name}"));
    assert_eq!(error.backtrace.0[..3], functions);
    assert_eq!(error.stderr_tail, "about to panic over 5\n");
    let shown = format!("{error:?}");
    for part in ["call 0 panicked at ", "number 5 is too small", "failing::outer", "about to panic"] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }
    let error = error_of(&grid, failing::indexes, 10);
    assert_eq!(error.message, "index out of bounds: the len is 3 but the index is 10");
}

#[test]
fn what_webassembly_does_not_allow_is_named() {
    let grid = LocalGrid::start(1);
    for (error, part) in [
        (error_of(&grid, failing::recurses, 0), "recursed too deeply"),
        (error_of(&grid, failing::fills_its_stack, 3), "out of stack space (1 MiB by default)"),
        (error_of(&grid, failing::exits, 3), "exit code that is not 0"),
        (error_of(&grid, failing::exits, 0), "exit code 0"),
        (error_of(&grid, failing::aborts, ()), "aborted"),
        (error_of(&grid, failing::traps, ()), "unreachable"),
    ] {
        assert_eq!(error.kind, CallErrorKind::Trapped, "{error}");
        assert!(error.message.contains(part), "no `{part}` in {error}");
    }
}

#[test]
fn the_first_failure_stops_the_job_while_others_sleep() {
    let grid = LocalGrid::start(2);
    let started = Instant::now();
    let inputs = [false, false, false, true];
    let error = remote_parallel_map(failing::sleeps_or_fails, inputs).grid(&grid.grid).run().unwrap_err();
    let Error::Call(error) = error else { panic!("{error:?}") };
    assert_eq!((error.index, error.message.as_str()), (3, "told to fail"));
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    // The slots that slept are free again.
    assert_eq!(remote_parallel_map(typed::doubles, [1, 2, 3, 4, 5]).grid(&grid.grid).run().unwrap(), [2, 4, 6, 8, 10]);
}

#[test]
fn with_try_run_every_call_has_its_own_fate() {
    let grid = LocalGrid::start(2);
    let fates = remote_parallel_map(behavior::prints_and_may_fail, 0..6).grid(&grid.grid).try_run().unwrap();
    for (index, fate) in fates.iter().enumerate() {
        assert_eq!(fate.is_err(), index == 3, "call {index}: {fate:?}");
    }
}

#[test]
fn a_job_that_is_dropped_frees_the_grid() {
    let grid = LocalGrid::start(1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let job = remote_parallel_map(failing::sleeps_or_fails, vec![false; 10]).grid(&grid.grid);
        let dropped = tokio::time::timeout(Duration::from_secs(2), std::future::IntoFuture::into_future(job)).await;
        assert!(dropped.is_err(), "it sleeps for an hour");
    });
    assert_eq!(remote_parallel_map(typed::doubles, [21]).grid(&grid.grid).run().unwrap(), [42]);
}

#[test]
fn what_no_node_could_run_is_refused_with_the_largest_node() {
    let mut grid = LocalGrid::start(1);
    grid.add_node(&["--cpus", "3", "--memory", "2"]);
    let error = remote_parallel_map(typed::doubles, [1]).func_cpu(8.0).grid(&grid.grid).run().unwrap_err();
    assert!(
        error.to_string().contains("no node can run a call with 8 CPUs") && error.to_string().contains("3 CPUs and 2 GiB"),
        "{error}"
    );
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let nowhere = Grid::at("http://127.0.0.1:1").unwrap();
    for (error, part) in [
        (remote_parallel_map(typed::doubles, [1]).func_cpu(0.0).grid(&nowhere).run(), "func_cpu(0)"),
        (remote_parallel_map(typed::doubles, [1]).func_cpu(f64::NAN).grid(&nowhere).run(), "func_cpu(NaN)"),
        (remote_parallel_map(typed::doubles, [1]).func_ram(f64::NAN).grid(&nowhere).run(), "func_ram(NaN)"),
        (remote_parallel_map(typed::doubles, [1]).func_ram(200.0).grid(&nowhere).run(), "up to 128"),
        (remote_parallel_map(typed::doubles, [1]).max_parallelism(0).grid(&nowhere).run(), "max_parallelism"),
        (remote_parallel_map(typed::doubles, [1]).timeout(Duration::ZERO).grid(&nowhere).run(), "timeout"),
        (remote_parallel_map(typed::doubles, [1]).env("A=B", "").grid(&nowhere).run(), "env"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "no `{part}` in {error}");
    }
}

#[test]
fn no_grid_and_a_wrong_address_say_what_to_do() {
    guests();
    let nowhere = Grid::at("http://127.0.0.1:1").unwrap();
    let error = remote_parallel_map(typed::doubles, [1]).grid(&nowhere).run().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("check the address"), "{error:?}");
    // Something answers there, but it is no scheduler.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let error = remote_parallel_map(typed::doubles, [1]).grid(&Grid::at(url).unwrap()).run().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. } | Error::ConnectionLost { .. }), "{error:?}");
    joined(other, "somebody has connected");
}

/// What a program has after an edit without a rebuild: functions that are not as they were packaged.
mod edited {
    use std::borrow::Cow;

    use burla::__private::FunctionInfo;
    use burla::NotMarked;

    macro_rules! edited {
        ($name:ident, $type:ty, $path:literal, $signature:literal, $source:literal) => {
            #[derive(Clone, Copy)]
            pub(super) struct $name;

            impl burla::Function for $name {
                type Input = $type;
                type Output = $type;

                fn info(&self) -> Result<&'static FunctionInfo, NotMarked> {
                    static INFO: FunctionInfo = FunctionInfo {
                        name: Cow::Borrowed($path),
                        signature: Cow::Borrowed($signature),
                        doc: Cow::Borrowed(""),
                        source: Cow::Borrowed($source),
                        place: Cow::Borrowed(""),
                    };
                    Ok(&INFO)
                }
            }
        };
    }

    edited!(Doubles, i64, "burla_test_guests::typed::doubles", "(number: i64) -> i64", "edited");
    edited!(Widened, i128, "burla_test_guests::typed::doubles", "(number: i128) -> i128", "edited");
    edited!(Added, (), "burla_test_guests::typed::added", "()", "added");
}

#[test]
fn a_stale_component_is_refused() {
    guests();
    let nowhere = Grid::at("http://127.0.0.1:1").unwrap();
    for (error, part) in [
        (remote_parallel_map(edited::Doubles, [1]).grid(&nowhere).run().err(), "the code of"),
        (remote_parallel_map(edited::Widened, [1]).grid(&nowhere).run().err(), "i128"),
        (remote_parallel_map(edited::Added, [()]).grid(&nowhere).run().err(), "has no function"),
    ] {
        let error = error.expect("it is stale");
        assert!(matches!(error, Error::StaleComponent { .. }), "{error:?}");
        assert!(error.to_string().contains(part) && error.to_string().contains("cargo burla build"), "{error}");
    }
}
