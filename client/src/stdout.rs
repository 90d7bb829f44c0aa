//! What becomes of what calls print.

use std::fmt;

use burla_types::OutputStream;

/// What becomes of what calls print. Lines stay whole up to 1 MiB; a longer one arrives in pieces.
#[derive(Default)]
#[non_exhaustive]
pub enum Stdout {
    /// Lines appear on this program's stdout and stderr, whole, while the calls run. They are written by another thread, so do
    /// not hold a lock of `std::io::stdout()` or `stderr()` over the job: that thread would wait for it, and the job with it.
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
    /// before its result.
    pub fn to(callback: impl FnMut(u64, OutputStream, &str) + Send + 'static) -> Self {
        Self::To(Box::new(callback))
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
    use std::io::{self, Write};

    use super::{OutputStream, Stdout};

    impl Stdout {
        /// Whether what calls print has to travel at all.
        pub(crate) fn wants_output(&self) -> bool {
            !matches!(self, Self::Discard)
        }

        /// Shows whole lines of one call. The last of a call may lack its newline, and is given one: the next call's line would
        /// otherwise be glued to it.
        pub(crate) fn show(&mut self, index: u64, stream: OutputStream, lines: &[u8]) -> io::Result<()> {
            match self {
                Self::Inherit => write_to(stream, |out| write_lines(out, "", lines)),
                Self::Prefixed => write_to(stream, |out| write_lines(out, &format!("[{index}] "), lines)),
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

    fn write_to(stream: OutputStream, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                let mut stdout = io::stdout().lock();
                write(&mut stdout)?;
                stdout.flush()
            }
            // Unbuffered, so the lines are put together first: one write keeps them from mixing with another process's.
            OutputStream::Stderr => {
                let mut together = Vec::new();
                write(&mut together)?;
                io::stderr().lock().write_all(&together)
            }
        }
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
    }
}
