//! Quantiles of any number of values, in place: exact up to a size, and with a bounded relative error beyond it.
//!
//! Why: a day of requests is millions of values, and what a report says of them is five numbers. Values are kept while
//! there are few; then they are counted in buckets: exact below 2^10, above that 2^10 of them between one power of two
//! and the next (as in G. Tene's HdrHistogram; the guarantee is that of DDSketch, C. Masson, J. E. Rim and H. K. Lee,
//! PVLDB 12, 2019, without its logarithms). The middle of a bucket is within [`RELATIVE_ERROR`] of whatever is in it,
//! so each quantile is within that of the exact one. Counts, sums and largest values are exact always. Integers
//! throughout, and neither the order of values nor how they were split among sketches that are merged matters.

use crate::stats::Summary;
use conductor_core::units::Nanos;

/// By how much a quantile beyond [`EXACT_MAX`] values may be off, as a share of itself.
pub const RELATIVE_ERROR: f64 = 1.0 / 2048.0;

/// Up to so many values quantiles are exact.
pub const EXACT_MAX: usize = 1 << 20;

/// Buckets between two powers of two, as a power of two.
const BITS: u32 = 10;

/// What is kept of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    /// All of them.
    Exact(Vec<u64>),
    /// How many there are in each bucket.
    Counts(Vec<u64>),
}

/// A distribution of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantiles {
    count: u64,
    sum: u128,
    largest: u64,
    values: Values,
    exact_max: usize,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::exact_up_to(EXACT_MAX)
    }
}

impl Extend<Nanos> for Quantiles {
    fn extend<T: IntoIterator<Item = Nanos>>(&mut self, values: T) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl Quantiles {
    /// Of nothing; exact up to so many values.
    #[must_use]
    pub const fn exact_up_to(exact_max: usize) -> Self {
        Self {
            count: 0,
            sum: 0,
            largest: 0,
            values: Values::Exact(Vec::new()),
            exact_max,
        }
    }

    /// How many values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Adds a value.
    pub fn add(&mut self, value: Nanos) {
        self.count += 1;
        self.sum += u128::from(value.0);
        self.largest = self.largest.max(value.0);
        match &mut self.values {
            Values::Exact(values) => {
                values.push(value.0);
                self.bound();
            }
            Values::Counts(counts) => count(counts, bucket(value.0), 1),
        }
    }

    /// Adds all values of another, which is exact up to the same number.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
        match (&mut self.values, &other.values) {
            (Values::Exact(values), Values::Exact(others)) => {
                values.extend_from_slice(others);
                self.bound();
            }
            (Values::Exact(_), Values::Counts(others)) => {
                self.forget();
                self.merge_counts(others);
            }
            (Values::Counts(counts), Values::Exact(others)) => {
                others
                    .iter()
                    .for_each(|&value| count(counts, bucket(value), 1));
            }
            (Values::Counts(_), Values::Counts(others)) => self.merge_counts(others),
        }
    }

    fn merge_counts(&mut self, others: &[u64]) {
        if let Values::Counts(counts) = &mut self.values {
            for (bucket, &number) in others.iter().enumerate().filter(|entry| *entry.1 > 0) {
                count(counts, bucket, number);
            }
        }
    }

    /// Counts from here on, if there are too many values to keep.
    fn bound(&mut self) {
        if self.count > self.exact_max as u64 {
            self.forget();
        }
    }

    fn forget(&mut self) {
        if let Values::Exact(values) = &self.values {
            let mut counts = Vec::new();
            values
                .iter()
                .for_each(|&value| count(&mut counts, bucket(value), 1));
            self.values = Values::Counts(counts);
        }
    }

