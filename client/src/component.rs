//! Finds the component that belongs to this program, and refuses one that was built from other source: whose function
//! differs by name, signature or code, or any of whose sources has changed since (`sources.rs`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use burla_types::component::{Description, InvalidComponent};
use burla_types::{Digest, FunctionInfo};
use bytes::Bytes;

use crate::namesakes::check;
use crate::sources::{Difference, Sources};
use crate::{Error, Result};

/// The environment variable that names the component's file; `cargo burla run` sets it.
const COMPONENT_VARIABLE: &str = "BURLA_COMPONENT";

/// The environment variable with the digest of a component that was built together with this program, so that its
/// sources need not be compared: they may be edited while the program runs. `cargo burla run` sets it.
const BUILT_TOGETHER_VARIABLE: &str = "BURLA_COMPONENT_DIGEST";

/// The number of folders above the program's own in which a `burla/` folder is looked for:
/// `target/TRIPLE/debug/deps/test` has it three above.
const FOLDERS_UP_MAX: usize = 4;

/// The number of components that are kept in memory: a program has one, or one for each of the crates that its
/// functions are in.
const KEPT_MAX: usize = 4;

/// The length of the hash that cargo puts after the name of a test program.
const CARGO_HASH_LEN: usize = 16;

/// A component, ready to be offered to a grid.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    description: Arc<Description>,
}

impl Component {
    /// Finds, reads and checks the component that holds the function.
    pub(crate) fn of(function: &'static FunctionInfo) -> Result<Self> {
        let mut stale = None;
        for path in find(&function.name)? {
            let component = Self::read(&path)?;
            let refusal = match check(function, &component.description) {
                Ok(()) => match component.unless_stale(&path) {
                    Ok(component) => return Ok(component),
                    Err(refusal) => refusal,
                },
                Err(difference) => component.stale(&path, difference),
            };
            // Another that is fresh may lie beside it.
            stale = stale.or(Some(refusal));
        }
        Err(stale.unwrap_or_else(|| missing(&function.name)))
    }

    /// Reads a component, unless an earlier job has read it. Hashing it takes longer than a small job.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        static READ: Mutex<Vec<(PathBuf, SystemTime, u64, Component)>> = Mutex::new(Vec::new());
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let modified = metadata.modified().map_err(|source| unreadable(path, source))?;
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.iter().find(|(known, at, len, _)| (known.as_path(), *at, *len) == (path, modified, metadata.len()));
        if let Some((.., component)) = known {
            return Ok(component.clone());
        }
        let bytes = std::fs::read(path).map_err(|source| unreadable(path, source))?;
        let component = Self::from_bytes(bytes.into()).map_err(|source| unreadable(path, source))?;
        read.retain(|(known, ..)| known != path);
        read.truncate(KEPT_MAX - 1);
        read.insert(0, (path.to_owned(), modified, metadata.len(), component.clone()));
        Ok(component)
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Result<Self, InvalidComponent> {
        let description = Description::read(&bytes)?;
        Ok(Self { digest: Digest::of(&bytes), bytes, description: Arc::new(description) })
    }

    /// Compares its sources once for a process: a program that runs stays as it was, whatever is edited meanwhile.
    fn unless_stale(self, path: &Path) -> Result<Self> {
        static COMPARED: Mutex<Vec<Digest>> = Mutex::new(Vec::new());
        let mut compared = COMPARED.lock().unwrap_or_else(PoisonError::into_inner);
        let built_together = std::env::var(BUILT_TOGETHER_VARIABLE).is_ok_and(|digest| digest == self.digest.to_string());
        if built_together || compared.contains(&self.digest) {
            return Ok(self);
        }
        let program = std::env::current_exe().unwrap_or_default();
        match Sources::compare(path, self.digest, &program) {
            Ok(()) => {
                compared.truncate(KEPT_MAX - 1);
                compared.insert(0, self.digest);
                Ok(self)
            }
            Err(Difference::Component(difference)) => Err(self.stale(path, difference)),
            Err(Difference::Program(difference)) => {
                Err(Error::StaleProgram { program: program.display().to_string(), path: path.display().to_string(), difference })
            }
        }
    }

    fn stale(&self, path: &Path, difference: String) -> Error {
        Error::StaleComponent { path: path.display().to_string(), digest: self.digest, difference }
    }
}

