//! Fails with an error of ten megabytes. The user gets the beginning of it, and is told how much is missing.

#[burla::function]
fn attack() -> Result<(), String> {
    Err("x".repeat(10 << 20))
}
