//! Prints lines for ever. The grid and the program that waits get the head and the tail of them, the call is not held back by its
//! readers, and its timeout ends it.

#![expect(clippy::print_stdout, reason = "that is the attack")]

#[burla::function]
fn attack() {
    let line = "all work and no play makes a dull function; ".repeat(4);
    loop {
        println!("{line}");
    }
}
