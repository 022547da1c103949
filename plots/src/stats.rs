//! The few statistics a picture needs: percentiles and boxes.
//!
//! Not here: the results of a run; those are computed where the run is.

/// The nearest-rank percentile of ascending `sorted`: the smallest value with at least `percent` %
/// of all values at or below it. `None` if there are no values.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = libm::ceil(percent / 100.0 * sorted.len() as f64).max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// A box of a [`BoxChart`](crate::BoxChart): a distribution in six numbers, all in the chart's unit.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxStats {
    /// What it is the distribution of.
    pub name: String,
    /// End of the lower whisker.
    pub whisker_low: f64,
    /// 25th percentile.
    pub q1: f64,
    /// 50th percentile.
    pub median: f64,
    /// 75th percentile.
    pub q3: f64,
    /// End of the upper whisker.
    pub whisker_high: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl BoxStats {
    /// The box of `values`, in any order: nearest-rank quartiles, whiskers to the farthest values
    /// within 1.5 interquartile ranges of the box. Values that are not finite are left out; without
    /// any other the box is all NaN, and drawn as "no data".
    pub fn from_values(name: impl Into<String>, values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent| percentile(&sorted, percent).unwrap_or(f64::NAN);
        let (q1, q3) = (rank(25.0), rank(75.0));
        let reach = 1.5 * (q3 - q1);
        let low = sorted.iter().copied().find(|&v| v >= q1 - reach);
        let high = sorted.iter().copied().rfind(|&v| v <= q3 + reach);
        Self {
            name: name.into(),
            whisker_low: low.unwrap_or(f64::NAN),
            q1,
            median: rank(50.0),
            q3,
            whisker_high: high.unwrap_or(f64::NAN),
            mean: mean(&sorted),
        }
    }

    /// Whether all six numbers are finite and in order, the mean aside.
    pub(crate) fn is_sound(&self) -> bool {
        let marks = [
            self.whisker_low,
            self.q1,
            self.median,
            self.q3,
            self.whisker_high,
        ];
        marks.iter().all(|&mark| crate::axis::is_usable(mark))
            && marks.windows(2).all(|pair| pair[0] <= pair[1])
    }
}

/// NaN without values. Each value is divided first, so that no sum overflows.
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if sum.is_finite() {
        sum / count
    } else {
        values.iter().map(|value| value / count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_by_hand() {
        let values = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0, f64::NAN];
        let stats = BoxStats::from_values("x", &values);
        assert_eq!((stats.q1, stats.median, stats.q3), (3.0, 5.0, 8.0));
        assert_eq!(
            (stats.whisker_low, stats.whisker_high, stats.mean),
            (1.0, 9.0, 14.5)
        );
        assert!(stats.is_sound());
        assert!(!BoxStats::from_values("none", &[]).is_sound());
    }
}
