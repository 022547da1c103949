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
    pub(super) fn fit(sample: Vec<f64>, points: usize, step: f64) -> Option<Self> {
        Self::fit_weighted(
            sample.into_iter().map(|value| (value, 1.0)).collect(),
            points,
            step,
        )
    }

    /// The same for values that count with a positive weight each.
    pub(super) fn fit_weighted(
        mut sample: Vec<(f64, f64)>,
        points: usize,
        step: f64,
    ) -> Option<Self> {
        sample.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (last, _) = *sample.last()?;
        if points < 2 || sample.len() < 2 {
            return Some(Self(vec![round(sample[0].0, step)]));
        }
        // Each value stands at the middle of its weight.
        let mut total = 0.0;
        let mut places: Vec<(f64, f64)> = Vec::with_capacity(sample.len());
        for (value, weight) in &sample {
            places.push((total + weight / 2.0, *value));
            total += weight;
        }
        let steps = (points - 1) as f64;
        let mut quantiles: Vec<f64> = (0..points)
            .map(|i| value_at(&places, total * i as f64 / steps))
            .collect();
        let tail = sample
            .iter()
            .zip(&places)
            .filter(|(_, place)| place.0 >= total * (1.0 - 1.0 / steps));
        let (sum, weight) = tail.fold((0.0, 0.0), |(sum, all), ((value, weight), _)| {
            (sum + value * weight, all + weight)
        });
        let below = quantiles[points - 2];
        if weight > 0.0 {
            quantiles[points - 1] = (2.0 * sum / weight - below).clamp(below, last);
        }
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

/// The value at a place of the accumulated weight, by straight lines between ascending places.
fn value_at(places: &[(f64, f64)], at: f64) -> f64 {
    let above = places.partition_point(|(place, _)| *place < at);
    match (places[..above].last(), places.get(above)) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (at - low.0) / (high.0 - low.0),
        (Some(end), None) | (None, Some(end)) => end.1,
        (None, None) => 0.0,
    }
}

/// `value` as a multiple of `step`, halves away from zero; `1 / step` is a whole number.
pub(super) fn round(value: f64, step: f64) -> f64 {
    let per_unit = libm::round(1.0 / step);
    libm::round(value * per_unit) / per_unit
}
