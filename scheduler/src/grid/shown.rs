//! Lines that open calls have shown: line `k` of a stream of a call is shown once, from whichever attempt comes to it first. A call
//! that is tried again prints again; one that prints the same each time is shown as if it had run once.
//!
//! A line that is long, or is the last and has no end, comes in pieces. The attempt whose first piece is shown has shown that line:
//! the others' is dropped, also where it is longer.

use burla_types::{Attempt, OutputStream};
use bytes::Bytes;
use rustc_hash::FxHashMap;

/// What was shown of stdout and stderr of each open call that has printed. As many entries as calls are open.
#[derive(Debug, Default)]
pub(crate) struct Shown(FxHashMap<u64, [Stream; 2]>);

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Whole lines.
    lines: u64,
    /// Who has shown the beginning of the next.
    begun: Option<Attempt>,
}

impl Shown {
    /// What is new of lines that an attempt printed, with the number of the first; `None` where nothing is.
    pub(crate) fn take_new(
        &mut self,
        index: u64,
        attempt: Attempt,
        stream: OutputStream,
        first_line: u64,
        mut lines: Bytes,
    ) -> Option<(u64, Bytes)> {
        let stream = &mut self.0.entry(index).or_default()[usize::from(stream == OutputStream::Stderr)];
        let shown = stream.lines + u64::from(stream.begun.is_some_and(|by| by != attempt));
        let mut first = first_line;
        while first < shown && !lines.is_empty() {
            let Some(end) = lines.iter().position(|byte| *byte == b'\n') else {
                // A piece of a line that was shown.
                return None;
            };
            let _ = lines.split_to(end + 1);
            first += 1;
        }
        if lines.is_empty() {
            return None;
        }
        stream.lines = first + lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        stream.begun = (!lines.ends_with(b"\n")).then_some(attempt);
        Some((first, lines))
    }

    /// What was shown of a call before.
    pub(crate) fn set(&mut self, index: u64, shown: [u64; 2]) {
        if shown != [0; 2] {
            self.0.insert(index, shown.map(|lines| Stream { lines, begun: None }));
        }
    }

    /// The call has ended.
    pub(crate) fn forget(&mut self, index: u64) {
        if !self.0.is_empty() {
            self.0.remove(&index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shown: &mut Shown, first_line: u64, lines: &'static str) -> Option<(u64, String)> {
        take_of(shown, 1, first_line, lines)
    }

    fn take_of(shown: &mut Shown, attempt: u32, first_line: u64, lines: &'static str) -> Option<(u64, String)> {
        let lines = Bytes::from_static(lines.as_bytes());
        let new = shown.take_new(7, Attempt(attempt), OutputStream::Stdout, first_line, lines);
        new.map(|(first, lines)| (first, String::from_utf8(lines.to_vec()).unwrap()))
    }

    #[test]
    fn each_line_is_shown_once_whichever_attempt_comes_first() {
        let mut shown = Shown::default();
        assert_eq!(take(&mut shown, 0, "a\nb\n"), Some((0, "a\nb\n".into())));
        assert_eq!(take(&mut shown, 0, "a\n"), None, "another attempt prints it again");
        assert_eq!(take(&mut shown, 1, "b\nc\nrest"), Some((2, "c\nrest".into())));
        assert_eq!(take(&mut shown, 3, " of a long line\n"), Some((3, " of a long line\n".into())));
        assert_eq!(take(&mut shown, 0, "a\nb\nc\nrest"), None);
        let other = shown.take_new(7, Attempt(1), OutputStream::Stderr, 0, Bytes::from_static(b"a\n"));
        assert!(other.is_some(), "the streams are counted apart");
        shown.forget(7);
        assert_eq!(take(&mut shown, 0, "a\n"), Some((0, "a\n".into())));
    }

    #[test]
    fn a_line_without_an_end_is_shown_once_too() {
        let mut shown = Shown::default();
        assert_eq!(take_of(&mut shown, 1, 0, "a\nbeg"), Some((0, "a\nbeg".into())));
        assert_eq!(take_of(&mut shown, 2, 0, "a\nbegin"), None, "the first has shown it");
        assert_eq!(take_of(&mut shown, 1, 1, "in"), Some((1, "in".into())), "and goes on with it");
        assert_eq!(take_of(&mut shown, 2, 1, "ning\nb\n"), Some((2, "b\n".into())));
        assert_eq!(take_of(&mut shown, 1, 1, "ning\nb\nc"), Some((3, "c".into())));
        assert_eq!(take_of(&mut shown, 3, 3, "c\n"), None);
    }

    #[test]
    fn what_was_shown_by_an_earlier_scheduler_counts() {
        let mut shown = Shown::default();
        shown.set(7, [2, 0]);
        assert_eq!(take(&mut shown, 0, "a\nb\nc\n"), Some((2, "c\n".into())));
    }
}
