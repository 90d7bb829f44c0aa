//! Waits for the same timer as many times over as the input says, in one host call. Each counts as a handle: the call ends at the
//! limit of those.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack(times: usize) -> usize {
    let timer = wasip2::clocks::monotonic_clock::subscribe_duration(0);
    wasip2::io::poll::poll(&vec![&timer; times]).len()
}
