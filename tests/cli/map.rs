//! `map`, `up`, `nodes`, `jobs` and `cancel`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use burla_tests::{Daemon, LocalGrid, ended, guests, joined, lines_of, output, output_of_build, received, root, status, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{assert_exit, command, stderr, stdout};

/// `cargo burla map` of a function of the test guests on these lines.
pub(super) fn map(grid: &LocalGrid, arguments: &[&str], lines: &str) -> Output {
    ended(fed(&mut map_command(grid, arguments), lines), &format!("`map {arguments:?}` ends"))
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
    let mapped = map(&grid, &["summarizes"], r#"["Dot", {"Circle": {"radius": 1}}, {"Polygon": [[1, 2]]}]"#);
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
    for part in ["line 2 of the inputs", "the call of line 3 failed: three is not allowed", "call of line 5"] {
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

#[test]
fn what_precedes_a_failure_is_printed_and_the_first_failure_is_told() {
    let grid = LocalGrid::start(1);
    // The calls before the bad line take longer than reading it.
    let stopped = map(&grid, &["behavior::answers", "--discard-prints"], "[1, 300]\n[2, 600]\nx\n[3, 0]\n");
    assert_exit(&stopped, 16);
    let answers: String = (1..3).map(|number| format!("{}\n", burla_test_guests::behavior::answer(number))).collect();
    assert_eq!(stdout(&stopped), answers);
    assert!(stderr(&stopped).contains("line 3 of the inputs cannot be used: it is not JSON"), "{}", stderr(&stopped));
    // The call of line 2 fails, although line 4 was seen to be bad before.
    let stopped = map(&grid, &["prints_and_may_fail", "--discard-prints"], "1\n3\n4\nx\n");
    assert_exit(&stopped, 15);
    assert_eq!(stdout(&stopped), "1\n");
    assert!(stderr(&stopped).starts_with("error: the call of line 2 failed: three is not allowed\n"), "{}", stderr(&stopped));
    // It is refused at once, and the call before it goes on for a while.
    let stopped = map(&grid, &["behavior::answers", "--discard-prints"], "[1, 600]\n[\"x\", 0]\ny\n");
    assert_exit(&stopped, 15);
    assert_eq!(stdout(&stopped), format!("{}\n", burla_test_guests::behavior::answer(1)));
    assert!(stderr(&stopped).starts_with("error: the call of line 2 was refused"), "{}", stderr(&stopped));
}

#[test]
fn inputs_are_values_in_any_layout_or_plain_lines() {
    let grid = LocalGrid::start(1);
    let text = "\u{feff}[\n  \"a\",\n  \"b\",\n  1\n]\r\n\r\n[\"c\", \"\", 2] [\"d\",\"e\",1]";
    let mapped = map(&grid, &["typed::joins", "--inputs", "-", "--raw-output"], text);
    assert_exit(&mapped, 0);
    assert_eq!(stdout(&mapped), "ab\ncc\nde\n");
    let mapped = map(&grid, &["echoes", "--raw-input"], "a b\r\n\n\"q\"\n7");
    assert_exit(&mapped, 0);
    assert_eq!(stdout(&mapped), "\"a b\"\n\"\"\n\"\\\"q\\\"\"\n\"7\"\n");
    let hinted = map(&grid, &["echoes"], "a b\n");
    assert_exit(&hinted, 16);
    assert!(stderr(&hinted).contains("--raw-input"), "{}", stderr(&hinted));
    assert!(!stderr(&map(&grid, &["doubles"], "a\n")).contains("--raw-input"));
    let cut = map(&grid, &["doubles", "--keep-going"], "1\n[\n  2,\n  3\n  4\n]\n5\n");
    assert_exit(&cut, 16);
    assert_eq!(stdout(&cut), "2\n10\n");
    assert!(stderr(&cut).contains("lines 2 to 6 of the inputs cannot be used"), "{}", stderr(&cut));
    let folder = tempfile::tempdir().unwrap();
    let utf16 = folder.path().join("utf16.json");
    std::fs::write(&utf16, b"\xff\xfe1\0\n\0").unwrap();
    let refused = map(&grid, &["doubles", "--keep-going", "--inputs", utf16.to_str().unwrap()], "");
    assert_exit(&refused, 16);
    assert!(stderr(&refused).contains("iconv -f UTF-16 -t UTF-8"), "{}", stderr(&refused));
}

#[test]
fn the_grid_and_variables_can_be_named() {
    let grid = LocalGrid::start(1);
    let url = grid.grid.url().to_owned();
    let mut named = map_command(&grid, &["environment", "--url", &url, "--env", "FROM_HERE", "--env", "A=1", "--timeout", "1m"]);
    let named = fed(named.env("BURLA_URL", "http://127.0.0.1:1").env("FROM_HERE", "b=c"), "null\n");
    let named = ended(named, "`map --url` ends");
    assert_exit(&named, 0);
    assert_eq!(stdout(&named), "[[\"A\",\"1\"],[\"FROM_HERE\",\"b=c\"]]\n");
    let unset = map(&grid, &["environment", "--env", "BURLA_TESTS_NOT_SET"], "null\n");
    assert_exit(&unset, 2);
    assert!(stderr(&unset).contains("BURLA_TESTS_NOT_SET is not set here"), "{}", stderr(&unset));
    assert_exit(&map(&grid, &["doubles", "--func-ram", "1G"], "1\n"), 2);
    // Whoever reads the outputs has had enough.
    let mut endless = map_command(&grid, &["doubles"]);
    let mut child = endless.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || while stdin.write_all(&b"1\n".repeat(10_000)).is_ok() {});
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(first, *b"2\n");
    assert!(status(&mut child, "`map` ends with its reader").success());
    joined(feeder, "nobody takes inputs");
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
    let mut nowhere = command(root(), &["map", component.to_str().unwrap(), "doubles"]);
    let nowhere = output(nowhere.env("BURLA_URL", "http://127.0.0.1:1"));
    assert_exit(&nowhere, 14);
}

#[test]
fn an_output_is_there_before_the_next_input_is() {
    let grid = LocalGrid::start(1);
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap(), "doubles"]);
    command.env("BURLA_URL", grid.grid.url()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut input, outputs) = (child.stdin.take().unwrap(), lines_of(child.stdout.take().unwrap()));
    for number in 1..4 {
        writeln!(input, "{number}").unwrap();
        assert_eq!(received(&outputs, "an output is there"), Some((number * 2).to_string()));
    }
    drop(input);
    assert_eq!(received(&outputs, "the outputs end"), None);
    assert!(status(&mut child, "`map` ends with its inputs").success());
}

