//! Where an axis has ticks and how they are written: 0, 0.5, 1; 10k, 20k; 0.1, 1, 10.
//!
//! Steps are 1, 2 or 5 times a power of ten (a logarithmic axis also has 3s). Powers of ten are parsed, not
//! computed, so that they
//! are the nearest floats on every machine. Not here: the mapping to pixels (`axis`).

/// The ticks of one axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ticks {
    /// Values, ascending.
    pub(crate) at: Vec<f64>,
    /// One text a value.
    pub(crate) labels: Vec<String>,
}

/// A step of `digit`·10^`power`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    digit: f64,
    power: i32,
}

impl Step {
    pub(crate) fn of(digit: f64, power: i32) -> Self {
        Self { digit, power }
    }

    /// The smallest nice step that needs at most `most` steps for `span` (> 0).
    pub(crate) fn at_least(span: f64, most: usize) -> Self {
        let raw = span / most.max(1) as f64;
        let power = exponent(raw);
        for digit in [1.0, 2.0, 5.0] {
            if digit * ten_to(power) >= raw * (1.0 - 1e-9) {
                return Self { digit, power };
            }
        }
        Self {
            digit: 1.0,
            power: power + 1,
        }
    }

    pub(crate) fn size(self) -> f64 {
        self.digit * ten_to(self.power)
    }
}

/// 10^`power`, the nearest float.
pub(crate) fn ten_to(power: i32) -> f64 {
    // `1e<integer>` always parses: to 0 or infinity where out of range.
    format!("1e{power}").parse().unwrap_or(f64::INFINITY)
}

/// The largest k with 10^k <= `value` (> 0).
pub(crate) fn exponent(value: f64) -> i32 {
    let guess = libm::floor(libm::log10(value)) as i32;
    if ten_to(guess + 1) <= value {
        guess + 1
    } else if ten_to(guess) > value {
        guess - 1
    } else {
        guess
    }
}

/// Ticks at multiples of `step` within `low..=high`.
pub(crate) fn linear(low: f64, high: f64, step: Step) -> Ticks {
    let size = step.size();
    let first = libm::ceil(low / size - 1e-6);
    let count = (libm::floor(high / size + 1e-6) - first) as usize;
    // `+ 0.0` turns a negative zero into zero.
    let at: Vec<f64> = (0..=count.min(100))
        .map(|i| (first + i as f64) * size + 0.0)
        .collect();
    let largest = low.abs().max(high.abs());
    let labels = at
        .iter()
        .map(|&value| written(value, largest, step.power))
        .collect();
    Ticks { at, labels }
}

/// Ticks of a logarithmic axis over `low..=high` (both > 0): powers of ten, with 2 and 5 between
/// them where there is room.
pub(crate) fn log(low: f64, high: f64, most: usize) -> Ticks {
    let (first, last) = (exponent(low), exponent(high) + 1);
    let decades = libm::ceil(libm::log10(high) - libm::log10(low) - 0.01).max(1.0) as usize;
    let digits: &[f64] = match most / decades {
        0 | 1 => &[1.0],
        2 => &[1.0, 3.0],
        _ => &[1.0, 2.0, 5.0],
    };
    let stride = decades.div_ceil(most.max(1)).max(1);
    let mut ticks = Ticks {
        at: Vec::new(),
        labels: Vec::new(),
    };
    for power in (first..=last).step_by(stride) {
        for digit in digits {
            let value = digit * ten_to(power);
            if value >= low * (1.0 - 1e-9) && value <= high * (1.0 + 1e-9) {
                ticks.at.push(value);
                ticks.labels.push(written(value, value, power));
            }
        }
    }
    ticks
}

/// `value` with as many digits as a resolution of 10^`power` needs, in the unit (k, M, G, T) that
/// suits the axis' `largest` value.
fn written(value: f64, largest: f64, power: i32) -> String {
    if value.abs() < ten_to(power - 6) {
        return "0".to_owned();
    }
    let (unit, shift) = match largest {
        l if !(1e-6..1e16).contains(&l) => return scientific(value),
        l if l >= 1e12 => ("T", 12),
        l if l >= 1e9 => ("G", 9),
        l if l >= 1e6 => ("M", 6),
        l if l >= 1e4 => ("k", 3),
        _ => ("", 0),
    };
    let digits = usize::try_from(shift - power).unwrap_or(0);
    format!("{:.digits$}{unit}", value / ten_to(shift))
}

fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    text.replace(".0e", "e")
}

/// A value for people, with three significant digits or so: 0.123, 4.56, 78.9, 1,234 as `1234`,
/// 56.8k; what is no number is a dash.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if !size.is_finite() {
        return "–".to_owned();
    }
    if size < 1e-12 {
        return "0".to_owned();
    }
    let power = exponent(size);
    match power {
        4..=15 => written(value, size, power - 2),
        -3..=3 => {
            let digits = usize::try_from(2 - power).unwrap_or(0).min(3);
            format!("{value:.digits$}")
        }
        _ => scientific(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, most: usize) -> String {
        linear(low, high, Step::at_least(high - low, most))
            .labels
            .join(" ")
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(short(value), "–");
        }
        assert_eq!(short(f64::MAX), "1.8e308");
    }

    #[test]
    fn linear_ticks_are_round_and_written_alike() {
        assert_eq!(labels(0.0, 1.0, 5), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(labels(0.0, 22.0, 6), "0 5 10 15 20");
        assert_eq!(labels(0.0, 30_000.0, 6), "0 5k 10k 15k 20k 25k 30k");
        assert_eq!(labels(0.0, 2_500_000.0, 5), "0 0.5M 1.0M 1.5M 2.0M 2.5M");
        assert_eq!(labels(-1.0, 1.0, 4), "-1.0 -0.5 0 0.5 1.0");
        assert_eq!(labels(0.0, 4e-9, 4), "0 1e-9 2e-9 3e-9 4e-9");
    }

    #[test]
    fn log_ticks_thin_out_with_the_decades() {
        let labels = |low, high, most| log(low, high, most).labels.join(" ");
        assert_eq!(labels(0.1, 100.0, 5), "0.1 1 10 100");
        assert_eq!(labels(20.0, 1000.0, 8), "20 50 100 200 500 1000");
        assert_eq!(labels(1e3, 1e9, 8), "1000 10k 100k 1M 10M 100M 1G");
        assert_eq!(labels(1e-9, 1e9, 4), "1e-9 0.0001 10 1M");
    }

    #[test]
    fn short_numbers_keep_three_digits() {
        let all = [
            0.0, 0.01234, 0.5, 3.068, 19.65, 123.4, 1234.0, 56_780.0, -2.5,
        ];
        let texts: Vec<String> = all.iter().map(|&value| short(value)).collect();
        assert_eq!(
            texts.join(" "),
            "0 0.012 0.500 3.07 19.6 123 1234 56.8k -2.50"
        );
    }
}
