//! Recurses for ever with frames that hold a few numbers, none of them in memory, so that the stack of the node's thread is used
//! up and not the guest's own. The call is trapped.

#[burla::function]
fn attack(seed: u64) -> u64 {
    down(seed)
}

#[inline(never)]
fn down(depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    // An odd number times an odd number is never 0, which the compiler does not see. What is done with the result keeps it from
    // making a loop of this.
    down(depth.wrapping_mul(3)).rotate_left(7) ^ depth
}
