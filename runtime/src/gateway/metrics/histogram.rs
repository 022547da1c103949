//! A histogram with fixed buckets. Counting is one addition without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of buckets for whole requests, microseconds: 1 ms to 10 min, about three a decade.
const SECONDS: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// The same for gaps between tokens: 0.5 ms to 10 s, finer where limits are (vLLM's own are too coarse below 10 ms).
const GAPS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000, 250_000,
    500_000, 1_000_000, 2_500_000, 10_000_000,
];

/// Counts of durations by bucket.
pub(super) struct Histogram {
    ends: &'static [u64],
    /// One more than `ends`: the last is of what is longer than all.
    counts: Vec<AtomicU64>,
    micros: AtomicU64,
}

impl Histogram {
    fn new(ends: &'static [u64]) -> Self {
        Self {
            ends,
            counts: (0..=ends.len()).map(|_| AtomicU64::new(0)).collect(),
            micros: AtomicU64::new(0),
        }
    }

    /// For whole requests.
    pub(super) fn of_seconds() -> Self {
        Self::new(&SECONDS)
    }

    /// For gaps between tokens.
    pub(super) fn of_gaps() -> Self {
        Self::new(&GAPS)
    }

    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.ends.partition_point(|&end| end < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Ends of buckets in seconds, each with the number of what is not longer.
    pub(super) fn cumulated(&self) -> Vec<(f64, u64)> {
        let mut sum = 0;
        let ends = self.ends.iter().map(|&end| end as f64 / 1e6);
        let ends = ends.chain([f64::INFINITY]);
        let sums = ends.zip(&self.counts).map(|(end, count)| {
            sum += count.load(Ordering::Relaxed);
            (end, sum)
        });
        sums.collect()
    }

    /// Of all, seconds.
    pub(super) fn sum(&self) -> f64 {
        self.micros.load(Ordering::Relaxed) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_bucket_is_in_it() {
        let histogram = Histogram::new(&[10, 20]);
        for micros in [0, 10, 11, 20, 21] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram
            .cumulated()
            .iter()
            .map(|&(_, count)| count)
            .collect();
        assert_eq!(counts, [2, 4, 5]);
        assert_eq!((histogram.sum() * 1e6).round() as u64, 62);
    }
}
