//! `cargo burla build`: packages functions into a component.

use crate::cli::Build;
use crate::error::CommandError;
use crate::package::{Packaged, package};
use crate::project::Project;

pub(super) fn build(arguments: &Build) -> Result<(), CommandError> {
    let project = Project::find(&arguments.what.selection())?;
    let mut packaged = package(&project, &arguments.cargo())?;
    if let Some(path) = &arguments.output {
        packaged.copy_to(path)?;
        packaged = Packaged { path: path.clone(), ..packaged };
    }
    // `--json` asks for data, which is no message.
    if arguments.what.quiet && !arguments.json {
        return Ok(());
    }
    super::print(&packaged, arguments.json)
}
