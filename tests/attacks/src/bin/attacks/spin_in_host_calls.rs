//! Asks for the time for ever, so that it is in the host as often as not. Its timeout ends it there as anywhere.

#[burla::function]
fn attack() {
    loop {
        std::hint::black_box(std::time::Instant::now());
    }
}
