//! The verbs that build a package, and the flags that say which and how: those of cargo's own commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::project::{Cargo, Selection, Wanted};

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The project's name, and the folder to make.
    pub(crate) name: PathBuf,
    /// Put the function into a library, beside the program that uses it.
    #[arg(long)]
    pub(crate) lib: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) what: What,
    /// Build the component with this profile. Default: `burla-component`, which is optimized.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// The component is optimized with and without this flag.
    #[arg(short, long, hide = true, conflicts_with = "profile")]
    release: bool,
    /// Build what can be built when something does not compile.
    #[arg(long)]
    keep_going: bool,
    /// Also copy the component to this file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show the component as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    program: ProgramFlags,
    /// Build what can be built when something does not compile.
    #[arg(long)]
    keep_going: bool,
    /// The address of the grid's scheduler. Default: BURLA_URL, else the grid that `cargo burla up` keeps on this
    /// machine, else one of this machine for as long as the program runs.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The arguments of the program. Flags among them come after `--`, or after the first argument.
    #[arg(trailing_var_arg = true)]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    program: ProgramFlags,
    /// Test only this integration test; may be given several times.
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Test only the library's documentation.
    #[arg(long, conflicts_with_all = ["lib", "bin", "example", "test"])]
    doc: bool,
    /// Build the tests, and do not run them.
    #[arg(long)]
    no_run: bool,
    /// Run all tests, whichever fail.
    #[arg(long)]
    no_fail_fast: bool,
    /// The address of the grid's scheduler. Default: BURLA_URL, else the grid that `cargo burla up` keeps on this
    /// machine, else one of this machine for as long as the tests run.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Run only tests with this in their names.
    #[arg(value_name = "TESTNAME")]
    name: Option<String>,
    /// The arguments of the test programs, such as --nocapture.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The component's file.
    pub(crate) component: PathBuf,
    /// Show it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the program is built, or the tests. The component always is optimized.
#[derive(Debug, Args)]
struct ProgramFlags {
    /// Build the program with optimizations.
    #[arg(short, long, conflicts_with = "profile")]
    release: bool,
    /// Build the program with this profile.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Build the program for this target.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Which package, and how cargo is to build it.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// The package to build. Default: the one in this folder.
    #[arg(short, long, value_name = "SPEC")]
    package: Option<String>,
    /// Functions are in the package's library. Default: there if it has any, else in the program.
    #[arg(long, conflicts_with_all = ["bin", "example"])]
    lib: bool,
    /// The program to build. Functions are in it or in the package's library.
    #[arg(long, value_name = "NAME", conflicts_with = "example")]
    bin: Option<String>,
    /// The example to build. Functions are in it or in the package's library.
    #[arg(long, value_name = "NAME")]
    example: Option<String>,
    /// The package's Cargo.toml.
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// The folder for what is built.
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
    /// Features to build with, separated by commas or spaces.
    #[arg(short = 'F', long)]
    features: Vec<String>,
    /// Build with all features.
    #[arg(long)]
    all_features: bool,
    /// Build without the default feature.
    #[arg(long)]
    no_default_features: bool,
    /// The number of jobs that cargo runs at one time.
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    jobs: Option<String>,
    /// A setting of cargo, or a file with settings; may be given several times.
    #[arg(long, value_name = "KEY=VALUE|PATH")]
    config: Vec<String>,
    /// An unstable flag of cargo.
    #[arg(short = 'Z', value_name = "FLAG")]
    unstable: Vec<String>,
    /// Require that Cargo.lock is up to date.
    #[arg(long)]
    locked: bool,
    /// Do without the network.
    #[arg(long)]
    offline: bool,
    /// The same as --locked and --offline.
    #[arg(long)]
    frozen: bool,
    /// Say more of what cargo does. Given twice, even more.
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Color what is printed: auto, always or never.
    #[arg(long, value_name = "WHEN")]
    color: Option<String>,
    /// The WebAssembly target is added with and without this flag.
    #[arg(long, hide = true)]
    install_target: bool,
}

impl What {
    pub(crate) fn selection(&self) -> Selection {
        let wanted = match (&self.bin, &self.example, self.lib) {
            (Some(name), _, _) => Wanted::Bin(name.clone()),
            (None, Some(name), _) => Wanted::Example(name.clone()),
            (None, None, true) => Wanted::Lib,
            (None, None, false) => Wanted::Any,
        };
        Selection {
            manifest_path: self.manifest_path.clone(),
            package: self.package.clone(),
            wanted,
            needs_program: false,
            target_dir: self.target_dir.clone(),
            flags: self.reading_flags(),
        }
    }

    pub(crate) fn cargo(&self) -> Cargo {
        let mut flags = self.reading_flags();
        let mut value = |flag: &str, value: Option<&str>| {
            flags.extend(value.map(|value| [flag.to_owned(), value.to_owned()]).into_iter().flatten());
        };
        for features in &self.features {
            value("--features", Some(features));
        }
        // As one word, since the number may be negative.
        value("--color", self.color.as_deref());
        value("--target-dir", self.target_dir.as_ref().and_then(|folder| folder.to_str()));
        flags.extend(self.jobs.iter().map(|jobs| format!("--jobs={jobs}")));
        flags.extend((0..self.verbose).map(|_| "--verbose".to_owned()));
        let switches =
            [(self.all_features, "--all-features"), (self.no_default_features, "--no-default-features"), (self.quiet, "--quiet")];
        flags.extend(switches.into_iter().filter(|(given, _)| *given).map(|(_, switch)| switch.to_owned()));
        // Adding the target needs the network.
        let install_target = !self.offline && !self.frozen;
        Cargo { flags, install_target, quiet: self.quiet, ..Cargo::default() }
    }

