//! Finds the component that belongs to this program, and refuses one whose function is not this program's: by name, signature, and
//! the function's own code. What the function calls is not looked at; `cargo burla run` always builds both.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use burla_guest::Function;
use burla_types::Digest;
use burla_types::component::{Description, InvalidComponent};
use bytes::Bytes;

use crate::{Error, Result};

/// The environment variable that names the component's file; `cargo burla run` sets it.
const COMPONENT_VARIABLE: &str = "BURLA_COMPONENT";

/// How far above the program's own folder a `burla/` folder is looked for: `target/debug/deps/test` has it two above.
const FOLDERS_UP_MAX: usize = 4;

/// A component, ready to be offered to a grid.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    description: Arc<Description>,
}

impl Component {
    /// Finds, reads and checks the component that holds `F`.
    pub(crate) fn of<F: Function>() -> Result<Self> {
        let path = find(F::NAME)?;
        let component = Self::read(&path)?;
        check::<F>(&component.description).map_err(|difference| Error::StaleComponent {
            path: path.display().to_string(),
            digest: component.digest,
            difference,
        })?;
        Ok(component)
    }

    /// Reads a component, unless it is the one that the last job read. Hashing it takes longer than a small job.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        static LAST: Mutex<Option<(PathBuf, SystemTime, u64, Component)>> = Mutex::new(None);
        let metadata = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let modified = metadata.modified().map_err(|source| unreadable(path, source))?;
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last_path, last_modified, len, component)) = &*last
            && (last_path.as_path(), *last_modified, *len) == (path, modified, metadata.len())
        {
            return Ok(component.clone());
        }
        let bytes = std::fs::read(path).map_err(|source| unreadable(path, source))?;
        let component = Self::from_bytes(bytes.into()).map_err(|source| unreadable(path, source))?;
        *last = Some((path.to_owned(), modified, metadata.len(), component.clone()));
        Ok(component)
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Result<Self, InvalidComponent> {
        let description = Description::read(&bytes)?;
        Ok(Self { digest: Digest::of(&bytes), bytes, description: Arc::new(description) })
    }
}

fn unreadable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::UnreadableComponent { path: path.display().to_string(), source: source.into() }
}

/// Says how the component differs from this program, if it does.
fn check<F: Function>(description: &Description) -> Result<(), String> {
    let Some(packaged) = description.function(F::NAME) else {
        return Err(format!("it has no function `{}`", F::NAME));
    };
    let ours = F::INFO;
    if packaged.signature != ours.signature {
        let name = F::NAME;
        return Err(format!("its `{name}` is `{}`, this program's is `{}`", packaged.signature, ours.signature));
    }
    if packaged.source != ours.source {
        return Err(format!("the code of `{}` has changed since it was built", F::NAME));
    }
    Ok(())
}

/// `BURLA_COMPONENT`, else the file of the function's crate in a `burla/` folder beside the program, as in
/// `target/burla/hello.wasm` beside `target/debug/hello`.
fn find(function: &'static str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(COMPONENT_VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let folders: Vec<_> = program.ancestors().skip(1).take(FOLDERS_UP_MAX).map(|folder| folder.join("burla")).collect();
    // A crate's name has underscores where its package's and its file's may have hyphens.
    let crate_name = function.split("::").next().unwrap_or(function);
    let of_crate = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "wasm") && stem.replace('-', "_") == crate_name
    };
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    files.into_iter().find(of_crate).ok_or_else(|| Error::NoComponent {
        function,
        looked: match program.parent() {
            Some(folder) => format!("for {crate_name}.wasm in burla/ folders above {}", folder.display()),
            None => format!("at {COMPONENT_VARIABLE}, which is not set"),
        },
    })
}
