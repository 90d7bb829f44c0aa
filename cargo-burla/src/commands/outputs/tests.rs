use burla::CallErrorKind;
use burla_types::codec;

use super::*;

fn options(as_finished: bool, indexed: bool, keep_going: bool) -> OutputOptions {
    OutputOptions { as_finished, indexed, keep_going, ..OutputOptions::default() }
}

fn panicked() -> FailedCall {
    FailedCall {
        kind: CallErrorKind::Panicked,
        message: "five".to_owned(),
        location: Some("src/main.rs:7:5".to_owned()),
        causes: Vec::new(),
        backtrace: vec!["app::inner".to_owned(), "app::outer".to_owned()],
    }
}

impl Outputs {
    /// The call at this position ends: with its position, or with a panic.
    fn end(&mut self, position: u64, fails: bool) {
        let result = if fails { Err(panicked()) } else { Ok(codec::encode(&position).unwrap().into()) };
        self.take_result(Input::Line(position + 1), position, result, &Usage::default());
    }

    fn text_so_far(&self) -> String {
        String::from_utf8(self.unwritten.clone()).unwrap()
    }
}

/// What is printed while calls end in this order, of which those at `failing` fail, and the line that ends it.
fn printed(options: OutputOptions, order: &[u64], failing: &[u64]) -> (String, Option<u64>) {
    let mut outputs = Outputs::new(options);
    for (count, position) in order.iter().enumerate() {
        outputs.end(*position, failing.contains(position));
        if let Some(error) = outputs.first_failure(count + 1 == order.len()) {
            let CommandError::CallFailed { input: Input::Line(line), .. } = error else { panic!("{error}") };
            return (outputs.text_so_far(), Some(line));
        }
    }
    (outputs.text_so_far(), None)
}

#[test]
fn outputs_are_in_order_or_as_they_come() {
    assert_eq!(printed(options(false, false, false), &[1, 2, 0], &[]).0, "0\n1\n2\n");
    assert_eq!(printed(options(true, false, false), &[1, 2, 0], &[]).0, "1\n2\n0\n");
    let indexed = printed(options(false, true, false), &[1, 0], &[]).0;
    assert_eq!(indexed, "{\"line\":1,\"output\":0}\n{\"line\":2,\"output\":1}\n");
}

#[test]
fn the_first_failure_by_position_ends_it_in_every_timing() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [3, 0, 1, 2], [1, 3, 0, 2], [2, 3, 0, 1]] {
        assert_eq!(printed(options(false, false, false), &order, &[1, 3]), ("0\n".to_owned(), Some(2)), "{order:?}");
    }
    // Without an order there is nothing to wait for.
    assert_eq!(printed(options(true, false, false), &[2, 3, 0, 1], &[1, 3]), ("2\n".to_owned(), Some(4)));
    assert_eq!(printed(options(false, false, true), &[3, 1, 0, 2], &[1, 3]), ("0\n2\n".to_owned(), None));
}

fn bad() -> CommandError {
    CommandError::BadInput { lines: 3..=3, reason: "no".to_owned(), raw_input_helps: false }
}

#[test]
fn a_bad_line_waits_for_what_comes_before_it() {
    for as_finished in [false, true] {
        let mut outputs = Outputs::new(options(as_finished, false, false));
        outputs.take_bad(Input::Line(3), 2, "no", bad());
        assert!(outputs.has_failed() && outputs.first_failure(false).is_none());
        outputs.end(1, false);
        assert!(outputs.first_failure(false).is_none());
        outputs.end(0, false);
        assert!(matches!(outputs.first_failure(false), Some(CommandError::BadInput { .. })));
        assert_eq!(outputs.text_so_far(), if as_finished { "1\n0\n" } else { "0\n1\n" });
    }
    // A call before it that fails is the first failure.
    let mut outputs = Outputs::new(options(false, false, false));
    outputs.take_bad(Input::Line(3), 2, "no", bad());
    outputs.end(1, true);
    assert!(outputs.first_failure(false).is_none());
    outputs.end(0, false);
    assert!(matches!(outputs.first_failure(false), Some(CommandError::CallFailed { input: Input::Line(2), .. })));
}

#[test]
fn inputs_that_cannot_be_read_end_it_also_when_others_are_to_go_on() {
    for as_finished in [false, true] {
        let mut outputs = Outputs::new(options(as_finished, false, true));
        outputs.take_bad(Input::Line(1), 0, "no", bad());
        outputs.stop_at(3, bad());
        outputs.end(1, true);
        assert!(outputs.first_failure(false).is_none());
        outputs.end(2, false);
        assert!(outputs.first_failure(false).is_some());
        assert_eq!(outputs.text_so_far(), "2\n");
    }
}

#[test]
fn a_failure_has_its_place_and_backtrace_in_its_object() {
    let indexed = printed(options(false, true, true), &[0], &[0]).0;
    let expected = json!({ "line": 1, "error": {
        "kind": "panicked", "message": "five", "causes": [], "location": "src/main.rs:7:5",
        "backtrace": ["app::inner", "app::outer"],
    }});
    assert_eq!(serde_json::from_str::<Value>(&indexed).unwrap(), expected);
    let mut outputs = Outputs::new(options(false, true, true));
    outputs.take_bad(Input::Line(1), 0, "no", bad());
    let expected = json!({ "line": 1, "error": { "kind": "bad_line", "message": "no", "causes": [] } });
    assert_eq!(serde_json::from_str::<Value>(&outputs.text_so_far()).unwrap(), expected);
    assert!(outputs.verdict(1, false).is_err());
}

#[test]
fn texts_are_printed_without_quotes_where_that_is_wanted() {
    for (output, expected) in
        [(r#""a\n\"b\"ä""#, "a\n\"b\"ä"), ("[\"a\"]", "[\"a\"]"), ("7", "7"), ("\"\"", ""), ("null", "null")]
    {
        assert_eq!(raw(output.as_bytes().to_vec()), expected.as_bytes());
    }
}
