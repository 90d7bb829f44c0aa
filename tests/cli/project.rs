//! A project outside this repository, called like one of its dependencies, with functions in a library of another name,
//! in a helper that they call, and in the program. It is built once; all that has to do with whole builds is shown with
//! it.

use std::path::Path;
use std::process::{Command, Output};

use burla_tests::{LocalGrid, output, output_of_build, root};

use super::{assert_exit, command, stderr, stdout};

const LIB: &str = r#"
mod helper;

#[burla::function]
pub fn price(pounds: u64) -> u64 {
    helper::in_pence(pounds)
}

#[burla::function]
pub fn square(number: usize) -> usize {
    number * number
}
"#;

const HELPER: &str = "pub(crate) fn in_pence(pounds: u64) -> u64 {\n    pounds * 100\n}\n";

const MAIN: &str = r#"
use burla::remote_parallel_map;

#[burla::function]
fn shout(text: String) -> String {
    text.to_uppercase()
}

fn main() -> burla::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_default();
    if let Ok(number) = text.parse() {
        println!("{:?}", remote_parallel_map(pricing::square, [number]).run()?);
        return Ok(());
    }
    println!("{:?} {:?}", remote_parallel_map(pricing::price, [1, 2]).run()?, remote_parallel_map(shout, [text]).run()?);
    Ok(())
}

#[test]
fn a_job_runs() {
    assert_eq!(remote_parallel_map(pricing::price, [3]).run().unwrap(), [300]);
}
"#;

struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        let client = root().join("client").canonicalize().unwrap();
        let manifest = format!(
            "[package]\nname = \"bytes\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nname = \"pricing\"\n\
             [dependencies]\nburla = {{ path = {client:?} }}\n[workspace]\n"
        );
        project.write("Cargo.toml", &manifest);
        std::fs::copy(root().join("Cargo.lock"), project.folder.path().join("Cargo.lock")).unwrap();
        project.write("src/lib.rs", LIB);
        project.write("src/helper.rs", HELPER);
        project.write("src/main.rs", MAIN);
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn cargo_burla(&self, arguments: &[&str]) -> Output {
        output_of_build(command(self.folder.path(), arguments).env("CARGO_TARGET_DIR", target()))
    }

    /// Starts the program as `cargo run` does, which builds it and nothing else.
    fn cargo_run(&self, url: &str, argument: &str) -> Output {
        let mut cargo = Command::new("cargo");
        cargo.args(["run", "--quiet", argument]).current_dir(self.folder.path()).env("CARGO_TARGET_DIR", target());
        output_of_build(cargo.env("BURLA_URL", url).env_remove("BURLA_COMPONENT"))
    }
}

/// It is kept, so that only the first run of these tests builds the dependencies.
fn target() -> std::path::PathBuf {
    root().join("target/new-projects")
}

#[test]
fn functions_of_the_library_and_of_the_program_run_and_old_code_does_not() {
    let project = Project::new();
    let ran = project.cargo_burla(&["run", "--quiet", "hello"]);
    assert_exit(&ran, 0);
    assert_eq!(stdout(&ran), "[100, 200] [\"HELLO\"]\n");
    let ran = project.cargo_burla(&["run", "-q", "100000"]);
    assert_exit(&ran, 1);
    assert!(stderr(&ran).contains("attempt to multiply with overflow"), "{}", stderr(&ran));
    let tested = project.cargo_burla(&["test", "--quiet", "a_job_runs"]);
    assert_exit(&tested, 0);
    assert!(stdout(&tested).contains("1 passed"), "{}", stdout(&tested));

    let grid = LocalGrid::start(1);
    let url = grid.grid.url();
    assert_exit(&project.cargo_burla(&["build", "-q"]), 0);
    let ran = project.cargo_run(url, "there");
    assert_exit(&ran, 0);
    assert_eq!(stdout(&ran), "[100, 200] [\"THERE\"]\n");

    // Only a helper changes, which no function's own code shows.
    project.write("src/helper.rs", &HELPER.replace("100", "1000"));
    let refused = project.cargo_run(url, "there");
    assert_exit(&refused, 1);
    let told = stderr(&refused);
    assert!(told.contains("src/helper.rs has changed since it was built") && told.contains("cargo burla build"), "{told}");
    // The component is new, and the program is not.
    assert_exit(&project.cargo_burla(&["build", "-q"]), 0);
    project.write("src/helper.rs", &HELPER.replace("100", "2000"));
    assert_exit(&project.cargo_burla(&["build", "-q"]), 0);
    let refused = old_program(url);
    assert_exit(&refused, 1);
    assert!(stderr(&refused).contains("build the program again"), "{}", stderr(&refused));
    let ran = project.cargo_run(url, "there");
    assert_exit(&ran, 0);
    assert_eq!(stdout(&ran), "[2000, 4000] [\"THERE\"]\n");
}

/// Starts the program that was built last, as it is.
fn old_program(url: &str) -> Output {
    let mut program = Command::new(Path::new(&target()).join("debug/bytes"));
    output(program.env("BURLA_URL", url).env_remove("BURLA_COMPONENT"))
}
