//! Reads inputs on a thread of its own, so that outputs are printed while the next input is still to come.
//!
//! The thread finds where inputs end and encodes them. It knows nothing of the job.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use burla_types::LIMIT_PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::encoding::{Encoding, encoding};
use super::json::from_json;
use super::splitter::{Lines, Piece, Split, Values};
use crate::cli::Map;
use crate::error::CommandError;

/// Bytes to read at once; fewer where no more has arrived. Inputs that are in one read travel together.
const READ_BYTES: usize = 64 << 10;

/// Batches that wait while the next is read: one, so that reading and sending overlap.
const BATCHES_MAX: usize = 1;

/// The most bytes of a line that is an input: those of the largest input, because a line is sent as it is.
const LINE_BYTES_MAX: u64 = LIMIT_PAYLOAD_BYTES_MAX as u64;

/// The most bytes of a JSON value: twice those of the largest input, because escapes and white space take more room than
/// the form that an input is sent in. A value is held in memory until its end, so there is no room for one that is nothing
/// but escapes.
const JSON_BYTES_MAX: u64 = 2 * LIMIT_PAYLOAD_BYTES_MAX as u64;

/// Why the inputs end before their end.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    /// They are text in this encoding, which is not UTF-8.
    Encoding(&'static str),
}

pub(super) type Batch = Result<Vec<Piece<Bytes>>, Unreadable>;

/// Opens the inputs, and reads them for as long as someone takes them.
pub(super) fn read_inputs(arguments: &Map) -> Result<mpsc::Receiver<Batch>, CommandError> {
    let source = open(arguments.inputs_file())?;
    let keep_going = arguments.output.keep_going;
    let splitter: Box<dyn Split<Bytes>> = if arguments.raw_input {
        Box::new(Lines::new(encode, keep_going, LINE_BYTES_MAX))
    } else {
        Box::new(Values::new(encode, keep_going, JSON_BYTES_MAX))
    };
    let (sender, batches) = mpsc::channel(BATCHES_MAX);
    let is_json = !arguments.raw_input;
    // It ends with its inputs, or with nobody taking them; one that waits for stdin ends with the process.
    std::thread::Builder::new()
        .name("burla-inputs".to_owned())
        .spawn(move || read(source, splitter, is_json, |batch| sender.blocking_send(batch).is_ok()))
        .map_err(|source| CommandError::Start { program: "a thread for the inputs".to_owned(), source })?;
    Ok(batches)
}

fn open(path: Option<&Path>) -> Result<Box<dyn Read + Send>, CommandError> {
    let Some(path) = path else { return Ok(Box::new(io::stdin())) };
    let failed = |source| CommandError::File { act: "read", path: path.to_owned(), source };
    Ok(Box::new(File::open(path).map_err(failed)?))
}

/// One JSON value as an input that may be sent.
fn encode(text: &[u8]) -> Result<Bytes, String> {
    let input = from_json(text)?;
    if input.len() > LIMIT_PAYLOAD_BYTES_MAX {
        return Err(format!("it has {} bytes, and an input has {LIMIT_PAYLOAD_BYTES_MAX} at most", input.len()));
    }
    Ok(input)
}

/// Reads to the end, to an error, or until `take` wants no more. What has arrived does not wait for what has not.
fn read(mut source: impl Read, mut splitter: Box<dyn Split<Bytes>>, is_json: bool, take: impl Fn(Batch) -> bool) {
    let mut bytes = vec![0; READ_BYTES];
    // The beginning, while it does not tell the encoding.
    let (mut beginning, mut is_known) = (Vec::new(), false);
    loop {
        let count = match source.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                take(Err(Unreadable::Io(error)));
                return;
            }
        };
        let is_last = count == 0;
        if is_known {
            splitter.push(&bytes[..count]);
        } else {
            beginning.extend_from_slice(&bytes[..count]);
            match encoding(&beginning, is_json, is_last) {
                Encoding::Unknown => continue,
                Encoding::Utf8 => splitter.push(&std::mem::take(&mut beginning)),
                other => {
                    take(Err(Unreadable::Encoding(other.name())));
                    return;
                }
            }
            is_known = true;
        }
        if is_last {
            splitter.end();
        }
        let batch: Vec<_> = std::iter::from_fn(|| splitter.next()).collect();
        if !batch.is_empty() && !take(Ok(batch)) || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    /// The pieces of the text, one at a time.
    struct Reads(VecDeque<io::Result<&'static [u8]>>);

    impl Read for Reads {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let read = self.0.pop_front().unwrap_or(Ok(&[]))?;
            bytes[..read.len()].copy_from_slice(read);
            Ok(read.len())
        }
    }

    /// The lines of inputs in each batch, and what ended them.
    fn batches(reads: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> (Vec<Vec<u64>>, Option<Unreadable>) {
        let taken = RefCell::new((Vec::new(), None));
        let source = Reads(reads.into_iter().collect());
        read(source, Box::new(Values::new(encode, false, JSON_BYTES_MAX)), true, |batch| {
            let mut taken = taken.borrow_mut();
            match batch {
                Ok(pieces) => {
                    let line = |piece: &Piece<Bytes>| if let Piece::Input { line, .. } = piece { *line } else { 0 };
                    taken.0.push(pieces.iter().map(line).collect());
                }
                Err(error) => taken.1 = Some(error),
            }
            true
        });
        taken.into_inner()
    }

    #[test]
    fn inputs_are_passed_on_as_they_arrive() {
        let (read, error) = batches([Ok(&b"1\n2\n"[..]), Ok(b"\n[3"), Ok(b",\n4]\n5"), Ok(b"6\n7")]);
        assert_eq!(read, [vec![1, 2], vec![4], vec![6], vec![7]]);
        assert!(error.is_none());
        assert!(batches([]).0.is_empty());
        assert_eq!(batches([Ok(&b"7"[..])]).0, [[1]]);
    }

    #[test]
    fn nothing_but_brackets_is_refused_long_before_its_end() {
        struct Brackets;
        impl Read for Brackets {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                bytes.fill(b'\n');
                bytes.iter_mut().step_by(2).for_each(|byte| *byte = b'[');
                Ok(bytes.len())
            }
        }
        let taken = RefCell::new(Vec::new());
        read(Brackets, Box::new(Values::new(encode, false, JSON_BYTES_MAX)), true, |batch| {
            taken.borrow_mut().extend(batch.unwrap());
            false
        });
        let taken = taken.into_inner();
        let [Piece::Bad(bad)] = taken.as_slice() else { panic!("{} pieces", taken.len()) };
        assert!(bad.reason.starts_with("it is nested more than 1024 levels deep"), "{}", bad.reason);
    }

    #[test]
    fn what_came_before_an_error_is_not_lost() {
        let interrupted = io::ErrorKind::Interrupted.into();
        let (read, error) = batches([Ok(&b"1\n2\n3"[..]), Err(interrupted), Err(io::Error::other("gone")), Ok(b"4\n")]);
        assert_eq!(read, [[1, 2]]);
        assert!(matches!(error, Some(Unreadable::Io(error)) if error.to_string() == "gone"));
    }

    #[test]
    fn other_encodings_are_named() {
        let (read, error) = batches([Ok(&b"\xff"[..]), Ok(b"\xfe1\0\n\0")]);
        assert!(read.is_empty());
        assert!(matches!(error, Some(Unreadable::Encoding("UTF-16"))), "{error:?}");
        let (read, error) = batches([Ok(&b"\xef\xbb"[..]), Ok(b"\xbf1\n")]);
        assert_eq!((read, error.is_none()), (vec![vec![1]], true));
    }
}
