//! What overload did to a run: wasted work, who was turned away, and whether the pools swing against each other.

use crate::record::{Outcome, RequestRecord};
use crate::timeline::PoolSample;
use conductor_core::ids::RequestId;
use conductor_core::units::Tokens;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Correlation of the pools' loads, sampled every 15 s while requests arrive, as in v3 Fig 9: prefill load at a
/// time with
/// decode load so much later (earlier where the name says minus). 0 where a load does not vary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadCorrelation {
    /// Decode load 30 s earlier.
    pub lag_minus_30_s: f64,
    /// Decode load 15 s earlier.
    pub lag_minus_15_s: f64,
    /// At the same time.
    pub lag_0_s: f64,
    /// Decode load 15 s later.
    pub lag_15_s: f64,
    /// Decode load 30 s later.
    pub lag_30_s: f64,
    /// Decode load 45 s later.
    pub lag_45_s: f64,
}

/// Seconds between the samples that are correlated.
const PERIOD_S: usize = 15;

impl LoadCorrelation {
    /// Of the samples from `from` to `to`, in seconds of simulated time.
    #[must_use]
    pub fn of(pools: &[PoolSample], from: f64, to: f64) -> Self {
        let within = pools
            .iter()
            .filter(|sample| (from..=to).contains(&sample.at.as_secs_f64()));
        let samples: Vec<(f64, f64)> = within
            .step_by(PERIOD_S)
            .map(|sample| (sample.prefill_load, sample.decode_load))
            .collect();
        let at = |lag: isize| {
            let pairs = (0..samples.len()).filter_map(|i| {
                let later = i.checked_add_signed(lag)?;
                Some((samples[i].0, samples.get(later)?.1))
            });
            correlation(&pairs.collect::<Vec<_>>()).unwrap_or_default()
        };
        Self {
            lag_minus_30_s: at(-2),
            lag_minus_15_s: at(-1),
            lag_0_s: at(0),
            lag_15_s: at(1),
            lag_30_s: at(2),
            lag_45_s: at(3),
        }
    }
}

/// Pearson's correlation; none where one side does not vary.
#[must_use]
pub fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len().max(1) as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / n;
    let (mx, my) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum = |value: &dyn Fn(f64, f64) -> f64| {
        pairs
            .iter()
            .map(|&(x, y)| value(x - mx, y - my))
            .sum::<f64>()
    };
    let spread = libm::sqrt(sum(&|x, _| x * x) * sum(&|_, y| y * y));
    (spread > 0.0).then(|| sum(&|x, y| x * y) / spread)
}

/// Up to so many requests quartiles of prompts are exact.
const EXACT_MAX: usize = 1 << 20;

/// Who was completed, by length of the prompt. Beyond [`EXACT_MAX`] requests there is one entry for each length, of
/// which there are no more than a prompt may have tokens; of prompts of one length that are in two quartiles each
/// quartile then has its share of those that were completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prompts {
    /// Each by length and number.
    Each(Vec<(Tokens, RequestId, bool)>),
    /// By length: how many, and how many of them were completed.
    ByLength(BTreeMap<Tokens, (u64, u64)>),
}

impl Default for Prompts {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Prompts {
    pub(super) fn add(&mut self, record: &RequestRecord) {
        let completed = record.outcome == Outcome::Completed;
        self.put(record.input, record.id, completed);
        self.bound(EXACT_MAX);
    }

    fn put(&mut self, input: Tokens, id: RequestId, completed: bool) {
        match self {
            Self::Each(each) => each.push((input, id, completed)),
            Self::ByLength(lengths) => {
                let (count, complete) = lengths.entry(input).or_default();
                *count += 1;
                *complete += u64::from(completed);
            }
        }
    }

    fn bound(&mut self, most: usize) {
        if let Self::Each(each) = self
            && each.len() > most
        {
            let each = std::mem::take(each);
            *self = Self::ByLength(BTreeMap::new());
            for (input, id, completed) in each {
                self.put(input, id, completed);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Each(each) => {
                for &(input, id, completed) in each {
                    self.put(input, id, completed);
                }
                self.bound(EXACT_MAX);
            }
            Self::ByLength(others) => {
                self.bound(0);
                if let Self::Each(_) = self {
                    *self = Self::ByLength(BTreeMap::new());
                }
                if let Self::ByLength(lengths) = self {
                    for (&input, &(count, complete)) in others {
                        let entry = lengths.entry(input).or_default();
                        *entry = (entry.0 + count, entry.1 + complete);
                    }
                }
            }
        }
    }

    /// Share of requests that were completed, at whichever try, by quartile of prompt length: shortest quarter first.
    /// Rejecting every long prompt is no success.
    pub(super) fn accepted_by_quartile(&self) -> [f64; 4] {
        match self {
            Self::Each(each) => {
                let mut order = each.clone();
                order.sort_unstable();
                [0, 1, 2, 3].map(|i| {
                    let part = &order[order.len() * i / 4..order.len() * (i + 1) / 4];
                    let completed = part.iter().filter(|entry| entry.2).count();
                    super::ratio(completed as f64, part.len() as f64)
                })
            }
            Self::ByLength(lengths) => {
                let all: u64 = lengths.values().map(|entry| entry.0).sum();
                [0, 1, 2, 3].map(|i| {
                    let (from, to) = (all * i / 4, all * (i + 1) / 4);
                    let (mut before, mut completed) = (0, 0.0);
                    for &(count, complete) in lengths.values() {
                        let inside = to.min(before + count).saturating_sub(from.max(before));
                        completed += complete as f64 * (inside as f64 / count as f64);
                        before += count;
                    }
                    super::ratio(completed, (to - from) as f64)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::units::Nanos;

    #[test]
    fn a_delayed_copy_correlates_at_its_delay() {
        let wave = |t: i64| ((t.rem_euclid(120)) as f64 - 60.0).abs();
        let pools: Vec<PoolSample> = (0..3_600)
            .map(|t| PoolSample {
                at: Nanos::from_secs(t as u64),
                prefill_load: wave(t),
                decode_load: wave(t - 30),
                ..PoolSample::default()
            })
            .collect();
        let found = LoadCorrelation::of(&pools, 0.0, 3_600.0);
        assert!(
            found.lag_30_s > 0.999 && found.lag_0_s.abs() < 0.1 && found.lag_minus_30_s < -0.9,
            "{found:?}"
        );
    }

    #[test]
    fn quartiles_by_length_are_those_of_each() {
        let mut each = Prompts::default();
        for i in 0..8_000_u64 {
            // Eighty of each length: no length is in two quartiles.
            each.put(Tokens(1 + i % 100), RequestId(i), i % 7 < 3 || i % 100 > 60);
        }
        let mut lengths = each.clone();
        lengths.bound(0);
        assert!(matches!(lengths, Prompts::ByLength(_)));
        let mut merged = each.clone();
        merged.merge(&lengths);
        for other in [lengths, merged] {
            let (found, exact) = (other.accepted_by_quartile(), each.accepted_by_quartile());
            for (found, exact) in found.into_iter().zip(exact) {
                assert!((found - exact).abs() < 1e-9, "{found} for {exact}");
            }
        }
    }
}
