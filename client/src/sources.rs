//! The sources that a component was built from, in a file beside it: `target/burla/hello.sources` beside `hello.wasm`.
//!
//! The packager writes it, and a program reads it before its first job, so that a component that was built from other
//! source than the program is refused. It is no part of the component, whose digest stays the same where the source is
//! elsewhere or has another date.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use burla_types::Digest;

/// The first line of the file. Another version has another number.
const HEADER: &str = "burla-sources 1";

/// The most bytes of a list of files that are read: 100,000 paths of 300 bytes. Nothing else is that large.
const LIST_BYTES_MAX: u64 = 32 << 20;

/// What a component was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The component that this is the list of.
    pub component: Digest,
    /// The folder of the workspace, which relative paths begin at.
    pub root: PathBuf,
    /// The files, each once.
    pub files: Vec<Source>,
}

/// A file, as it was when the component was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is, from the folder of the workspace if it is in there.
    pub path: PathBuf,
    /// What role it has.
    pub role: Role,
    /// The SHA-256 of its bytes. Zeros, which no file has, where it was edited during the build.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified_ns: u128,
}

/// The role of a file in a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The compiler reads it.
    Code,
    /// Cargo reads it: a manifest, or `Cargo.lock`.
    Manifest,
}

/// How the files on disk differ from those that the component was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The component is older than the source.
    Component(String),
    /// The program is older than the source that the component was built from.
    Program(String),
}

impl Sources {
    /// Where the list of a component is.
    pub fn beside(component: &Path) -> PathBuf {
        component.with_extension("sources")
    }

    /// Compares the files on disk with those that the component was built from, and with what the program was built
    /// from.
    ///
    /// A component that has no list, or has one of another component, cannot be compared, and neither can one on a
    /// machine where none of its code is.
    pub fn compare(component: &Path, digest: Digest, program: &Path) -> Result<(), Difference> {
        let path = Self::beside(component);
        let text = match read_list(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Difference::Component(format!("cannot read {}: {error}", path.display()))),
        };
        let Ok(sources) = text.parse::<Self>() else {
            return Err(Difference::Component(format!("{} is damaged, or of another version of cargo burla", path.display())));
        };
        // A component that was copied here has no list of its own.
        if sources.component != digest {
            return Ok(());
        }
        let root = path.parent().unwrap_or(Path::new(".")).join(&sources.root);
        // Without `..`, as cargo has it.
        let root = root.canonicalize().unwrap_or(root);
        sources.compare_with(&root, program)
    }

    fn compare_with(&self, root: &Path, program: &Path) -> Result<(), Difference> {
        if !self.files.iter().any(|file| file.role == Role::Code && root.join(&file.path).exists()) {
            return Ok(());
        }
        let changed: Vec<_> = self.files.iter().filter_map(|file| Some((file, file.change(root)?))).collect();
        if let [(first, change), others @ ..] = changed.as_slice() {
            let others = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            return Err(Difference::Component(format!("{} {change}{others}", first.path.display())));
        }
        match self.newer_than(root, program) {
            Some(file) => Err(Difference::Program(format!("{} was changed after that", file.path.display()))),
            None => Ok(()),
        }
    }

    /// A file that the program was built from, and that was written after the program.
    fn newer_than(&self, root: &Path, program: &Path) -> Option<&Source> {
        let built_ns = modified_ns(&program.metadata().ok()?);
        let candidates: Vec<_> =
            self.files.iter().filter(|file| file.role == Role::Code && file.modified_ns > built_ns).collect();
        if candidates.is_empty() {
            return None;
        }
        // Cargo lists the program's own files beside it. Those that are for WebAssembly alone are not among them.
        let of_program = files_of_dep_info(&read_list(&program.with_extension("d")).ok()?);
        let of_program: HashSet<_> = of_program.iter().map(|path| root.join(path)).collect();
        candidates.into_iter().find(|file| of_program.contains(&root.join(&file.path)))
    }
}

