//! Named random streams: one purpose, one stream, so that changing one never shifts another.
//!
//! A stream is a [`Pcg64`] made from (seed, name, number). The name goes through 64-bit FNV-1a; seed, name and
//! number are then mixed by the finisher of splitmix64 into the generator's state and increment. Every session
//! has its own number, so what one session draws never moves another session's draws either.
//!
//! All maths beyond `+ - * /` goes through `libm`, so the bytes are the same on every machine.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Stream(Pcg64);

impl Stream {
    pub(super) fn new(seed: u64, name: &str, number: u64) -> Self {
        let label = fnv1a(name.as_bytes());
        let first = splitmix(seed ^ splitmix(label));
        let second = splitmix(first ^ splitmix(number));
        let third = splitmix(second ^ label);
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        Self(Pcg64::new(
            wide(first, second),
            wide(third, splitmix(third)),
        ))
    }

    /// Uniform in [0, 1), with 53 random bits.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below `bound`, which must not be 0. (Its bias, below `bound` / 2^53, does not matter here.)
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((self.uniform() * bound as f64) as u64).min(bound - 1)
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Standard normal, by Box and Muller; the second value of the pair is not used.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(2.0 * self.exponential());
        radius * libm::cos(2.0 * std::f64::consts::PI * self.uniform())
    }

    /// The place of a weighted choice; the weights need not add up to one, but to more than zero.
    pub(super) fn choose(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut rest = self.uniform() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (place, weight) in weights.enumerate() {
            if weight > 0.0 {
                last = place;
                if rest < weight {
                    break;
                }
                rest -= weight;
            }
        }
        last
    }
}

/// A chain of uniform ranks of which neighbours are alike: a Gaussian copula over a first-order process.
///
/// Why: one user's answers, pauses and documents resemble each other, while over all users each quantity keeps
/// its own distribution exactly.
#[derive(Clone, Debug)]
pub(super) struct Ranks {
    stream: Stream,
    state: Option<f64>,
}

impl Ranks {
    pub(super) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            state: None,
        }
    }

    /// The next rank, in [0, 1]; `likeness` from 0 (independent) to 1 (always the same).
    pub(super) fn next(&mut self, likeness: f64) -> f64 {
        let fresh = self.stream.normal();
        let state = match self.state {
            None => fresh,
            Some(state) => likeness * state + libm::sqrt(1.0 - likeness * likeness) * fresh,
        };
        self.state = Some(state);
        0.5 * libm::erfc(-state / std::f64::consts::SQRT_2)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const fn splitmix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_name_and_number() {
        let draw = |seed, name, number| Stream::new(seed, name, number).0.next_u64();
        let base = draw(1, "gaps", 0);
        assert_eq!(base, draw(1, "gaps", 0));
        for other in [
            draw(2, "gaps", 0),
            draw(1, "lengths", 0),
            draw(1, "gaps", 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_generator_is_pinned() {
        // A change here changes every generated workload: raise the schema of what depends on it.
        let mut stream = Stream::new(1, "arrivals", 0);
        let drawn: Vec<u64> = (0..3).map(|_| stream.0.next_u64()).collect();
        assert_eq!(drawn, PINNED);
    }

    const PINNED: [u64; 3] = [
        1_229_224_571_501_284_566,
        13_035_156_579_530_442_177,
        15_308_517_387_660_401_830,
    ];

    #[test]
    fn ranks_are_uniform_and_alike() {
        let (mut sum, mut products, number) = (0.0, 0.0, 20_000);
        for index in 0..number {
            let mut ranks = Ranks::new(Stream::new(7, "ranks", index));
            let (a, b) = (ranks.next(0.8), ranks.next(0.8));
            sum += a + b;
            products += (a - 0.5) * (b - 0.5);
        }
        let mean = sum / (2 * number) as f64;
        // The variance of a uniform rank is 1/12; ranks correlate a little less than the normals.
        let correlation = products / number as f64 * 12.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((correlation - 0.786).abs() < 0.03, "{correlation}");
    }
}
