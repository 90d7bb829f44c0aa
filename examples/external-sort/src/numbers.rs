//! Numbers that are the same wherever they are made, and a checksum that tells them and their order.

/// So many numbers that look random. The same seed gives the same ones on every machine. This is splitmix64.
pub fn random(seed: u64, count: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// FNV-1a, 64 bits, over the little-endian bytes of the numbers.
#[derive(Clone, Debug)]
pub struct Checksum(u64);

impl Checksum {
    /// The checksum of numbers that are in memory.
    pub fn of(numbers: &[u64]) -> u64 {
        let mut checksum = Self::default();
        numbers.iter().for_each(|&number| checksum.add(number));
        checksum.value()
    }

    /// Goes on with the next number.
    pub fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// What it is so far.
    pub fn value(&self) -> u64 {
        self.0
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!(random(0, 3).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_checksum_is_fnv_1a_and_tells_the_order() {
        assert_eq!(Checksum::of(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Checksum::of(&[u64::from_le_bytes(*b"external")]), 0xd5cf_c0c6_7729_664a);
        assert_ne!(Checksum::of(&[1, 2]), Checksum::of(&[2, 1]));
    }
}
