//! When a message is large enough to be sent.
//!
//! Every stream of the grid batches the same way: take what there is, up to this bound, and send it; while that is being sent,
//! more gathers. So nothing ever waits for a batch to fill, and a busy stream still pays for one message per thousand calls.

/// What a batch aims at: some ten thousand tiny calls, and little enough that the memory of a message does not matter. Not tuned.
pub const BATCH_BYTES: usize = 256 << 10;

/// The bytes of framing that one entry of a batch costs beside its payload: tags, lengths, index and attempt.
const ENTRY_OVERHEAD_BYTES: usize = 24;

/// How much of a batch something takes up.
pub trait WireSize {
    /// Bytes of payload.
    fn payload_bytes(&self) -> usize;

    /// Bytes of payload and framing.
    fn wire_bytes(&self) -> usize {
        self.payload_bytes() + ENTRY_OVERHEAD_BYTES
    }

    /// Bytes that it takes in memory: its payload, and the value that refers to it. A small call takes five times as much there as
    /// on the wire, so a bound on memory counts these.
    fn held_bytes(&self) -> usize
    where
        Self: Sized,
    {
        self.payload_bytes() + size_of::<Self>()
    }
}

impl WireSize for bytes::Bytes {
    fn payload_bytes(&self) -> usize {
        self.len()
    }
}

/// Whether a batch that holds `bytes` already should be sent before `next` goes in. An empty batch takes anything.
pub fn batch_is_full(bytes: usize, next: &impl WireSize) -> bool {
    bytes > 0 && bytes + next.wire_bytes() > BATCH_BYTES
}
