//! Lives in host calls that take long and cost no fuel: the largest pieces of random numbers, one after the other. It has to let
//! others go between them, and is over at its timeout.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack() {
    loop {
        std::hint::black_box(wasip2::random::random::get_random_bytes(1 << 20));
    }
}
