//! Writes one line that never ends to stderr. Nobody holds more of it than a piece, and its timeout ends it.

use std::io::Write;

#[burla::function]
fn attack() {
    let piece = [b'x'; 64 << 10];
    let mut stderr = std::io::stderr();
    while stderr.write_all(&piece).is_ok() {}
}
