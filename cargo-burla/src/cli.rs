//! What can be asked of `cargo burla`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::project::{Cargo, Selection, Wanted};

/// Cargo starts `cargo-burla burla …` for `cargo burla …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
pub(crate) enum Entry {
    Burla(Arguments),
}

/// Puts in the word that cargo would have, for `cargo-burla build` and for the alias of this repository.
pub(crate) fn as_cargo_calls_it(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    if arguments.get(1).is_none_or(|first| first != "burla") {
        arguments.insert(1.min(arguments.len()), "burla".into());
    }
    arguments
}

/// Run functions on a grid of computers.
#[derive(Debug, Args)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new project that runs.
    New(New),
    /// Package the functions of a package into a component.
    Build(Build),
    /// Package the functions, build the program, and run it on a grid.
    Run(Run),
    /// Show what is in a component.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The project's name, and the folder to make.
    pub(crate) name: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) what: What,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) what: What,
    /// Build the program itself optimised, too. The component always is.
    #[arg(long)]
    pub(crate) release: bool,
    /// What the program is given.
    #[arg(last = true)]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The component's file.
    pub(crate) component: PathBuf,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which package, and how cargo is to build it: the flags of cargo's own commands.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// The package to build. Default: the one in this folder.
    #[arg(short, long, value_name = "SPEC")]
    package: Option<String>,
    /// Functions are in the package's library. Default: there if it has any, else in the program.
    #[arg(long, conflicts_with = "bin")]
    lib: bool,
    /// The program to build. Functions are in it, unless the package's library has some.
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// The package's Cargo.toml.
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Features to build with, separated by commas or spaces.
    #[arg(short = 'F', long)]
    features: Vec<String>,
    /// Build with all features.
    #[arg(long)]
    all_features: bool,
    /// Build without the default feature.
    #[arg(long)]
    no_default_features: bool,
    /// Require that Cargo.lock is up to date.
    #[arg(long)]
    locked: bool,
    /// Do without the network.
    #[arg(long)]
    offline: bool,
    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    /// Install the WebAssembly target with rustup if it is missing.
    #[arg(long)]
    install_target: bool,
}

impl What {
    pub(crate) fn selection(&self) -> Selection {
        let wanted = match (&self.bin, self.lib) {
            (Some(name), _) => Wanted::Bin(name.clone()),
            (None, true) => Wanted::Lib,
            (None, false) => Wanted::Any,
        };
        Selection { manifest_path: self.manifest_path.clone(), package: self.package.clone(), wanted }
    }

    pub(crate) fn cargo(&self) -> Cargo {
        let mut flags = Vec::new();
        for features in &self.features {
            flags.extend(["--features".to_owned(), features.clone()]);
        }
        let switches = [
            (self.all_features, "--all-features"),
            (self.no_default_features, "--no-default-features"),
            (self.locked, "--locked"),
            (self.offline, "--offline"),
            (self.quiet, "--quiet"),
        ];
        flags.extend(switches.into_iter().filter(|(given, _)| *given).map(|(_, switch)| switch.to_owned()));
        Cargo { flags, install_target: self.install_target }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Entry::command().debug_assert();
    }

    #[test]
    fn it_is_the_same_with_and_without_cargo() {
        for arguments in [&["cargo-burla", "burla", "new", "x"][..], &["cargo-burla", "new", "x"]] {
            let Entry::Burla(parsed) = Entry::parse_from(as_cargo_calls_it(arguments.iter().map(Into::into)));
            assert!(matches!(parsed.command, Command::New(New { name }) if name.as_os_str() == "x"));
        }
    }
}
