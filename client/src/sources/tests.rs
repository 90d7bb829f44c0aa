use std::fs;
use std::time::{Duration, SystemTime};

use super::*;

const CODE: &[&str] = &["src/main.rs", "src/a helper.rs", "src/table.txt"];

/// A workspace with a component in `target/burla`, and a program that was built after all of its sources.
struct Workspace {
    folder: tempfile::TempDir,
    digest: Digest,
}

impl Workspace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Self { folder, digest: Digest::of(b"component") };
        for path in CODE.iter().chain(&["Cargo.toml", "Cargo.lock"]) {
            workspace.write(path, path);
            workspace.set_age(path, 100);
        }
        workspace.write("target/debug/app", "a program");
        workspace.set_age("target/debug/app", 50);
        let dependencies = format!("{0}/target/debug/app: {0}/src/a\\ helper.rs {0}/src/main.rs", workspace.root().display());
        workspace.write("target/debug/app.d", &dependencies);
        workspace.record();
        workspace
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn set_age(&self, path: &str, seconds: u64) {
        let file = fs::File::options().append(true).open(self.root().join(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    /// Does what the packager does when it has built the component.
    fn record(&self) {
        let source = |path: &str, role| {
            let metadata = self.root().join(path).metadata().unwrap();
            let digest = Digest::of(&fs::read(self.root().join(path)).unwrap());
            Source { path: path.into(), role, digest, size_bytes: metadata.len(), modified_ns: modified_ns(&metadata) }
        };
        let mut files: Vec<_> = CODE.iter().map(|path| source(path, Role::Code)).collect();
        files.extend(["Cargo.toml", "Cargo.lock"].map(|path| source(path, Role::Manifest)));
        let sources = Sources { component: self.digest, root: "../..".into(), files };
        assert_eq!(sources.to_string().parse::<Sources>().unwrap(), sources, "it is read as it was written");
        self.write("target/burla/app.sources", &sources.to_string());
    }

    fn compare(&self) -> Result<(), Difference> {
        Sources::compare(&self.root().join("target/burla/app.wasm"), self.digest, &self.root().join("target/debug/app"))
    }
}

#[track_caller]
fn assert_component_is_stale(workspace: &Workspace, difference: &str) {
    assert_eq!(workspace.compare(), Err(Difference::Component(difference.to_owned())));
}

#[test]
fn sources_that_are_as_they_were_are_accepted_whatever_their_dates() {
    let workspace = Workspace::new();
    assert_eq!(workspace.compare(), Ok(()));
    // As git does that goes to another branch and back.
    workspace.write("src/main.rs", "other");
    workspace.write("src/main.rs", "src/main.rs");
    assert_eq!(workspace.compare(), Ok(()));
}

#[test]
fn a_change_of_any_file_is_named() {
    for path in CODE.iter().chain(&["Cargo.toml", "Cargo.lock"]) {
        let workspace = Workspace::new();
        // Of the same size, and of another.
        for text in [path.to_uppercase(), "other".to_owned()] {
            workspace.write(path, &text);
            assert_component_is_stale(&workspace, &format!("{path} has changed since it was built"));
        }
        fs::remove_file(workspace.root().join(path)).unwrap();
        assert_component_is_stale(&workspace, &format!("{path} is gone"));
    }
    let workspace = Workspace::new();
    workspace.write("src/main.rs", "other");
    workspace.write("Cargo.toml", "other");
    assert_component_is_stale(&workspace, "src/main.rs has changed since it was built (and 1 more)");
}

#[test]
fn a_program_that_was_built_before_the_change_is_refused() {
    let workspace = Workspace::new();
    workspace.write("src/a helper.rs", "new");
    workspace.record();
    let difference = "src/a helper.rs was changed after that".to_owned();
    assert_eq!(workspace.compare(), Err(Difference::Program(difference)));
    workspace.set_age("target/debug/app", 0);
    workspace.write("target/debug/app", "a new program");
    assert_eq!(workspace.compare(), Ok(()));
}

#[test]
fn a_file_that_the_program_is_not_built_from_may_be_newer_than_it() {
    let workspace = Workspace::new();
    // The dep-info of the program does not name it, as for code that is for WebAssembly alone.
    workspace.write("src/table.txt", "new");
    workspace.record();
    assert_eq!(workspace.compare(), Ok(()));
}

#[test]
fn a_component_away_from_its_sources_is_accepted() {
    let workspace = Workspace::new();
    fs::remove_dir_all(workspace.root().join("src")).unwrap();
    assert_eq!(workspace.compare(), Ok(()), "none of its code is there");
    let workspace = Workspace::new();
    workspace.write("src/main.rs", "other");
    let other = Digest::of(b"another component, copied here");
    let component = workspace.root().join("target/burla/app.wasm");
    assert_eq!(Sources::compare(&component, other, Path::new("/nowhere")), Ok(()));
    fs::remove_file(Sources::beside(&component)).unwrap();
    assert_eq!(workspace.compare(), Ok(()), "it has no list");
}

#[test]
fn a_list_that_cannot_be_read_is_not_taken_for_a_good_one() {
    let workspace = Workspace::new();
    for text in ["", "burla-sources 2\n", "burla-sources 1\ncomponent x\nroot .\n"] {
        workspace.write("target/burla/app.sources", text);
        assert!(matches!(workspace.compare(), Err(Difference::Component(_))), "{text}");
    }
}

#[test]
fn paths_with_any_letters_are_read_from_dep_info_and_the_list() {
    let text = "# env-dep:X=1\n/t/app: /a/b.rs /a/with\\ space.rs\n\n/a/b.rs:\n";
    assert_eq!(files_of_dep_info(text), [Path::new("/a/b.rs"), Path::new("/a/with space.rs")]);
    for path in ["a b", "a\nb", "a\\b", "a\\nb", "a\r"] {
        assert_eq!(unescape(&escape(Path::new(path))), Path::new(path));
    }
}

#[test]
fn a_list_that_names_a_file_twice_is_refused() {
    let workspace = Workspace::new();
    let list = "target/burla/app.sources";
    let text = fs::read_to_string(workspace.root().join(list)).unwrap();
    let again = text.lines().find(|line| line.ends_with("src/main.rs")).unwrap();
    workspace.write(list, &format!("{text}{again}\n"));
    let Err(Difference::Component(why)) = workspace.compare() else { panic!("it was accepted") };
    assert!(why.ends_with("app.sources is damaged, or of another version of cargo burla"), "{why}");
}

#[cfg(unix)]
#[test]
fn only_files_are_opened() {
    use std::os::unix::fs::symlink;

    // A device that never ends stands for a pipe as well, which would never begin.
    let workspace = Workspace::new();
    let main = workspace.root().join("src/main.rs");
    fs::remove_file(&main).unwrap();
    symlink("/dev/zero", &main).unwrap();
    assert_component_is_stale(&workspace, "src/main.rs is not a file");
    fs::remove_file(&main).unwrap();
    workspace.write("elsewhere.rs", "src/main.rs");
    symlink("../elsewhere.rs", &main).unwrap();
    assert_eq!(workspace.compare(), Ok(()), "a link to a file is one");

    let list = workspace.root().join("target/burla/app.sources");
    fs::remove_file(&list).unwrap();
    symlink("/dev/zero", &list).unwrap();
    let Err(Difference::Component(why)) = workspace.compare() else { panic!("it was accepted") };
    assert!(why.ends_with("app.sources: it is not a file"), "{why}");
}

#[test]
fn no_more_is_read_than_the_bound() {
    let workspace = Workspace::new();
    let path = workspace.root().join("Cargo.toml");
    assert_eq!(read_at_most(&path, 10).unwrap(), b"Cargo.toml");
    assert_eq!(read_at_most(&path, 9).unwrap_err().to_string(), "it has 10 bytes, more than 9");
}
