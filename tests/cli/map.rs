//! `map`, `up`, `nodes`, `jobs` and `cancel`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use burla_tests::{Daemon, LocalGrid, guests, root, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{assert_exit, command, stderr, stdout};

/// `cargo burla map` of a function of the test guests on these lines.
pub(super) fn map(grid: &LocalGrid, arguments: &[&str], lines: &str) -> Output {
    fed(&mut map_command(grid, arguments), lines).wait_with_output().unwrap()
}

pub(super) fn map_command(grid: &LocalGrid, arguments: &[&str]) -> Command {
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap()]);
    command.args(arguments).env("BURLA_URL", grid.grid.url());
    command
}

/// Starts a command, and gives it its stdin.
pub(super) fn fed(command: &mut Command, lines: &str) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that has no use for it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child
}

#[test]
fn lines_of_json_become_lines_of_json_in_their_order() {
    let grid = LocalGrid::start(2);
    let lines: String = (0..5000).map(|number| format!("{number}\n")).collect();
    let mapped = map(&grid, &["doubles"], &lines);
    assert_exit(&mapped, 0);
    assert_eq!(stdout(&mapped), (0..5000).map(|number| format!("{}\n", number * 2)).collect::<String>());
    assert_eq!(stderr(&mapped), "");
    // Several parameters, strings, and a last line without end.
    let mapped = map(&grid, &["typed::joins"], "[\"a\", \"ß\", 2]\n\n[\"\", \"\\n\", 1]");
    assert_eq!(stdout(&mapped), "\"aßaß\"\n\"\\n\"\n");
    // Enums and structs, as serde has them.
    let mapped = map(&grid, &["summarises"], r#"["Dot", {"Circle": {"radius": 1}}, {"Polygon": [[1, 2]]}]"#);
    let summary: Value = serde_json::from_str(&stdout(&mapped)).unwrap();
    assert_eq!(summary, json!({ "kinds": { "circle": 1, "dot": 1, "polygon": 1 }, "first": "Dot" }));
    let mapped = map(&grid, &["doubles"], "");
    assert_exit(&mapped, 0);
    assert_eq!(stdout(&mapped), "");
}

#[test]
fn outputs_can_be_had_as_they_finish_with_the_number_of_their_line() {
    let grid = LocalGrid::start(1);
    let mapped = map(&grid, &["occupies", "--as-finished", "--indexed"], "1500\n\n0\n");
    assert_exit(&mapped, 0);
    let lines: Vec<Value> = stdout(&mapped).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 1]);
    assert!(lines[0]["output"].is_array());
}

#[test]
fn bad_lines_and_failed_calls_are_told_by_number() {
    let grid = LocalGrid::start(1);
    let stopped = map(&grid, &["doubles"], "1\n{\n3\n");
    assert_exit(&stopped, 16);
    assert!(stderr(&stopped).contains("line 2 of the inputs cannot be used: it is not JSON"), "{}", stderr(&stopped));
    let stopped = map(&grid, &["prints_and_may_fail"], "1\n2\n3\n");
    assert_exit(&stopped, 15);
    assert!(stderr(&stopped).contains("the call of line 3 failed") && stderr(&stopped).contains("three is not allowed"));

    let went_on = map(&grid, &["prints_and_may_fail", "--keep-going", "--discard-prints"], "1\nnonsense\n3\n4\n\"x\"\n6\n");
    assert_exit(&went_on, 15);
    assert_eq!(stdout(&went_on), "1\n4\n6\n");
    let text = stderr(&went_on);
    for part in ["line 2 of the inputs", "the call of line 3 failed: call 1 failed: three is not allowed", "call of line 5"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert!(text.contains("error: 2 calls failed and 1 line could not be used\n"), "{text}");
    let went_on = map(&grid, &["prints_and_may_fail", "--keep-going", "--indexed", "--discard-prints"], "1\n?\n3\n");
    assert_exit(&went_on, 15);
    let lines: Vec<Value> = stdout(&went_on).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "line": 1, "output": 1 }));
    assert_eq!((&lines[1]["line"], &lines[1]["error"]["kind"]), (&json!(2), &json!("bad_line")));
    assert_eq!(lines[2]["error"], json!({ "kind": "failed", "message": "three is not allowed", "causes": [] }));
    let went_on = map(&grid, &["doubles", "--keep-going"], "1\n?\n");
    assert_exit(&went_on, 16);
    // What cannot be read is no bad line.
    let unread = map(&grid, &["doubles", "--keep-going", "--inputs", "/"], "");
    assert_exit(&unread, 1);
    assert!(stderr(&unread).contains("cannot read /"), "{}", stderr(&unread));
}

