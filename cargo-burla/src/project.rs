//! Finds out, from cargo, which package is meant and what is in it.

mod member;

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package, Target, TargetKind};

use crate::error::CommandError;

/// Which package, and what of it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--manifest-path`.
    pub manifest_path: Option<PathBuf>,
    /// `--package`.
    pub package: Option<String>,
    /// `--lib`, `--bin`, `--example`, or none of them.
    pub wanted: Wanted,
    /// Whether the package must have a program. Those without one are left out where several packages could be meant.
    pub needs_program: bool,
    /// `--target-dir`.
    pub target_dir: Option<PathBuf>,
    /// Other flags of cargo that decide what it reads, such as `--config` and `--offline`.
    pub flags: Vec<String>,
}

/// What of a package is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The library if there are functions in it, else the program.
    #[default]
    Any,
    /// The library.
    Lib,
    /// The program of this name.
    Bin(String),
    /// The example of this name.
    Example(String),
}

/// How cargo is to build.
#[derive(Clone, Debug, Default)]
pub struct Cargo {
    /// Flags that go to cargo as they are.
    pub flags: Vec<String>,
    /// Flags for the program alone, such as `--release`.
    pub program_flags: Vec<String>,
    /// The profile of the component, where it is not the usual one.
    pub component_profile: Option<String>,
    /// Whether rustup may add the WebAssembly target when it is missing.
    pub install_target: bool,
    /// `--quiet`: print nothing but errors.
    pub quiet: bool,
}

/// A package, as cargo knows it.
#[derive(Clone, Debug)]
pub struct Project {
    pub(crate) package: Package,
    pub(crate) wanted: Wanted,
    pub(crate) workspace_root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target_dir: PathBuf,
    /// Where cargo puts what it builds on the way, tests included. Mostly the same folder.
    pub(crate) build_dir: PathBuf,
    /// Where components go: `burla/` in the target directory.
    pub(crate) components: PathBuf,
}

/// A program of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program<'a> {
    pub(crate) target: &'a Target,
}

impl Project {
    /// Finds the package that is meant.
    pub fn find(selection: &Selection) -> Result<Self, CommandError> {
        let here = std::env::current_dir().unwrap_or_default();
        let manifest = manifest(&here, selection.manifest_path.as_deref())?;
        let mut command = MetadataCommand::new();
        command.no_deps().manifest_path(&manifest).other_options(selection.flags.clone());
        if let Some(folder) = &selection.target_dir {
            // `cargo metadata` has no `--target-dir`.
            command.env("CARGO_TARGET_DIR", here.join(folder));
        }
        let metadata = command.exec().map_err(CommandError::Metadata)?;
        let package = member::choose(&metadata, &manifest, selection)?.clone();
        Ok(Self::new(package, selection.wanted.clone(), metadata))
    }

    fn new(package: Package, wanted: Wanted, metadata: Metadata) -> Self {
        let target_dir = metadata.target_directory.into_std_path_buf();
        Self {
            package,
            wanted,
            workspace_root: metadata.workspace_root.into_std_path_buf(),
            build_dir: metadata.build_directory.map_or_else(|| target_dir.clone(), Into::into),
            components: target_dir.join("burla"),
            target_dir,
        }
    }

    /// The library that functions could be in.
    pub(crate) fn lib(&self) -> Option<&Target> {
        // Not a proc-macro, which is a library of another kind.
        let kinds = [TargetKind::Lib, TargetKind::RLib, TargetKind::CDyLib, TargetKind::DyLib, TargetKind::StaticLib];
        self.package.targets.iter().find(|target| target.kind.iter().any(|kind| kinds.contains(kind)))
    }

    /// The program that is meant: the one asked for, the default one, or the only one. `None` where the package has no
    /// program.
    pub(crate) fn program(&self) -> Result<Option<Program<'_>>, CommandError> {
        match &self.wanted {
            Wanted::Bin(name) => return self.named(name, "program", Target::is_bin).map(Some),
            Wanted::Example(name) => return self.named(name, "example", Target::is_example).map(Some),
            Wanted::Any | Wanted::Lib => {}
        }
        if let Some(name) = &self.package.default_run {
            return self.named(name, "program", Target::is_bin).map(Some);
        }
        let bins: Vec<_> = self.package.targets.iter().filter(|target| target.is_bin()).collect();
        match bins.as_slice() {
            [] => Ok(None),
            [target] => Ok(Some(Program { target })),
            bins => Err(CommandError::WhichBin {
                package: self.package.name.to_string(),
                available: bins.iter().map(|target| target.name.clone()).collect(),
            }),
        }
    }

    fn named(&self, name: &str, kind: &str, is_kind: fn(&Target) -> bool) -> Result<Program<'_>, CommandError> {
        let targets = || self.package.targets.iter().filter(|target| is_kind(target));
        let found = targets().find(|target| target.name == name).map(|target| Program { target });
        found.ok_or_else(|| {
            let names: Vec<_> = targets().map(|target| target.name.clone()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let package = self.package.name.to_string();
            CommandError::NoSuchTarget { package, wanted: format!("{kind} `{name}`: it has {names}") }
        })
    }
}

impl Program<'_> {
    /// The flag that chooses it, before its name.
    pub(crate) fn flag(self) -> &'static str {
        if self.target.is_example() { "--example" } else { "--bin" }
    }

    pub(crate) fn name(&self) -> &str {
        &self.target.name
    }
}

/// The manifest that was given, or the nearest above this folder, which is cargo's rule.
fn manifest(here: &Path, given: Option<&Path>) -> Result<PathBuf, CommandError> {
    let missing = || CommandError::NoManifest { folder: given.map_or_else(|| here.to_owned(), Path::to_owned) };
    let found = match given {
        // A folder is cargo's to refuse.
        Some(path) => Some(here.join(path)).filter(|path| path.exists()),
        None => here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file()),
    };
    found.ok_or_else(missing)
}

#[cfg(test)]
mod tests;
