//! Counts the words of files: on the grid, or, to compare, on this machine's one thread.
//!
//! ```text
//! word-count [--limit-mb N] [--here] [FILE or FOLDER …]
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the counts go to stdout, time and limit to stderr")]

use std::cmp::Reverse;
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burla::remote_parallel_map;
use serde_bytes::ByteBuf;
use walkdir::{DirEntry, WalkDir};
use word_count::{Chunks, Counts, add, count};

/// How many words the table has.
const ROWS: usize = 20;

/// What one call counts. `--limit-mb` counts these.
const CHUNK_BYTES: usize = 1 << 20;

/// How many chunks are read unless `--limit-mb` says otherwise: as much as a few seconds are enough for.
const LIMIT_MB: usize = 100;

/// What is read below folders.
const EXTENSIONS: [&str; 3] = ["md", "txt", "rs"];

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { limit_mb, here, paths } = Arguments::parse(std::env::args().skip(1))?;
    let paths = if paths.is_empty() { vec![registry()?] } else { paths };
    let started = Instant::now();
    let mut chunks = Chunks::new(texts(paths), CHUNK_BYTES);
    let (mut read_chunks, mut read_bytes) = (0_u64, 0_usize);
    let mut failure = None;
    // A text that cannot be read ends the inputs, and is the program's error: the counts would lack it.
    let inputs = chunks.by_ref().take(limit_mb).map_while(|chunk| match chunk {
        Ok(chunk) => {
            read_chunks += 1;
            read_bytes += chunk.len();
            Some(ByteBuf::from(chunk))
        }
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let counts = if here { on_this_machine(inputs) } else { on_the_grid(inputs)? };
    if let Some(error) = failure {
        return Err(error.to_string().into());
    }
    eprintln!("counted in {:.2} s", started.elapsed().as_secs_f64());
    if chunks.next().is_some() {
        eprintln!("there is more text than was read: --limit-mb {limit_mb} is the limit");
    }
    println!("{:.1} MB of text in {read_chunks} chunks", read_bytes as f64 / 1e6);
    report(&counts);
    Ok(())
}

/// Chunks are read as the grid takes them, and counts are added up as they arrive, in any order.
fn on_the_grid(chunks: impl Iterator<Item = ByteBuf>) -> burla::Result<Counts> {
    let mut total = Counts::new();
    for counts in remote_parallel_map(count, chunks).generator()? {
        add(&mut total, counts?);
    }
    Ok(total)
}

fn on_this_machine(chunks: impl Iterator<Item = ByteBuf>) -> Counts {
    let mut total = Counts::new();
    for chunk in chunks {
        add(&mut total, count(chunk));
    }
    total
}

fn report(counts: &Counts) {
    println!("{} words, {} of them different", counts.values().sum::<u64>(), counts.len());
    println!("\nThe most frequent words:");
    let mut words: Vec<(&String, &u64)> = counts.iter().collect();
    words.sort_by_key(|&(word, times)| (Reverse(times), word));
    for (word, times) in words.iter().take(ROWS) {
        println!("{times:9}  {word}");
    }
}

/// Files, opened one by one. Of folders, the files below them that are text, in the order of their names, so that everyone who
/// reads the same files up to the same limit reads the same text.
fn texts(paths: Vec<PathBuf>) -> impl Iterator<Item = io::Result<File>> {
    let entries = paths.into_iter().flat_map(|path| WalkDir::new(path).sort_by_file_name());
    entries.filter_map(|entry| match entry {
        Ok(entry) => is_text(&entry).then(|| open(entry.path())),
        Err(error) => Some(Err(error.into())),
    })
}

fn is_text(entry: &DirEntry) -> bool {
    if entry.depth() == 0 {
        // What was named by the user is read whatever its name.
        return entry.path().is_file();
    }
    let extension = entry.path().extension();
    entry.file_type().is_file() && EXTENSIONS.iter().any(|&wanted| extension.is_some_and(|extension| extension == wanted))
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display())))
}

/// The sources of the crates that were downloaded to build anything on this machine.
fn registry() -> Result<PathBuf, &'static str> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    Ok(home.ok_or("there is no home directory: set CARGO_HOME")?.join("registry/src"))
}

struct Arguments {
    limit_mb: usize,
    here: bool,
    paths: Vec<PathBuf>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self { limit_mb: LIMIT_MB, here: false, paths: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--limit-mb" => {
                    let value = arguments.next().ok_or("--limit-mb needs a number")?;
                    parsed.limit_mb = value.parse().map_err(|error| format!("--limit-mb {value}: {error}"))?;
                }
                "--here" => parsed.here = true,
                flag if flag.starts_with("--") => {
                    return Err(format!("unknown flag {flag}: there are --limit-mb and --here"));
                }
                path => parsed.paths.push(PathBuf::from(path)),
            }
        }
        Ok(parsed)
    }
}