    /// Mean, percentiles by nearest rank, and the largest.
    #[must_use]
    pub fn summary(&self) -> Summary {
        if self.count == 0 {
            return Summary::default();
        }
        let sorted = match &self.values {
            Values::Exact(values) => {
                let mut values = values.clone();
                values.sort_unstable();
                Values::Exact(values)
            }
            Values::Counts(counts) => Values::Counts(counts.clone()),
        };
        // Nearest rank: the smallest value that at least this share of all values does not exceed.
        let at = |percent: u128| {
            let rank = (u128::from(self.count) * percent).div_ceil(100).max(1) as u64;
            let value = match &sorted {
                Values::Exact(values) => values[rank as usize - 1],
                Values::Counts(counts) => middle(bucket_at(counts, rank)).min(self.largest),
            };
            Nanos(value).as_secs_f64()
        };
        Summary {
            mean: self.sum as f64 / self.count as f64 / 1e9,
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
            max: Nanos(self.largest).as_secs_f64(),
        }
    }
}

fn count(counts: &mut Vec<u64>, bucket: usize, number: u64) {
    if bucket >= counts.len() {
        counts.resize(bucket + 1, 0);
    }
    counts[bucket] += number;
}

/// The bucket of a value: ascending with it.
const fn bucket(value: u64) -> usize {
    match (value >> BITS).checked_ilog2() {
        None => value as usize,
        Some(above) => (((above as usize + 1) << BITS) - (1 << BITS)) + (value >> above) as usize,
    }
}

/// The middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    match (bucket >> BITS).checked_sub(1) {
        None => bucket as u64,
        Some(above) => {
            let lowest = ((bucket - (above << BITS)) as u64) << above;
            lowest + ((1 << above) - 1) / 2
        }
    }
}

/// The bucket of the value of a rank, counted from 1.
fn bucket_at(counts: &[u64], rank: u64) -> usize {
    let mut before = 0;
    let reached = counts.iter().position(|number| {
        before += number;
        before >= rank
    });
    reached.expect("no rank is above the number of values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of all sizes.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0_u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits);
        proptest::collection::vec(value, 1..400)
    }

    fn of(values: &[u64], exact_max: usize) -> Quantiles {
        let mut quantiles = Quantiles::exact_up_to(exact_max);
        quantiles.extend(values.iter().copied().map(Nanos));
        quantiles
    }

    fn percentiles(quantiles: &Quantiles) -> [f64; 4] {
        let Summary {
            p50, p90, p95, p99, ..
        } = quantiles.summary();
        [p50, p90, p95, p99]
    }

    proptest! {
        #[test]
        fn quantiles_are_within_the_error_and_the_rest_is_exact(values in values()) {
            let (sketch, exact) = (of(&values, 0), of(&values, values.len()));
            prop_assert!(matches!(exact.values, Values::Exact(_)));
            for (found, is) in percentiles(&sketch).into_iter().zip(percentiles(&exact)) {
                prop_assert!((found - is).abs() <= is * RELATIVE_ERROR * 1.000_001, "{} for {}", found, is);
            }
            let (sketch, exact) = (sketch.summary(), exact.summary());
            prop_assert!((sketch.mean - exact.mean).abs() <= 0.0 && (sketch.max - exact.max).abs() <= 0.0);
        }

        /// Neither the order nor the parts matter, whichever of the parts are still exact.
        #[test]
        fn merged_parts_are_the_whole(
            values in values(), cuts in proptest::collection::vec(0_usize..400, 0..4), exact_max in 0_usize..300,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).collect();
            cuts.extend([0, values.len()]);
            cuts.sort_unstable();
            let mut merged = Quantiles::exact_up_to(exact_max);
            for part in cuts.windows(2).rev() {
                merged.merge(&of(&values[part[0]..part[1]], exact_max));
            }
            prop_assert_eq!(merged.summary(), of(&values, exact_max).summary());
        }

        #[test]
        fn buckets_are_in_order_and_have_their_middles(value: u64, bits in 0_u32..64) {
            let value = value >> bits;
            prop_assert_eq!(bucket(middle(bucket(value))), bucket(value));
            prop_assert!(value == u64::MAX || bucket(value + 1) - bucket(value) <= 1);
            prop_assert!(value >= 1 << (BITS + 1) || middle(bucket(value)) == value);
        }
    }
}
