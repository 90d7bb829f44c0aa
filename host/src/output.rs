//! What a call prints, on its way out: whole lines, in order, held back when they leave faster than they can be sent.
//!
//! Of each stream the head leaves while the call runs, and nothing of it is lost: a guest that prints faster than its reader
//! reads waits in its `println!`. Of what comes after the head only the tail is kept, which leaves when the call ends, after a
//! line that says how much was dropped in between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burla_types::OutputStream as Stream;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// What a call may print to one stream before the rest is dropped but for its tail: more than anyone reads, and little enough
/// that a function which prints in an endless loop does not take up its grid's connections for as long as it runs. Each stream
/// has its own: a flood on stdout must not take away the errors on stderr.
const OUTPUT_HEAD_BYTES: usize = 64 << 20;

/// What is kept of the end of a stream that is longer than that: several hundred lines, which is enough to see how it ended, and
/// little beside what a call takes anyway.
const OUTPUT_TAIL_BYTES: usize = 64 << 10;

/// A line longer than this leaves in pieces. A guest could otherwise make the node hold a line that never ends.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How much a guest may write at once, as WASI's own streams allow.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What is kept of the end of stderr, to go with a call that fails. A few dozen lines: enough to see what led to it.
const STDERR_TAIL_BYTES: usize = 4 << 10;

/// Where printed lines go.
pub trait Printer: Send + Sync + 'static {
    /// Takes whole lines of the call. Never blocks; [`ready`](Printer::ready) is what holds a guest back.
    fn print(&self, stream: Stream, lines: Bytes);

    /// Whether more may be printed now.
    fn is_ready(&self) -> bool;

    /// Waits until more may be printed.
    fn ready(&self) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

/// [`Printer`] with its types erased.
trait DynPrinter: Send + Sync {
    fn print(&self, stream: Stream, lines: Bytes);
    fn is_ready(&self) -> bool;
    fn ready(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<P: Printer> DynPrinter for P {
    fn print(&self, stream: Stream, lines: Bytes) {
        Printer::print(self, stream, lines);
    }

    fn is_ready(&self) -> bool {
        Printer::is_ready(self)
    }

    fn ready(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Printer::ready(self))
    }
}

/// Both streams of one call.
#[derive(Clone)]
pub(crate) struct CallOutput(Arc<Shared>);

struct Shared {
    printer: Box<dyn DynPrinter>,
    held: Mutex<Held>,
}

/// What has not left yet.
struct Held {
    stdout: Lines,
    stderr: Lines,
    stderr_tail: Tail,
    notes: Vec<u8>,
}

impl CallOutput {
    pub(crate) fn new(printer: impl Printer) -> Self {
        Self::with_head(printer, OUTPUT_HEAD_BYTES)
    }

    fn with_head(printer: impl Printer, head_bytes_max: usize) -> Self {
        Self(Arc::new(Shared { printer: Box::new(printer), held: Mutex::new(Held::new(head_bytes_max)) }))
    }

    pub(crate) fn stdout(&self) -> GuestStream {
        GuestStream { output: self.clone(), stream: Stream::Stdout, permit: 0 }
    }

    pub(crate) fn stderr(&self) -> GuestStream {
        GuestStream { output: self.clone(), stream: Stream::Stderr, permit: 0 }
    }

    /// Adds lines of the host's own, without their newlines, to the end of the call's stderr: what explains how it ended.
    pub(crate) fn print_notes(&self, lines: &[String]) {
        let mut held = self.lock();
        for line in lines {
            held.notes.extend_from_slice(line.as_bytes());
            held.notes.push(b'\n');
        }
    }

    /// The call is over: prints what has not left yet, and returns the end of its stderr.
    pub(crate) fn finish(&self) -> String {
        // With no head left, so that nothing leaves after its end.
        let Held { stdout, stderr, mut stderr_tail, notes } = std::mem::replace(&mut *self.lock(), Held::new(0));
        let mut rest = [(Stream::Stdout, stdout.into_rest()), (Stream::Stderr, stderr.into_rest())];
        if !notes.is_empty() {
            let (_, stderr_rest) = &mut rest[1];
            end_line(stderr_rest);
            stderr_rest.extend_from_slice(&notes);
            stderr_tail.end_line();
            stderr_tail.push(&notes);
        }
        for (stream, rest) in rest {
            if !rest.is_empty() {
                self.0.printer.print(stream, rest.freeze());
            }
        }
        String::from_utf8_lossy(stderr_tail.bytes.make_contiguous()).into_owned()
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut held = self.lock();
        if stream == Stream::Stderr {
            held.stderr_tail.push(bytes);
        }
        if let Some(whole) = held.lines(stream).push(bytes) {
            // Under the lock, so that two streams of one guest keep their order.
            self.0.printer.print(stream, whole);
        }
    }

