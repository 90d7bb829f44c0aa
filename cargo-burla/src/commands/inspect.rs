//! `cargo burla inspect`: shows what is in a component.

use crate::cli::Inspect;
use crate::error::CommandError;
use crate::package::Packaged;

pub(super) fn inspect(arguments: &Inspect) -> Result<(), CommandError> {
    super::print(&Packaged::read(&arguments.component)?, arguments.json)
}
