//! Returns more than it may hold together with its copy in the host, or more than any output may be. The call ends at that limit.

#[burla::function]
fn attack(mebibytes: usize) -> String {
    "x".repeat(mebibytes << 20)
}
