//! Jobs on grids of real processes.

mod calls;
mod daemons;
mod failures;
mod limits;
mod output;
