//! Passes texts of megabytes to the host, hundreds of times: as paths that there are not, and to print. Each is within what one
//! host call may be given, or ends the call as more than that; and the host keeps none of them.

#![expect(clippy::print_stdout, reason = "what is printed passes through the host")]

use std::fs;

const ROUNDS: usize = 50;

/// Returns how many of the paths worked.
#[burla::function]
fn attack(mebibytes: usize) -> usize {
    let text = "x".repeat(mebibytes << 20);
    let works = |_| {
        let found = usize::from(fs::metadata(&text).is_ok());
        let renamed = usize::from(fs::rename(&text, &text).is_ok());
        found + renamed + usize::from(fs::create_dir(&text).is_ok())
    };
    let worked = (0..ROUNDS).map(works).sum();
    println!("{text}");
    std::hint::black_box(std::env::var_os(&text));
    worked
}