    /// Whether the stream may be written to now. One that is past its head is never held back: what it is given is not sent.
    fn is_ready(&self, stream: Stream) -> bool {
        self.0.printer.is_ready() || self.lock().lines(stream).head_bytes_left == 0
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(head_bytes_max: usize) -> Self {
        let lines = || Lines { head_bytes_left: head_bytes_max, pending: BytesMut::new(), tail: Tail::new(OUTPUT_TAIL_BYTES) };
        Self { stdout: lines(), stderr: lines(), stderr_tail: Tail::new(STDERR_TAIL_BYTES), notes: Vec::new() }
    }

    fn lines(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// One stream, on its way out.
struct Lines {
    head_bytes_left: usize,
    /// The end of the head: what is not a whole line yet.
    pending: BytesMut,
    tail: Tail,
}

impl Lines {
    /// Takes what was written, and gives what can leave now.
    fn push(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let (head, beyond) = bytes.split_at(bytes.len().min(self.head_bytes_left));
        self.head_bytes_left -= head.len();
        if !beyond.is_empty() {
            self.tail.push(beyond);
        }
        // What was pending has no newline, so only the new bytes are searched.
        let whole = match head.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => self.pending.len() + newline + 1,
            None => 0,
        };
        self.pending.extend_from_slice(head);
        let whole = if self.pending.len() - whole > LINE_BYTES_MAX { self.pending.len() } else { whole };
        (whole > 0).then(|| self.pending.split_to(whole).freeze())
    }

    /// What leaves at the end: what has no newline, and where the head was not all, what was dropped and the tail.
    fn into_rest(mut self) -> BytesMut {
        let mut rest = self.pending;
        self.tail.start_with_line();
        if self.tail.bytes_dropped > 0 {
            end_line(&mut rest);
            let note = format!("[burla: {} bytes of output dropped]\n", self.tail.bytes_dropped);
            rest.extend_from_slice(note.as_bytes());
        }
        rest.extend_from_slice(self.tail.bytes.make_contiguous());
        rest
    }
}

/// The last bytes of something. Takes no memory before there are any.
struct Tail {
    bytes_max: usize,
    bytes: VecDeque<u8>,
    bytes_dropped: u64,
    /// Whether what was dropped ended with a line.
    starts_with_line: bool,
}

impl Tail {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: VecDeque::new(), bytes_dropped: 0, starts_with_line: true }
    }

    fn push(&mut self, bytes: &[u8]) {
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(self.bytes_max);
        // What is kept goes first, and then what is too long even without it.
        let kept_excess = excess.min(self.bytes.len());
        let (dropped, bytes) = bytes.split_at(excess - kept_excess);
        if let Some(last) = dropped.last().or_else(|| self.bytes.range(..kept_excess).next_back()) {
            self.starts_with_line = *last == b'\n';
        }
        self.bytes.drain(..kept_excess);
        self.bytes.extend(bytes);
        self.bytes_dropped += excess as u64;
    }

    /// Drops the end of a line whose beginning was dropped. A tail that is one line only is better than none.
    fn start_with_line(&mut self) {
        if self.starts_with_line {
            return;
        }
        let newline = self.bytes.iter().position(|&byte| byte == b'\n');
        if let Some(newline) = newline.filter(|newline| newline + 1 < self.bytes.len()) {
            self.bytes.drain(..=newline);
            self.bytes_dropped += newline as u64 + 1;
        }
    }

    /// Ends the last line, if it has no end.
    fn end_line(&mut self) {
        if self.bytes.back().is_some_and(|&last| last != b'\n') {
            self.push(b"\n");
        }
    }
}

/// Ends the last line, if it has no end. One that left before in pieces needs none: each piece is shown as a line.
fn end_line(lines: &mut BytesMut) {
    if lines.last().is_some_and(|&last| last != b'\n') {
        lines.extend_from_slice(b"\n");
    }
}

/// One stream, as WASI wants it.
#[derive(Clone)]
pub(crate) struct GuestStream {
    output: CallOutput,
    stream: Stream,
    /// What may be written now. std asks before it writes; a guest that does not is ended, or it could make the node hold
    /// anything.
    permit: usize,
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for it, which the linker does not offer.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {
        if !self.output.is_ready(self.stream) {
            self.output.0.printer.ready().await;
        }
    }
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.permit {
            return Err(StreamError::trap("the function wrote more than it was allowed to at once"));
        }
        self.permit -= bytes.len();
        self.output.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // A line that is flushed before its end would reach the terminal broken.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.permit = if self.output.is_ready(self.stream) { WRITE_BYTES_MAX } else { 0 };
        Ok(self.permit)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<(Stream, Bytes)>>>);

