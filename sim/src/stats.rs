//! Summaries of numbers: mean and nearest-rank percentiles.

use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// Mean and percentiles, in seconds. All zero if there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Of durations, in any order.
    #[must_use]
    pub fn of(mut values: Vec<Nanos>) -> Self {
        let Some(last) = values.len().checked_sub(1) else {
            return Self::default();
        };
        values.sort_unstable();
        // Nearest rank: the smallest value that at least this share of all values does not exceed.
        let rank =
            |percent: usize| values[((last + 1) * percent).div_ceil(100).max(1) - 1].as_secs_f64();
        let sum: u128 = values.iter().map(|value| u128::from(value.0)).sum();
        Self {
            mean: sum as f64 / (last + 1) as f64 / 1e9,
            p50: rank(50),
            p90: rank(90),
            p95: rank(95),
            p99: rank(99),
            max: values[last].as_secs_f64(),
        }
    }
}

/// Mean, standard deviation and maximum of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (of all samples, not an estimate from some).
    pub sd: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of samples and `zeros` more that are 0; all zero if there is none.
    #[must_use]
    pub fn of(samples: impl Iterator<Item = f64> + Clone, zeros: u64) -> Self {
        let count = (samples.clone().count() as f64 + zeros as f64).max(1.0);
        // Sums start from +0: an empty sum of floats is -0 otherwise.
        let mean = samples.clone().fold(0.0, |sum, sample| sum + sample) / count;
        let squares = samples
            .clone()
            .fold(0.0, |sum, sample| sum + (sample - mean) * (sample - mean));
        let variance = (squares + zeros as f64 * mean * mean) / count;
        Self {
            mean,
            sd: libm::sqrt(variance),
            max: samples.fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let summary = Summary::of((1..=10).rev().map(Nanos::from_secs).collect());
        let Summary {
            mean,
            p50,
            p90,
            p95,
            p99,
            max,
        } = summary;
        assert_eq!(
            [mean, p50, p90, p95, p99, max].map(|s| (s * 10.0) as u32),
            [55, 50, 90, 100, 100, 100]
        );
        assert_eq!(Summary::of(Vec::new()), Summary::default());
    }

    #[test]
    fn spread_is_of_the_whole_population() {
        let spread = Spread::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter(), 0);
        let with_zeros = Spread::of([4.0, 4.0].into_iter(), 2);
        assert_eq!(
            [with_zeros.mean, with_zeros.sd, with_zeros.max].map(|x| x as u32),
            [2, 2, 4]
        );
        assert_eq!(
            [spread.mean, spread.sd, spread.max].map(|x| x as u32),
            [5, 2, 9]
        );
    }
}
