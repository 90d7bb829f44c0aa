//! Recurses with frames of 64 KiB, so that the stack that a guest keeps in its memory grows past the end of that memory. The call
//! is trapped, and nothing below is overwritten.

#[burla::function]
fn attack(seed: u64) -> u64 {
    down(seed)
}

#[inline(never)]
fn down(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 8192]);
    if depth == 0 { 0 } else { down(depth.wrapping_mul(3)).rotate_left(7) ^ frame[17] }
}
