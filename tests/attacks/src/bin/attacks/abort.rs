//! Aborts without a word. The call is trapped.

#[burla::function]
fn attack() {
    std::process::abort();
}