    /// For the verbs whose `--keep-going` is cargo's.
    fn cargo_that_keeps_going(&self, keep_going: bool) -> Cargo {
        let mut cargo = self.cargo();
        cargo.flags.extend(keep_going.then(|| "--keep-going".to_owned()));
        cargo
    }

    /// The flags that decide what cargo reads, whatever it does.
    fn reading_flags(&self) -> Vec<String> {
        let configs = self.config.iter().flat_map(|config| ["--config", config]);
        let unstable = self.unstable.iter().flat_map(|flag| ["-Z", flag]);
        let switches = [(self.locked, "--locked"), (self.offline, "--offline"), (self.frozen, "--frozen")];
        let switches = switches.into_iter().filter(|(given, _)| *given).map(|(_, switch)| switch);
        configs.chain(unstable).chain(switches).map(str::to_owned).collect()
    }
}

impl ProgramFlags {
    fn flags(&self) -> Vec<String> {
        let release = self.release.then(|| "--release".to_owned());
        let profile = self.profile.iter().flat_map(|profile| ["--profile".to_owned(), profile.clone()]);
        let target = self.target.iter().flat_map(|target| ["--target".to_owned(), target.clone()]);
        release.into_iter().chain(profile).chain(target).collect()
    }
}

impl Build {
    pub(crate) fn cargo(&self) -> Cargo {
        let component_profile = self.profile.clone();
        Cargo { component_profile, ..self.what.cargo_that_keeps_going(self.keep_going) }
    }
}

impl Run {
    pub(crate) fn selection(&self) -> Selection {
        Selection { needs_program: true, ..self.what.selection() }
    }

    pub(crate) fn cargo(&self) -> Cargo {
        Cargo { program_flags: self.program.flags(), ..self.what.cargo_that_keeps_going(self.keep_going) }
    }
}

impl Test {
    pub(crate) fn cargo(&self) -> Cargo {
        Cargo { program_flags: self.program.flags(), ..self.what.cargo() }
    }

    /// What `cargo test` is given besides the flags of a build.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let named = [("--bin", &self.what.bin), ("--example", &self.what.example)];
        let named = named.into_iter().filter_map(|(flag, name)| Some((flag, name.as_deref()?)));
        for (flag, name) in named.chain(self.test.iter().map(|name| ("--test", name.as_str()))) {
            arguments.extend([flag.into(), name.into()]);
        }
        let switches =
            [(self.what.lib, "--lib"), (self.doc, "--doc"), (self.no_run, "--no-run"), (self.no_fail_fast, "--no-fail-fast")];
        arguments.extend(switches.into_iter().filter(|(given, _)| *given).map(|(_, switch)| switch.into()));
        arguments.extend(self.name.iter().map(OsString::from));
        arguments.push("--".into());
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Command, Entry};

    fn parsed(arguments: &str) -> Command {
        let Entry::Burla(entry) = Entry::try_parse_from(["cargo", "burla"].into_iter().chain(arguments.split(' '))).unwrap();
        entry.command
    }

    fn run(arguments: &str) -> Run {
        let Command::Run(run) = parsed(arguments) else { panic!("{arguments}") };
        *run
    }

    #[test]
    fn flags_of_cargo_mean_what_they_mean_to_cargo() {
        for (given, program, all) in [
            ("run", "", ""),
            ("run -r", "--release", ""),
            ("run --profile x", "--profile x", ""),
            ("run --target x86_64-unknown-linux-musl", "--target x86_64-unknown-linux-musl", ""),
            ("run -j1", "", "--jobs=1"),
            ("run -j -1", "", "--jobs=-1"),
            ("run -vv", "", "--verbose --verbose"),
            ("run -q --frozen", "", "--frozen --quiet"),
            ("run --config a.b=1 --config f.toml -Z x", "", "--config a.b=1 --config f.toml -Z x"),
            ("run -F a,b -Fc --locked --offline", "", "--locked --offline --features a,b --features c"),
            ("run --target-dir t --color never", "", "--color never --target-dir t"),
            ("run --all-features --no-default-features", "", "--all-features --no-default-features"),
        ] {
            let cargo = run(given).cargo();
            assert_eq!((cargo.program_flags.join(" ").as_str(), cargo.flags.join(" ").as_str()), (program, all), "{given}");
        }
        assert!(run("run").cargo().install_target && !run("run --frozen").cargo().install_target, "without the network");
    }

    #[test]
    fn arguments_of_the_program_need_no_dashes() {
        for (given, arguments) in [
            ("run -r a -v b", &["a", "-v", "b"][..]),
            ("run -- -v b", &["-v", "b"]),
            ("run a -- b", &["a", "--", "b"]),
            ("run", &[]),
        ] {
            assert_eq!(run(given).arguments, arguments, "{given}");
        }
    }

    #[test]
    fn tests_are_chosen_as_cargo_does() {
        let Command::Test(test) = parsed("test -p x -r --test it --no-fail-fast name -- --nocapture --skip a") else { panic!() };
        assert_eq!(test.arguments(), ["--test", "it", "--no-fail-fast", "name", "--", "--nocapture", "--skip", "a"]);
        assert_eq!(test.cargo().program_flags, ["--release"]);
    }
}
