//! `cargo burla test`: packages functions, and runs `cargo test` on a grid, so that tests can start jobs.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::Test;
use crate::error::CommandError;
use crate::package::{package, test as cargo_test};
use crate::project::Project;

pub(super) fn test(arguments: &Test) -> Result<ExitCode, CommandError> {
    let project = Project::find(&arguments.what.selection())?;
    let cargo = arguments.cargo();
    let component = package(&project, &cargo)?;
    super::on_this_grid(arguments.url.as_deref(), |url| {
        let variables = [
            ("BURLA_COMPONENT", OsString::from(&component.path)),
            ("BURLA_COMPONENT_DIGEST", component.digest.to_string().into()),
            ("BURLA_URL", url.into()),
        ];
        let status = cargo_test(&project, &cargo, &arguments.arguments(), variables)?;
        Ok(super::run::exit_code(status))
    })
}
