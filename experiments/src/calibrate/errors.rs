//! How far a model is from measurements.

use serde::Serialize;

/// Relative errors, |model / measured - 1|, over some points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Errors {
    /// How many points.
    pub points: usize,
    /// Nearest rank.
    pub median: f64,
    /// Nearest rank.
    pub p95: f64,
    /// The worst.
    pub max: f64,
}

impl Errors {
    /// Of (model, measured) pairs, measured being above 0.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let mut errors: Vec<f64> = pairs
            .iter()
            .map(|(model, measured)| (model / measured - 1.0).abs())
            .collect();
        errors.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let place = (errors.len() * percent).div_ceil(100).max(1) - 1;
            errors.get(place).copied().unwrap_or_default()
        };
        Self {
            points: errors.len(),
            median: rank(50),
            p95: rank(95),
            max: rank(100),
        }
    }

    /// `1.2 / 3.4 / 5.6 %`: median, p95, max.
    #[must_use]
    pub fn text(&self) -> String {
        let percent = |share: f64| share * 100.0;
        format!(
            "{:.1} / {:.1} / {:.1} %",
            percent(self.median),
            percent(self.p95),
            percent(self.max)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let pairs: Vec<(f64, f64)> = (1..=20)
            .map(|i| (100.0 + f64::from(i), 100.0))
            .rev()
            .collect();
        let errors = Errors::of(&pairs);
        assert_eq!(errors.text(), "10.0 / 19.0 / 20.0 %");
        assert_eq!(Errors::of(&[]), Errors::default());
    }
}