#[test]
fn what_calls_print_goes_to_stderr_and_options_reach_them() {
    let grid = LocalGrid::start(1);
    let mapped = map(&grid, &["prints_to_both"], "7\n");
    assert_exit(&mapped, 0);
    assert_eq!(stdout(&mapped), "null\n");
    let printed = stderr(&mapped);
    let mut printed: Vec<_> = printed.lines().collect();
    printed.sort_unstable();
    assert_eq!(printed, ["err 7", "out 7"]);
    let mapped = map(&grid, &["environment", "--env", "A=b=c", "--env", "D="], "null\n");
    assert_eq!(stdout(&mapped), "[[\"A\",\"b=c\"],[\"D\",\"\"]]\n");
    let mapped = map(&grid, &["spins", "--timeout", "0.2", "--max-parallelism", "1", "--name", "x"], "null\n");
    assert_exit(&mapped, 15);
    assert!(stderr(&mapped).contains("exceeded timeout of 0.2 s"), "{}", stderr(&mapped));
}

/// The lines of stdout as JSON.
fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn usage_is_told_of_each_call_and_of_all_together() {
    let grid = LocalGrid::start(1);
    let lines = "[1048576, 2097152]\n[2097152, 0]\n";
    let sums = ["burla: 2 calls took ", " units of fuel; ", "; 3.0 MiB were written to files\n"];
    let indexed = map(&grid, &["writes_and_holds", "--usage", "--indexed"], lines);
    assert_exit(&indexed, 0);
    let objects = objects(&indexed);
    for (object, (held, written)) in objects.iter().zip([(2 << 20, 1 << 20), (0, 2 << 20)]) {
        let usage = &object["usage"];
        assert_eq!((&object["output"], &usage["disk_bytes_written"]), (&json!(held), &json!(written)));
        assert!(usage["memory_bytes_peak"].as_u64().unwrap() > held, "{usage}");
        assert!(usage["fuel"].as_u64().unwrap() > 0 && usage["seconds"].is_f64(), "{usage}");
        assert_eq!(usage.as_object().unwrap().len(), 4, "{usage}");
    }
    assert_eq!(objects.len(), 2);
    assert!(sums.iter().all(|part| stderr(&indexed).contains(part)), "{}", stderr(&indexed));
    // Outputs alone have no room for it.
    let plain = map(&grid, &["writes_and_holds", "--usage"], lines);
    assert_exit(&plain, 0);
    assert_eq!(stdout(&plain), "2097152\n0\n");
    assert!(sums.iter().all(|part| stderr(&plain).contains(part)), "{}", stderr(&plain));
    // The end of a job that a call ends.
    let stopped = map(&grid, &["prints_and_may_fail", "--usage"], "3\n");
    assert_exit(&stopped, 15);
    let text = stderr(&stopped);
    assert!(text.contains("burla: 1 calls took ") && text.contains("the call of line 1 failed"), "{text}");
    // Not wanted, not told.
    let silent = map(&grid, &["doubles", "--indexed"], "1\n");
    assert_eq!((stdout(&silent).as_str(), stderr(&silent).as_str()), ("{\"line\":1,\"output\":2}\n", ""));
}

#[test]
fn fuel_and_disk_bound_each_call() {
    let grid = LocalGrid::start(1);
    let options = ["computes", "--fuel", "5000", "--indexed", "--usage", "--keep-going"];
    let exceeded = map(&grid, &options, "100000\n");
    assert_exit(&exceeded, 15);
    let objects = objects(&exceeded);
    assert_eq!(objects[0]["error"]["kind"], json!("exceeded_fuel"), "{objects:?}");
    assert_eq!(objects[0]["usage"]["fuel"], json!(5000), "{objects:?}");
    // 16 MiB, which are 16,384 pieces of a KiB.
    let filled = map(&grid, &["fills_its_disk", "--disk", "0.015625"], "null\n");
    assert_exit(&filled, 0);
    assert!(stdout(&filled).starts_with("[16384,"), "{}", stdout(&filled));
    for [option, value] in [["--fuel", "0"], ["--disk", "0"], ["--disk", "1025"]] {
        assert_exit(&map(&grid, &["doubles", option, value], "1\n"), 2);
    }
}

