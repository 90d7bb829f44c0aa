//! Generates the bindings of `wit/function.wit` into cargo's output directory. It runs again only when that file changes.

use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

fn main() -> anyhow::Result<()> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(&wit)?;
    let world = resolve.select_world(&[package], Some("function"))?;
    let options = wit_bindgen_rust::Opts { format: true, ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, code) = files.iter().next().ok_or_else(|| anyhow::anyhow!("wit-bindgen generated no file"))?;
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("bindings.rs"), code)?;
    Ok(())
}
