//! What overload did to a run: wasted work, who was turned away, and whether the pools swing against each other.

use crate::record::{Outcome, RequestRecord};
use crate::timeline::PoolSample;
use serde::{Deserialize, Serialize};

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

/// Share of requests that were completed, at whichever try, by quartile of prompt length: shortest quarter first.
/// Rejecting every long prompt is no success.
#[must_use]
pub(super) fn accepted_by_prompt_quartile(records: &[RequestRecord]) -> [f64; 4] {
    let mut order: Vec<&RequestRecord> = records.iter().collect();
    order.sort_by_key(|record| (record.input, record.id));
    let quarter = |i: usize| {
        let part = &order[order.len() * i / 4..order.len() * (i + 1) / 4];
        let completed = part
            .iter()
            .filter(|record| record.outcome == Outcome::Completed)
            .count();
        if part.is_empty() {
            0.0
        } else {
            completed as f64 / part.len() as f64
        }
    };
    [0, 1, 2, 3].map(quarter)
}

/// Seconds of prefill for tries that were turned away after it, earlier tries of requests that succeeded included.
#[must_use]
pub(super) fn wasted_prefill_s(records: &[RequestRecord]) -> f64 {
    let wasted = records
        .iter()
        .map(RequestRecord::wasted_prefill)
        .filter(|wasted| !wasted.is_zero());
    wasted.fold(0.0, |sum, wasted| sum + wasted.as_secs_f64())
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
}
