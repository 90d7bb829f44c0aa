//! `cargo burla run`: packages functions, builds the program, and runs it on a grid.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Run;
use crate::error::CommandError;
use crate::package::{build_program, ensure_wasm_target, package};
use crate::project::Project;

pub(super) fn run(arguments: &Run) -> Result<ExitCode, CommandError> {
    let project = Project::find(&arguments.selection())?;
    let cargo = arguments.cargo();
    let package_name = project.package.name.to_string();
    let no_program = CommandError::NoSuchTarget { package: package_name, wanted: "program to run".to_owned() };
    let target = project.program()?.ok_or(no_program)?;
    // Looked for before minutes are spent on the program.
    ensure_wasm_target(&project, &cargo)?;
    let mut program = build_program(&project, &cargo, target)?;
    let mut component = package(&project, &cargo)?;
    // The code was edited while one of them was built. Once more, where only what has changed takes time.
    if burla::sources::Sources::compare(&component.path, component.digest, &program).is_err() {
        program = build_program(&project, &cargo, target)?;
        component = package(&project, &cargo)?;
    }

    super::on_this_grid(arguments.url.as_deref(), |url| {
        let mut command = Command::new(&program);
        command.args(&arguments.arguments).env("BURLA_URL", url);
        command.env("BURLA_COMPONENT", &component.path).env("BURLA_COMPONENT_DIGEST", component.digest.to_string());
        // As `cargo run` has it.
        if let Some(folder) = project.package.manifest_path.parent() {
            command.env("CARGO_MANIFEST_DIR", folder);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::Grid(error.into()))?;
        Ok(exit_code(runtime.block_on(supervise(command, &program))?))
    })
}

/// Runs the program to its end. A Ctrl-C reaches it from the terminal as it reaches us, so we only wait; a SIGTERM is passed on.
async fn supervise(mut command: Command, program: &Path) -> Result<ExitStatus, CommandError> {
    let start = |source: std::io::Error| match source.raw_os_error() {
        Some(code) if code == Errno::NOEXEC.raw_os_error() => {
            CommandError::ForeignProgram { program: program.to_owned(), source }
        }
        _ => CommandError::Start { program: program.display().to_string(), source },
    };
    let mut interrupted = signal(SignalKind::interrupt()).map_err(start)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(start)?;
    let mut child = command.spawn().map_err(start)?;
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(start),
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {
                if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                    // It may have ended this moment, which is what was wanted.
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
    }
}

/// The program's own code; for one that a signal ended, 128 and the signal's number, as a shell has it.
pub(super) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
