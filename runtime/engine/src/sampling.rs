//! From logits to a token.
//!
//! A draw is a function of the request's seed and the token's position and of nothing else: there is no generator whose
//! state depends on what was drawn for others, so a request that goes on elsewhere after a fault draws what it would
//! have drawn. Greedy is the largest logit, the smaller token among equals.
//!
//! Not here: penalties and top-k, which nobody has asked for.

use conductor_core::rng::Stream;
use thiserror::Error;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// The likeliest.
    Greedy,
    /// By chance.
    Random {
        /// Logits are divided by it; above 0.
        temperature: f32,
        /// Only the likeliest tokens that have this share of the probability together; above 0, up to 1.
        top_p: f32,
        /// The request's.
        seed: u64,
    },
}

/// A parameter out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{name} is {found}, expected {expected}")]
pub struct SamplingError {
    /// The parameter, as clients name it.
    pub name: &'static str,
    /// Its value.
    pub found: f32,
    /// The range.
    pub expected: &'static str,
}

impl Sampling {
    /// What a client asks for: temperature 0 to 2, 0 being greedy; `top_p` above 0, up to 1.
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Result<Self, SamplingError> {
        if !(0.0..=2.0).contains(&temperature) {
            return Err(SamplingError {
                name: "temperature",
                found: temperature,
                expected: "0 to 2",
            });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError {
                name: "top_p",
                found: top_p,
                expected: "more than 0, at most 1",
            });
        }
        // A temperature that underflows is greedy too: there is nothing below the smallest normal number to divide by.
        if temperature < f32::MIN_POSITIVE {
            return Ok(Self::Greedy);
        }
        Ok(Self::Random {
            temperature,
            top_p,
            seed,
        })
    }

    /// The token for `position`; `None` if a logit is not a number, or there is none.
    #[must_use]
    pub fn choose(&self, logits: &[f32], position: u32) -> Option<u32> {
        let (mut best, mut largest) = (0, *logits.first()?);
        for (token, &logit) in logits.iter().enumerate() {
            if logit.is_nan() {
                return None;
            }
            if logit > largest {
                (best, largest) = (token, logit);
            }
        }
        if !largest.is_finite() {
            return None;
        }
        match *self {
            Self::Greedy => Some(best as u32),
            Self::Random {
                temperature,
                top_p,
                seed,
            } => {
                let weight = |&logit: &f32| libm::expf((logit - largest) / temperature);
                let weights: Vec<f32> = logits.iter().map(weight).collect();
                Some(pick(&weights, top_p, share(seed, position)))
            }
        }
    }

    /// The draw for `position`, 0 up to 1; 0 for greedy.
    #[must_use]
    pub fn share(&self, position: u32) -> f64 {
        match *self {
            Self::Greedy => 0.0,
            Self::Random { seed, .. } => share(seed, position),
        }
    }
}

fn share(seed: u64, position: u32) -> f64 {
    let bits = Stream::new(seed, "token").draw(u64::from(position)) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// The token at `share` (0 up to 1) of the likeliest tokens' weights, which together have at least `top_p` of all.
fn pick(weights: &[f32], top_p: f32, share: f64) -> u32 {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    let weight = |token: u32| f64::from(weights[token as usize]);
    let mut kept = total;
    if top_p < 1.0 {
        // The sort is stable: the smaller token comes first among equals.
        order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
        kept = 0.0;
        let enough = order.iter().position(|&token| {
            kept += weight(token);
            kept >= total * f64::from(top_p)
        });
        order.truncate(enough.map_or(order.len(), |last| last + 1));
    }
    let mut left = share * kept;
    for &token in &order {
        left -= weight(token);
        if left < 0.0 {
            return token;
        }
    }
    // Rounding: the last one that has any weight.
    let possible = order.iter().rev().find(|&&token| weight(token) > 0.0);
    *possible.expect("the likeliest token has weight 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_largest_and_the_first_of_equals() {
        assert_eq!(Sampling::Greedy.choose(&[1.0, 3.0, 3.0, -2.0], 5), Some(1));
        assert_eq!(Sampling::Greedy.choose(&[1.0, f32::NAN], 5), None);
        assert_eq!(Sampling::Greedy.choose(&[f32::INFINITY], 5), None);
        assert_eq!(Sampling::Greedy.choose(&[], 5), None);
    }

    #[test]
    fn draws_follow_the_probabilities_and_depend_on_seed_and_position_alone() {
        let logits = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 1.0_f32.ln()];
        let mut counts = [0; 4];
        for position in 0..8_000 {
            let sampling = Sampling::new(1.0, 1.0, 42).expect("in range");
            let token = sampling.choose(&logits, position).expect("a token");
            assert_eq!(sampling.choose(&logits, position), Some(token));
            counts[token as usize] += 1;
        }
        // Of 8,000 draws 4,000 +- 45 and 2,000 +- 39 are expected (standard deviations); five of them are allowed.
        assert!((3_775..4_225).contains(&counts[1]), "{counts:?}");
        assert!((1_805..2_195).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn a_nucleus_leaves_the_unlikely_out() {
        let logits = [0.0, 3.0, 1.0];
        for position in 0..200 {
            let nucleus = Sampling::new(1.0, 0.8, 1).expect("in range");
            assert_eq!(nucleus.choose(&logits, position), Some(1));
        }
        let almost_cold = Sampling::new(1e-30, 1.0, 1).expect("in range");
        assert_eq!(almost_cold.choose(&logits, 0), Some(1));
    }

    #[test]
    fn parameters_have_ranges() {
        for (temperature, top_p) in [(-1.0, 1.0), (f32::NAN, 1.0), (3.0, 1.0), (1.0, 0.0)] {
            assert!(Sampling::new(temperature, top_p, 0).is_err());
        }
        assert_eq!(Sampling::new(0.0, 1.0, 9), Ok(Sampling::Greedy));
    }
}
