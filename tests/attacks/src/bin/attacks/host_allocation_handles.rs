//! Makes timers and keeps them, each an object in the host. The call ends at the limit of handles.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack() -> usize {
    const HOUR_NANOSECONDS: u64 = 3_600_000_000_000;
    let timer = |_| wasip2::clocks::monotonic_clock::subscribe_duration(HOUR_NANOSECONDS);
    let timers: Vec<_> = (0..100_000).map(timer).collect();
    timers.len()
}
