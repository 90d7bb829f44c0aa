use std::fs;

use super::*;

/// A folder with these manifests, and an empty file for each of the targets that cargo would find by itself.
fn workspace(manifests: &[(&str, &str)], files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let texts = manifests.iter().map(|(path, text)| (format!("{path}Cargo.toml"), (*text).to_owned()));
    for (path, text) in texts.chain(files.iter().map(|path| ((*path).to_owned(), String::new()))) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn package(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.2\"\nedition = \"2024\"\n{more}")
}

fn found(folder: &Path, manifest: &str, selection: Selection) -> Result<Project, CommandError> {
    let selection = Selection { manifest_path: Some(folder.join(manifest).join("Cargo.toml")), ..selection };
    Project::find(&selection)
}

fn name(found: Result<Project, CommandError>) -> String {
    found.map_or_else(|error| error.to_string(), |project| project.package.name.to_string())
}

/// Three members: a program, a program with a library and functions, and a library.
fn three_members(workspace_keys: &str) -> tempfile::TempDir {
    let root = format!("[workspace]\nmembers = [\"app\", \"tool\", \"math\"]\nresolver = \"3\"\n{workspace_keys}");
    let functions = "[dependencies]\nburla = \"0.1\"\n";
    workspace(
        &[
            ("", &root),
            ("app/", &package("app", functions)),
            ("tool/", &package("tool", "")),
            ("math/", &package("math", functions)),
        ],
        &["app/src/main.rs", "app/src/lib.rs", "tool/src/main.rs", "math/src/lib.rs"],
    )
}

#[test]
fn default_members_count_in_the_folder_of_a_workspace() {
    let folder = three_members("default-members = [\"math\"]\n");
    assert_eq!(name(found(folder.path(), "", Selection::default())), "math");
    // The nearest manifest counts elsewhere.
    assert_eq!(name(found(folder.path(), "tool", Selection::default())), "tool");
}

#[test]
fn the_only_member_that_can_be_meant_is_chosen() {
    let folder = three_members("");
    let choose = |selection| name(found(folder.path(), "", selection));
    let of_several = "this folder is a workspace of several packages: app, math";
    assert_eq!(choose(Selection::default()), of_several, "both have functions");
    assert_eq!(choose(Selection { needs_program: true, ..Selection::default() }), "app");
    assert_eq!(choose(Selection { wanted: Wanted::Bin("tool".to_owned()), ..Selection::default() }), "tool");
    let error = found(folder.path(), "", Selection::default()).unwrap_err();
    assert_eq!((error.exit_code(), error.hint()), (10, Some("name one with `-p`")));
}

#[test]
fn the_package_at_the_root_of_a_workspace_is_its_default() {
    let root = package("root", "[workspace]\nmembers = [\"member\"]\n");
    let folder = workspace(&[("", &root), ("member/", &package("member", ""))], &["src/main.rs", "member/src/main.rs"]);
    assert_eq!(name(found(folder.path(), "", Selection::default())), "root");
    assert_eq!(name(found(folder.path(), "member", Selection::default())), "member");
}

#[test]
fn packages_are_named_by_the_specifications_of_cargo() {
    let folder = three_members("");
    let folder_url = format!("file://{}", folder.path().canonicalize().unwrap().display());
    let choose =
        |spec: &str| name(found(folder.path(), "", Selection { package: Some(spec.to_owned()), ..Selection::default() }));
    let urls = [format!("{folder_url}/app"), format!("path+{folder_url}/app#0.1.2"), format!("{folder_url}/app#app@0.1.2")];
    for spec in ["app", "app@0.1.2", "app@0.1", "app:0.1.2"].into_iter().chain(urls.iter().map(String::as_str)) {
        assert_eq!(choose(spec), "app", "{spec}");
    }
    for spec in ["ap", "app@0.2", "app@0.1.20", &format!("{folder_url}/elsewhere")] {
        assert_eq!(choose(spec), format!("there is no package `{spec}` in this workspace: it has app, tool, math"));
    }
    for pattern in ["a*", "ap?", "[a]pp"] {
        let error =
            found(folder.path(), "", Selection { package: Some(pattern.to_owned()), ..Selection::default() }).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), (format!("`{pattern}` is a pattern, and one package is needed"), 10));
    }
}

#[test]
fn targets_have_the_names_that_their_manifest_gives_them() {
    let targets = "default-run = \"second-one\"\n[lib]\nname = \"pricing\"\n\
                   [[bin]]\nname = \"first\"\npath = \"src/a.rs\"\n[[bin]]\nname = \"second-one\"\npath = \"src/b.rs\"\n";
    let files = ["src/lib.rs", "src/a.rs", "src/b.rs", "examples/shown.rs"];
    let folder = workspace(&[("", &package("app", targets))], &files);
    let project = |wanted| found(folder.path(), "", Selection { wanted, ..Selection::default() }).unwrap();
    let any = project(Wanted::Any);
    assert_eq!(any.lib().unwrap().name, "pricing");
    assert_eq!(any.program().unwrap().unwrap().name(), "second-one");
    let example = project(Wanted::Example("shown".to_owned()));
    let program = example.program().unwrap().unwrap();
    assert_eq!((program.name(), program.flag()), ("shown", "--example"));
    let project = project(Wanted::Bin("third".to_owned()));
    assert_eq!(project.program().unwrap_err().to_string(), "package `app` has no program `third`: it has first, second-one");
}

#[test]
fn folders_that_cargo_is_told_of_are_used() {
    let folder = workspace(&[("", &package("app", ""))], &["src/main.rs"]);
    let elsewhere = folder.path().join("elsewhere");
    let target_dir = Selection { target_dir: Some(elsewhere.clone()), ..Selection::default() };
    assert_eq!(found(folder.path(), "", target_dir).unwrap().components, elsewhere.join("burla"));
    let config = format!("build.build-dir={:?}", folder.path().join("between"));
    let config = Selection { flags: vec!["--config".to_owned(), config], ..Selection::default() };
    assert_eq!(found(folder.path(), "", config).unwrap().build_dir, folder.path().join("between"));
}

#[test]
fn a_folder_without_a_manifest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = manifest(folder.path(), None).unwrap_err();
    assert_eq!(error.to_string(), format!("there is no Cargo.toml in {} or above it", folder.path().display()));
    assert_eq!(error.exit_code(), 10);
    assert!(error.hint().unwrap().contains("--manifest-path"), "{error:?}");
}
