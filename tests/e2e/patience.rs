//! The harness's own waits: a test that hangs fails, and says what it waited for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

use burla_tests::{ended_within, until};

#[test]
fn a_child_that_hangs_is_killed_and_its_output_shown() {
    let script = "echo begun; echo in trouble >&2; exec sleep 1000";
    let child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    // Long enough for a shell to print.
    let waited = catch_unwind(AssertUnwindSafe(|| ended_within(child, "the script ends", Duration::from_secs(2))));
    let said = *waited.unwrap_err().downcast::<String>().unwrap();
    for part in ["after 2s", "the script ends", "begun", "in trouble"] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    until("the child is gone", || !std::fs::exists(&process).unwrap());
}
