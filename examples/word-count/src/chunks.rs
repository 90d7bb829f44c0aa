//! Texts, one after the other, in pieces that end where a line does. Of all texts only one piece is in memory.

use std::io::{self, BufRead, BufReader, Read};

/// The pieces of many texts. A piece can hold several short texts, and a long text has many pieces.
///
/// A piece has the wanted number of bytes and the rest of the line that they end in, so that no line is in two. A line that goes
/// on for as many bytes again is cut there nevertheless: its length must not decide how much is held.
pub struct Chunks<T, R> {
    texts: T,
    /// The text that is being read.
    current: Option<BufReader<R>>,
    bytes: usize,
}

impl<T, R> Chunks<T, R>
where
    T: Iterator<Item = io::Result<R>>,
    R: Read,
{
    /// Cuts `texts` into pieces of `bytes`.
    pub fn new(texts: T, bytes: usize) -> Self {
        Self { texts, current: None, bytes }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        while chunk.len() < self.bytes {
            let mut text = match self.current.take() {
                Some(text) => text,
                None => match self.texts.next() {
                    Some(text) => BufReader::new(text?),
                    None => break,
                },
            };
            let wanted = self.bytes - chunk.len();
            let read = text.by_ref().take(wanted as u64).read_to_end(&mut chunk)?;
            if read < wanted {
                end_line(&mut chunk);
                continue;
            }
            if !chunk.ends_with(b"\n") {
                text.by_ref().take(self.bytes as u64).read_until(b'\n', &mut chunk)?;
            }
            self.current = Some(text);
        }
        Ok(chunk)
    }
}

impl<T, R> Iterator for Chunks<T, R>
where
    T: Iterator<Item = io::Result<R>>,
    R: Read,
{
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.read().map(|chunk| (!chunk.is_empty()).then_some(chunk)).transpose()
    }
}

/// The last line of a text often has no end, and would become one with the first of the next.
fn end_line(chunk: &mut Vec<u8>) {
    if !chunk.is_empty() && !chunk.ends_with(b"\n") {
        chunk.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(texts: &[&str], bytes: usize) -> Vec<String> {
        let chunks = Chunks::new(texts.iter().map(|text| Ok(text.as_bytes())), bytes);
        chunks.map(|chunk| String::from_utf8(chunk.unwrap()).unwrap()).collect()
    }

    #[test]
    fn no_line_is_lost_or_cut() {
        let numbers: String = (0..200).map(|number| format!("{}\n", number * 37)).collect();
        let texts = ["a\n\nb", "", "no end of line", "\n", numbers.as_str(), "last"];
        let expected: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        for bytes in 16..400 {
            let chunks = cut(&texts, bytes);
            let lines: Vec<&str> = chunks.iter().flat_map(|chunk| chunk.lines()).collect();
            assert_eq!(lines, expected, "in pieces of {bytes}");
            assert!(chunks.iter().all(|chunk| chunk.len() <= 2 * bytes), "in pieces of {bytes}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_nothing_of_it_lost() {
        let line = "x".repeat(100);
        let chunks = cut(&[&line], 16);
        assert_eq!(chunks.concat().trim_end(), line);
        assert!(chunks.iter().all(|chunk| chunk.len() <= 32));
    }

    #[test]
    fn texts_are_read_when_their_turn_comes() {
        let mut opened = 0;
        let texts = ["1234\n"; 4].into_iter().map(|text| {
            opened += 1;
            Ok(text.as_bytes())
        });
        assert_eq!(Chunks::new(texts, 10).take(1).count(), 1);
        assert_eq!(opened, 2);
    }

    #[test]
    fn a_text_that_cannot_be_read_is_told() {
        let texts = [Ok(&b"a\n"[..]), Err(io::Error::other("gone"))];
        let chunks: Vec<_> = Chunks::new(texts.into_iter(), 16).collect();
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].is_err());
    }
}
