//! Components that mean harm, and what has to become of each.
//!
//! 1. `attacks.toml` is the list: what runs, with which inputs and options, and how it has to end ([`list`]);
//! 2. [`prepared`] makes the components: the two programs of `src/bin/` are built, the texts of `wat/` become bytes, and what is too
//!    large to be written down is generated (`component.rs`, `generated.rs`);
//! 3. [`Attack::run`] lets one loose on a grid, through the client's raw interface, since no program was compiled with it;
//! 4. [`Attack::deviation`] says where it did not end as it has to.
//!
//! For WebAssembly nothing of this is built: the programs stand alone.

#![cfg(not(target_family = "wasm"))]

mod attack;
mod component;
mod ended;
mod generated;

pub use attack::{Attack, Target, list};
pub use component::prepared;
pub use ended::Ended;
pub use generated::numbers;
