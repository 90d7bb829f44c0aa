//! Computes for ever. Others have their turn meanwhile, and its timeout ends it, or its fuel.

#[burla::function]
fn attack() {
    loop {
        std::hint::spin_loop();
    }
}
