//! `build` and `inspect`.

use std::os::unix::fs::PermissionsExt;

use burla_tests::{binary, output, root};
use serde_json::Value;

use super::{assert_exit, cargo_burla, cargo_burla_in, command, stderr, stdout};

#[test]
fn a_library_with_hyphens_in_its_name_is_packaged() {
    let built = cargo_burla(&["build", "-p", "async-main"]);
    assert_exit(&built, 0);
    let text = stdout(&built);
    assert!(text.contains("target/burla/async-main.wasm"), "{text}");
    assert!(text.contains("async_main::multiplies(number: i64) -> i64"), "{text}");
    assert!(text.contains("Doubles a number, or triples it."), "{text}");
    assert!(text.contains("burla:function/report@0.1.0") && text.contains("wasi:cli/environment@0.2."), "{text}");

    let component = root().join("target/burla/async-main.wasm");
    let inspected = cargo_burla(&["inspect", component.to_str().unwrap()]);
    assert_exit(&inspected, 0);
    let without_path = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_path(&stdout(&inspected)), without_path(&text));

    let inspected = cargo_burla(&["inspect", "--json", component.to_str().unwrap()]);
    let json: Value = serde_json::from_str(&stdout(&inspected)).unwrap();
    assert_eq!(json["functions"][0]["name"], "async_main::multiplies");
    assert_eq!(json["size_bytes"], std::fs::metadata(&component).unwrap().len());
    assert!(text.contains(json["digest"].as_str().unwrap()));

    let quiet = cargo_burla(&["build", "-p", "async-main", "--quiet"]);
    assert_exit(&quiet, 0);
    assert_eq!((stdout(&quiet), stderr(&quiet)), (String::new(), String::new()), "nothing but errors");
}

#[test]
fn a_program_is_packaged_from_its_own_folder_and_by_its_manifest() {
    let here = cargo_burla_in(&root().join("examples/hello"), &["build", "--quiet", "--json"]);
    assert_exit(&here, 0);
    let manifest = root().join("examples/hello/Cargo.toml");
    let there =
        cargo_burla_in(std::path::Path::new("/"), &["build", "--quiet", "--json", "--manifest-path", manifest.to_str().unwrap()]);
    assert_exit(&there, 0);
    let digest = |text: &str| serde_json::from_str::<Value>(text).unwrap()["digest"].clone();
    assert_eq!(digest(&stdout(&here)), digest(&stdout(&there)), "the same sources give the same component");
}

#[test]
fn wrong_packages_and_targets_are_named() {
    for (arguments, part) in [
        (&["build", "-p", "nobody"][..], "there is no package `nobody`"),
        (&["build"], "name one with `-p`"),
        (&["build", "-p", "hello", "--lib"], "package `hello` has no library"),
        (&["build", "-p", "hello", "--bin", "goodbye"], "it has hello"),
    ] {
        let refused = cargo_burla(arguments);
        assert_exit(&refused, 10);
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
    assert_exit(&cargo_burla(&["build", "--frobnicate"]), 2);
    for verb in ["build", "run", "test"] {
        let refused = cargo_burla_in(std::path::Path::new("/"), &[verb]);
        assert_exit(&refused, 10);
        assert!(stderr(&refused).contains("there is no Cargo.toml in / or above it"), "{}", stderr(&refused));
    }
    let refused = cargo_burla_in(std::path::Path::new("/"), &["map", "f"]);
    assert_exit(&refused, 10);
    assert!(stderr(&refused).contains("the file of a component"), "{}", stderr(&refused));
}

#[test]
fn what_is_no_component_of_functions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // A component that imports an empty instance, in the binary format of the component model.
    let interface = b"wasi:http/incoming-handler@0.2.4";
    let length = u8::try_from(interface.len()).unwrap();
    let types = [7, 3, 1, 0x42, 0];
    let import = [&[10, length + 5, 1, 0, length][..], interface, &[5, 0]].concat();
    let foreign = [&b"\0asm\x0d\0\x01\0"[..], &types, &import].concat();
    for (path, part) in [
        (write("text.wasm", b"hello"), "is not a component"),
        (write("core.wasm", b"\0asm\x01\0\0\0"), "core WebAssembly module"),
        (write("empty.wasm", b"\0asm\x0d\0\x01\0"), "#[burla::function]"),
        (write("foreign.wasm", &foreign), "wasi:http/incoming-handler@0.2.4"),
    ] {
        let refused = cargo_burla(&["inspect", &path]);
        assert_exit(&refused, 13);
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
    let missing = cargo_burla(&["inspect", "/nowhere.wasm"]);
    assert_exit(&missing, 1);
    assert!(stderr(&missing).contains("cannot read /nowhere.wasm"));
}

#[test]
fn a_component_is_copied_to_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("new/functions.wasm");
    let built = cargo_burla(&["build", "-p", "hello", "-o", copy.to_str().unwrap(), "--json"]);
    assert_exit(&built, 0);
    let json: Value = serde_json::from_str(&stdout(&built)).unwrap();
    assert_eq!(json["path"], copy.to_str().unwrap());
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(root().join("target/burla/hello.wasm")).unwrap());
}

/// Makes a package in a workspace of its own, without dependencies.
fn package(main: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), main).unwrap();
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    folder
}

#[test]
fn a_program_without_functions_and_one_that_does_not_build_are_told_apart() {
    let none = package("fn main() {}");
    let refused = cargo_burla_in(none.path(), &["build", "--quiet"]);
    assert_exit(&refused, 13);
    assert!(
        stderr(&refused).contains("the program `tiny`") && stderr(&refused).contains("#[burla::function]"),
        "{}",
        stderr(&refused)
    );

    let broken = package("fn main() { nonsense() }");
    let refused = cargo_burla_in(broken.path(), &["build", "--quiet"]);
    assert_exit(&refused, 12);
    assert!(stderr(&refused).contains("cannot find function `nonsense`"), "rustc's own words: {}", stderr(&refused));
}

#[test]
fn a_missing_wasm_target_is_said_with_the_one_command_to_run() {
    let project = package("fn main() {}");
    // A rustc that has no target but this machine's.
    let rustc = project.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = output(command(project.path(), &["build"]).env("RUSTC", &rustc));
    assert_exit(&refused, 11);
    assert!(stderr(&refused).contains("rustup target add wasm32-wasip2"), "{}", stderr(&refused));

    // Asked to, it runs that command; here a stand-in that says what it was told, and fails.
    let rustup = project.path().join("rustup");
    std::fs::write(&rustup, "#!/bin/sh\necho told: \"$@\" >&2\nexit 7\n").unwrap();
    std::fs::set_permissions(&rustup, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", project.path().display(), std::env::var("PATH").unwrap());
    let mut installing = command(project.path(), &["build", "--install-target"]);
    let installing = output(installing.env("RUSTC", &rustc).env("PATH", path));
    assert_exit(&installing, 11);
    assert!(stderr(&installing).contains("told: target add wasm32-wasip2"), "{}", stderr(&installing));
}

#[test]
fn help_is_there_with_and_without_cargo() {
    let help = stdout(&cargo_burla(&["--help"]));
    for verb in ["new", "build", "run", "inspect"] {
        assert!(help.contains(verb), "{help}");
    }
    assert!(binary("cargo-burla").is_file());
}
