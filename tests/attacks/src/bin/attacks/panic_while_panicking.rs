//! Panics with a message that panics when it is written. The call is trapped: nobody could say why it panicked.

use std::fmt;

struct Bomb;

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("while the message was written");
    }
}

#[burla::function]
fn attack() {
    panic!("{Bomb}");
}
