//! Ends its process with a code. The call is trapped, and no other call's process ends.

#[burla::function]
fn attack() {
    std::process::exit(3);
}