    impl Printer for Recorder {
        fn print(&self, stream: Stream, lines: Bytes) {
            self.0.lock().unwrap().push((stream, lines));
        }

        fn is_ready(&self) -> bool {
            true
        }

        async fn ready(&self) {}
    }

    impl Recorder {
        /// All that was printed to a stream.
        fn all(&self, of: Stream) -> Vec<u8> {
            let printed = self.0.lock().unwrap();
            printed.iter().filter(|(stream, _)| *stream == of).flat_map(|(_, lines)| lines.to_vec()).collect()
        }
    }

    fn printed(writes: &[(Stream, &str)]) -> (Vec<(Stream, String)>, String) {
        let recorder = Recorder::default();
        let output = CallOutput::new(recorder.clone());
        for (stream, text) in writes {
            output.write(*stream, text.as_bytes());
        }
        let tail = output.finish();
        let printed = std::mem::take(&mut *recorder.0.lock().unwrap());
        let printed = printed.into_iter().map(|(stream, lines)| (stream, String::from_utf8(lines.to_vec()).unwrap()));
        (printed.collect(), tail)
    }

    /// What becomes of bytes that are written in pieces of a size, with a head of a size.
    fn capped(head_bytes_max: usize, bytes: &[u8], piece_bytes: usize) -> Vec<u8> {
        let recorder = Recorder::default();
        let output = CallOutput::with_head(recorder.clone(), head_bytes_max);
        bytes.chunks(piece_bytes).for_each(|piece| output.write(Stream::Stdout, piece));
        output.finish();
        recorder.all(Stream::Stdout)
    }

    fn note(bytes_dropped: usize) -> Vec<u8> {
        format!("[burla: {bytes_dropped} bytes of output dropped]\n").into_bytes()
    }

