//! Starts a thread, which would be one that nobody accounts for. There are none: it is told so, and goes on.

/// Returns whether there was a thread.
#[burla::function]
fn attack() -> bool {
    std::thread::Builder::new().spawn(std::thread::yield_now).is_ok()
}
