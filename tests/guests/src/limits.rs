//! Functions that go up to what they are given.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Computes for so long by the clock, and returns how far it came.
#[burla::function]
pub fn computes_for(milliseconds: u64) -> u64 {
    let (until, mut rounds) = (Instant::now() + Duration::from_millis(milliseconds), 0);
    while Instant::now() < until {
        std::hint::black_box((0..10_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number)));
        rounds += 1;
    }
    rounds
}

/// Computes the same for the same number.
#[burla::function]
pub fn computes(rounds: u64) -> u64 {
    (0..rounds).fold(1, |state, round| std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ round))
}

/// Writes into one file until there is no more room. Returns how many KiB fitted, what the error said, and whether there is room
/// again once the file is gone.
#[burla::function]
pub fn fills_its_disk() -> std::io::Result<(u64, String, bool)> {
    let mut file = std::fs::File::create("/tmp/file")?;
    let (piece, mut kibibytes) = (vec![7; 64 << 10], 0);
    let error = loop {
        match file.write(&piece) {
            Ok(written) => kibibytes += written as u64 / 1024,
            Err(error) => break error,
        }
    };
    drop(file);
    std::fs::remove_file("/tmp/file")?;
    Ok((kibibytes, error.to_string(), std::fs::write("again", &piece).is_ok()))
}

/// Writes so many bytes to a file and holds so many in memory.
#[burla::function]
pub fn writes_and_holds(disk_bytes: usize, memory_bytes: usize) -> std::io::Result<usize> {
    let held = std::hint::black_box(vec![1u8; memory_bytes]);
    std::fs::write("file", vec![2u8; disk_bytes])?;
    Ok(held.len())
}

/// Sends a line to a server and returns its answer.
#[burla::function]
pub fn asks(address: String, line: String) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The addresses of a name.
#[burla::function]
pub fn looks_up(name_and_port: String) -> std::io::Result<Vec<String>> {
    Ok(name_and_port.to_socket_addrs()?.map(|address| address.to_string()).collect())
}

/// Prints so many numbered lines of a hundred bytes.
#[burla::function]
#[expect(clippy::print_stdout, reason = "what calls print is what is tested")]
pub fn prints_much(lines: u64) {
    for line in 0..lines {
        println!("{line:099}");
    }
}