    /// Numbered lines of different lengths.
    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|number| format!("{number}{}\n", "-".repeat(number % 61)).into_bytes()).collect()
    }

    #[test]
    fn only_whole_lines_leave_before_the_end() {
        let out = Stream::Stdout;
        let (lines, _) = printed(&[(out, "a"), (out, "b\nc\nd"), (out, "e"), (out, "\n"), (out, "last")]);
        let expected = [(out, "ab\nc\n"), (out, "de\n"), (out, "last")];
        assert_eq!(lines, expected.map(|(stream, text)| (stream, text.to_owned())));
    }

    #[test]
    fn nobody_writes_more_than_was_allowed() {
        let mut stream = CallOutput::new(Recorder::default()).stdout();
        assert!(stream.write(Bytes::from_static(b"x")).is_err());
        assert_eq!(stream.check_write().unwrap(), WRITE_BYTES_MAX);
        stream.write(Bytes::from(vec![b'x'; WRITE_BYTES_MAX])).unwrap();
        assert!(stream.write(Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn a_line_without_end_leaves_in_pieces() {
        let piece = "x".repeat(LINE_BYTES_MAX / 2 + 1);
        let (lines, _) = printed(&[(Stream::Stdout, &piece), (Stream::Stdout, &piece), (Stream::Stdout, "y\n")]);
        assert_eq!(lines.iter().map(|(_, text)| text.len()).collect::<Vec<_>>(), [LINE_BYTES_MAX + 2, 2]);
    }

    #[test]
    fn the_end_of_stderr_is_kept() {
        let long = "z".repeat(STDERR_TAIL_BYTES);
        let (_, tail) = printed(&[(Stream::Stderr, &long), (Stream::Stdout, "not this\n"), (Stream::Stderr, "the end\n")]);
        assert_eq!(tail.len(), STDERR_TAIL_BYTES);
        assert!(tail.ends_with("zthe end\n"));
    }

    #[test]
    fn what_fits_in_head_and_tail_is_whole() {
        let bytes = lines(4000);
        for bytes in [&bytes[..100], &bytes[..99], &bytes[..101], &bytes[..100 + OUTPUT_TAIL_BYTES]] {
            for piece_bytes in [1, 7, 333, WRITE_BYTES_MAX] {
                assert!(capped(100, bytes, piece_bytes) == bytes, "{} bytes in pieces of {piece_bytes}", bytes.len());
            }
        }
    }

    #[test]
    fn beyond_the_head_the_tail_remains_and_the_rest_is_counted() {
        let bytes = lines(10_007);
        for head_bytes_max in [1, 2, 1000, 1001, 54_321] {
            for bytes in [&bytes[..], &bytes[..bytes.len() - 1], &bytes[..head_bytes_max + OUTPUT_TAIL_BYTES + 1]] {
                let (head, beyond) = bytes.split_at(head_bytes_max);
                // The first line that begins where the tail may begin, or after.
                let tail_from = beyond.len() - OUTPUT_TAIL_BYTES;
                let line = beyond[tail_from - 1..].iter().position(|&byte| byte == b'\n').unwrap();
                let (dropped, tail) = beyond.split_at(tail_from + line);
                let newline = if head.ends_with(b"\n") { "" } else { "\n" };
                let expected = [head, newline.as_bytes(), &note(dropped.len()), tail].concat();
                for piece_bytes in [1, 61, 4097, WRITE_BYTES_MAX] {
                    assert!(capped(head_bytes_max, bytes, piece_bytes) == expected, "{head_bytes_max} {piece_bytes}");
                }
            }
        }
    }

    #[test]
    fn a_flood_without_newline_and_without_meaning_keeps_its_bytes() {
        let bytes: Vec<u8> = (0..3 * OUTPUT_TAIL_BYTES).map(|at| 0x80 | (at % 251) as u8).collect();
        let tail = &bytes[2 * OUTPUT_TAIL_BYTES..];
        let expected = [&bytes[..5], b"\n", &note(2 * OUTPUT_TAIL_BYTES - 5), tail].concat();
        assert!(capped(5, &bytes, 1021) == expected);
        // Its only newline is its end, after which there is no line.
        let bytes = [&bytes[..], b"\n"].concat();
        let expected = [&bytes[..5], b"\n", &note(2 * OUTPUT_TAIL_BYTES - 4), &tail[1..], b"\n"].concat();
        assert!(capped(5, &bytes, 1021) == expected);
    }

    #[test]
    fn each_stream_has_its_own_head() {
        let recorder = Recorder::default();
        let output = CallOutput::with_head(recorder.clone(), 10);
        output.write(Stream::Stderr, b"error 1\n");
        let flood = lines(5000);
        output.write(Stream::Stdout, &flood);
        output.write(Stream::Stderr, b"\n");
        assert_eq!(recorder.all(Stream::Stderr), b"error 1\n\n", "it streams on");
        output.write(Stream::Stderr, b"error 2\n");
        assert_eq!(output.finish(), "error 1\n\nerror 2\n", "the end for failures is that of the whole");
        assert_eq!(recorder.all(Stream::Stderr), b"error 1\n\nerror 2\n");
        assert!(recorder.all(Stream::Stdout).len() < 10 + OUTPUT_TAIL_BYTES + 64);
        assert!(recorder.all(Stream::Stdout).ends_with(&flood[flood.len() - OUTPUT_TAIL_BYTES + 64..]));
    }

    #[test]
    fn a_stream_past_its_head_is_not_held_back() {
        struct Full;

        impl Printer for Full {
            fn print(&self, _: Stream, _: Bytes) {}

            fn is_ready(&self) -> bool {
                false
            }

            async fn ready(&self) {
                std::future::pending().await
            }
        }

        let output = CallOutput::with_head(Full, 4);
        let (mut stdout, mut stderr) = (output.stdout(), output.stderr());
        output.write(Stream::Stdout, b"123");
        assert_eq!(stdout.check_write().unwrap(), 0);
        output.write(Stream::Stdout, b"4");
        assert_eq!(stdout.check_write().unwrap(), WRITE_BYTES_MAX);
        assert!(stdout.ready().now_or_never().is_some());
        assert_eq!(stderr.check_write().unwrap(), 0);
        assert!(stderr.ready().now_or_never().is_none());
    }

    #[test]
    fn notes_come_last_on_lines_of_their_own() {
        let notes = ["denied a".to_owned(), "denied b".to_owned()];
        for (written, expected) in [
            ("", "denied a\ndenied b\n"),
            ("line\n", "line\ndenied a\ndenied b\n"),
            ("no newline", "no newline\ndenied a\ndenied b\n"),
        ] {
            let recorder = Recorder::default();
            let output = CallOutput::new(recorder.clone());
            output.write(Stream::Stderr, written.as_bytes());
            output.print_notes(&notes);
            assert_eq!(output.finish(), expected);
            assert_eq!(recorder.all(Stream::Stderr), expected.as_bytes());
        }
    }

    #[test]
    fn notes_do_not_push_out_what_was_kept() {
        let recorder = Recorder::default();
        let output = CallOutput::with_head(recorder.clone(), 0);
        output.write(Stream::Stderr, &vec![b'x'; OUTPUT_TAIL_BYTES + 7]);
        output.print_notes(&["denied".to_owned()]);
        let tail = output.finish();
        assert_eq!((tail.len(), tail.ends_with("xx\ndenied\n")), (STDERR_TAIL_BYTES, true));
        let expected = [&note(7), &*vec![b'x'; OUTPUT_TAIL_BYTES], b"\ndenied\n"].concat();
        assert!(recorder.all(Stream::Stderr) == expected);
        assert_eq!(output.finish(), "", "what is over has nothing left to print");
    }
}
