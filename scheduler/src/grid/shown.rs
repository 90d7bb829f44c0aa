//! Lines that open calls have shown: line `k` of a stream of a call is shown once, from whichever attempt comes to it first. A call
//! that is tried again prints again; one that prints the same each time is shown as if it had run once.

use burla_types::OutputStream;
use bytes::Bytes;
use rustc_hash::FxHashMap;

/// How many lines of stdout and stderr were shown, of each open call that has printed. As many entries as calls are open.
#[derive(Debug, Default)]
pub(crate) struct Shown(FxHashMap<u64, [u64; 2]>);

impl Shown {
    /// What is new of lines that an attempt printed, with the number of the first; `None` where nothing is.
    pub(crate) fn take_new(
        &mut self,
        index: u64,
        stream: OutputStream,
        first_line: u64,
        mut lines: Bytes,
    ) -> Option<(u64, Bytes)> {
        let shown = &mut self.0.entry(index).or_default()[usize::from(stream == OutputStream::Stderr)];
        let mut first = first_line;
        while first < *shown && !lines.is_empty() {
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
        *shown = (*shown).max(first + lines.iter().filter(|byte| **byte == b'\n').count() as u64);
        Some((first, lines))
    }

    /// What was shown of a call before.
    pub(crate) fn set(&mut self, index: u64, shown: [u64; 2]) {
        if shown != [0; 2] {
            self.0.insert(index, shown);
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
        let new = shown.take_new(7, OutputStream::Stdout, first_line, Bytes::from_static(lines.as_bytes()));
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
        let other = shown.take_new(7, OutputStream::Stderr, 0, Bytes::from_static(b"a\n"));
        assert!(other.is_some(), "the streams are counted apart");
        shown.forget(7);
        assert_eq!(take(&mut shown, 0, "a\n"), Some((0, "a\n".into())));
    }

    #[test]
    fn what_was_shown_by_an_earlier_scheduler_counts() {
        let mut shown = Shown::default();
        shown.set(7, [2, 0]);
        assert_eq!(take(&mut shown, 0, "a\nb\nc\n"), Some((2, "c\n".into())));
    }
}
