//! Against real cargo, with packages that have no dependencies and take a moment to compile.

use std::fs;

use super::*;
use crate::project::Selection;

/// A package in a workspace of its own.
struct TinyPackage(tempfile::TempDir);

impl TinyPackage {
    fn new(name: &str, manifest: &str, files: &[(&str, &str)]) -> Self {
        let package = Self(tempfile::tempdir().unwrap());
        let head = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        package.write("Cargo.toml", &format!("{head}{manifest}\n[workspace]\n"));
        for (path, text) in files {
            package.write(path, text);
        }
        package
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn project(&self, wanted: Wanted) -> Project {
        let manifest_path = Some(self.0.path().join("Cargo.toml"));
        // Whatever the folder of this repository says is not for this package.
        let target_dir = Some(self.0.path().join("target"));
        Project::find(&Selection { manifest_path, target_dir, wanted, ..Selection::default() }).unwrap()
    }

    /// The command of rustc that builds its program for WebAssembly, as `--verbose` shows it.
    fn rustc(&self, flags: &[&str], variables: &[(&str, &str)]) -> String {
        let project = self.project(Wanted::Any);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut command = cargo::command(&project, "rustc");
        command.args(["--verbose", "--color", "never", "--target", target::WASM_TARGET, "--target-dir"]);
        command.arg(self.0.path().join("target")).current_dir(self.0.path());
        let cargo = Cargo { flags, quiet: true, ..Cargo::default() };
        profile::apply_in(&mut command, &project, &cargo, |command| {
            command.current_dir(self.0.path()).envs(variables.iter().copied());
        })
        .unwrap();
        let output = command.args(&cargo.flags).envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    }
}

const MAIN: (&str, &str) = ("src/main.rs", "fn main() {}");

#[track_caller]
fn assert_flags(said: &str, present: &[&str], absent: &[&str]) {
    assert!(said.contains("Running `"), "{said}");
    for flag in present {
        assert!(said.contains(flag), "{flag} is missing: {said}");
    }
    for flag in absent {
        assert!(!said.contains(flag), "{flag}: {said}");
    }
}

const OURS: [&str; 4] = ["opt-level=3", "-C lto", "codegen-units=1", "overflow-checks=on"];

#[test]
fn components_are_optimized_and_check_for_overflow_by_default() {
    let package = TinyPackage::new("tiny", "", &[MAIN]);
    assert_flags(&package.rustc(&[], &[]), &OURS, &[]);
}

#[test]
fn the_users_profile_wins_wherever_and_however_it_is_spelled() {
    for manifest in [
        "[profile.burla-component]\ninherits = \"release\"\ncodegen-units = 7\n",
        "[profile.\"burla-component\"] # mine\ninherits = \"release\"\ncodegen-units = 7\n",
        "[profile]\nburla-component = { inherits = \"release\", codegen-units = 7 }\n",
        "profile.burla-component.inherits = \"release\"\nprofile.burla-component.codegen-units = 7\n",
    ] {
        // Dotted keys belong to the table that is open, which is the root before the first header.
        let package = TinyPackage::new("tiny", if manifest.starts_with('[') { manifest } else { "" }, &[MAIN]);
        if !manifest.starts_with('[') {
            let old = fs::read_to_string(package.0.path().join("Cargo.toml")).unwrap();
            package.write("Cargo.toml", &format!("{manifest}{old}"));
        }
        let others = ["opt-level=3", "-C lto", "overflow-checks=on"];
        assert_flags(&package.rustc(&[], &[]), &[&others[..], &["codegen-units=7"]].concat(), &["codegen-units=1"]);
    }
    let package = TinyPackage::new("tiny", "", &[MAIN, (".cargo/config.toml", "[profile.burla-component]\ncodegen-units = 7\n")]);
    assert_flags(&package.rustc(&[], &[]), &["codegen-units=7", "overflow-checks=on"], &[]);
    let variable = [("CARGO_PROFILE_BURLA_COMPONENT_CODEGEN_UNITS", "8")];
    assert_flags(&package.rustc(&[], &variable), &["codegen-units=8"], &[]);
    let config = ["--config", "profile.burla-component.codegen-units=9"];
    assert_flags(&package.rustc(&config, &variable), &["codegen-units=9"], &[]);
}

#[test]
fn a_profile_that_inherits_from_dev_has_none_of_our_settings() {
    let manifest = "[profile.burla-component]\ninherits = \"dev\"\noverflow-checks = false\n";
    assert_flags(&TinyPackage::new("tiny", manifest, &[MAIN]).rustc(&[], &[]), &["debuginfo=2"], &["opt-level=3", "-C lto"]);
}

#[test]
fn flags_for_the_program_do_not_reach_the_component_and_those_for_it_join_ours() {
    let config = "[build]\nrustflags = [\"--cfg=of_build\"]\n[target.wasm32-wasip2]\nrustflags = [\"--cfg=of_config\"]\n";
    let package = TinyPackage::new("tiny", "", &[MAIN, (".cargo/config.toml", config)]);
    // As the variable is set for cargo where the user has set it so.
    let of_variable = profile::all_rustflags("--cfg=of_variable");
    let variables =
        [("CARGO_BUILD_RUSTFLAGS", "--cfg=of_build_variable"), ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", of_variable.as_str())];
    let said = package.rustc(&[], &variables);
    let ours = ["+simd128", "-unroll-partial-threshold=150", "-inline-threshold=500"];
    assert_flags(&said, &[&ours[..], &["of_config", "of_variable"]].concat(), &["of_build"]);
    // However the file spells them.
    let text = "[target.wasm32-wasip2]\nrustflags = \"--cfg=of_config --cfg=of_text\"\n";
    let package = TinyPackage::new("tiny", "", &[MAIN, (".cargo/config.toml", text)]);
    assert_flags(&package.rustc(&[], &[]), &[&ours[..], &["of_config", "of_text"]].concat(), &[]);
    let mut command = std::process::Command::new("true");
    command.env("RUSTFLAGS", "-Clink-arg=-fuse-ld=mold").env("CARGO_ENCODED_RUSTFLAGS", "-Dwarnings");
    profile::apply(&mut command, &package.project(Wanted::Any), &Cargo::default()).unwrap();
    let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
    assert_eq!(removed, ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"]);
}

#[test]
fn a_component_is_named_after_its_crate_and_spelled_as_the_package() {
    let targets = "[[bin]]\nname = \"other-one\"\npath = \"src/other.rs\"\n";
    let files = [MAIN, ("src/lib.rs", ""), ("src/other.rs", "fn main() {}")];
    let package = TinyPackage::new("data-eng", targets, &files);
    let project = package.project(Wanted::Any);
    let name = |crate_name| Part { project: &project, program: None, crate_name }.component_name().to_owned();
    assert_eq!(project.lib().unwrap().name, "data_eng");
    assert_eq!([name("data_eng"), name("data-eng"), name("other-one")], ["data-eng", "data-eng", "other-one"]);
    let pricing = TinyPackage::new("app", "[lib]\nname = \"pricing\"\n", &[MAIN, ("src/lib.rs", "")]).project(Wanted::Any);
    let lib = pricing.lib().unwrap();
    assert_eq!(Part { project: &pricing, program: None, crate_name: &lib.name }.component_name(), "pricing");
}

#[test]
fn one_crate_has_one_component_however_it_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data_eng.wasm", "data-eng.wasm", "data-engine.wasm"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    remove_other_spellings(&folder.path().join("data-eng.wasm"));
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["data-eng.wasm", "data-engine.wasm"]);
}

#[test]
fn two_functions_of_one_name_are_refused_with_both_places() {
    let function = |place: &'static str| FunctionInfo {
        name: "app::f".into(),
        signature: "()".into(),
        doc: "".into(),
        source: "".into(),
        place: place.into(),
    };
    let functions = vec![function("src/lib.rs:1:1"), function("src/main.rs:2:1")];
    let description = Description { functions, imports: Vec::new(), exports: Vec::new() };
    let packaged = Packaged { path: PathBuf::new(), digest: Digest::of(b""), size_bytes: 0, description };
    let error = packaged.with_one_function_of_each_name().unwrap_err();
    assert_eq!(error.to_string(), "two functions are named `app::f`: src/lib.rs:1:1() and src/main.rs:2:1()");
    assert_eq!(error.exit_code(), 13);
}

