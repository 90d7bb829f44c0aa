//! What a call prints, on its way out: whole lines, in order, held back when they leave faster than they can be sent.
//!
//! Lines are never dropped. A guest that prints faster than its reader reads waits in its `println!`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burla_types::OutputStream as Stream;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A line longer than this leaves in pieces. A guest could otherwise make the node hold a line that never ends.
const LINE_BYTES_MAX: usize = 1 << 20;

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
    lines: Mutex<Lines>,
}

/// What is not a whole line yet.
#[derive(Default)]
struct Lines {
    stdout: BytesMut,
    stderr: BytesMut,
    stderr_tail: Vec<u8>,
}

impl CallOutput {
    pub(crate) fn new(printer: impl Printer) -> Self {
        Self(Arc::new(Shared { printer: Box::new(printer), lines: Mutex::default() }))
    }

    pub(crate) fn stdout(&self) -> GuestStream {
        GuestStream { output: self.clone(), stream: Stream::Stdout, permit: 0 }
    }

    pub(crate) fn stderr(&self) -> GuestStream {
        GuestStream { output: self.clone(), stream: Stream::Stderr, permit: 0 }
    }

    /// The call is over: prints what has no newline, and returns the end of its stderr.
    pub(crate) fn finish(&self) -> String {
        let mut lines = self.lock();
        let rest = [(Stream::Stdout, lines.stdout.split()), (Stream::Stderr, lines.stderr.split())];
        let tail = std::mem::take(&mut lines.stderr_tail);
        drop(lines);
        for (stream, rest) in rest {
            if !rest.is_empty() {
                self.0.printer.print(stream, rest.freeze());
            }
        }
        String::from_utf8_lossy(&tail).into_owned()
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut lines = self.lock();
        if stream == Stream::Stderr {
            lines.stderr_tail.extend_from_slice(bytes);
            let excess = lines.stderr_tail.len().saturating_sub(STDERR_TAIL_BYTES);
            lines.stderr_tail.drain(..excess);
        }
        let pending = match stream {
            Stream::Stdout => &mut lines.stdout,
            Stream::Stderr => &mut lines.stderr,
        };
        // What was pending has no newline, so only the new bytes are searched.
        let whole = match bytes.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => pending.len() + newline + 1,
            None => 0,
        };
        pending.extend_from_slice(bytes);
        let whole = if pending.len() - whole > LINE_BYTES_MAX { pending.len() } else { whole };
        if whole > 0 {
            let lines_out = pending.split_to(whole).freeze();
            // Under the lock, so that two streams of one guest keep their order.
            self.0.printer.print(stream, lines_out);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.output.0.printer.ready().await;
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
        self.permit = if self.output.0.printer.is_ready() { WRITE_BYTES_MAX } else { 0 };
        Ok(self.permit)
    }
}

#[cfg(test)]
mod tests {
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
}
