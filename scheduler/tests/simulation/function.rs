//! The function that jobs run, as far as anyone outside can see it: its input says what it prints and what it returns.

use burla_types::JobId;
use burla_types::OutputStream;
use bytes::Bytes;

use crate::rng::mix;

/// Lines that a call prints at most, to each of its streams.
const LINES_MAX: u64 = 4;

/// The input at this position of a job.
pub(crate) fn input(job: JobId, index: u64) -> Bytes {
    Bytes::copy_from_slice(&seed(job, index).to_be_bytes())
}

/// What the function makes of it.
pub(crate) fn output(input: &Bytes) -> Bytes {
    let number = input.iter().fold(0u64, |sum, byte| mix(sum ^ u64::from(*byte)));
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// How many lines it prints to stdout and stderr.
pub(crate) fn lines(job: JobId, index: u64) -> [u64; 2] {
    let number = seed(job, index);
    // Half of the calls print nothing, as most functions do.
    if number & 1 == 0 { [0; 2] } else { [(number >> 8) % (LINES_MAX + 1), (number >> 16) % (LINES_MAX + 1)] }
}

/// Line `number` of a stream of a call, with its newline.
pub(crate) fn line(index: u64, stream: usize, number: u64) -> String {
    format!("{index}/{stream}/{number}\n")
}

pub(crate) fn stream(number: usize) -> OutputStream {
    [OutputStream::Stdout, OutputStream::Stderr][number]
}

pub(crate) fn number_of(stream: OutputStream) -> usize {
    usize::from(stream == OutputStream::Stderr)
}

fn seed(job: JobId, index: u64) -> u64 {
    let bytes = job.as_bytes();
    mix(index ^ (u64::from(bytes[0]) << 32) ^ 0x5eed)
}
