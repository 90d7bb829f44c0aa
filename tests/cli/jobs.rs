//! What a shell sees of the jobs and nodes of a grid: `jobs`, `nodes --watch` and `cancel --all`.

use std::process::Stdio;

use burla_tests::{Daemon, LocalGrid, ended, status, until};
use serde_json::json;

use super::detached::{detached, on, parsed, printed, told};
use super::map::{fed, map, map_command};
use super::{assert_exit, stderr, stdout};

/// The line of the table that has this in it.
#[track_caller]
fn line_with<'a>(table: &'a str, text: &str) -> &'a str {
    table.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in\n{table}"))
}

#[test]
fn how_jobs_ended_is_shown_newest_first_and_as_it_was() {
    let grid = LocalGrid::start(1);
    assert_exit(&map(&grid, &["doubles", "--name", "first"], "1\n2\n"), 0);
    assert_exit(&map(&grid, &["fails_plainly", "--name", "broken"], "5\n"), 15);
    assert_exit(&map(&grid, &["fails_plainly", "--name", "kept-going", "--keep-going"], "1\n2\n"), 15);
    let id = detached(&grid, &["fails_plainly", "--name", "kept"], "1\n2\n3\n");
    assert_exit(&told(&grid, &["wait", &id]), 15);

    let table = || printed(&grid, &["jobs", "--ended"]);
    until("all four are in the history", || table().lines().count() == 5);
    let table = table();
    let names = ["kept", "kept-going", "broken", "first"];
    for (line, name) in table.lines().skip(1).zip(names) {
        assert_eq!(line.split_whitespace().nth(1), Some(name), "newest first:\n{table}");
    }
    assert!(line_with(&table, "broken").contains("failed"), "{table}");
    assert!(line_with(&table, "broken").contains("plain error 5"), "{table}");
    assert!(line_with(&table, "kept-going").contains("not all calls succeeded: 2 failed"), "{table}");
    assert!(line_with(&table, "first").contains("finished"), "{table}");

    let broken = parsed(&printed(&grid, &["jobs", "--state", "failed", "--json"]));
    assert_eq!((broken.as_array().unwrap().len(), &broken[0]["name"]), (1, &json!("broken")));
    assert!(broken[0]["error"].as_str().unwrap().contains("plain error 5"), "{broken}");
    let short = line_with(&table, "broken").split_whitespace().next().unwrap();
    assert_eq!(parsed(&printed(&grid, &["job", short, "--json"]))["id"], broken[0]["id"], "the short form is enough");
    let named = parsed(&printed(&grid, &["jobs", "--ended", "--name", "kept", "--json"]));
    assert_eq!(named.as_array().unwrap().len(), 2);
    let limited = told(&grid, &["jobs", "--ended", "--limit", "1"]);
    assert_eq!(stdout(&limited).lines().count(), 2);
    assert!(stderr(&limited).contains("3 more; `--limit 4` shows all"), "{}", stderr(&limited));
}

#[test]
fn all_open_jobs_are_canceled_at_once() {
    let grid = LocalGrid::start(1);
    let none = told(&grid, &["cancel", "--all"]);
    assert_exit(&none, 17);
    assert!(stderr(&none).contains("no job is open"), "{}", stderr(&none));
    let kept = detached(&grid, &["sleeps_or_fails", "--name", "kept"], "false\n");
    let mut running = map_command(&grid, &["sleeps_or_fails", "--name", "attached"]);
    let running = fed(&mut running, "false\n");
    until("both are open", || grid.grid.jobs().unwrap().len() == 2);
    let canceled = told(&grid, &["cancel", "--all"]);
    assert_exit(&canceled, 0);
    assert!(stderr(&canceled).contains(&format!("canceled job {kept} (kept)")), "{}", stderr(&canceled));
    assert!(stderr(&canceled).contains("(attached)"), "{}", stderr(&canceled));
    assert_exit(&ended(running, "the attached job has ended"), 130);
    assert_exit(&told(&grid, &["wait", &kept]), 130);
}

#[test]
fn nodes_are_watched_until_nobody_looks() {
    let mut grid = LocalGrid::start(1);
    let watch = Daemon::start(&mut on(&grid, &["nodes", "--watch=0.5"]));
    watch.wait_for("node-0");
    grid.add_node(&[]);
    watch.wait_for("node-1");
    let mut watch = on(&grid, &["nodes", "--watch=0.5"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(watch.stdout.take());
    assert_eq!(status(&mut watch, "`nodes --watch` without a reader has ended").code(), Some(0));
}
