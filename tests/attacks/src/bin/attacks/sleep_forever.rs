//! Sleeps for a century, which takes no fuel. Its timeout ends it.

#[burla::function]
fn attack() {
    std::thread::sleep(std::time::Duration::from_secs(100 * 365 * 24 * 3600));
}
