//! Streams over a file. They do in place what wasmtime-wasi's hand to another thread, as all file operations here do: nothing of
//! them is under way once a function has returned, and what a file takes is known at every time.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::file::OpenFile;

/// How much is read or written at once, as with wasmtime-wasi's own.
const PIECE_BYTES_MAX: usize = 64 << 10;

pub(super) struct FileReader {
    file: Arc<OpenFile>,
    position: u64,
}

impl FileReader {
    pub(super) fn new(file: Arc<OpenFile>, position: u64) -> Self {
        Self { file, position }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {}
}

impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::zeroed(size.min(PIECE_BYTES_MAX));
        let count = loop {
            match self.file.read_at(&mut buffer, self.position) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StreamError::LastOperationFailed(error.into())),
            }
        };
        buffer.truncate(count);
        self.position += count as u64;
        Ok(buffer.freeze())
    }
}

pub(super) struct FileWriter {
    file: Arc<OpenFile>,
    position: Position,
    /// An error ends a stream, as WASI has it. The file is none the worse for it, and a new stream goes on.
    is_closed: bool,
}

/// Where a stream writes next.
pub(super) enum Position {
    At(u64),
    /// Wherever the file ends by then.
    End,
}

impl FileWriter {
    pub(super) fn new(file: Arc<OpenFile>, position: Position) -> Self {
        Self { file, position, is_closed: false }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let offset = match self.position {
                Position::At(offset) => offset,
                Position::End => self.file.size()?,
            };
            match self.file.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    if let Position::At(offset) = &mut self.position {
                        *offset += count as u64;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for FileWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let permit = self.check_write()?;
        if bytes.len() > permit {
            return Err(StreamError::trap("the function wrote more than it was allowed to at once"));
        }
        self.write_all(&bytes).map_err(|error| {
            self.is_closed = true;
            StreamError::LastOperationFailed(error.into())
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.is_closed { Err(StreamError::Closed) } else { Ok(PIECE_BYTES_MAX) }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }
}
