//! Means over seeds and how far to trust them.

pub use conductor_sim::report::correlation;

/// Quantiles 0.975 of Student's t by degrees of freedom, from 1: NIST/SEMATECH e-Handbook of Statistical Methods,
/// 1.3.6.7.2, "Critical Values of the Student's t Distribution", column 0.975.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// A mean over runs that differ in their seed alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half width of its 95 % confidence interval; none of fewer than two values.
    pub ci95: Option<f64>,
}

impl Estimate {
    /// Of values that are independent of each other. The mean of nothing is not a number.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let ci95 = (values.len() >= 2).then(|| {
            let squares = values.iter().map(|value| (value - mean) * (value - mean));
            let variance = squares.sum::<f64>() / (n - 1.0);
            t_975(values.len() - 1) * (variance / n).sqrt()
        });
        Self { mean, ci95 }
    }

    /// Of the differences of paired values: what both have from a seed they share cancels.
    #[must_use]
    pub fn of_differences(of: &[f64], to: &[f64]) -> Self {
        let pairs = of.iter().zip(to);
        Self::of(&pairs.map(|(of, to)| of - to).collect::<Vec<_>>())
    }
}

/// Beyond the table, its last value: a little too wide, never too narrow.
fn t_975(freedom: usize) -> f64 {
    T_975[freedom.clamp(1, T_975.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        let found = Estimate::of(&[1.0, 2.0, 3.0]);
        assert!((found.mean - 2.0).abs() < 1e-12);
        // s = 1, t(2) = 4.303, n = 3.
        assert!((found.ci95.expect("three values") - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Estimate::of(&[5.0]).ci95, None);
        assert!((t_975(1_000) - 2.042).abs() < 1e-12);
    }

    #[test]
    fn correlations_are_pearsons() {
        let found = correlation(&[(1.0, 6.0), (2.0, 4.0), (3.0, 5.0)]);
        assert!((found.expect("both vary") + 0.5).abs() < 1e-12);
        assert_eq!(correlation(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(correlation(&[]), None);
    }

    #[test]
    fn pairs_cancel_what_they_share() {
        let found = Estimate::of_differences(&[11.0, 101.0, 1.0], &[10.0, 100.0, 0.0]);
        assert_eq!((found.mean, found.ci95), (1.0, Some(0.0)));
    }
}
