//! Generates `proto/src/generated` from `proto/burla/v1`. It is a package of its own, so that it builds when the generated code
//! does not.
//!
//! protox reads `.proto` files in Rust, so nobody needs protoc.

use std::path::Path;

/// The code for all of `burla.v1`; `proto` is the folder that has `burla/v1`.
pub fn generate(proto: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let files = ["client_api", "ledger", "node_api", "types"].map(|name| format!("burla/v1/{name}.proto"));
    let descriptors = protox::compile(files, [proto])?;
    let fresh = tempfile::tempdir()?;
    tonic_prost_build::configure()
        // Connecting is a matter of each side's own edge file, with its own timeouts.
        .build_transport(false)
        // Inputs and outputs are slices of the message they came in, not copies of it.
        .bytes(".")
        .out_dir(fresh.path())
        .compile_fds(descriptors)?;
    Ok(std::fs::read_to_string(fresh.path().join("burla.v1.rs"))?)
}
