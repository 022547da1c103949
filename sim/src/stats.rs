//! Summaries of numbers: mean and nearest-rank percentiles.

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
    use crate::sketch::Quantiles;
    use conductor_core::units::Nanos;

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut ten = Quantiles::default();
        ten.extend((1..=10).rev().map(Nanos::from_secs));
        let summary = ten.summary();
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
        assert_eq!(Quantiles::default().summary(), Summary::default());
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
