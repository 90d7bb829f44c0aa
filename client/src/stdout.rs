//! What becomes of what calls print.

use std::borrow::Cow;
use std::fmt;

use burla_types::OutputStream;

/// What becomes of what calls print. Lines stay whole up to 1 MiB; a longer one arrives in pieces. Of each stream of a call that
/// prints more than 64 MiB, those and the last 64 KiB arrive, with a line in between that says how much was dropped.
#[derive(Default)]
#[non_exhaustive]
pub enum Stdout {
    /// Lines appear on this program's stdout and stderr, whole, while the calls run. They are written by another thread, so do
    /// not hold a lock of `std::io::stdout()` or `stderr()` over the job: that thread would wait for it, and the job with it.
    ///
    /// On a terminal, control characters are shown instead of being sent, those of colors too; see [`Stdout::neutralized`]. A
    /// pipe or a file gets the bytes as they were printed.
    #[default]
    Inherit,
    /// The same, each line after the index of its call: `[7] text`.
    Prefixed,
    /// Nothing is shown, and nothing is sent.
    Discard,
    /// Every line goes to a function of yours; see [`Stdout::to`].
    To(Callback),
}

/// What [`Stdout::to`] was given.
pub type Callback = Box<dyn FnMut(u64, OutputStream, &str) + Send>;

impl Stdout {
    /// Gives every line to `callback`, without its newline: the call's index, the stream, and the text. All lines of a call come
    /// before its result. The text is as it was printed, control characters included; see [`Stdout::neutralized`].
    pub fn to(callback: impl FnMut(u64, OutputStream, &str) + Send + 'static) -> Self {
        Self::To(Box::new(callback))
    }

    /// A text of a call as it is shown on a terminal, for a callback that shows it there itself: without anything that the
    /// terminal would obey. Otherwise a call could write over what stands above its line, hide text, set the title, write the
    /// clipboard, or make the terminal answer as if someone had typed.
    ///
    /// Newlines and tabs stay, and `\r\n` becomes a newline. Other control characters of ASCII become their pictures, such as
    /// `␛`; the rest, and what changes the direction of what follows, becomes an escape such as `\u{9b}`. Colors are no
    /// exception: they can hide text by themselves and stay on for the lines of other calls, and to tell them apart from
    /// everything else is to risk a mistake that lets everything through.
    #[must_use]
    pub fn neutralized(text: &str) -> Cow<'_, str> {
        crate::terminal::neutralized(text)
    }
}

impl fmt::Debug for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Prefixed => "Prefixed",
            Self::Discard => "Discard",
            Self::To(_) => "To(_)",
        })
    }
}

#[cfg(not(target_family = "wasm"))]
mod show {
    use std::borrow::Cow;
    use std::io::{self, IsTerminal, Write};

    use super::{OutputStream, Stdout};
    use crate::terminal;

    impl Stdout {
        /// Whether what calls print has to travel at all.
        pub(crate) fn wants_output(&self) -> bool {
            !matches!(self, Self::Discard)
        }

        /// Shows whole lines of one call. The last of a call may lack its newline, and is given one: the next call's line would
        /// otherwise be glued to it.
        pub(crate) fn show(&mut self, index: u64, stream: OutputStream, lines: &[u8]) -> io::Result<()> {
            match self {
                Self::Inherit => write_to(stream, "", lines),
                Self::Prefixed => write_to(stream, &format!("[{index}] "), lines),
                Self::Discard => Ok(()),
                Self::To(callback) => {
                    for line in split(lines) {
                        callback(index, stream, &String::from_utf8_lossy(line));
                    }
                    Ok(())
                }
            }
        }
    }

    fn write_to(stream: OutputStream, prefix: &str, lines: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                let mut stdout = io::stdout().lock();
                let lines = shown(lines, || stdout.is_terminal());
                write_lines(&mut stdout, prefix, &lines)?;
                stdout.flush()
            }
            // Unbuffered, so the lines are put together first: one write keeps them from mixing with another process's.
            OutputStream::Stderr => {
                let mut together = Vec::new();
                write_lines(&mut together, prefix, &shown(lines, || io::stderr().is_terminal()))?;
                io::stderr().lock().write_all(&together)
            }
        }
    }

    /// What is written of lines. Where it goes is asked only when it matters: most lines are the same on a terminal, and a
    /// program may lead its stdout elsewhere during the job.
    fn shown(lines: &[u8], is_terminal: impl FnOnce() -> bool) -> Cow<'_, [u8]> {
        if terminal::is_plain(lines) || !is_terminal() { Cow::Borrowed(lines) } else { terminal::neutralized_bytes(lines) }
    }

    fn write_lines(out: &mut dyn Write, prefix: &str, lines: &[u8]) -> io::Result<()> {
        if prefix.is_empty() {
            out.write_all(lines)?;
            return if lines.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") };
        }
        for line in split(lines) {
            out.write_all(prefix.as_bytes())?;
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
        lines.strip_suffix(b"\n").unwrap_or(lines).split(|&byte| byte == b'\n')
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn written(prefix: &str, lines: &str) -> String {
            let mut out = Vec::new();
            write_lines(&mut out, prefix, lines.as_bytes()).unwrap();
            String::from_utf8(out).unwrap()
        }

        #[test]
        fn lines_are_whole_and_prefixed() {
            assert_eq!(written("", "a\nb\n"), "a\nb\n");
            assert_eq!(written("", "no newline"), "no newline\n");
            assert_eq!(written("[3] ", "a\n\nb"), "[3] a\n[3] \n[3] b\n");
        }

        #[test]
        fn only_a_terminal_gets_another_text() {
            let lines = b"\x1b[2Jnot \xff a text\r\nnext\r\n";
            assert!(matches!(shown(lines, || false), Cow::Borrowed(shown) if shown == lines));
            assert_eq!(shown(lines, || true), "␛[2Jnot \u{fffd} a text\nnext\n".as_bytes());
            let plain = b"plain\tlines\n~ !\n";
            let shown = shown(plain, || panic!("where plain lines go does not matter"));
            assert!(matches!(shown, Cow::Borrowed(shown) if shown == plain));
        }
    }
}
