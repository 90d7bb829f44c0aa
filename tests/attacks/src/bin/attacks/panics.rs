//! Panics. The call ends as panicked, with its message.

#[burla::function]
fn attack() {
    panic!("at the worst of times");
}
