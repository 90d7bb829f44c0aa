//! `cargo burla up` where the machine is not as it should be: a terminal that closes, a full disk, no home.

use std::path::Path;
use std::process::Command;

use burla_tests::{Daemon, binary, output, until};
use rustix::process::Signal;

use super::{assert_exit, command, stderr, stdout};

/// `cargo burla up`, started by another program. Its home, and everything that it could find, is in this folder.
fn up_by(program: &str, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(binary("cargo-burla")).args(["up", "--listen", "localhost:0", "--memory", "1"]);
    command.env_remove("BURLA_URL").env("HOME", folder).env("TMPDIR", folder);
    for variable in ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(variable);
    }
    command
}

#[test]
fn a_terminal_that_closes_ends_a_grid_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever runs the tests may have started them with `nohup`.
    let grid = Daemon::start(&mut up_by("env", &["--default-signal=HUP"], folder.path()));
    grid.wait_for("listening on http://127.0.0.1:");
    until("it is announced", || grid.log().contains("programs on this machine find it"));
    // From the shell, and from the kernel.
    grid.signal(Signal::HUP);
    grid.signal(Signal::HUP);
    assert!(grid.wait(), "it ended in order");
    let mut nodes = command(folder.path(), &["nodes"]);
    let nodes = output(nodes.env("HOME", folder.path()).env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", folder.path()));
    assert_exit(&nodes, 14);
}

#[test]
fn a_grid_that_cannot_say_where_it_is_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let up = output(&mut up_by("sh", &["-c", "exec \"$0\" \"$@\" >/dev/full"], folder.path()));
    assert_exit(&up, 14);
    let said = stderr(&up);
    assert!(said.contains("cannot write to stdout") && said.contains("No space left") && !said.contains("panicked"), "{said}");
    // Neither may the error be the end of it.
    let silent = output(&mut up_by("sh", &["-c", "exec \"$0\" \"$@\" >/dev/full 2>/dev/full"], folder.path()));
    assert_exit(&silent, 14);
}

#[test]
fn a_grid_without_a_home_or_runtime_folder_is_found() {
    let folder = tempfile::tempdir().unwrap();
    // Not a folder that anybody can write, root included.
    let astray = |command: &mut Command| {
        command.env("HOME", "/proc").env("XDG_RUNTIME_DIR", "/nowhere").env("TMPDIR", folder.path());
    };
    let mut up = up_by("env", &[], folder.path());
    astray(&mut up);
    let grid = Daemon::start(&mut up);
    grid.wait_for("set HOME or XDG_CACHE_HOME");
    grid.wait_for("set HOME or XDG_DATA_HOME");
    grid.wait_for("programs on this machine find it");
    let mut nodes = command(folder.path(), &["nodes", "--json"]);
    astray(&mut nodes);
    let nodes = output(&mut nodes);
    assert_exit(&nodes, 0);
    assert!(stdout(&nodes).contains("\"embedded\""), "{}", stdout(&nodes));
    assert!(grid.terminate());
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    let up = output(&mut command(Path::new("/"), &["up", "--listen", "nowhere.invalid:0"]));
    assert_exit(&up, 14);
    assert!(stderr(&up).contains("cannot look up `nowhere.invalid`"), "{}", stderr(&up));
    let up = output(&mut command(Path::new("/"), &["up", "--listen", "localhost"]));
    assert_exit(&up, 2);
    assert!(stderr(&up).contains("`localhost` has no port: give HOST:PORT"), "{}", stderr(&up));
}