impl Source {
    /// How the file on disk differs, if it does. One of the same size and date is taken to be the same, as cargo and
    /// git do.
    fn change(&self, root: &Path) -> Option<String> {
        let path = root.join(&self.path);
        let Ok(metadata) = path.metadata() else { return Some("is gone".to_owned()) };
        if !metadata.is_file() {
            return Some("is not a file".to_owned());
        }
        if (metadata.len(), modified_ns(&metadata)) == (self.size_bytes, self.modified_ns) {
            return None;
        }
        let is_same = metadata.len() == self.size_bytes
            && read_at_most(&path, self.size_bytes).is_ok_and(|bytes| Digest::of(&bytes) == self.digest);
        (!is_same).then(|| "has changed since it was built".to_owned())
    }
}

/// When a file was written, in nanoseconds since 1970.
pub fn modified_ns(metadata: &Metadata) -> u128 {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.map_or(0, |time| time.as_nanos())
}

/// The files that a `.d` file of cargo or rustc names: `target: file file`, with a backslash before a space in a name.
pub fn files_of_dep_info(text: &str) -> Vec<PathBuf> {
    let rules = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "));
    let mut files = Vec::new();
    for (_, names) in rules {
        let mut name = String::new();
        let mut letters = names.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if letters.peek() == Some(&' ') => name.extend(letters.next()),
                ' ' => files.push(PathBuf::from(std::mem::take(&mut name))),
                _ => name.push(letter),
            }
        }
        files.push(PathBuf::from(name));
    }
    files.retain(|file| !file.as_os_str().is_empty());
    files
}

fn read_list(path: &Path) -> io::Result<String> {
    let bytes = read_at_most(path, LIST_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a file, or a link to one. A pipe is not opened, which could wait for ever, and neither is a device. A file that
/// grows while it is read is read no further than the bound.
fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let file = File::open(path)?;
    let size_bytes = file.metadata()?.len();
    let too_large = |size_bytes| io::Error::other(format!("it has {size_bytes} bytes, more than {bytes_max}"));
    if size_bytes > bytes_max {
        return Err(too_large(size_bytes));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    let size_bytes = bytes.len() as u64;
    if size_bytes > bytes_max { Err(too_large(size_bytes)) } else { Ok(bytes) }
}

impl std::fmt::Display for Sources {
    /// A line for each file; its path comes last and may have spaces in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\ncomponent {}\nroot {}", self.component, escape(&self.root))?;
        for Source { path, role, digest, size_bytes, modified_ns } in &self.files {
            let role = if *role == Role::Code { "code" } else { "manifest" };
            writeln!(f, "{role} {digest} {size_bytes} {modified_ns} {}", escape(path))?;
        }
        Ok(())
    }
}

impl FromStr for Sources {
    type Err = InvalidSources;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(InvalidSources)
    }
}

fn parse(text: &str) -> Option<Sources> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return None;
    }
    let component = lines.next()?.strip_prefix("component ")?.parse().ok()?;
    let root = unescape(lines.next()?.strip_prefix("root ")?);
    let files = lines.map(parse_file).collect::<Option<Vec<_>>>()?;
    // The packager names each file once. Without this, a list could have one large file read as often as it has lines.
    let mut paths = HashSet::new();
    if !files.iter().all(|file| paths.insert(&file.path)) {
        return None;
    }
    Some(Sources { component, root, files })
}

fn parse_file(line: &str) -> Option<Source> {
    let mut fields = line.splitn(5, ' ');
    let role = match fields.next()? {
        "code" => Role::Code,
        "manifest" => Role::Manifest,
        _ => return None,
    };
    Some(Source {
        role,
        digest: fields.next()?.parse().ok()?,
        size_bytes: fields.next()?.parse().ok()?,
        modified_ns: fields.next()?.parse().ok()?,
        path: unescape(fields.next()?),
    })
}

/// The text is no list of sources.
#[derive(Debug, thiserror::Error)]
#[error("this is no list of a component's sources")]
pub struct InvalidSources;

/// Cargo refuses paths that are not UTF-8, so none is lost here.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            path.push(letter);
            continue;
        }
        path.extend(match letters.next() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            other => other,
        });
    }
    path.into()
}

#[cfg(test)]
mod tests;
