//! The generated code is committed, so that nothing but Rust is needed to build. This test writes it anew, and fails when that
//! changed anything: commit what it wrote, and it passes.

use std::path::Path;

#[test]
fn generated_code_is_up_to_date() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let committed = proto.join("src/generated/burla.v1.rs");
    let fresh = burla_proto_codegen::generate(&proto).expect("the .proto files generate code");
    let before = std::fs::read_to_string(&committed).unwrap_or_default();
    if before != fresh {
        std::fs::write(&committed, fresh).expect("the generated code is writable");
        panic!("{} was stale and has been written anew: commit it", committed.display());
    }
}
