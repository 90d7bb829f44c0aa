//! The container file builds the daemons from what it copies. There is no container tool here: the test copies the same
//! files, and asks cargo whether they are a workspace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Patterns of `.dockerignore`, of the two kinds that it has: a path from the root, and a name in any folder.
struct Ignored(Vec<String>);

impl Ignored {
    fn read() -> Self {
        let text = read(".dockerignore");
        let patterns = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns: Vec<_> = patterns.map(str::to_owned).collect();
        for pattern in &patterns {
            let path = pattern.strip_prefix("**/").unwrap_or(pattern);
            assert!(!path.contains(['*', '?', '!', '[', '\\']), "teach this test the pattern `{pattern}`");
        }
        Self(patterns)
    }

    fn has(&self, path: &Path) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_prefix("**/") {
            Some(name) => path.ends_with(name),
            None => path == Path::new(pattern),
        })
    }
}

/// The sources of the `COPY` instructions that read the repository, and not another stage, with their destination.
fn copies() -> Vec<(Vec<String>, String)> {
    let text = read("deploy/Containerfile").replace("\\\n", " ");
    let instructions = text.lines().filter_map(|line| line.trim().strip_prefix("COPY "));
    let words = instructions.map(|words| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let from_here = words.filter(|words| !words.iter().any(|word| word.starts_with("--from")));
    from_here.map(|mut words| (words.pop().map(|to| (words, to))).expect("COPY has a destination")).collect()
}

/// Copies a file, or a folder with everything in it that is not ignored. `path` is from the root.
fn copy(path: &Path, to: &Path, ignored: &Ignored) {
    let from = root().join(path);
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap() {
            let name = entry.unwrap().file_name();
            let inner = path.join(&name);
            if !ignored.has(&inner) {
                copy(&inner, &to.join(name), ignored);
            }
        }
    } else {
        std::fs::copy(&from, to).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Members of a workspace, as paths from its root.
fn members(root: &Path) -> BTreeSet<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        manifest_path: PathBuf,
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let root = root.canonicalize().unwrap();
    metadata.packages.into_iter().map(|package| package.manifest_path.strip_prefix(&root).unwrap().to_owned()).collect()
}

#[test]
fn what_the_container_file_copies_is_the_whole_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let ignored = Ignored::read();
    let copies = copies();
    assert!(!copies.is_empty());
    for (sources, to) in copies {
        for source in sources {
            let source = Path::new(source.trim_start_matches("./"));
            // As the instruction does it: the contents of a folder, and a file into a folder.
            let mut target = folder.path().join(to.trim_start_matches("./"));
            if root().join(source).is_file() && to.ends_with('/') {
                target.push(source.file_name().unwrap());
            }
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            let source: PathBuf = source.components().filter(|part| part.as_os_str() != ".").collect();
            copy(&source, &target, &ignored);
        }
    }
    // This also finds targets whose files are missing.
    assert_eq!(members(folder.path()), members(root()));
    assert!(folder.path().join("Cargo.lock").is_file() && folder.path().join("wit/function.wit").is_file());
    assert!(!folder.path().join("target").exists() && !folder.path().join("rust-toolchain.toml").exists());
}

#[test]
fn the_image_builds_with_the_toolchain_of_the_repository() {
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let file = read("deploy/Containerfile");
    assert!(file.contains(&format!("/rust:{channel}-")), "rust-toolchain.toml has {channel}");
}
