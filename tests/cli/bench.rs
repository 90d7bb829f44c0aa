//! `bench`. What it measures is not looked at, since machines differ; that it measured it all is.

use std::process::Output;

use burla_tests::{LocalGrid, output_of_build, root, until};
use serde_json::{Value, json};

use super::{assert_exit, command, stderr, stdout};

/// `cargo burla bench`, from a folder that is no project. It builds where other new projects do, so that dependencies are shared.
fn bench(grid: &LocalGrid, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["bench", "--quick"]);
    command.args(arguments).env("BURLA_URL", grid.grid.url());
    command.env("XDG_CACHE_HOME", root().join("target/bench-cache")).env("CARGO_TARGET_DIR", root().join("target/new-projects"));
    output_of_build(&mut command)
}

#[test]
fn everything_is_measured_beside_a_baseline() {
    let grid = LocalGrid::start(1);
    let measured = bench(&grid, &["--json", "--calls", "500"]);
    assert_exit(&measured, 0);
    let report: Value = serde_json::from_str(&stdout(&measured)).unwrap();
    assert_eq!([&report["nodes"], &report["cpus"], &report["other_jobs"]], [&json!(1), &json!(2.0), &json!(0)]);
    assert_eq!(report["url"], grid.grid.url());
    // Of rates, what is in the time is counted, and `null` here.
    let expected = json!([
        ["start_first", "ms", 2],
        ["start_warm", "ms", 2],
        ["one_call_p50", "ms", 20],
        ["one_call_p90", "ms", 20],
        ["one_call_p99", "ms", 20],
        ["fresh_instance", "µs", 20],
        ["throughput_per_cpu", "calls/s", null],
        ["call_with_file", "CPU µs", null],
        ["file_alone", "CPU µs", null],
        ["payload", "MB/s", null],
        ["compute_hash", "ms", 5],
        ["compute_matrix", "ms", 5],
        ["compute_sort", "ms", 5],
    ]);
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), expected.as_array().unwrap().len(), "{report:#}");
    for (figure, expected) in figures.iter().zip(expected.as_array().unwrap()) {
        assert_eq!((&figure["name"], &figure["unit"]), (&expected[0], &expected[1]), "{figure}");
        assert!(expected[2].is_null() || figure["calls"] == expected[2], "{figure}");
        assert!(figure["baseline_of"].is_string(), "{figure}");
        // A difference of two rates may be anything.
        let keys = if figure["name"] == "file_alone" { &["baseline"][..] } else { &["value", "baseline", "ratio"] };
        assert!(keys.iter().all(|key| figure[key].as_f64().unwrap() > 0.0), "{figure}");
    }
    let calls_of = |name: &str| figures.iter().find(|figure| figure["name"] == name).unwrap()["calls"].as_u64().unwrap();
    assert!(calls_of("throughput_per_cpu") >= 50 && calls_of("call_with_file") >= 25 && calls_of("payload") >= 1);
    assert!(stderr(&measured).contains("burla: measuring payloads"), "{}", stderr(&measured));
    until("none of its jobs is left", || grid.grid.jobs().unwrap().is_empty());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let grid = LocalGrid::without_nodes();
    let measured = bench(&grid, &[]);
    assert_exit(&measured, 17);
    let text = stderr(&measured);
    assert!(text.contains("cannot measure the grid: it has no node with a CPU; `burla-node --scheduler http"), "{text}");
    assert_exit(&bench(&grid, &["--calls", "0"]), 2);
}
