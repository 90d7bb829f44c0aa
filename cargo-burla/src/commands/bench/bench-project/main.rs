//! What `cargo burla bench` measures. On a grid each of these is a function. On this machine `burla-bench NAME ROUNDS` runs the
//! same source natively, and prints a line for each round: the result, and the seconds that it took.

#![cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "some have no native counterpart"))]

use std::time::Instant;

/// One call that does nothing.
#[cfg_attr(target_family = "wasm", burla::function)]
fn doubles(number: i64) -> i64 {
    number.wrapping_mul(2)
}

/// Prints a line, and keeps its slot.
#[cfg_attr(target_family = "wasm", burla::function)]
fn prints_and_stays(millis: u64) {
    println!("here");
    std::thread::sleep(std::time::Duration::from_millis(millis));
}

/// Sends back what it was given.
#[cfg_attr(target_family = "wasm", burla::function)]
fn echoes(text: String) -> String {
    text
}

/// Writes a file of 1 KiB, and reads it.
#[cfg_attr(target_family = "wasm", burla::function)]
fn uses_a_file(seed: u64) -> Result<u64, std::io::Error> {
    std::fs::write("file", [seed as u8; 1024])?;
    Ok(std::fs::read("file")?.iter().map(|&byte| u64::from(byte)).sum())
}

/// A loop over integers with a state of eight words, as hashes have them.
#[cfg_attr(target_family = "wasm", burla::function)]
fn hashes(seed: u64) -> u64 {
    let mut state = [seed as u32; 8];
    for round in 0..8_000_000u32 {
        let [a, b, c, d, e, f, g, h] = state;
        let choice = (e & f) ^ (!e & g);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let mixed_e = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let mixed_a = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let first = h.wrapping_add(mixed_e).wrapping_add(choice).wrapping_add(round);
        state = [first.wrapping_add(mixed_a).wrapping_add(majority), a, b, c, d.wrapping_add(first), e, f, g];
    }
    state.iter().fold(0, |sum, &word| (sum << 5) ^ u64::from(word))
}

/// Four products of matrices of 256 by 256 numbers.
#[cfg_attr(target_family = "wasm", burla::function)]
fn multiplies(seed: u64) -> u64 {
    const SIDE: usize = 256;
    let mut state = seed + 1;
    let mut matrix = || (0..SIDE * SIDE).map(|_| random(&mut state) as f64 / u64::MAX as f64).collect::<Vec<_>>();
    let (mut left, right) = (matrix(), matrix());
    for _ in 0..4 {
        let mut product = vec![0.0; SIDE * SIDE];
        for (row, of_left) in product.chunks_exact_mut(SIDE).zip(left.chunks_exact(SIDE)) {
            for (factor, of_right) in of_left.iter().zip(right.chunks_exact(SIDE)) {
                row.iter_mut().zip(of_right).for_each(|(sum, number)| *sum += factor * number);
            }
        }
        left = product;
    }
    left.iter().fold(0, |sum, number| sum ^ number.to_bits())
}

/// Sorts a million numbers.
#[cfg_attr(target_family = "wasm", burla::function)]
fn sorts(seed: u64) -> u64 {
    let mut state = seed + 1;
    let mut numbers: Vec<u64> = (0..1_000_000).map(|_| random(&mut state)).collect();
    numbers.sort_unstable();
    numbers.iter().step_by(1000).fold(0, |sum, number| sum.rotate_left(1) ^ number)
}

/// The next of numbers without a pattern that matters here: xorshift, which needs a state that is not 0.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("give a name and rounds")?;
    let rounds = arguments.next().ok_or("give a number of rounds")?.parse()?;
    for seed in 0..rounds {
        let started = Instant::now();
        let result = match name.as_str() {
            "uses_a_file" => {
                let sum = uses_a_file(seed)?;
                // On a grid the call's directory is emptied after it, and that counts.
                std::fs::remove_file("file")?;
                sum
            }
            "hashes" => hashes(seed),
            "multiplies" => multiplies(seed),
            "sorts" => sorts(seed),
            _ => return Err("there is no such function".into()),
        };
        println!("{result} {}", started.elapsed().as_secs_f64());
    }
    Ok(())
}
