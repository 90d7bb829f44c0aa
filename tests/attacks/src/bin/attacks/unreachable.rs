//! Does what a corrupted program does. The call is trapped.

#[burla::function]
fn attack() {
    #[cfg(target_arch = "wasm32")]
    std::arch::wasm32::unreachable();
}
