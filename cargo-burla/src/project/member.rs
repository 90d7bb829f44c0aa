//! Chooses the package that is meant among those of a workspace, as `cargo run` does: the one that is named, else the
//! one of the manifest, else the only one of the workspace's default members that it could be.

use std::path::Path;

use cargo_metadata::{Metadata, Package, Target};

use super::{Selection, Wanted};
use crate::error::CommandError;

pub(super) fn choose<'a>(metadata: &'a Metadata, manifest: &Path, selection: &Selection) -> Result<&'a Package, CommandError> {
    if let Some(spec) = &selection.package {
        return of_spec(metadata.workspace_packages(), spec);
    }
    let root = metadata.workspace_root.join("Cargo.toml");
    let is = |package: &&&Package, manifest: &Path| is_same_file(package.manifest_path.as_std_path(), manifest);
    let members = metadata.workspace_packages();
    // In the workspace's own folder, its default members count. Those are its own package where it does not say.
    if !is_same_file(root.as_std_path(), manifest)
        && let Some(package) = members.iter().find(|package| is(package, manifest))
    {
        return Ok(package);
    }
    only(metadata.workspace_default_packages(), selection)
}

/// Leaves out what cannot be meant, step by step, until one is left.
fn only<'a>(mut candidates: Vec<&'a Package>, selection: &Selection) -> Result<&'a Package, CommandError> {
    let has = |package: &Package, is: &dyn Fn(&Target) -> bool| package.targets.iter().any(is);
    let has_wanted = |package: &&Package| match &selection.wanted {
        Wanted::Bin(name) => has(package, &|target| target.is_bin() && target.name == *name),
        Wanted::Example(name) => has(package, &|target| target.is_example() && target.name == *name),
        Wanted::Lib => has(package, &|target| target.is_lib()),
        Wanted::Any => !selection.needs_program || has(package, &|target| target.is_bin()),
    };
    // Only such a package can mark a function.
    let has_burla = |package: &&Package| package.dependencies.iter().any(|dependency| dependency.name == "burla");
    let filters: [&dyn Fn(&&Package) -> bool; 2] = [&has_wanted, &has_burla];
    for filter in filters {
        if let [package] = candidates.as_slice() {
            return Ok(package);
        }
        let left: Vec<_> = candidates.iter().copied().filter(|package| filter(package)).collect();
        if !left.is_empty() {
            candidates = left;
        }
    }
    match candidates.as_slice() {
        [package] => Ok(package),
        _ => Err(CommandError::WhichPackage { available: names(&candidates) }),
    }
}

/// The member that a package id specification means: a name, a name and a version, or a URL with either.
fn of_spec<'a>(members: Vec<&'a Package>, spec: &str) -> Result<&'a Package, CommandError> {
    if spec.contains(['*', '?', '[']) {
        return Err(CommandError::PackagePattern { pattern: spec.to_owned() });
    }
    let found: Vec<_> = members.iter().copied().filter(|package| matches(package, spec)).collect();
    match found.as_slice() {
        [package] => Ok(package),
        [] => Err(CommandError::NoSuchPackage { name: spec.to_owned(), available: names(&members) }),
        _ => Err(CommandError::WhichPackage { available: found.iter().map(|package| package.id.repr.clone()).collect() }),
    }
}

fn matches(package: &Package, spec: &str) -> bool {
    let version_matches = |version: &str| {
        let whole = package.version.to_string();
        // Cargo takes the beginning of a version, up to a dot.
        whole == version || whole.starts_with(&format!("{version}."))
    };
    let Some((url, fragment)) = spec.split_once("://").map(|_| spec.split_once('#').unwrap_or((spec, ""))) else {
        let (name, version) = spec.split_once(['@', ':']).unwrap_or((spec, ""));
        return package.name == name && (version.is_empty() || version_matches(version));
    };
    let url = url.strip_prefix("path+").unwrap_or(url);
    let (own_url, _) = package.id.repr.split_once('#').unwrap_or((&package.id.repr, ""));
    if own_url.strip_prefix("path+") != Some(url.trim_end_matches('/')) {
        return false;
    }
    let (name, version) = match fragment.split_once(['@', ':']) {
        Some((name, version)) => (name, version),
        None if fragment.starts_with(|first: char| first.is_ascii_digit()) => ("", fragment),
        None => (fragment, ""),
    };
    (name.is_empty() || package.name == name) && (version.is_empty() || version_matches(version))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok().is_some_and(|one| other.canonicalize().ok() == Some(one))
}

fn names(packages: &[&Package]) -> Vec<String> {
    packages.iter().map(|package| package.name.to_string()).collect()
}
