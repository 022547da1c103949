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
    /// How much longer a request will decode.
    fn remaining(&self, request: Answering) -> Nanos;

    /// How likely it still decodes after `later`: certainly or certainly not, unless the predictor knows better.
    fn stays(&self, request: Answering, later: Nanos) -> Chance {
        match self.remaining(request) > later {
            true => Chance::CERTAIN,
            false => Chance::NONE,
        }
    }

    /// The time that every request decodes for, whoever it is; `None` if that depends on the request.
    fn alike(&self) -> Option<Nanos> {
        None
    }

    /// A request has finished.
    fn learn(&mut self, input: Tokens, output: Tokens);
}

/// A request that is or will be answered.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// Prompt length.
    pub input: Tokens,
    /// Since when it decodes; zero before it does.
    pub since: Nanos,
    /// The predicted time of a token where it is.
    pub step: Nanos,
    /// The true length if the driver told it, which none but the oracle may read.
    pub answer: Option<Tokens>,
}

impl Answering {
    /// Tokens that it is predicted to have made.
    fn made(&self) -> Tokens {
        Tokens(self.since.0 / self.step.0.max(1))
    }
}

/// A probability in 1024ths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(pub u32);

impl Chance {
    /// 0.
    pub const NONE: Self = Self(0);
    /// 1.
    pub const CERTAIN: Self = Self(1024);
}

/// One time for all.
#[derive(Clone, Copy, Debug)]
pub struct Uniform {
    decode: Nanos,
}

impl LoadPredictor for Uniform {
    /// Who has decoded for longer counts as gone (v3 section 7).
    fn remaining(&self, request: Answering) -> Nanos {
        self.decode.saturating_sub(request.since)
    }

    fn alike(&self) -> Option<Nanos> {
        Some(self.decode)
    }

    fn learn(&mut self, _input: Tokens, _output: Tokens) {}
}

/// The true length.
#[derive(Clone, Copy, Debug)]
pub struct Oracle;

