//! The packager: a package's functions become a component that a node can run.
//!
//! The component is the library as a `cdylib` where functions are in the library alone, and the program itself
//! otherwise, which holds those of the library, too; either way rustc's wasm32-wasip2 target makes a component of it,
//! and the guest SDK inside exports the handler. The program's `main` comes along and is never called.

mod cargo;
mod marked;
mod profile;
mod sources;
mod target;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use burla_types::component::Description;
use burla_types::{Digest, FunctionInfo};

use crate::error::CommandError;
use crate::project::{Cargo, Program, Project, Wanted};

pub(crate) use cargo::{build_program, test};
pub(crate) use target::ensure as ensure_wasm_target;

/// A component on disk, and what is in it.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// Where it is.
    pub path: PathBuf,
    /// Its name to the grid.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: usize,
    /// What it says of itself.
    pub description: Description,
}

impl Packaged {
    /// Reads a component and checks that a node could run it.
    pub fn read(path: &Path) -> Result<Self, CommandError> {
        let bytes = std::fs::read(path).map_err(|source| CommandError::File { act: "read", path: path.to_owned(), source })?;
        let invalid = |source| CommandError::InvalidComponent { path: path.to_owned(), source };
        let description = Description::read(&bytes).map_err(invalid)?;
        let interfaces: Vec<_> = description.imports_not_offered().into_iter().map(str::to_owned).collect();
        if !interfaces.is_empty() {
            return Err(CommandError::ImportsNotOffered { path: path.to_owned(), interfaces });
        }
        if description.functions.is_empty() || !description.exports_handler() {
            return Err(CommandError::NoFunctions { what: path.display().to_string() });
        }
        Ok(Self { path: path.to_owned(), digest: Digest::of(&bytes), size_bytes: bytes.len(), description })
    }

    /// Refuses a component two of whose functions have one name: nobody could say which is called.
    fn with_one_function_of_each_name(self) -> Result<Self, CommandError> {
        // They are sorted by name.
        let pair = self.description.functions.windows(2).find(|pair| pair[0].name == pair[1].name);
        let Some([one, other]) = pair else { return Ok(self) };
        let place = |function: &FunctionInfo| format!("{}{}", function.place, function.signature);
        Err(CommandError::TwoFunctions { name: one.name.to_string(), places: [place(one), place(other)] })
    }

    /// Copies the component to a file of the user's choice.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), CommandError> {
        copy(&self.path, path).map_err(|source| CommandError::File { act: "write", path: path.to_owned(), source })
    }
}

/// Builds the package's functions into `target/burla/NAME.wasm`, named after the program or the library that they are
/// in.
pub fn package(project: &Project, cargo: &Cargo) -> Result<Packaged, CommandError> {
    ensure_wasm_target(project, cargo)?;
    let name = project.package.name.to_string();
    let lib = project.lib().map(|lib| Part { project, program: None, crate_name: &lib.name });
    if project.wanted == Wanted::Lib {
        return build(lib.ok_or(CommandError::NoSuchTarget { package: name, wanted: "library".to_owned() })?, cargo);
    }
    let program = project
        .program()
        .map(|program| program.map(|program| Part { project, program: Some(program), crate_name: &program.target.name }));
    let Some(lib) = lib else {
        let missing = CommandError::NoSuchTarget { package: name, wanted: "library and no program".to_owned() };
        return build(program?.ok_or(missing)?, cargo);
    };
    // Building the program for WebAssembly may fail for what it does not share with the functions, so it is tried only
    // where it seems to have functions.
    if let Ok(Some(program)) = &program
        && program.has_marks()
    {
        return match build(*program, cargo) {
            Err(CommandError::NoFunctions { .. }) => build(lib, cargo),
            packaged => packaged,
        };
    }
    match build(lib, cargo) {
        Err(CommandError::NoFunctions { what }) => match program? {
            Some(program) => build(program, cargo),
            None => Err(CommandError::NoFunctions { what }),
        },
        packaged => packaged,
    }
}

/// What of a package is built: its program, or its library.
#[derive(Clone, Copy)]
struct Part<'a> {
    project: &'a Project,
    program: Option<Program<'a>>,
    crate_name: &'a str,
}

impl Part<'_> {
    fn what(&self) -> String {
        let package = &self.project.package.name;
        match &self.program {
            Some(program) => format!("the program `{}` of package `{package}`", program.name()),
            None => format!("the library of package `{package}`"),
        }
    }

    /// Whether something in its source looks like a marked function.
    fn has_marks(&self) -> bool {
        self.program.is_some_and(|program| marked::has_marks(program.target.src_path.as_std_path()))
    }

    /// The name of its component, spelled as the package is where both are the same but for hyphens, as cargo spells
    /// programs.
    fn component_name(&self) -> &str {
        let package = self.project.package.name.as_str();
        let is_package = package.replace('-', "_") == self.crate_name.replace('-', "_");
        if is_package { package } else { self.crate_name }
    }
}

fn build(part: Part<'_>, cargo: &Cargo) -> Result<Packaged, CommandError> {
    let project = part.project;
    let started = SystemTime::now();
    let built = cargo::build_component(&part, cargo)?;
    // Checked before it is put where programs look for it, so that what is there can always be run.
    let packaged = Packaged::read(&built.component).map_err(|error| match error {
        CommandError::NoFunctions { .. } => CommandError::NoFunctions { what: part.what() },
        other => other,
    })?;
    let packaged = packaged.with_one_function_of_each_name()?;
    let sources = sources::record(project, &built, packaged.digest, started)?;
    let file_name = format!("{}.wasm", part.component_name());
    let path = project.components.join(&file_name);
    put(&built.component, &sources, &path)?;
    if project.build_dir != project.target_dir {
        // Tests are there, and look for it above their own folder.
        put(&built.component, &sources, &project.build_dir.join("burla").join(&file_name))?;
    }
    Ok(Packaged { path, ..packaged })
}

/// Puts a component where programs look for it, with the list of its sources.
fn put(built: &Path, sources: &sources::Record, path: &Path) -> Result<(), CommandError> {
    remove_other_spellings(path);
    // In this order: the list of another component is compared with nothing, and in between the fresh component is there.
    let put = copy(built, path).and_then(|()| sources.write_beside(path));
    put.map_err(|source| CommandError::File { act: "write", path: path.to_owned(), source })
}

/// Removes what was named by another rule, or after a program that was renamed so: one crate has one component.
fn remove_other_spellings(path: &Path) {
    let spelling = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(|name| name.replace('-', "_"));
    let files = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    for other in files.map(|entry| entry.path()).filter(|other| other != path && spelling(other) == spelling(path)) {
        // One that cannot be removed is found to be stale when it is used.
        let _ = std::fs::remove_file(other);
    }
}

/// Copies whole or not at all: a running program may be reading the file.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    write_whole(to, &std::fs::read(from)?)
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
