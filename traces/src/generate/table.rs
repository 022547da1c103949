//! A distribution as a table of quantiles: equal steps of probability, straight lines between.
//!
//! One number is a constant, two are a uniform distribution, 81 describe a heavy tail. Why tables: they say what
//! was measured without claiming a law, and a person can read and edit them.

use serde::{Deserialize, Serialize};

/// The most points that a table may have.
const MAX_POINTS: usize = 100;

/// Quantiles at equal steps of probability, from the least value to the greatest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Table(Vec<f64>);

impl Table {
    /// A table of these quantiles; `None` unless there are 1 to 100 finite numbers in ascending order.
    #[must_use]
    pub fn new(quantiles: Vec<f64>) -> Option<Self> {
        let table = Self(quantiles);
        table.is_valid().then_some(table)
    }

    /// The table of `points` quantiles that describes a sample best, rounded to whole `step`s; `None` for an
    /// empty sample.
    ///
    /// The last point is not the maximum but keeps the mean of the uppermost stretch, so that a single extreme
    /// value does not lift the whole tail.
    pub(super) fn fit(mut sample: Vec<f64>, points: usize, step: f64) -> Option<Self> {
        sample.sort_by(f64::total_cmp);
        let last = sample.len().checked_sub(1)?;
        if points < 2 || last == 0 {
            return Some(Self(vec![round(sample[last / 2], step)]));
        }
        let at = |share: f64| interpolate(&sample, share);
        let mut quantiles: Vec<f64> = (0..points)
            .map(|i| at(i as f64 / (points - 1) as f64))
            .collect();
        let tail = &sample[last - last / (points - 1)..];
        let mean = tail.iter().sum::<f64>() / tail.len() as f64;
        let below = quantiles[points - 2];
        quantiles[points - 1] = (2.0 * mean - below).clamp(below, sample[last]);
        for value in &mut quantiles {
            *value = round(*value, step);
        }
        Some(Self(quantiles))
    }

    pub(super) fn is_valid(&self) -> bool {
        let count = (1..=MAX_POINTS).contains(&self.0.len());
        count && self.0.iter().all(|value| value.is_finite()) && self.0.is_sorted()
    }

    /// The least value.
    pub(super) fn least(&self) -> f64 {
        self.0[0]
    }

    /// The greatest value.
    pub(super) fn greatest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The value at a share of probability from 0 to 1.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        interpolate(&self.0, share)
    }
}

fn interpolate(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = share * last as f64;
    let below = (place as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// `value` as a multiple of `step`, halves away from zero; `1 / step` is a whole number.
pub(super) fn round(value: f64, step: f64) -> f64 {
    let per_unit = libm::round(1.0 / step);
    libm::round(value * per_unit) / per_unit
}
