//! How long a request will decode.
//!
//! The paper takes one time for all (`t_d`); predicting each request's answer is its future work. A running
//! quantile by
//! prompt length is the plain way to do that; an oracle bounds what any predictor could gain.

use crate::config::{AdmissionConfig, PredictorConfig, Ratio};
use crate::units::{Nanos, Tokens};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Predicts decode times and learns from finished requests.
pub trait LoadPredictor: Send {
    /// How long a request will decode; `step` is the predicted time of a token where it goes, `answer` the true
    /// length if the driver told it, which none but the oracle may read.
    fn decode_time(&self, input: Tokens, step: Nanos, answer: Option<Tokens>) -> Nanos;

    /// A request has finished.
    fn learn(&mut self, input: Tokens, output: Tokens);
}

/// One time for all.
#[derive(Clone, Copy, Debug)]
pub struct Uniform {
    decode: Nanos,
}

impl LoadPredictor for Uniform {
    fn decode_time(&self, _input: Tokens, _step: Nanos, _answer: Option<Tokens>) -> Nanos {
        self.decode
    }

    fn learn(&mut self, _input: Tokens, _output: Tokens) {}
}

/// The true length.
#[derive(Clone, Copy, Debug)]
pub struct Oracle;

impl LoadPredictor for Oracle {
    fn decode_time(&self, _input: Tokens, step: Nanos, answer: Option<Tokens>) -> Nanos {
        step * answer.map_or(0, |answer| answer.0)
    }

    fn learn(&mut self, _input: Tokens, _output: Tokens) {}
}

/// Answers fall into steps of this many tokens; longer ones than the last step count as the last.
const STEP_TOKENS: u64 = 32;
const STEPS: usize = 128;
/// Prompt classes: by the number of binary digits of the prompt's length.
const CLASSES: usize = 25;
/// A class with fewer answers than this says too little.
const SEEN_MIN: u32 = 50;
/// At this many answers a class forgets half, so that it follows a change of its traffic.
const SEEN_MAX: u32 = 8_192;

/// A running quantile of answer lengths by class of prompt length.
#[derive(Clone, Debug)]
pub struct Quantile {
    quantile: Ratio,
    prior: Tokens,
    /// Answers seen, by class and step.
    counts: Vec<[u32; STEPS]>,
    seen: Vec<u32>,
}

impl Quantile {
    fn new(quantile: Ratio, prior: Tokens) -> Self {
        Self {
            quantile,
            prior,
            counts: vec![[0; STEPS]; CLASSES],
            seen: vec![0; CLASSES],
        }
    }

    fn class(input: Tokens) -> usize {
        (64 - input.0.leading_zeros() as usize).min(CLASSES - 1)
    }

    /// The predicted answer length.
    fn answer(&self, input: Tokens) -> Tokens {
        let class = Self::class(input);
        let seen = self.seen[class];
        if seen < SEEN_MIN {
            return self.prior;
        }
        let rank = (u64::from(seen) * u64::from(self.quantile.0))
            .div_ceil(1000)
            .max(1);
        let mut below = 0;
        let step = self.counts[class].iter().position(|&count| {
            below += u64::from(count);
            below >= rank
        });
        // The middle of the step.
        Tokens(step.unwrap_or(STEPS - 1) as u64 * STEP_TOKENS + STEP_TOKENS / 2)
    }
}

impl LoadPredictor for Quantile {
    fn decode_time(&self, input: Tokens, step: Nanos, _answer: Option<Tokens>) -> Nanos {
        step * self.answer(input).0
    }

    fn learn(&mut self, input: Tokens, output: Tokens) {
        let class = Self::class(input);
        self.counts[class][((output.0 / STEP_TOKENS) as usize).min(STEPS - 1)] += 1;
        self.seen[class] += 1;
        if self.seen[class] >= SEEN_MAX {
            self.counts[class].iter_mut().for_each(|count| *count /= 2);
            self.seen[class] = self.counts[class].iter().sum();
        }
    }
}

/// The predictor that the file names; for policies without prediction one that nobody asks.
#[must_use]
pub fn build(config: AdmissionConfig) -> Box<dyn LoadPredictor> {
    match config {
        AdmissionConfig::EarlyPredicted { predictor, .. } => match predictor {
            PredictorConfig::Uniform { decode } => Box::new(Uniform { decode }),
            PredictorConfig::Quantile { quantile, prior } => {
                Box::new(Quantile::new(quantile, prior))
            }
            PredictorConfig::Oracle => Box::new(Oracle),
        },
        AdmissionConfig::None
        | AdmissionConfig::PerStage { .. }
        | AdmissionConfig::Early { .. } => Box::new(Uniform {
            decode: Nanos::ZERO,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_learns_its_own_median_and_forgets() {
        let mut predictor = Quantile::new(Ratio(500), Tokens(343));
        let (short, long) = (Tokens(100), Tokens(50_000));
        assert_eq!(predictor.answer(short), Tokens(343), "nothing seen yet");
        for i in 0..99 {
            predictor.learn(short, Tokens(10 + i % 3 * 400));
            predictor.learn(long, Tokens(1_000_000));
        }
        assert_eq!(predictor.answer(short), Tokens(410 / 32 * 32 + 16));
        assert_eq!(
            predictor.answer(long),
            Tokens(127 * 32 + 16),
            "the last step is open"
        );
        for _ in 0..30_000 {
            predictor.learn(short, Tokens(40));
        }
        assert_eq!(predictor.answer(short), Tokens(48));
    }
}
