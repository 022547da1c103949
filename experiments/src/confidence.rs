//! What can be said of a limit that holds for some random workloads and not for others.
//!
//! A seed draws a workload. Each workload has its own capacity: the largest load, or the like, at which the limits
//! hold. What is wanted is the load at which they hold for a share of all workloads that could be drawn; what is seen
//! is on how many of `n` seeds they hold at the loads that were tried, each load with the same seeds (common random
//! numbers).
//!
//! **The rule.** A value holds if it does on at least `k` of `n` seeds, where `k` is the smallest number that fewer
//! than 5 % of binomial draws with the share's chance would reach. If the limits are met at every value before one at
//! which they are met, on the same seed, then the largest value that holds is an order statistic of the seeds' own
//! capacities, and with the stated confidence the share of all workloads holds there, whatever the distribution: a
//! one-sided, distribution-free bound on a quantile (Hahn and Meeker, *Statistical Intervals*, 1991, section 5.2.3;
//! Conover, *Practical Nonparametric Statistics*, 3rd ed., section 3.2). It is one statement, not one for each try:
//! where the search looked has no part in it, so nothing is to be corrected for the number of tries. With too few
//! seeds for 95 %, all of them have to hold, and the confidence is what that gives: `1 - share^n`.
//!
//! The same the other way: a value at which so few seeds hold that 95 % of draws would have more is refuted.
//!
//! Not here: choosing among several answers, as of splits. What is best by chance is checked on fresh seeds
//! ([`crate::capacity`]).

use serde::Serialize;

/// The confidence that is sought.
pub const CONFIDENCE: f64 = 0.95;

/// When a value holds, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Seeds that judge each value.
    pub seeds: usize,
    /// Share of all workloads for which the answer has to hold.
    pub share: f64,
    /// A value holds if it does on so many of the seeds.
    pub needed: usize,
    /// How sure it is then that it holds for the share; nothing is said of one seed.
    pub confidence: Option<f64>,
}

impl Rule {
    /// For so many seeds, at least one, and a share above 0 and below 1.
    #[must_use]
    pub fn new(seeds: usize, share: f64) -> Self {
        let seeds = seeds.max(1);
        let enough = |needed: &usize| at_least(seeds, *needed, share) <= 1.0 - CONFIDENCE;
        let needed = (1..=seeds).find(enough).unwrap_or(seeds);
        let confidence = 1.0 - at_least(seeds, needed, share);
        Self {
            seeds,
            share,
            needed,
            confidence: (seeds > 1).then_some(confidence),
        }
    }

    /// True if so few seeds hold that, with 95 % confidence, less than the share of all workloads does.
    #[must_use]
    pub fn refutes(&self, holding: usize) -> bool {
        1.0 - at_least(self.seeds, holding + 1, self.share) <= 1.0 - CONFIDENCE
    }
}

/// The chance that at least `k` of `n` draws succeed, each with chance `share`. By the recursion over draws: sums of
/// products of positive numbers, the same on every machine.
#[must_use]
pub fn at_least(n: usize, k: usize, share: f64) -> f64 {
    let mut chances = vec![0.0; n + 1];
    chances[0] = 1.0;
    for draw in 1..=n {
        for successes in (1..=draw).rev() {
            chances[successes] =
                chances[successes] * (1.0 - share) + chances[successes - 1] * share;
        }
        chances[0] *= 1.0 - share;
    }
    chances
        .get(k..)
        .map_or(0.0, |tail| tail.iter().rev().sum::<f64>().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Line, Seek};
    use conductor_core::rng::Stream;

    #[test]
    fn tails_are_binomial() {
        assert!((at_least(5, 5, 0.5) - 1.0 / 32.0).abs() < 1e-15);
        assert!((at_least(8, 7, 0.5) - 9.0 / 256.0).abs() < 1e-15);
        assert!((at_least(10, 0, 0.3) - 1.0).abs() < 1e-12);
        assert!(at_least(3, 4, 0.3).abs() < 1e-15);
        assert!((at_least(1000, 500, 0.5) - 0.512_6).abs() < 1e-4);
    }

    #[test]
    fn rules_need_as_many_as_confidence_takes() {
        for (seeds, share, needed, confidence) in [
            (1, 0.5, 1, None),
            (3, 0.5, 3, Some(0.875)),
            (5, 0.5, 5, Some(0.968_75)),
            (8, 0.5, 7, Some(1.0 - 9.0 / 256.0)),
            (29, 0.9, 29, Some(0.952_9)),
            (28, 0.9, 28, Some(0.947_7)),
        ] {
            let rule = Rule::new(seeds, share);
            assert_eq!(rule.needed, needed, "{seeds} {share}");
            match (rule.confidence, confidence) {
                (Some(is), Some(wanted)) => assert!((is - wanted).abs() < 1e-4, "{is} {wanted}"),
                (is, wanted) => assert_eq!(is, wanted),
            }
        }
        let rule = Rule::new(8, 0.5);
        assert!(rule.refutes(1) && !rule.refutes(2));
        assert!(
            !Rule::new(4, 0.5).refutes(0),
            "four seeds refute nothing at 95 %"
        );
    }

    /// A noisy oracle whose answer is known: each seed's capacity is a draw, of which the true quantile is known. Over
    /// many studies the answer is above the truth in no more than the stated share, for a skewed distribution too, and
    /// a refuted value is below it in no more than 5 %.
    #[test]
    fn the_stated_confidence_is_the_coverage() {
        const STUDIES: u64 = 2_000;
        let uniform = |draw: u64| (draw >> 11) as f64 / (1_u64 << 53) as f64;
        for (seeds, share) in [
            (3, 0.5),
            (5, 0.5),
            (8, 0.5),
            (20, 0.5),
            (12, 0.8),
            (40, 0.9),
        ] {
            let rule = Rule::new(seeds, share);
            let line = Line {
                low: 1.0,
                high: 1e6,
                whole: false,
                tolerance: 0.001,
            };
            // Capacity 10 / u: P(capacity >= v) = min(1, 10 / v), so it holds for the share up to 10 / share.
            let truth = 10.0 / share;
            let (mut above, mut below) = (0, 0);
            for study in 0..STUDIES {
                let stream = Stream::new(study, "coverage");
                let capacities: Vec<f64> = (0..seeds as u64)
                    .map(|seed| 10.0 / uniform(stream.draw(seed)).max(1e-9))
                    .collect();
                let mut refuted = f64::INFINITY;
                let found = line.crossing(Seek::Largest, |value| {
                    let holding = capacities.iter().filter(|c| **c >= value).count();
                    if rule.refutes(holding) {
                        refuted = refuted.min(value);
                    }
                    Ok::<_, ()>(holding >= rule.needed)
                });
                let found = found
                    .expect("an oracle does not fail")
                    .holds
                    .expect("1 always holds");
                above += u64::from(found > truth);
                below += u64::from(refuted < truth);
            }
            let allowed = |chance: f64| {
                let n = STUDIES as f64;
                (n * chance + 3.0 * (n * chance * (1.0 - chance)).sqrt()) as u64
            };
            let confidence = rule.confidence.expect("several seeds");
            assert!(
                above <= allowed(1.0 - confidence),
                "{seeds} {share}: {above} above"
            );
            // Not only safe but as sharp as it says.
            assert!(
                above * 2 >= (STUDIES as f64 * (1.0 - confidence)) as u64,
                "{seeds}: {above}"
            );
            assert!(below <= allowed(0.05), "{seeds} {share}: {below} below");
        }
    }
}
