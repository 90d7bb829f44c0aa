use burla_types::codec::DEPTH_MAX;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BYTES_MAX: u64 = 1 << 20;

fn encode(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))
}

/// All pieces of a text that arrives in chunks.
fn pieces(mut splitter: impl Split<Value>, chunks: &[&[u8]]) -> Vec<Piece<Value>> {
    let mut pieces = Vec::new();
    for chunk in chunks {
        splitter.push(chunk);
        pieces.extend(std::iter::from_fn(|| splitter.next()));
    }
    splitter.end();
    pieces.extend(std::iter::from_fn(|| splitter.next()));
    pieces
}

fn values(keep_going: bool) -> Values<Value> {
    Values::new(encode, keep_going, BYTES_MAX)
}

/// Pieces as short texts: `LINE:VALUE`, or `FIRST-LAST!REASON`. The same come out however the text arrives.
fn told(keep_going: bool, text: impl AsRef<[u8]>) -> Vec<String> {
    let text = text.as_ref();
    let whole = pieces(values(keep_going), &[text]);
    let single: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(pieces(values(keep_going), &single), whole, "{}", String::from_utf8_lossy(text));
    whole.iter().map(tell).collect()
}

fn tell(piece: &Piece<Value>) -> String {
    match piece {
        Piece::Input { line, input } => format!("{line}:{input}"),
        Piece::Bad(BadInput { lines, reason }) => format!("{}-{}!{reason}", lines.start(), lines.end()),
    }
}

