//! Counts what is in every Rust file of the local cargo registry: on the grid, or, to compare, on this machine's threads.
//!
//! ```text
//! crate-census [--one-thread | --rayon] [FOLDER …]
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the results go to stdout, the time to stderr")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burla::{Stdout, remote_parallel_map};
use crate_census::{Census, Function, count};
use rayon::prelude::*;
use walkdir::WalkDir;

/// How many rows each table has.
const ROWS: usize = 10;

/// A file's census, or why there is none.
type Fate = Result<Census, String>;

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, folders): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let folders = if folders.is_empty() { registry()? } else { folders.into_iter().map(PathBuf::from).collect() };
    let files = rust_files(&folders)?;
    let started = Instant::now();
    let fates: Vec<Fate> = match flags.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => on_the_grid(&files)?,
        ["--one-thread"] => files.iter().map(here).collect(),
        ["--rayon"] => files.par_iter().map(here).collect(),
        other => return Err(format!("unknown flags {other:?}: give --one-thread, --rayon, or none for the grid").into()),
    };
    eprintln!("counted {} files in {:.2} s", files.len(), started.elapsed().as_secs_f64());
    report(&files, &fates);
    Ok(())
}

/// A file of a crate.
struct File {
    path: PathBuf,
    /// The crate's folder: name and version.
    package: String,
    /// Its path below that.
    within: String,
}

/// Every file is read as the grid takes it, so that no more than a few are in memory. What cannot be read is not sent.
fn on_the_grid(files: &[File]) -> burla::Result<Vec<Fate>> {
    let mut fates: Vec<Fate> = vec![Ok(Census::default()); files.len()];
    let mut sent = Vec::new();
    let texts = files.iter().enumerate().filter_map(|(position, file)| match read(&file.path) {
        Ok(text) => {
            sent.push(position);
            Some(text)
        }
        Err(error) => {
            fates[position] = Err(error);
            None
        }
    });
    let counted = remote_parallel_map(count, texts).stdout(Stdout::Discard).try_run()?;
    for (position, fate) in sent.into_iter().zip(counted) {
        fates[position] = fate.map_err(|error| error.message);
    }
    Ok(fates)
}

fn here(file: &File) -> Fate {
    let text = read(&file.path)?;
    let census = count(text).map_err(|error| error.to_string());
    // A grid's call ends with its instance; here, the positions of all files so far would stay.
    proc_macro2::extra::invalidate_current_thread_spans();
    census
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The sources of the crates that were downloaded to build anything on this machine.
fn registry() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let sources = home.ok_or("there is no home directory: set CARGO_HOME")?.join("registry/src");
    let folders = std::fs::read_dir(&sources).map_err(|error| format!("cannot read {}: {error}", sources.display()))?;
    Ok(folders.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

/// All `.rs` files below the folders, each of which holds a folder per crate.
fn rust_files(folders: &[PathBuf]) -> Result<Vec<File>, walkdir::Error> {
    let mut files = Vec::new();
    for folder in folders {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry?;
            if !entry.file_type().is_file() || entry.path().extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let within = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_string_lossy().into_owned();
            let (package, within) = within.split_once('/').unwrap_or(("", &within));
            files.push(File { path: entry.path().to_owned(), package: package.to_owned(), within: within.to_owned() });
        }
    }
    Ok(files)
}

fn report(files: &[File], fates: &[Fate]) {
    let mut total = Census::default();
    let mut packages: BTreeMap<&str, Census> = BTreeMap::new();
    let mut longest: Vec<(&File, &Function)> = Vec::new();
    let mut unparsed = Vec::new();
    for (file, fate) in files.iter().zip(fates) {
        match fate {
            Ok(census) => {
                total.add(census);
                packages.entry(&file.package).or_default().add(census);
                longest.extend(census.longest.as_ref().map(|function| (file, function)));
            }
            Err(reason) => unparsed.push((file, reason)),
        }
    }
    println!("{} files of {} crates, {} lines", files.len(), packages.len(), total.lines);
    println!("{} functions, {} types", total.functions, total.types);
    println!("{} unsafe blocks, {} unsafe functions, traits and impls", total.unsafe_blocks, total.unsafe_items);

    println!("\nThe longest functions:");
    longest.sort_by_key(|(_, function)| std::cmp::Reverse(function.lines));
    for (file, Function { name, line, lines }) in longest.iter().take(ROWS) {
        println!("{lines:7} lines  {name}  {}/{}:{line}", file.package, file.within);
    }

    println!("\nThe crates with most unsafe:");
    let mut packages: Vec<_> = packages.into_iter().collect();
    packages.sort_by_key(|(_, census)| std::cmp::Reverse(census.unsafe_blocks + census.unsafe_items));
    for (package, census) in packages.iter().take(ROWS) {
        println!("{:7} blocks {:6} items  {package}", census.unsafe_blocks, census.unsafe_items);
    }

    println!("\n{} files do not parse:", unparsed.len());
    for (file, reason) in unparsed {
        println!("  {}/{}: {}", file.package, file.within, reason.lines().next().unwrap_or_default());
    }
}
