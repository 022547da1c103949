//! The day: a curve of the rate at which sessions start.
//!
//! Only starts follow it. What happens within a session keeps its pace: people do not type faster because it is noon,
//! there are more of them. Requests therefore follow the curve with the delay of a session's later turns, minutes of a
//! day. Equal steps of an even clock are stretched so that the expected number of starts between any two moments is
//! the area under the curve: the time change of an inhomogeneous Poisson process (E. Çinlar, "Introduction to
//! Stochastic Processes", 1975, section 4.7). The mean over a period is the workload's rate.
//!
//! Not here: swings of seconds (`surge`).

use serde::{Deserialize, Serialize};

/// A curve that repeats itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diurnal {
    /// The rate at equal distances over a period, in relation to each other; straight lines lie between them, and
    /// between the last and the first of the next period. The first is that at the beginning of the run.
    pub points: Vec<f64>,
    /// Length of a period, in seconds.
    #[serde(default = "a_day")]
    pub period_s: f64,
}

const fn a_day() -> f64 {
    86_400.0
}

impl Diurnal {
    /// The rate at a time of the run, in relation to its mean.
    #[must_use]
    pub fn at(&self, time_s: f64) -> f64 {
        let place = time_s / self.distance_s();
        let point = libm::floor(place);
        let (from, to) = self.stretch(point as i64);
        from + (to - from) * (place - point)
    }

    /// Seconds between neighbouring points.
    fn distance_s(&self) -> f64 {
        self.period_s / self.points.len() as f64
    }

    /// The rates at which stretch number `place` begins and ends, in relation to the mean.
    fn stretch(&self, place: i64) -> (f64, f64) {
        let number = self.points.len();
        let mean = self.points.iter().sum::<f64>() / number as f64;
        let point = |place: i64| self.points[place.rem_euclid(number as i64) as usize] / mean;
        (point(place), point(place + 1))
    }
}

/// Maps even time to the run's; times must come in order.
#[derive(Debug)]
pub(super) struct Day {
    curve: Diurnal,
    /// The present stretch, counted from the run's beginning.
    stretch: i64,
    /// Even time at which it begins, in seconds.
    begins_s: f64,
}

impl Day {
    /// Even time 0 is `warmup_s` before the run's beginning.
    pub(super) fn new(curve: &Diurnal, warmup_s: f64) -> Self {
        let mut day = Self {
            curve: curve.clone(),
            stretch: libm::floor(-warmup_s / curve.distance_s()) as i64,
            begins_s: 0.0,
        };
        let (from, to) = day.curve.stretch(day.stretch);
        let width = day.curve.distance_s();
        let gone = -warmup_s - day.stretch as f64 * width;
        day.begins_s = -gone * (from + (to - from) * gone / width / 2.0);
        day
    }

    /// The time since the run's beginning, in seconds, which is below 0 while warming up.
    pub(super) fn map(&mut self, even_s: f64) -> f64 {
        let width = self.curve.distance_s();
        loop {
            let (from, to) = self.curve.stretch(self.stretch);
            let area = width * (from + to) / 2.0;
            let rest = even_s - self.begins_s;
            if rest < area {
                // Where the area since the stretch began is the rest: the root of a quadratic equation, in the form
                // that loses no digits.
                let root = libm::sqrt((from * from + 2.0 * rest * (to - from) / width).max(0.0));
                let within = match rest > 0.0 {
                    true => (2.0 * rest / (from + root)).min(width),
                    false => 0.0,
                };
                return self.stretch as f64 * width + within;
            }
            self.begins_s += area;
            self.stretch += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Even steps become steps with equal areas under the curve, wherever the run begins.
        #[test]
        fn equal_steps_have_equal_areas(
            points in proptest::collection::vec(0.0_f64..5.0, 1..9), warmup_s in 0.0_f64..300.0,
        ) {
            prop_assume!(points.iter().sum::<f64>() > 0.1);
            let curve = Diurnal { points, period_s: 100.0 };
            let mut day = Day::new(&curve, warmup_s);
            prop_assert!((day.map(0.0) + warmup_s).abs() < 1e-6 || curve.at(-warmup_s) < 1e-6);
            let mut times = Vec::new();
            for step in 0..400 {
                times.push(day.map(f64::from(step)));
            }
            prop_assert!(times.is_sorted());
            for pair in times.windows(2) {
                // The midpoint rule, in steps that are much shorter than what lies between two points.
                let slices = 2_000;
                let width = (pair[1] - pair[0]) / f64::from(slices);
                let area: f64 = (0..slices)
                    .map(|slice| curve.at(pair[0] + (f64::from(slice) + 0.5) * width) * width)
                    .sum();
                prop_assert!((area - 1.0).abs() < 1e-3, "{} between {:?}", area, pair);
            }
            // A period of even time is a period.
            let mut again = Day::new(&curve, 0.0);
            let (one, two) = (again.map(30.0), again.map(130.0));
            prop_assert!((two - one - 100.0).abs() < 1e-6);
        }
    }
}
