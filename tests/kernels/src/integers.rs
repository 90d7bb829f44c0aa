//! Integer loops.

use crate::Random;

/// Counts the primes below 8 million by crossing out.
pub fn sieve() -> u64 {
    const BOUND: usize = 8_000_000;
    let mut composite = vec![false; BOUND];
    let mut primes = 0;
    for candidate in 2..BOUND {
        if composite[candidate] {
            continue;
        }
        primes += 1;
        // Smaller multiples have a smaller factor. The square may be more than a `usize` of 32 bits holds.
        let mut multiple = candidate.saturating_mul(candidate);
        while multiple < BOUND {
            composite[multiple] = true;
            multiple += candidate;
        }
    }
    primes
}

/// Plays the game of life on 512×512 cells, a byte each, 60 generations.
pub fn life() -> u64 {
    const SIDE: usize = 512;
    let mut random = Random(11);
    let mut now: Vec<u8> = (0..SIDE * SIDE).map(|_| u8::from(random.below(3) == 0)).collect();
    let mut next = vec![0; SIDE * SIDE];
    for _ in 0..60 {
        for y in 1..SIDE - 1 {
            let row = |y: usize| &now[y * SIDE..][..SIDE];
            let (above, here, below) = (row(y - 1), row(y), row(y + 1));
            let out = &mut next[y * SIDE..][..SIDE];
            for x in 1..SIDE - 1 {
                let beside = |row: &[u8]| row[x - 1] + row[x + 1];
                let neighbors = beside(above) + above[x] + beside(here) + beside(below) + below[x];
                out[x] = u8::from(neighbors == 3 || (neighbors == 2 && here[x] == 1));
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    now.iter().map(|cell| u64::from(*cell)).sum()
}

/// The edit distance of two texts of 6,000 letters.
pub fn edit_distance() -> u64 {
    const LENGTH: usize = 6_000;
    let mut random = Random(12);
    let [left, right] = [(); 2].map(|()| (0..LENGTH).map(|_| b'a' + random.below(4) as u8).collect::<Vec<u8>>());
    let mut distances: Vec<u32> = (0..=LENGTH as u32).collect();
    for (row, letter) in (1..).zip(&left) {
        let mut diagonal = std::mem::replace(&mut distances[0], row);
        for column in 1..=LENGTH {
            let replaced = diagonal + u32::from(right[column - 1] != *letter);
            diagonal = distances[column];
            distances[column] = replaced.min(diagonal + 1).min(distances[column - 1] + 1);
        }
    }
    u64::from(distances[LENGTH])
}

/// Sums the primes among 4,000 large odd numbers, each divided by all odd numbers up to its root.
pub fn trial_division() -> u64 {
    const FROM: u64 = 10_000_000_001;
    let is_prime = |number: u64| {
        let mut divisors = (3..).step_by(2).take_while(|divisor| divisor * divisor <= number);
        divisors.all(|divisor| !number.is_multiple_of(divisor))
    };
    (FROM..FROM + 8_000).step_by(2).filter(|number| is_prime(*number)).sum()
}

/// Counts the primes among 50,000 odd numbers of 62 bits, by products of 128 bits.
pub fn miller_rabin() -> u64 {
    let mut random = Random(13);
    (0..50_000).map(|_| (random.bits() >> 2) | (1 << 61) | 1).filter(|number| is_probably_prime(*number)).count() as u64
}

fn is_probably_prime(number: u64) -> bool {
    let modulus = Montgomery::new(number);
    let twos = (number - 1).trailing_zeros();
    let (one, minus_one) = (modulus.form(1), modulus.form(number - 1));
    // These twelve are enough for all numbers of 64 bits.
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].into_iter().all(|base| {
        let mut power = modulus.power(modulus.form(base), (number - 1) >> twos);
        power == one
            || (0..twos).any(|_| {
                let found = power == minus_one;
                power = modulus.product(power, power);
                found
            })
    })
}

/// Arithmetic modulo an odd number below 2^63, without divisions.
struct Montgomery {
    modulus: u64,
    /// Minus the inverse of the modulus, modulo 2^64.
    inverse: u64,
    /// 2^128 modulo the modulus.
    square: u64,
}

impl Montgomery {
    fn new(modulus: u64) -> Self {
        // Each step doubles the bits that are right, of which there are three at first.
        let inverse = (0..5).fold(modulus, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(modulus.wrapping_mul(inverse))));
        let square = (0..128).fold(1 % modulus, |power, _| reduced(2 * power, modulus));
        Self { modulus, inverse: inverse.wrapping_neg(), square }
    }

    fn form(&self, number: u64) -> u64 {
        self.product(number, self.square)
    }

    fn product(&self, one: u64, other: u64) -> u64 {
        let product = u128::from(one) * u128::from(other);
        let multiple = (product as u64).wrapping_mul(self.inverse);
        let sum = product + u128::from(multiple) * u128::from(self.modulus);
        reduced((sum >> 64) as u64, self.modulus)
    }

    fn power(&self, base: u64, mut exponent: u64) -> u64 {
        let (mut power, mut square) = (self.form(1), base);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.product(power, square);
            }
            square = self.product(square, square);
            exponent >>= 1;
        }
        power
    }
}

fn reduced(number: u64, modulus: u64) -> u64 {
    if number >= modulus { number - modulus } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_of_62_bits_are_told_from_products() {
        // The largest prime below 2^62, the largest product of two primes of 31 bits, and a strong pseudoprime to base 2.
        assert!(is_probably_prime((1 << 62) - 57));
        assert!(!is_probably_prime(2_147_483_647 * 2_147_483_629));
        assert!(!is_probably_prime(3_215_031_751));
        assert!(is_probably_prime(10_000_000_019));
    }
}