impl LoadPredictor for Oracle {
    /// Who should have ended has one step left: the length is known, the pace is not.
    fn remaining(&self, request: Answering) -> Nanos {
        let answer = request.answer.unwrap_or(Tokens::ZERO);
        request.step * answer.saturating_sub(request.made()).0.max(1)
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

/// Answer lengths seen so far, by class of prompt length.
#[derive(Clone, Debug)]
struct Answers {
    /// By class and step: how many answers reached the step. What reached step 0 is how many were seen.
    reached: Vec<[u32; STEPS]>,
}

impl Answers {
    fn new() -> Self {
        Self {
            reached: vec![[0; STEPS]; CLASSES],
        }
    }

    fn class(input: Tokens) -> usize {
        (64 - input.0.leading_zeros() as usize).min(CLASSES - 1)
    }

    const fn step_of(tokens: Tokens) -> usize {
        let step = (tokens.0 / STEP_TOKENS) as usize;
        if step < STEPS { step } else { STEPS - 1 }
    }

    /// The class of `input`, if it has been seen often enough.
    fn of(&self, input: Tokens) -> Option<&[u32; STEPS]> {
        let reached = &self.reached[Self::class(input)];
        (reached[0] >= SEEN_MIN).then_some(reached)
    }

    fn learn(&mut self, input: Tokens, output: Tokens) {
        let reached = &mut self.reached[Self::class(input)];
        for count in &mut reached[..=Self::step_of(output)] {
            *count += 1;
        }
        if reached[0] >= SEEN_MAX {
            reached.iter_mut().for_each(|count| *count /= 2);
        }
    }
}

/// A running quantile of answer lengths by class of prompt length.
#[derive(Clone, Debug)]
pub struct Quantile {
    quantile: Ratio,
    prior: Tokens,
    answers: Answers,
}

impl Quantile {
    fn new(quantile: Ratio, prior: Tokens) -> Self {
        Self {
            quantile,
            prior,
            answers: Answers::new(),
        }
    }

    /// The quantile of those answers of the class that are at least as long as `made`: what a request that has made so
    /// many tokens is predicted to make in all.
    fn answer(&self, input: Tokens, made: Tokens) -> Tokens {
        let Some(reached) = self.answers.of(input) else {
            return self.prior.max(made + Tokens(STEP_TOKENS));
        };
        let first = Answers::step_of(made);
        let longer = u64::from(reached[first]);
        if longer == 0 {
            // Nobody has ever answered at such length: one step more.
            return made + Tokens(STEP_TOKENS);
        }
        // The last step that more than the part above the quantile reach; its middle.
        let above = longer - (longer * u64::from(self.quantile.0)).div_ceil(1000).max(1);
        let steps = reached[first..].partition_point(|&count| u64::from(count) > above);
        let step = (first + steps - 1) as u64;
        Tokens(step * STEP_TOKENS + STEP_TOKENS / 2).max(made + Tokens(1))
    }
}

impl LoadPredictor for Quantile {
    fn remaining(&self, request: Answering) -> Nanos {
        let made = request.made();
        request.step * (self.answer(request.input, made) - made).0
    }

    fn learn(&mut self, input: Tokens, output: Tokens) {
        self.answers.learn(input, output);
    }
}

/// The whole distribution of answer lengths by class of prompt length: of requests that have made so many tokens, so
/// many make so many more. A sum over many requests is then right on average, whatever the moment that is asked for.
#[derive(Clone, Debug)]
pub struct Survival {
    median: Quantile,
}

impl LoadPredictor for Survival {
    fn remaining(&self, request: Answering) -> Nanos {
        self.median.remaining(request)
    }

    fn stays(&self, request: Answering, later: Nanos) -> Chance {
        let made = request.made();
        let then = made + Tokens(later.0 / request.step.0.max(1));
        let Some(reached) = self.median.answers.of(request.input) else {
            let stays = then < self.median.prior.max(made + Tokens(STEP_TOKENS));
            return if stays { Chance::CERTAIN } else { Chance::NONE };
        };
        // Between two steps of the histogram: in proportion.
        let at = |tokens: Tokens| {
            let step = Answers::step_of(tokens);
            let next = reached.get(step + 1).copied().unwrap_or(0);
            let within = tokens.0.min(STEP_TOKENS * STEPS as u64 - 1) % STEP_TOKENS;
            u64::from(reached[step]) * STEP_TOKENS - u64::from(reached[step] - next) * within
        };
        // Nobody is known to go on beyond the last step.
        let known = if Answers::step_of(made) + 1 < STEPS {
            at(made)
        } else {
            0
        };
        match known {
            0 => Chance((then.0 < made.0 + STEP_TOKENS) as u32 * 1024),
            there => Chance((at(then) * 1024 / there) as u32),
        }
    }

    fn learn(&mut self, input: Tokens, output: Tokens) {
        self.median.learn(input, output);
    }
}

/// The predictor that the file names; for policies without prediction one that no decision asks.
#[must_use]
pub fn build(config: AdmissionConfig) -> Box<dyn LoadPredictor> {
    match config {
        AdmissionConfig::EarlyPredicted { predictor, .. } => match predictor {
            PredictorConfig::Uniform { decode } => Box::new(Uniform { decode }),
            PredictorConfig::Quantile { quantile, prior } => {
                Box::new(Quantile::new(quantile, prior))
            }
            PredictorConfig::Survival { prior } => Box::new(Survival {
                median: Quantile::new(Ratio(500), prior),
            }),
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
        let none = Tokens::ZERO;
        assert_eq!(
            predictor.answer(short, none),
            Tokens(343),
            "nothing seen yet"
        );
        for i in 0..99 {
            predictor.learn(short, Tokens(10 + i % 3 * 400));
            predictor.learn(long, Tokens(1_000_000));
        }
        assert_eq!(predictor.answer(short, none), Tokens(410 / 32 * 32 + 16));
        assert_eq!(
            predictor.answer(long, none),
            Tokens(127 * 32 + 16),
            "the last step is open"
        );
        for _ in 0..30_000 {
            predictor.learn(short, Tokens(40));
        }
        assert_eq!(predictor.answer(short, none), Tokens(48));
        assert_eq!(
            predictor.answer(short, Tokens(300)),
            Tokens(410 / 32 * 32 + 16),
            "who has made 300 is one of the longer ones"
        );
        assert_eq!(
            predictor.answer(short, Tokens(5_000)),
            Tokens(5_032),
            "longer than any"
        );
    }
}
