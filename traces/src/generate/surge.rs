//! The uneven clock of a whole platform: for some seconds everything comes a little faster or slower.
//!
//! Independent sessions alone make traffic that is too even: in the conversation trace the requests of half a
//! minute vary by two thirds more than Poisson arrivals would, first and further turns alike. So the run's time is
//! stretched and squeezed by a first-order process that is drawn once for all sessions. Order and mean rate stay.

use super::spec::Surge;
use super::stream::Stream;
use conductor_core::units::Nanos;

/// Steps of the process in one persistence time.
pub(super) const STEPS: f64 = 5.0;
/// However deep a lull, time goes on at a tenth of its pace.
const SLOWEST: f64 = 0.1;

/// Maps the even inner time to the run's time; times must come in order.
#[derive(Debug)]
pub(super) struct Clock {
    stream: Stream,
    deviation: f64,
    /// Length of a step of the run's time, in seconds.
    step_s: f64,
    /// Number of the present step.
    step: u64,
    /// Inner time at which the present step begins, in seconds.
    begins_s: f64,
    /// Inner seconds in the present step.
    holds_s: f64,
    /// The process, in standard deviations.
    state: f64,
}

impl Clock {
    pub(super) fn new(surge: Surge, seed: u64) -> Self {
        let mut stream = Stream::new(seed, "surge", 0);
        let state = stream.normal();
        let step_s = surge.persistence_s / STEPS;
        let mut clock = Self {
            stream,
            deviation: surge.deviation,
            step_s,
            step: 0,
            begins_s: 0.0,
            holds_s: 0.0,
            state,
        };
        clock.holds_s = clock.pace() * step_s;
        clock
    }

    /// The run's time at an inner time.
    pub(super) fn map(&mut self, inner: Nanos) -> Nanos {
        let inner_s = inner.as_secs_f64();
        while inner_s >= self.begins_s + self.holds_s {
            self.begins_s += self.holds_s;
            self.step += 1;
            let likeness = libm::exp(-1.0 / STEPS);
            let fresh = libm::sqrt(1.0 - likeness * likeness) * self.stream.normal();
            self.state = likeness * self.state + fresh;
            self.holds_s = self.pace() * self.step_s;
        }
        let part = (inner_s - self.begins_s) / self.holds_s;
        Nanos::from_secs_f64((self.step as f64 + part) * self.step_s).unwrap_or(Nanos::MAX)
    }

    fn pace(&self) -> f64 {
        (1.0 + self.deviation * self.state).max(SLOWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_mean_rate_stay() {
        let mut clock = Clock::new(
            Surge {
                deviation: 0.2,
                persistence_s: 15.0,
            },
            1,
        );
        let mapped: Vec<Nanos> = (0..200_000)
            .map(|i| clock.map(Nanos::from_millis(i * 500)))
            .collect();
        assert!(mapped.is_sorted());
        let reached = mapped[199_999].as_secs_f64() / 99_999.5;
        assert!((reached - 1.0).abs() < 0.02, "{reached}");
    }
}