#[test]
fn a_call_reaches_what_was_granted() {
    let mut grid = LocalGrid::start(0);
    grid.add_node(&["--allow-private", "127.0.0.0/8"]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    // It ends with the test's process, at the latest.
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        write!(stream, "you said: {line}").unwrap();
    });
    let line = json!([address, "hello"]).to_string();
    assert_exit(&map(&grid, &["asks"], &line), 15);
    let answered = map(&grid, &["asks", "--allow-network", "example.com:443", "--allow-network", &address], &line);
    assert_exit(&answered, 0);
    assert_eq!(stdout(&answered), "\"you said: hello\\n\"\n");

    let refused = map(&grid, &["doubles", "--allow-network", "example.com"], "1\n");
    assert_exit(&refused, 2);
    assert!(stderr(&refused).contains("it has no port; give one, as in `api.example.com:443`"), "{}", stderr(&refused));
}

#[test]
fn what_cannot_be_is_said_with_its_code() {
    let grid = LocalGrid::start(1);
    let unknown = map(&grid, &["no_such_function"], "1\n");
    assert_exit(&unknown, 10);
    assert!(stderr(&unknown).contains("burla_test_guests::typed::doubles"), "{}", stderr(&unknown));
    assert_exit(&map(&grid, &["doubles", "--func-cpu", "0"], "1\n"), 2);
    assert_exit(&map(&grid, &["doubles", "--func-cpu", "3"], "1\n"), 17);
    let component = guests();
    let nowhere = command(root(), &["map", component.to_str().unwrap(), "doubles"])
        .env("BURLA_URL", "http://127.0.0.1:1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_exit(&nowhere, 14);
}

#[test]
fn an_output_is_there_before_the_next_input_is() {
    let grid = LocalGrid::start(1);
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap(), "doubles"]);
    command.env("BURLA_URL", grid.grid.url()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut input, mut outputs) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    for number in 1..4 {
        writeln!(input, "{number}").unwrap();
        assert_eq!(outputs.next().unwrap().unwrap(), (number * 2).to_string());
    }
    drop(input);
    assert!(outputs.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn ctrl_c_cancels_the_job_says_so_and_frees_the_nodes() {
    let grid = LocalGrid::start(1);
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap(), "sleeps_or_fails"]);
    let child = fed(command.env("BURLA_URL", grid.grid.url()), "false\nfalse\nfalse\n");
    until("it runs", || grid.grid.nodes().unwrap()[0].running == 2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let canceled = child.wait_with_output().unwrap();
    assert_exit(&canceled, 130);
    assert!(stderr(&canceled).contains("canceled with Ctrl-C after 0 of its calls had ended"), "{}", stderr(&canceled));
    until("the nodes are free", || grid.grid.nodes().unwrap()[0].running == 0);
}

#[test]
fn a_second_ctrl_c_ends_a_program_that_does_not_notice_the_first() {
    use std::os::unix::process::ExitStatusExt;
    let grid = LocalGrid::start(1);
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap(), "typed::repeats"]);
    // Nobody reads what it writes, so it is soon stuck in writing.
    let mut child = fed(command.env("BURLA_URL", grid.grid.url()), "[1, 1000000]\n".repeat(100).as_str());
    until("it is stuck", || grid.grid.jobs().unwrap().first().is_some_and(|job| job.calls_ended > 0 && job.running == 0));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    until("the job is canceled", || grid.grid.jobs().unwrap().is_empty());
    assert!(child.try_wait().unwrap().is_none(), "it is still stuck");
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

/// A grid of `cargo burla up`, which programs with this folder find.
fn up(folder: &Path) -> Daemon {
    let up = Daemon::start(
        command(root(), &["up", "--cpus", "3", "--memory", "2"])
            .env("XDG_RUNTIME_DIR", folder)
            .env("XDG_DATA_HOME", folder.join("data")),
    );
    up.wait_for("listening on http://127.0.0.1:");
    until("it says so", || up.log().contains("a grid of 3 CPUs is up"));
    up
}

