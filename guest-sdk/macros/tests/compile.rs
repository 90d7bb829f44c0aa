//! What the attribute refuses, with the message and its place (`ui/NAME.rs` beside `ui/NAME.stderr`), and what it takes
//! (`pass/`).
//!
//! To add a refusal, write `ui/NAME.rs`, run with `TRYBUILD=overwrite`, and read what was written.

#[test]
fn refusals_and_what_is_taken() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/pass/*.rs");
}
