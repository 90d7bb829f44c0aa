//! Makes the components of the attacks, each into a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Attack, generated, list};

/// Arguments with which cargo builds both programs at once. What the packager (`cargo-burla/src/package.rs`) does for speed is left
/// out: attacks are not in a hurry.
const BUILD: &[&str] = &[
    "build",
    "--quiet",
    "--package",
    "burla-attacks",
    "--bins",
    "--target",
    "wasm32-wasip2",
    "--profile",
    "burla-component",
    "--config",
    r#"profile.burla-component.inherits="release""#,
    "--config",
    r#"profile.burla-component.strip="debuginfo""#,
    "--config",
    r#"target.wasm32-wasip2.rustflags=["-Ctarget-feature=+simd128"]"#,
];

/// What is cut short and altered: a program that touches much of what there is.
const REAL: &str = "leaves_behind";

/// The list, each with its component made. They are made once.
pub fn prepared() -> &'static [Attack] {
    static PREPARED: OnceLock<Vec<Attack>> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let programs = build();
        let made = target_folder().join("burla-attacks");
        fs::create_dir_all(&made).expect("a folder for components");
        let mut attacks = list();
        for attack in &mut attacks {
            attack.file = make(attack, &programs, &made);
        }
        attacks
    })
}

/// Builds all programs; returns where they are.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(env!("CARGO")).args(BUILD).current_dir(root).status().expect("cargo starts");
    assert!(status.success(), "the programs build");
    target_folder().join("wasm32-wasip2/burla-component")
}

/// A test is in `target/debug/deps`, a benchmark in `target/debug`.
fn target_folder() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let profile = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    profile.and_then(Path::parent).expect("it is two folders deep").to_owned()
}

fn make(attack: &Attack, programs: &Path, made: &Path) -> PathBuf {
    let program = |name: &str| programs.join(format!("{name}.wasm"));
    let bytes = match attack.source() {
        ("attack", _) => return program("attacks"),
        ("program", name) => return program(name),
        ("wat", name) => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("wat/{name}.wat"));
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if text.contains("(component") { generated::encoded(&text) } else { generated::with_handler(name, &text, "") }
        }
        ("generated", what) => generated::component(what, &fs::read(program(REAL)).expect("it was built")),
        (source, _) => panic!("there are no components of `{source}`"),
    };
    let file = made.join(format!("{}.wasm", attack.name));
    // Whole or not at all: a benchmark may run beside a test.
    let unfinished = made.join(format!("{}.{}", attack.name, std::process::id()));
    fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &file)).expect("the component can be written");
    file
}