#[test]
fn programs_find_a_grid_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str]| {
        let mut command = command(root(), arguments);
        command.env("XDG_RUNTIME_DIR", folder.path()).env("XDG_DATA_HOME", folder.path().join("data"));
        command
    };
    let none = here(&["nodes"]).output().unwrap();
    assert_exit(&none, 14);
    assert!(stderr(&none).contains("cargo burla up"), "{}", stderr(&none));

    let grid = up(folder.path());
    let second = here(&["up"]).output().unwrap();
    assert_exit(&second, 14);
    assert!(stderr(&second).contains("a grid runs on this machine already, at http://"), "{}", stderr(&second));

    let nodes = here(&["nodes", "--json"]).output().unwrap();
    let nodes: Value = serde_json::from_str(&stdout(&nodes)).unwrap();
    assert_eq!((&nodes[0]["cpus"], &nodes[0]["memory_bytes"]), (&json!(3.0), &json!(2u64 << 30)));
    assert!(stdout(&here(&["nodes"]).output().unwrap()).starts_with("NODE "));

    // A program that was started by hand, a job that is canceled by hand.
    assert_exit(&here(&["run", "--quiet", "-p", "hello"]).output().unwrap(), 0);
    let mut hello = Command::new(root().join("target/debug/hello"));
    let hello = hello.env_remove("BURLA_URL").env_remove("BURLA_COMPONENT").env("XDG_RUNTIME_DIR", folder.path());
    let hello = hello.output().unwrap();
    assert_exit(&hello, 0);
    assert!(stdout(&hello).ends_with("[2, 4, 6]\n"));
    let component = guests();
    let mut map = here(&["map", component.to_str().unwrap(), "sleeps_or_fails", "--name", "sleepers"]);
    let job = fed(&mut map, "false\n");
    let jobs = || {
        let jobs = here(&["jobs", "--json"]).output().unwrap();
        serde_json::from_str::<Value>(&stdout(&jobs)).unwrap()
    };
    until("it is listed as running", || jobs()[0]["running"] == json!(1));
    let job_listed = jobs()[0].clone();
    assert_eq!((&job_listed["name"], &job_listed["inputs"]), (&json!("sleepers"), &json!(1)));
    let id = job_listed["id"].as_str().unwrap();
    assert!(stdout(&here(&["jobs"]).output().unwrap()).contains(id));
    assert_exit(&here(&["cancel", id]).output().unwrap(), 0);
    let canceled = job.wait_with_output().unwrap();
    assert_exit(&canceled, 130);
    assert!(stderr(&canceled).contains("canceled by an operator of the grid"), "{}", stderr(&canceled));
    assert_eq!(jobs(), json!([]));
    assert_exit(&here(&["cancel", id]).output().unwrap(), 17);
    assert_exit(&here(&["cancel", "nonsense"]).output().unwrap(), 2);

    assert!(grid.terminate());
    assert_exit(&here(&["jobs"]).output().unwrap(), 14);
}

#[test]
fn what_a_grid_that_crashed_has_left_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    up(folder.path()).kill();
    assert_eq!(std::fs::read_dir(folder.path().join("burla")).unwrap().count(), 1);
    let none = command(root(), &["nodes"]).env("XDG_RUNTIME_DIR", folder.path()).output().unwrap();
    assert_exit(&none, 14);
    up(folder.path());
}

#[test]
fn progress_is_on_terminals_only() {
    let grid = LocalGrid::start(1);
    // Asked for, and not a terminal: one plain line.
    let mapped = map(&grid, &["doubles", "--spinner", "true"], "1\n2\n");
    assert_eq!(stdout(&mapped), "2\n4\n");
    let text = stderr(&mapped);
    assert!(text.starts_with("burla: 2 calls done in ") && text.ends_with("\n") && text.lines().count() == 1, "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");

    let (shown, data) = on_a_terminal(&grid, &["sleeps"], "300\n300\n300\n300\n");
    assert!(shown.contains("/4 done, ") && shown.contains(" running on 1 node"), "{shown:?}");
    assert!(shown.trim_end().lines().last().unwrap().contains("4 calls done in "), "{shown:?}");
    assert_eq!(data.lines().count(), 4);
    assert!(!data.contains('\x1b'), "{data:?}");
    // Nothing is drawn where it is not wanted.
    let (shown, _) = on_a_terminal(&grid, &["sleeps", "--spinner", "false"], "300\n");
    assert_eq!(shown, "");
    // What a call prints stands on lines of its own, between the drawings.
    let (shown, _) = on_a_terminal(&grid, &["prints_to_both"], "1\n2\n");
    let lines: Vec<_> = shown.split(['\r', '\n']).map(|line| line.trim_start_matches("\x1b[2K")).collect();
    for printed in ["out 1", "err 1", "out 2", "err 2"] {
        assert!(lines.contains(&printed), "no `{printed}` in {lines:?}");
    }
}

/// What `map` writes to a terminal that is its stderr, and to its stdout, which is none.
fn on_a_terminal(grid: &LocalGrid, arguments: &[&str], lines: &str) -> (String, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = std::fs::File::options().read(true).write(true).open(name).unwrap();
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap()]);
    command.args(arguments).env("BURLA_URL", grid.grid.url()).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(end).spawn().unwrap();
    drop(command);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let mut shown = Vec::new();
    // Reading a terminal whose other end is closed is an error, and the end.
    let mut terminal = std::fs::File::from(terminal);
    let mut buffer = [0; 4096];
    while let Ok(count) = terminal.read(&mut buffer)
        && count > 0
    {
        shown.extend_from_slice(&buffer[..count]);
    }
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(shown).unwrap(), stdout(&output))
}