#[test]
fn ctrl_c_cancels_the_job_says_so_and_frees_the_nodes() {
    let grid = LocalGrid::start(1);
    let component = guests();
    let mut command = command(root(), &["map", component.to_str().unwrap(), "sleeps_or_fails"]);
    let child = fed(command.env("BURLA_URL", grid.grid.url()), "false\nfalse\nfalse\n");
    until("it runs", || grid.grid.nodes().unwrap()[0].running == 2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let canceled = ended(child, "`map` ends after Ctrl-C");
    assert_exit(&canceled, 130);
    assert!(stderr(&canceled).contains("canceled with Ctrl-C after 0 of its calls had ended"), "{}", stderr(&canceled));
    until("the nodes are free", || grid.grid.nodes().unwrap()[0].running == 0);
}

/// `nohup`, and `&` in a script, start a program with SIGINT ignored, which its children inherit.
#[test]
fn tests_of_ctrl_c_pass_also_when_the_tests_are_started_with_sigint_ignored() {
    let mut tests = Command::new("sh");
    tests.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    tests.args(["--exact", "map::ctrl_c_cancels_the_job_says_so_and_frees_the_nodes"]);
    let tests = output_of_build(&mut tests);
    assert_exit(&tests, 0);
    assert!(stdout(&tests).contains("1 passed"), "{}", stdout(&tests));
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
    assert_eq!(status(&mut child, "the second Ctrl-C ends it").signal(), Some(Signal::INT.as_raw()));
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
    let none = output(&mut here(&["nodes"]));
    assert_exit(&none, 14);
    assert!(stderr(&none).contains("cargo burla up"), "{}", stderr(&none));

    let grid = up(folder.path());
    let second = output(&mut here(&["up"]));
    assert_exit(&second, 14);
    assert!(stderr(&second).contains("a grid runs on this machine already, at http://"), "{}", stderr(&second));

    let nodes = output(&mut here(&["nodes", "--json"]));
    let nodes: Value = serde_json::from_str(&stdout(&nodes)).unwrap();
    assert_eq!((&nodes[0]["cpus"], &nodes[0]["memory_bytes"]), (&json!(3.0), &json!(2u64 << 30)));
    assert!(stdout(&output(&mut here(&["nodes"]))).starts_with("NODE "));

    // A program that was started by hand, a job that is canceled by hand.
    assert_exit(&output_of_build(&mut here(&["run", "--quiet", "-p", "hello"])), 0);
    let mut hello = Command::new(root().join("target/debug/hello"));
    let hello = hello.env_remove("BURLA_URL").env_remove("BURLA_COMPONENT").env("XDG_RUNTIME_DIR", folder.path());
    let hello = output(hello);
    assert_exit(&hello, 0);
    assert!(stdout(&hello).ends_with("[2, 4, 6]\n"));
    let component = guests();
    let mut map = here(&["map", component.to_str().unwrap(), "sleeps_or_fails", "--name", "sleepers"]);
    let job = fed(&mut map, "false\n");
    let jobs = || {
        let jobs = output(&mut here(&["jobs", "--json"]));
        serde_json::from_str::<Value>(&stdout(&jobs)).unwrap()
    };
    until("it is listed as running", || jobs()[0]["running"] == json!(1));
    let job_listed = jobs()[0].clone();
    assert_eq!((&job_listed["name"], &job_listed["inputs"]), (&json!("sleepers"), &json!(1)));
    let id = job_listed["id"].as_str().unwrap();
    // People see the end of the id, and may give it.
    let short = &id[id.len() - 8..];
    assert!(stdout(&output(&mut here(&["jobs"]))).contains(short));
    assert_exit(&output(&mut here(&["job", short])), 0);
    assert_exit(&output(&mut here(&["cancel", id])), 0);
    let canceled = ended(job, "`map` ends when its job is canceled");
    assert_exit(&canceled, 130);
    assert!(stderr(&canceled).contains("canceled by an operator of the grid"), "{}", stderr(&canceled));
    assert_eq!(jobs(), json!([]));
    assert_exit(&output(&mut here(&["cancel", id])), 17);
    assert_exit(&output(&mut here(&["cancel", "nonsense"])), 2);

    assert!(grid.terminate());
    assert_exit(&output(&mut here(&["jobs"])), 14);
}

#[test]
fn what_a_grid_that_crashed_has_left_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    up(folder.path()).kill();
    assert_eq!(std::fs::read_dir(folder.path().join("burla")).unwrap().count(), 1);
    let none = output(command(root(), &["nodes"]).env("XDG_RUNTIME_DIR", folder.path()));
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
    let terminal = std::fs::File::from(terminal);
    let shown = std::thread::spawn(move || all_of_terminal(terminal));
    let output = ended(child, "`map` on a terminal ends");
    let shown = joined(shown, "the terminal is closed");
    (String::from_utf8(shown).unwrap(), stdout(&output))
}

/// Reading a terminal whose other end is closed is an error, and the end.
fn all_of_terminal(mut terminal: std::fs::File) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = terminal.read(&mut buffer)
        && count > 0
    {
        shown.extend_from_slice(&buffer[..count]);
    }
    shown
}
