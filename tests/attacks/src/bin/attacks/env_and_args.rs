//! Looks for secrets in its environment and its arguments. There is what the job gave, and nothing of the node's.

/// Returns all of both.
#[burla::function]
fn attack() -> (Vec<(String, String)>, Vec<String>) {
    (std::env::vars().collect(), std::env::args().collect())
}
