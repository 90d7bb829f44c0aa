use super::*;

#[test]
fn what_is_told_has_no_commands_in_it() {
    let source = std::io::Error::other("it is\r\n\u{9b}2J");
    let error = CommandError::File { act: "read", path: "a\x1b[2Jb".into(), source };
    assert_eq!(error.story(), "error: cannot read a␛[2Jb\n  caused by: it is\n\\u{9b}2J\n");
    assert_eq!(error.notice(), "burla: cannot read a␛[2Jb: it is\n\\u{9b}2J\n");
    for (failed, bad_lines, told) in
        [(1, 0, "1 call failed"), (0, 2, "2 lines could not be used"), (2, 1, "2 calls failed and 1 line could not be used")]
    {
        assert_eq!(CommandError::SomeFailed { failed, bad_lines, raw_input_helps: false }.to_string(), told);
    }
    let error = CommandError::Job(burla::Error::NoGrid);
    assert_eq!(error.notice(), format!("burla: {}\n", burla::Error::NoGrid), "once");
    let error = CommandError::WhichBin { package: "a".to_owned(), available: vec!["\x07".to_owned()] };
    let hint = "name one with `--bin`, or set `default-run` in Cargo.toml";
    assert_eq!(error.story(), format!("error: package `a` has several programs: ␇\n  hint: {hint}\n"));
}

#[test]
fn a_failed_call_is_told_by_its_input_with_causes_and_backtrace() {
    let call = FailedCall {
        kind: burla::CallErrorKind::Panicked,
        message: "five".to_owned(),
        location: Some("src/main.rs:7:5".to_owned()),
        causes: vec!["too many\x07".to_owned()],
        backtrace: vec!["app::inner".to_owned(), "app::outer".to_owned()],
    };
    let error = |input| CommandError::CallFailed { input, call: Box::new(call.clone()) };
    let told = "the call of line 2210 panicked at src/main.rs:7:5: five";
    let causes = "  caused by: too many␇\n  backtrace of the call:\n     0: app::inner\n     1: app::outer\n";
    assert_eq!(error(Input::Line(2210)).story(), format!("error: {told}\n{causes}"));
    assert_eq!(error(Input::Line(2210)).notice(), format!("burla: {told}: too many␇\n"));
    assert_eq!(error(Input::Index(7)).to_string(), "call 7 panicked at src/main.rs:7:5: five");
    assert_eq!(error(Input::Index(7)).exit_code(), exit_code::CALLS_FAILED);
}

#[test]
fn a_bad_input_is_told_by_its_lines() {
    let error = |lines, raw_input_helps| CommandError::BadInput { lines, reason: "no".to_owned(), raw_input_helps };
    assert_eq!(error(2..=2, false).story(), "error: line 2 of the inputs cannot be used: no\n");
    assert!(error(2..=4, true).story().starts_with("error: lines 2 to 4 of the inputs cannot be used: no\n  hint: "));
    assert!(error(2..=2, true).story().contains("--raw-input"));
    let encoding = CommandError::Encoding { path: "a.json".into(), encoding: "UTF-16" };
    assert!(encoding.to_string().contains("`iconv -f UTF-16 -t UTF-8`"), "{encoding}");
    assert_eq!((encoding.exit_code(), error(2..=2, false).exit_code()), (exit_code::BAD_INPUT, exit_code::BAD_INPUT));
}

#[test]
fn a_grant_that_cannot_be_is_a_matter_of_usage() {
    let source = "example.com".parse::<burla_types::NetworkGrant>().unwrap_err();
    let error = CommandError::Job(burla::Error::InvalidGrant { grant: "example.com".to_owned(), source });
    assert_eq!(error.exit_code(), exit_code::USAGE);
    assert!(error.story().contains("it has no port"), "{}", error.story());
}

#[test]
fn a_dependency_that_does_not_compile_has_a_hint() {
    let failed = |broken: &[&str]| CommandError::BuildFailed {
        what: "the program `a` for WebAssembly".to_owned(),
        broken: broken.iter().map(|name| (*name).to_owned()).collect(),
    };
    let story = failed(&["tokio"]).story();
    assert!(
        story.starts_with("error: cannot build the program `a` for WebAssembly: `tokio` does not compile for it\n"),
        "{story}"
    );
    assert!(story.contains("[target.'cfg(not(target_family = \"wasm\"))'.dependencies]"), "{story}");
    assert!(failed(&["mio", "tokio"]).to_string().ends_with(": `mio`, `tokio` do not compile for it"));
    assert_eq!(failed(&[]).story(), "error: cannot build the program `a` for WebAssembly\n");
}

#[test]
fn each_way_in_which_a_job_ends_has_its_code() {
    let job = burla::JobId::from_bytes([0xab; 16]);
    let failed = burla::Error::JobFailed { job, reason: "its disk\x1b is full".to_owned() };
    let canceled = burla::Error::JobCanceled { by: burla::CanceledBy::Operator, calls_ended: 3 };
    let errors = [
        (CommandError::CallsFailed { job, failed: 2, of: 5 }, exit_code::CALLS_FAILED),
        (CommandError::TimedOut { job, seconds: 0.5 }, exit_code::TIMED_OUT),
        (
            CommandError::WhichJob { wanted: "abab".to_owned(), available: Vec::new(), url: "http://a:1".to_owned() },
            exit_code::JOB_FAILED,
        ),
        (CommandError::NoOpenJob { url: "http://a:1".to_owned() }, exit_code::JOB_FAILED),
        (CommandError::Job(failed), exit_code::JOB_FAILED),
        (CommandError::Job(canceled), exit_code::CANCELED),
        (CommandError::Job(burla::Error::ResultsExpired { job }), exit_code::JOB_FAILED),
    ];
    for (error, code) in &errors {
        assert_eq!(error.exit_code(), *code, "{error}");
    }
    let id = "ab".repeat(16);
    assert_eq!(errors[4].0.story(), format!("error: job {id} failed: its disk␛ is full\n"));
    assert_eq!(errors[1].0.story(), format!("error: job {id} is not over after 0.5 s\n"));
}
