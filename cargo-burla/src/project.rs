//! Finds out, from cargo, which package is meant and what is in it.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

use crate::error::CommandError;

/// Which package, and what of it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--manifest-path`.
    pub manifest_path: Option<PathBuf>,
    /// `--package`.
    pub package: Option<String>,
    /// `--lib`, `--bin`, or neither.
    pub wanted: Wanted,
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
}

/// How cargo is to build.
#[derive(Clone, Debug, Default)]
pub struct Cargo {
    /// Flags that go to cargo as they are.
    pub flags: Vec<String>,
    /// Whether to install the WebAssembly target when it is missing.
    pub install_target: bool,
}

/// A package, as cargo knows it.
#[derive(Clone, Debug)]
pub struct Project {
    pub(crate) package: Package,
    pub(crate) wanted: Wanted,
    pub(crate) workspace_root: PathBuf,
    /// Where components go: `burla/` in the target directory.
    pub(crate) components: PathBuf,
}

impl Project {
    /// Finds the package that is meant.
    pub fn find(selection: &Selection) -> Result<Self, CommandError> {
        let mut command = MetadataCommand::new();
        command.no_deps();
        if let Some(path) = &selection.manifest_path {
            command.manifest_path(path);
        }
        let metadata = command.exec().map_err(CommandError::Metadata)?;
        let package = match &selection.package {
            Some(name) => package_of_name(&metadata, name)?,
            None => package_here(&metadata, selection.manifest_path.as_deref())?,
        };
        let package = package.clone();
        Ok(Self {
            package,
            wanted: selection.wanted.clone(),
            workspace_root: metadata.workspace_root.into_std_path_buf(),
            components: metadata.target_directory.join("burla").into_std_path_buf(),
        })
    }

    /// Whether the package has a library that functions could be in.
    pub(crate) fn has_lib(&self) -> bool {
        // Not a proc-macro, which is a library of another kind.
        let kinds = [TargetKind::Lib, TargetKind::RLib, TargetKind::CDyLib, TargetKind::DyLib, TargetKind::StaticLib];
        self.package.targets.iter().any(|target| target.kind.iter().any(|kind| kinds.contains(kind)))
    }

    /// The program that is meant: the one asked for, the default one, or the only one. `None` where the package has no program.
    pub(crate) fn bin(&self) -> Result<Option<String>, CommandError> {
        let package = self.package.name.to_string();
        let bins: Vec<String> =
            self.package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.clone()).collect();
        if let Wanted::Bin(name) = &self.wanted {
            return if bins.contains(name) {
                Ok(Some(name.clone()))
            } else {
                Err(CommandError::NoSuchTarget { package, wanted: format!("program `{name}`: it has {}", list(&bins)) })
            };
        }
        match (&self.package.default_run, bins.as_slice()) {
            (Some(name), _) => Ok(Some(name.clone())),
            (None, []) => Ok(None),
            (None, [name]) => Ok(Some(name.clone())),
            (None, _) => Err(CommandError::WhichBin { package, available: bins }),
        }
    }
}

fn package_of_name<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Package, CommandError> {
    let members = metadata.workspace_packages();
    let found = members.iter().find(|package| package.name == name);
    found.copied().ok_or_else(|| CommandError::NoSuchPackage { name: name.to_owned(), available: names(&members) })
}

/// The package whose manifest was given, or is the nearest above this folder; in a workspace's own folder, its only member.
fn package_here<'a>(metadata: &'a Metadata, manifest_path: Option<&Path>) -> Result<&'a Package, CommandError> {
    let here = std::env::current_dir().unwrap_or_default();
    let nearest = || here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file());
    let manifest = manifest_path.map(|path| here.join(path)).or_else(nearest).and_then(|path| path.canonicalize().ok());
    let members = metadata.workspace_packages();
    let is_here = |package: &&&Package| package.manifest_path.as_std_path().canonicalize().ok() == manifest;
    match (members.iter().find(is_here), members.as_slice()) {
        (Some(package), _) | (None, [package]) => Ok(package),
        (None, members) => Err(CommandError::WhichPackage { available: names(members) }),
    }
}

fn names(packages: &[&Package]) -> Vec<String> {
    packages.iter().map(|package| package.name.to_string()).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