fn unreadable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::UnreadableComponent { path: path.display().to_string(), source: source.into() }
}

/// The files that may hold the function: the one that `BURLA_COMPONENT` names, else those in a `burla/` folder beside
/// the program, as in `target/burla/hello.wasm` beside `target/debug/hello`.
fn find(function: &'static str) -> Result<Vec<PathBuf>> {
    if let Some(path) = std::env::var_os(COMPONENT_VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(vec![path.into()]);
    }
    let files = files_of(&std::env::current_exe().unwrap_or_default(), function);
    if files.is_empty() { Err(missing(function)) } else { Ok(files) }
}

/// The component of the program comes first, since it holds the functions of the libraries that the program uses, too;
/// then that of the function's own crate.
fn files_of(program: &Path, function: &str) -> Vec<PathBuf> {
    let folders: Vec<_> = folders(program).filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().collect();
    let mut files: Vec<PathBuf> = Vec::new();
    for crate_name in [crate_of_program(program), crate_of(function).to_owned()] {
        let mut of_crate = folders.iter().map(std::fs::DirEntry::path).filter(|path| is_of_crate(path, &crate_name));
        files.extend(of_crate.next().filter(|path| !files.contains(path)));
    }
    files
}

fn folders(program: &Path) -> impl Iterator<Item = PathBuf> {
    program.ancestors().skip(1).take(FOLDERS_UP_MAX).map(|folder| folder.join("burla"))
}

/// A crate's name has underscores where the name of its package, its program or its component may have hyphens.
fn is_of_crate(path: &Path, crate_name: &str) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    path.extension().is_some_and(|extension| extension == "wasm") && stem.replace('-', "_") == crate_name
}

fn crate_of(function: &str) -> &str {
    function.split("::").next().unwrap_or(function)
}

/// `my_app` for `debug/my-app`, and for the test program `debug/deps/my_app-0123456789abcdef`.
fn crate_of_program(program: &Path) -> String {
    let stem = program.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_hash = |text: &str| text.len() == CARGO_HASH_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = stem.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map_or(stem, |(name, _)| name);
    name.replace('-', "_")
}

fn missing(function: &'static str) -> Error {
    let program = std::env::current_exe().unwrap_or_default();
    let crate_name = crate_of(function);
    let names = match crate_name.replace('_', "-") {
        hyphens if hyphens != crate_name => format!("{hyphens}.wasm or {crate_name}.wasm"),
        _ => format!("{crate_name}.wasm"),
    };
    let folders: Vec<_> = folders(&program).map(|folder| folder.display().to_string()).collect();
    let looked = format!("for {names} in {}; {COMPONENT_VARIABLE} can name a file that is elsewhere", folders.join(", "));
    Error::NoComponent { function, looked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_found_by_the_program_and_by_the_crate() {
        let target = tempfile::tempdir().unwrap();
        let burla = target.path().join("burla");
        std::fs::create_dir(&burla).unwrap();
        for name in ["my-app.wasm", "pricing.wasm", "pricing.sources", "other.wasm"] {
            std::fs::write(burla.join(name), "").unwrap();
        }
        for (program, function, files) in [
            ("debug/my-app", "my_app::f", &["my-app.wasm"][..]),
            ("debug/my-app", "pricing::f", &["my-app.wasm", "pricing.wasm"]),
            ("debug/deps/my_app-0123456789abcdef", "my_app::f", &["my-app.wasm"]),
            ("debug/deps/it-0123456789abcdef", "pricing::f", &["pricing.wasm"]),
            ("x86_64-unknown-linux-musl/debug/deps/it-0123456789abcdef", "pricing::f", &["pricing.wasm"]),
            ("debug/examples/other", "my_app::f", &["other.wasm", "my-app.wasm"]),
            ("debug/nothing", "nothing::f", &[]),
        ] {
            let files: Vec<_> = files.iter().map(|file| burla.join(file)).collect();
            assert_eq!(files_of(&target.path().join(program), function), files, "{program} {function}");
        }
    }

    #[test]
    fn a_component_that_is_not_there_is_named_as_the_packager_names_it() {
        let told = missing("data_eng::f").to_string();
        assert!(told.contains("for data-eng.wasm or data_eng.wasm in /"), "{told}");
        assert!(told.contains("BURLA_COMPONENT can name"), "{told}");
    }
}
