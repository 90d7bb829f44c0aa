//! `cargo burla new`: a project that runs.
//!
//! Cargo makes the package, and knows what that means inside a workspace; this puts a function in it, and the dependency.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::New;
use crate::error::CommandError;

/// The program that a new project starts with.
const MAIN: &str = include_str!("new/main.rs");

/// The library of a new project whose function is in a library.
const LIB: &str = include_str!("new/lib.rs");

/// Where this command was built from.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../client");

/// The `burla` of the same sources, while they are there: new projects use it, so that the two fit together; else the published one.
pub(super) fn sources() -> Option<PathBuf> {
    Path::new(SOURCES).canonicalize().ok()
}

pub(super) fn new(arguments: &New) -> Result<(), CommandError> {
    let name = arguments.name.display().to_string();
    cargo(&name, &["new", if arguments.lib { "--lib" } else { "--bin" }, &name])?;
    depend_on_burla(&name, &arguments.name.join("Cargo.toml"))?;
    let function_in = if arguments.lib { "src/lib.rs" } else { "src/main.rs" };
    if arguments.lib {
        write(&arguments.name.join("src/lib.rs"), LIB)?;
    }
    write(&arguments.name.join("src/main.rs"), &main(&arguments.name, arguments.lib))?;
    super::tell_plainly(&format!("     Created a project with a function in {name}/{function_in}"));
    super::tell_plainly(&format!("         Run it with `cd {name}` and `cargo burla run`"));
    Ok(())
}

/// The program; one with a library beside it uses the function of that.
fn main(folder: &Path, has_lib: bool) -> String {
    if !has_lib {
        return MAIN.to_owned();
    }
    let crate_name = folder.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
    let program = MAIN.find("fn main()").map_or("", |start| &MAIN[start..]);
    format!("use burla::remote_parallel_map;\nuse {crate_name}::my_function;\n\n{program}")
}

fn depend_on_burla(name: &str, manifest: &Path) -> Result<(), CommandError> {
    let manifest_path = manifest.display().to_string();
    let mut add = vec!["add", "--quiet", "--manifest-path", &manifest_path];
    let Some(sources) = sources() else {
        add.push(concat!("burla@", env!("CARGO_PKG_VERSION")));
        return cargo(name, &add);
    };
    let path = sources.display().to_string();
    add.extend(["--path", &path]);
    cargo(name, &add)?;
    // A project inside the clone is moved with it; one outside may be moved without.
    let clone = sources.parent().unwrap_or(&sources);
    if manifest.canonicalize().is_ok_and(|manifest| manifest.starts_with(clone)) {
        return Ok(());
    }
    let read = std::fs::read_to_string(manifest);
    let text = read.map_err(|source| CommandError::File { act: "read", path: manifest.to_owned(), source })?;
    write(manifest, &with_absolute_path(&text, &path))?;
    super::tell_plainly(&format!("       Added burla from the folder {path}, which has to stay there"));
    Ok(())
}

/// The manifest with this path in the line that `cargo add` has put in, where cargo writes paths from the manifest's own folder.
fn with_absolute_path(manifest: &str, path: &str) -> String {
    let absolute = |line: &str| -> Option<String> {
        let (head, rest) = line.strip_prefix("burla = {")?.split_once("path = \"")?;
        let (_, tail) = rest.split_once('"')?;
        // A text of JSON is one of TOML.
        Some(format!("burla = {{{head}path = {}{tail}", serde_json::Value::from(path)))
    };
    let lines = manifest.lines().map(|line| absolute(line).unwrap_or_else(|| line.to_owned()));
    lines.map(|line| line + "\n").collect()
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    std::fs::write(path, text).map_err(|source| CommandError::File { act: "write", path: path.to_owned(), source })
}

fn cargo(name: &str, arguments: &[&str]) -> Result<(), CommandError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).status();
    let status = status.map_err(|source| CommandError::Start { program: "cargo".to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(CommandError::New { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_burla_is_absolute_and_other_lines_stay() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nother = { path = \"../b\" }\nburla = { version = \"0.1.0\", path = \"../../clone/client\" }\n";
        let expected = manifest.replace("../../clone/client", "/with \\\"quotes\\\"/client");
        assert_eq!(with_absolute_path(manifest, "/with \"quotes\"/client"), expected);
    }

    #[test]
    fn the_program_of_a_library_uses_its_function() {
        let program = main(Path::new("some/first-try"), true);
        assert!(program.starts_with("use burla::remote_parallel_map;\nuse first_try::my_function;\n\nfn main()"), "{program}");
        assert!(!program.contains("#[burla::function]") && LIB.contains("#[burla::function]\npub fn my_function"));
    }
}