#[test]
fn everything_that_went_into_a_component_is_recorded() {
    let files = [
        ("src/main.rs", "mod helper;\nfn main() { println!(\"{}\", include_str!(\"table.txt\")); helper::f(); }"),
        ("src/helper.rs", "pub fn f() {}"),
        ("src/table.txt", "1"),
        ("build.rs", "fn main() { println!(\"cargo::rerun-if-changed=schema.txt\"); }"),
        ("schema.txt", "2"),
        ("local/Cargo.toml", "[package]\nname = \"local\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        ("local/src/lib.rs", ""),
    ];
    let package = TinyPackage::new("tiny", "[dependencies]\nlocal = { path = \"local\" }\n", &files);
    let project = package.project(Wanted::Any);
    let target_dir = package.0.path().join("target").display().to_string();
    let cargo =
        Cargo { flags: vec!["--quiet".to_owned(), "--target-dir".to_owned(), target_dir], quiet: true, ..Cargo::default() };
    let program = project.program().unwrap();
    let part = Part { project: &project, program, crate_name: "tiny" };
    let started = SystemTime::now();
    let built = cargo::build_component(&part, &cargo).unwrap();
    let digest = Digest::of(&fs::read(&built.component).unwrap());
    let component = project.components.join("tiny.wasm");
    sources::record(&project, &built, digest, started).unwrap().write_beside(&component).unwrap();
    let text = fs::read_to_string(burla::sources::Sources::beside(&component)).unwrap();
    let paths: Vec<_> = text.lines().skip(3).map(|line| line.rsplit(' ').next().unwrap()).collect();
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "build.rs",
        "local/Cargo.toml",
        "local/src/lib.rs",
        "schema.txt",
        "src/helper.rs",
        "src/main.rs",
        "src/table.txt",
    ];
    assert_eq!(paths, expected);
    let compare = || burla::sources::Sources::compare(&component, digest, Path::new("/no/program"));
    assert_eq!(compare(), Ok(()));
    package.write("local/src/lib.rs", "pub fn changed() {}");
    let difference = "local/src/lib.rs has changed since it was built".to_owned();
    assert_eq!(compare(), Err(burla::sources::Difference::Component(difference)));
}
