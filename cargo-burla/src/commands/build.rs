//! `cargo burla build`: packages functions into a component.

use crate::cli::Build;
use crate::error::CommandError;
use crate::package::package;
use crate::project::Project;

pub(super) fn build(arguments: &Build) -> Result<(), CommandError> {
    let project = Project::find(&arguments.what.selection())?;
    let packaged = package(&project, &arguments.what.cargo())?;
    super::print(&packaged, arguments.json)
}
