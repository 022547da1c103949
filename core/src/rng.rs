//! Named streams of randomness from one seed, without state.
//!
//! Why: each draw is a pure function of (seed, stream name, counter). Adding a draw in one place changes no other,
//! a policy's draws never change a workload, and a journal needs only the seed to be decided again. The mixer is
//! splitmix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014),
//! applied to a Weyl sequence whose start is the hashed name.

/// One named stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    start: u64,
}

/// The Weyl increment of splitmix64: 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stream {
    /// The stream `name` of a run's `seed`.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let start = name
            .bytes()
            .fold(mix(seed ^ GOLDEN), |hash, byte| mix(hash ^ u64::from(byte)));
        Self { start }
    }

    /// The draw number `counter`: 64 uniform bits.
    #[must_use]
    pub const fn draw(&self, counter: u64) -> u64 {
        mix(self.start.wrapping_add(counter.wrapping_mul(GOLDEN)))
    }

    /// Draw number `counter`, uniform below `bound` (which must not be 0), with a bias of at most `bound` / 2^64.
    #[must_use]
    pub const fn below(&self, counter: u64, bound: u64) -> u64 {
        ((self.draw(counter) as u128 * bound as u128) >> 64) as u64
    }
}

const fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_distinct_and_even() {
        let (a, b) = (Stream::new(1, "policy"), Stream::new(1, "noise"));
        assert_eq!(a.draw(7), Stream::new(1, "policy").draw(7));
        assert_ne!(a.draw(7), b.draw(7));
        assert_ne!(a.draw(7), Stream::new(2, "policy").draw(7));
        let mut counts = [0_u32; 8];
        for i in 0..80_000 {
            counts[a.below(i, 8) as usize] += 1;
        }
        // Ten standard deviations of a binomial (80,000, 1/8) are 935.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 935),
            "{counts:?}"
        );
    }
}
