//! Asks for as many random bytes at once as the input says, which the host would have to hold. It is refused, and the call ends.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack(bytes: u64) -> usize {
    wasip2::random::random::get_random_bytes(bytes).len()
}
