//! Panics with a message of megabytes. The user gets the beginning of it, and is told how much is missing; one that is larger
//! than what a host call may be given ends the call at that limit.

#[burla::function]
fn attack(mebibytes: usize) {
    panic!("{}", "x".repeat(mebibytes << 20));
}
