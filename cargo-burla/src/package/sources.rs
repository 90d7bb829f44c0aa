//! Records what a component was built from, for the program that will use it: `burla::sources`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use burla::sources::{Role, Source, Sources, files_of_dep_info, modified_ns};
use burla_types::Digest;

use super::cargo::Built;
use crate::error::CommandError;
use crate::project::Project;

/// Files up to which folders are looked into that a build script depends on. One that depends on the folder of a whole project may mean
/// millions, and a program reads each file when it starts.
const FILES_OF_FOLDERS_MAX: usize = 10_000;

/// The sources of a component that was just built.
pub(super) struct Record {
    component: Digest,
    workspace_root: PathBuf,
    files: Vec<Source>,
}

/// Reads every file that went into the component: the local ones that cargo names in the `.d` file beside what it
/// built, which are those of path dependencies, build scripts and `include_str!`, too; and the manifests. Files that
/// the build itself wrote into the build directory are made from those.
pub(super) fn record(project: &Project, built: &Built, component: Digest, started: SystemTime) -> Result<Record, CommandError> {
    let dep_info = built.component.with_extension("d");
    let text = std::fs::read_to_string(&dep_info).map_err(|source| unreadable(&dep_info, source))?;
    let code = files_of_dep_info(&text).into_iter().map(|path| (project.workspace_root.join(path), Role::Code));
    let root = ["Cargo.toml", "Cargo.lock"].map(|name| project.workspace_root.join(name));
    let manifests = built.manifests.iter().cloned().chain(root).map(|path| (path, Role::Manifest));
    let paths: BTreeMap<_, _> = manifests.chain(code).collect();
    let is_source = |path: &Path| !path.starts_with(&project.build_dir) && !path.starts_with(&project.target_dir);
    let mut files = Vec::new();
    let (mut left, mut seen): (Vec<_>, BTreeSet<PathBuf>) = (paths.into_iter().collect(), BTreeSet::new());
    while let Some((path, role)) = left.pop() {
        if !is_source(&path) || path.ends_with(".git") || !seen.insert(path.clone()) {
            continue;
        }
        // A build script may depend on a folder, whose files cargo does not name, or on a file that is not there.
        if path.is_dir() && !path.is_symlink() && seen.len() < FILES_OF_FOLDERS_MAX {
            let inside = path.read_dir().into_iter().flatten().flatten();
            left.extend(inside.map(|entry| (entry.path(), role)));
        } else if path.is_file() {
            files.push(source(&path, role, project, started)?);
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Record { component, workspace_root: project.workspace_root.clone(), files })
}

fn source(path: &Path, role: Role, project: &Project, started: SystemTime) -> Result<Source, CommandError> {
    let metadata = path.metadata().map_err(|source| unreadable(path, source))?;
    let bytes = std::fs::read(path).map_err(|source| unreadable(path, source))?;
    let relative = path.strip_prefix(&project.workspace_root).unwrap_or(path).to_owned();
    let size_bytes = metadata.len();
    // The component may have been compiled from the file as it was before. Cargo writes `Cargo.lock` itself.
    if role == Role::Code && was_edited_during(&metadata, started) {
        return Ok(Source { path: relative, role, digest: Digest::from_bytes([0; 32]), size_bytes, modified_ns: 0 });
    }
    Ok(Source { path: relative, role, digest: Digest::of(&bytes), size_bytes, modified_ns: modified_ns(&metadata) })
}

fn was_edited_during(metadata: &Metadata, started: SystemTime) -> bool {
    let ns = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    // One from the future was dated so by something else.
    (ns(started)..=ns(SystemTime::now())).contains(&modified_ns(metadata))
}

impl Record {
    pub(super) fn write_beside(&self, component: &Path) -> std::io::Result<()> {
        let root = root_from(component, &self.workspace_root);
        let sources = Sources { component: self.component, root, files: self.files.clone() };
        super::write_whole(&Sources::beside(component), sources.to_string().as_bytes())
    }
}

/// The workspace's folder as seen from the component's, where that is inside, so that both can be moved together.
fn root_from(component: &Path, workspace_root: &Path) -> PathBuf {
    // A program knows its own folder without links.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (folder, workspace_root) = (component.parent().map(real), real(workspace_root));
    match folder.as_deref().and_then(|folder| folder.strip_prefix(&workspace_root).ok()) {
        Some(inside) => inside.components().map(|_| "..").collect(),
        None => workspace_root,
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> CommandError {
    CommandError::File { act: "read", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_directory_inside_can_be_moved_with_the_workspace() {
        let root = |component: &str| root_from(Path::new(component), Path::new("/w"));
        assert_eq!(root("/w/target/burla/a.wasm"), Path::new("../.."));
        assert_eq!(root("/elsewhere/burla/a.wasm"), Path::new("/w"));
    }
}
