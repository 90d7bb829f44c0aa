//! What functions do when things go wrong, and what they must not be able to do to others.

use std::fmt;
use std::time::Duration;

/// Returns an error with two causes.
#[burla::function]
pub fn fails_with_causes(depth: u32) -> anyhow::Result<u32> {
    use anyhow::Context;
    Err::<u32, _>(std::io::Error::other("the disk is on fire"))
        .context("cannot read the map")
        .with_context(|| format!("expedition {depth}"))
}

/// An error that can only be shown.
pub struct Plain(u32);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plain error {}", self.0)
    }
}

/// Fails with an error that is not an `Error`.
#[burla::function]
pub fn fails_plainly(number: u32) -> Result<(), Plain> {
    Err(Plain(number))
}

/// Panics two calls down.
#[burla::function]
#[expect(clippy::print_stderr, reason = "the last it wrote goes with its error")]
pub fn panics(number: u32) -> u32 {
    eprintln!("about to panic over {number}");
    outer(number)
}

#[inline(never)]
fn outer(number: u32) -> u32 {
    inner(number) + 1
}

#[inline(never)]
fn inner(number: u32) -> u32 {
    assert!(number > 1_000_000, "number {number} is too small");
    number
}

/// Indexes out of bounds.
#[burla::function]
pub fn indexes(position: usize) -> u8 {
    let bytes = std::hint::black_box(vec![1, 2, 3]);
    bytes[position]
}

/// Computes for ever.
#[burla::function]
pub fn spins() {
    loop {
        std::hint::spin_loop();
    }
}

/// Sleeps for an hour, unless it is told to fail.
#[burla::function]
pub fn sleeps_or_fails(fail: bool) -> Result<(), String> {
    if fail {
        return Err("told to fail".to_owned());
    }
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Takes memory a MiB at a time until there is no more.
#[burla::function]
pub fn eats_memory() -> usize {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        std::hint::black_box(&eaten);
    }
}

/// Asks for a lot at once, and can do without.
#[burla::function]
pub fn asks_for_memory(mebibytes: usize) -> bool {
    let mut wanted: Vec<u8> = Vec::new();
    let has = wanted.try_reserve_exact(mebibytes << 20).is_ok();
    // Else it is seen that nobody uses it, and nothing is asked for.
    std::hint::black_box(wanted.as_ptr());
    has
}

/// Recurses until the stack ends.
#[burla::function]
pub fn recurses(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurses(depth + 1) + frame[0] }
}

/// Ends its process.
#[burla::function]
pub fn exits(code: i32) {
    std::process::exit(code);
}

/// Aborts without a word.
#[burla::function]
pub fn aborts() {
    std::process::abort();
}

/// Does what a corrupted program does.
#[burla::function]
pub fn traps() {
    #[cfg(target_arch = "wasm32")]
    std::arch::wasm32::unreachable();
}

/// Returns this many bytes.
#[burla::function]
pub fn returns_bytes(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Makes a tree this many levels deep.
#[burla::function]
pub fn makes_a_deep_tree(levels: u32) -> std::io::Result<()> {
    for _ in 0..levels {
        std::fs::create_dir("outer")?;
        if std::fs::exists("inner")? {
            std::fs::rename("inner", "outer/inner")?;
        }
        std::fs::rename("outer", "inner")?;
    }
    Ok(())
}

/// Tries to reach the network; returns what worked.
#[burla::function]
pub fn reaches_out(address: String) -> Vec<String> {
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    let attempts = [
        ("connect", TcpStream::connect(&address).is_ok()),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("udp", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("lookup", "localhost:80".to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some())),
    ];
    attempts.into_iter().filter(|(_, worked)| *worked).map(|(name, _)| name.to_owned()).collect()
}

/// Has a local value of 2 MiB, which is more than the stack in its memory.
#[burla::function]
pub fn fills_its_stack(number: usize) -> f64 {
    let values = std::hint::black_box([[number as f64; 512]; 512]);
    values[number][number]
}
