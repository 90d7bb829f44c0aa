//! The bindings are committed, so that a user's first build of a component does not compile a parser and a generator for them. This
//! test generates them anew, and fails if that changed anything: commit the new file, and it passes.

use std::path::Path;

#[test]
fn committed_bindings_are_up_to_date() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/bindings.rs");
    let before = std::fs::read_to_string(&committed).unwrap_or_default();
    if before != burla_guest_codegen::BINDINGS {
        std::fs::write(&committed, burla_guest_codegen::BINDINGS).expect("the bindings are writable");
        panic!("{} was stale and has been written anew: commit it", committed.display());
    }
}