#[test]
fn values_are_found_however_they_are_laid_out() {
    assert_eq!(told(false, "1\n2\n3"), ["1:1", "2:2", "3:3"]);
    assert_eq!(told(false, "1 2\t3\r\n\r\n\n 4 "), ["1:1", "1:2", "1:3", "4:4"]);
    assert_eq!(told(false, "{\n  \"a\": [\n    1\n  ]\n}\n{\n}\n"), ["1:{\"a\":[1]}", "6:{}"]);
    assert_eq!(told(false, "[1][2]{}\"a\"\"b\"null"), ["1:[1]", "1:[2]", "1:{}", "1:\"a\"", "1:\"b\"", "1:null"]);
    assert_eq!(told(false, "\"a\\\"]\\n\" \"\u{e4}\u{1f600}\""), ["1:\"a\\\"]\\n\"", "1:\"\u{e4}\u{1f600}\""]);
    for nothing in ["", "\n", " \r\n\t", "\u{feff}", "\u{feff}\n"] {
        assert!(told(false, nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_an_input() {
    assert_eq!(told(false, "\u{feff}1\n2\n"), ["1:1", "2:2"]);
    assert_eq!(told(true, "\u{feff}[1]\n\u{feff}[2]\n"), ["1:[1]", "2:[2]"], "two files that were joined");
    assert_eq!(told(true, "\"\u{feff}\"\n"), ["1:\"\u{feff}\""], "it is part of the text");
    assert_eq!(
        pieces(lines(false), &["\u{feff}a\r\n".as_bytes(), b"b"]).iter().map(tell).collect::<Vec<_>>(),
        ["1:\"a\"", "2:\"b\""]
    );
}

#[test]
fn the_first_bad_value_is_the_end_or_its_lines_are_left_out() {
    let not = |why: &str| format!("it is not JSON: {why}");
    let bad = |lines: &str, why: &str| format!("{lines}!{}", not(why));
    assert_eq!(told(false, "1\nx\n3\n"), ["1:1".to_owned(), bad("2-2", "expected value at column 1")]);
    assert_eq!(told(true, "1\nx y\n3\n"), ["1:1".to_owned(), bad("2-2", "expected value at column 1"), "3:3".to_owned()]);
    // One good value and a bad one on a line; the rest of it is left out.
    let good_and_bad = told(true, "{\"a\":1} x 5\n6");
    assert_eq!(good_and_bad, ["1:{\"a\":1}".to_owned(), bad("1-1", "expected value at column 9"), "2:6".to_owned()]);
    assert_eq!(told(true, "1,2\n3"), [bad("1-1", "trailing characters at column 2"), "2:3".to_owned()]);
    // A line that lacks its end does not take the next with it.
    let cut = told(true, "{\"a\":\n{\"b\":1}\n{\"c\":2}\n");
    let why = "expected `,` or `}` at line 3, column 1";
    assert_eq!(cut, [bad("1-1", why), "2:{\"b\":1}".to_owned(), "3:{\"c\":2}".to_owned()]);
    assert_eq!(told(false, "1\n{\n3\n")[1], bad("2-2", "expected a key in double quotes or `}` at line 3, column 1"));
    // The inside of a broken value is no input.
    let pretty = told(true, "[1]\n[\n  1,\n  2\n  3,\n  4\n]\n[5]\n");
    assert_eq!(pretty, ["1:[1]".to_owned(), bad("2-7", "expected `,` or `]` at line 5, column 3"), "8:[5]".to_owned()]);
    let pretty = told(true, "{\n  \"a\": nul\n}\n7\n");
    assert_eq!(pretty, [bad("1-3", "expected ident at line 2, column 11"), "4:7".to_owned()]);
}

#[test]
fn an_input_that_ends_inside_a_value_says_where_that_begins() {
    let why = "it is not JSON: the input ends inside the value that begins at line 2, column 2";
    for text in ["1\n [1,\n  2\n", "1\n {\"a\"", "1\n \"abc", "1\n [1, 2"] {
        for keep_going in [false, true] {
            let told = told(keep_going, text);
            assert!(told.len() == 2 && told[1].starts_with("2-") && told[1].ends_with(why), "{told:?}");
        }
    }
    assert_eq!(told(true, "1\n [1,\n  2\n")[1], format!("2-3!{why}"));
    assert_eq!(told(true, "[1\n2\n"), ["1-1!it is not JSON: expected `,` or `]` at line 2, column 1", "2:2"]);
}

#[test]
fn a_text_that_is_not_utf8_is_named_by_line_and_column() {
    let told = told(true, b"\"a\"\n [\"\xff\"] 1\n2\n");
    assert_eq!(told, ["1:\"a\"", "2-2!it is not UTF-8: there is a byte 0xff at column 4", "3:2"]);
    let raw = pieces(lines(true), &[b"a\nb\xfc\nc"]);
    let raw: Vec<_> = raw.iter().map(tell).collect();
    assert_eq!(raw, ["1:\"a\"", "2-2!it is not UTF-8: there is a byte 0xfc at column 2", "3:\"c\""]);
}

#[test]
fn a_value_is_there_as_soon_as_its_end_is() {
    let mut splitter = values(false);
    for (chunk, count) in [("[1", 0), ("]", 1), ("2", 0), ("\n", 1), ("\"", 0), ("a\"{}", 2), ("\n{", 0), ("\n}3 ", 2)] {
        splitter.push(chunk.as_bytes());
        assert_eq!(std::iter::from_fn(|| splitter.next()).count(), count, "{chunk}");
    }
}

#[test]
fn a_value_that_is_too_large_is_not_held() {
    let mut splitter = Values::new(encode, true, 10);
    splitter.push(b"\"0123456789abc");
    assert_eq!(splitter.next().as_ref().map(tell).unwrap(), "1-1!it is larger than 10 bytes");
    for _ in 0..100 {
        splitter.push(b"0123456789");
        assert!(splitter.next().is_none());
        assert!(splitter.unread.rest().is_empty());
    }
    splitter.push(b"\"\n7\n");
    assert_eq!(splitter.next().as_ref().map(tell).unwrap(), "2:7");
    let mut raw = Lines::new(encode, true, 10);
    raw.push(b"0123456789abc");
    assert_eq!(raw.next().as_ref().map(tell).unwrap(), "1-1!it is larger than 10 bytes");
    raw.push(b"de\nf\n");
    assert_eq!(raw.next().as_ref().map(tell).unwrap(), "2:\"f\"");
}

#[test]
fn many_broken_lines_are_not_read_once_each() {
    // Those that are too deep are broken at the bracket that is, each at another, and the rest at the end of the text.
    for (lines, too_deep) in [(1_000, 0), (200_000, 200_000 / (u32::from(DEPTH_MAX) + 1))] {
        let text = "[\n".repeat(lines);
        let bad = pieces(values(true), &[text.as_bytes()]);
        let Some(Piece::Bad(last)) = bad.last() else { panic!("{bad:?}") };
        assert_eq!((bad.len() as u32, *last.lines.end()), (too_deep + RETRIES_MAX + 1, lines as u64));
    }
}

fn lines(keep_going: bool) -> Lines<Value> {
    Lines::new(encode, keep_going, BYTES_MAX)
}

#[test]
fn each_line_is_a_text() {
    let told = |chunks: &[&[u8]]| pieces(lines(false), chunks).iter().map(tell).collect::<Vec<_>>();
    assert_eq!(
        told(&[b"a b\r\n\n\"q\"\n", b"\\", b"\xc3", b"\xa4\n1"]),
        ["1:\"a b\"", "2:\"\"", "3:\"\\\"q\\\"\"", "4:\"\\\\\u{e4}\"", "5:\"1\""]
    );
    assert!(told(&[]).is_empty());
    assert_eq!(told(&[b"\n"]), ["1:\"\""]);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\[\\]{}\",: \\\\\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_values_are_found_again(
        written in prop::collection::vec((any_value(), any::<bool>(), prop_oneof![Just(" "), Just("\n"), Just("\r\n\n")]), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut text, mut expected, mut line) = (String::new(), Vec::new(), 1);
        for (value, is_pretty, between) in written {
            let value_text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            text += &value_text.unwrap();
            text += between;
            expected.push(Piece::Input { line, input: value });
            line = 1 + text.matches('\n').count() as u64;
        }
        let (before, behind) = text.as_bytes().split_at(cut.index(text.len() + 1));
        prop_assert_eq!(pieces(values(false), &[before, behind]), expected);
    }

    #[test]
    fn any_text_gives_the_same_pieces_however_it_arrives(
        text in "([\\[\\]{}\",:1x \n\\\\]|\\{\"a\":|true){0,24}", cut in any::<prop::sample::Index>(),
    ) {
        let (before, behind) = text.as_bytes().split_at(cut.index(text.len() + 1));
        prop_assert_eq!(pieces(values(true), &[before, behind]), pieces(values(true), &[text.as_bytes()]));
    }
}
