//! One axis: from values to back-end units, linear or logarithmic.
//!
//! It is one of plotters' coordinates ([`Ranged`]), so that elements are placed by value. Logarithms
//! go through `libm`: plotters' own use the platform's.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::ticks::{self, Step, Ticks};

/// Values larger than this are treated as if they were infinite.
const LARGEST: f64 = 1e100;

/// Whether `value` can be drawn.
pub(crate) fn is_usable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// The smallest and the largest usable value.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|&value| is_usable(value))
        .fold(None, |seen, value| match seen {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// An axis over `low..=high`, low < high; both are positive if it is logarithmic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    /// Exactly `low..=high`, in either order.
    pub(crate) fn exact(low: f64, high: f64) -> Self {
        let (low, high) = spread(low.min(high), low.max(high));
        Self {
            low,
            high,
            is_log: false,
        }
    }

    /// Linear, with room for all `values` and up to `most` steps; ends at round numbers. It includes
    /// 0 unless the values are far from it.
    pub(crate) fn linear(values: impl Iterator<Item = f64>, most: usize) -> Self {
        Self::from_zero_if(0.7, values, most)
    }

    /// The same for what is varied rather than measured: 0 is nothing to compare it with, so it is included only if the
    /// values begin near it.
    pub(crate) fn along(values: impl Iterator<Item = f64>, most: usize) -> Self {
        Self::from_zero_if(0.2, values, most)
    }

    /// Linear; from 0 if the value nearest to it is at most this `share` of the farthest.
    fn from_zero_if(share: f64, values: impl Iterator<Item = f64>, most: usize) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let (low, high) = match (low, high) {
            (l, h) if l >= 0.0 && h > 0.0 && l <= share * h => (0.0, h),
            (l, h) if h <= 0.0 && l < 0.0 && h >= share * l => (l, 0.0),
            (l, h) => spread(l, h),
        };
        let step = Step::at_least(high - low, most).size();
        let low = libm::floor(low / step + 1e-6) * step;
        let high = libm::ceil(high / step - 1e-6) * step;
        Self::exact(low, high)
    }

    /// Logarithmic, with room for all positive `values`; ends at 1, 2 or 5 times a power of ten.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Self {
        // Below, powers of ten stay ordinary floats.
        let positive = values.filter(|&value| value >= 1.0 / LARGEST);
        let (least, most) = extent(positive).unwrap_or((0.1, 10.0));
        let round = |value: f64, digits: [f64; 4]| digits.map(|d| d * ten_below(value));
        let mut low = ten_below(least);
        for candidate in round(least, [1.0, 2.0, 5.0, 10.0]) {
            if candidate <= least * (1.0 + 1e-9) {
                low = candidate;
            }
        }
        let mut high = 10.0 * ten_below(most);
        for candidate in round(most, [10.0, 5.0, 2.0, 1.0]) {
            if candidate >= most * (1.0 - 1e-9) {
                high = candidate;
            }
        }
        if high < 2.0 * low {
            (low, high) = (low / 2.0, high * 2.0);
        }
        Self {
            low,
            high,
            is_log: true,
        }
    }

    /// The same axis with an upper end of `high`, if that leaves a fair piece of an axis.
    pub(crate) fn up_to(mut self, high: Option<f64>) -> Self {
        let least = if self.is_log {
            self.low * 1.5
        } else {
            self.low + self.low.abs().max(1.0 / LARGEST) * 1e-6
        };
        if let Some(high) = high.filter(|&high| is_usable(high) && high > least) {
            self.high = high;
        }
        self
    }

    pub(crate) fn is_log(&self) -> bool {
        self.is_log
    }

    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end, beyond that outside.
    pub(crate) fn position(&self, value: f64) -> f64 {
        if !self.is_log {
            return (value - self.low) / (self.high - self.low);
        }
        if value <= 0.0 {
            return -1.0;
        }
        let (low, high) = (libm::log10(self.low), libm::log10(self.high));
        (libm::log10(value) - low) / (high - low)
    }

    /// The value at `position`: the inverse.
    pub(crate) fn value_at(&self, position: f64) -> f64 {
        if !self.is_log {
            return self.low + position * (self.high - self.low);
        }
        let (low, high) = (libm::log10(self.low), libm::log10(self.high));
        libm::exp10(low + position * (high - low))
    }

    /// Ticks: about `most` of them, a few more at times.
    pub(crate) fn ticks(&self, most: usize) -> Ticks {
        if self.is_log {
            let ticks = ticks::log(self.low, self.high, most);
            if ticks.at.len() > 1 {
                return ticks;
            }
        }
        // Rounding its ends made the axis up to two steps longer than was asked for.
        let step = Step::at_least(self.high - self.low, most + 2);
        ticks::linear(self.low, self.high, step)
    }
}

fn ten_below(value: f64) -> f64 {
    ticks::ten_to(ticks::exponent(value))
}

/// `low..high`, widened if there is (nearly) nothing between them.
fn spread(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if !is_usable(size) || size < 1.0 / LARGEST {
        (0.0, 1.0)
    } else if high - low < size * 1e-9 {
        (low - size * 0.1, high + size * 0.1)
    } else {
        (low, high)
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (near, far): (i32, i32)) -> i32 {
        // Far outside is as good as infinitely far, and keeps the sum within an i32.
        let position = self.position(*value).clamp(-50.0, 50.0);
        (f64::from(near) + position * f64::from(far - near)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks(hint.max_num_points()).at
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_round_and_hold_the_values() {
        let ends = |axis: Axis| (axis.low(), axis.high());
        let linear = |values: &[f64]| ends(Axis::linear(values.iter().copied(), 5));
        let log = |values: &[f64]| ends(Axis::log(values.iter().copied()));
        assert_eq!(linear(&[0.3, 17.2]), (0.0, 20.0));
        assert_eq!(linear(&[95.0, 99.0]), (95.0, 99.0));
        assert_eq!(linear(&[-3.0, 17.2]), (-5.0, 20.0));
        assert_eq!(linear(&[0.0, 0.0]), (0.0, 1.0));
        assert_eq!(linear(&[f64::NAN, f64::INFINITY]), (0.0, 1.0));
        let along = |values: &[f64]| ends(Axis::along(values.iter().copied(), 6));
        assert_eq!(
            along(&[0.5, 1.0]),
            (0.5, 1.0),
            "a threshold is not compared with 0"
        );
        assert_eq!(linear(&[0.5, 1.0]), (0.0, 1.0));
        assert_eq!(along(&[0.5, 6.0]), (0.0, 6.0));
        assert_eq!(log(&[0.0, 0.03, 17.0]), (0.02, 20.0));
        assert_eq!(log(&[1.0, 1.0]), (0.5, 2.0));
    }

    #[test]
    fn positions_invert() {
        for axis in [Axis::exact(-2.0, 6.0), Axis::log([0.1, 1000.0].into_iter())] {
            for position in [0.0, 0.25, 1.0] {
                assert!((axis.position(axis.value_at(position)) - position).abs() < 1e-12);
            }
        }
    }
}
