//! Waiting for a job without an asynchronous runtime.

/// Waits for a future on this thread.
///
/// A thread of tokio's may well be what waits, in a program that calls a blocking method from an asynchronous `main`. tokio lets a
/// task make so many steps before everything it asks for is pending until its runtime has had a turn; here the runtime has none
/// before the future is ready, so it must not count.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(tokio::task::unconstrained(future))
}

/// The same in a component, where a job is over before it has begun.
#[cfg(target_family = "wasm")]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}
