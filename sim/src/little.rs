//! Little's law, as an invariant of every run: the integral of the number in the system over time, accumulated from
//! events, equals the sum of the times that the requests' own records say they were inside; in whole nanoseconds.
//!
//! Why: the two are counted in different places, one by the loop, the other by each request. A request that is lost,
//! counted twice, or closed at the wrong time breaks the equation (J. D. C. Little, "A proof for the queuing formula
//! L = lambda W", Operations Research 9, 1961; over a finite time that begins and ends empty it is exact).
//!
//! Inside is who has been put before the Conductor and has not been answered: waiting, held, served, or lost and about
//! to be given in again. A client that was turned away and waits to try again is outside.

use conductor_core::units::Nanos;

/// The number in the system over time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NumberInSystem {
    inside: u64,
    since: Nanos,
    integral: u128,
    /// Of the requests that have left for good, by their records.
    sojourns: u128,
}

impl NumberInSystem {
    /// One comes in.
    pub(crate) fn enter(&mut self, now: Nanos) {
        self.advance(now);
        self.inside += 1;
    }

    /// One goes out.
    pub(crate) fn leave(&mut self, now: Nanos) {
        self.advance(now);
        self.inside -= 1;
    }

    /// A request has left for good, and was inside for so long.
    pub(crate) fn was_inside(&mut self, time: Nanos) {
        self.sojourns += u128::from(time.0);
    }

    /// How many are inside.
    pub(crate) const fn inside(&self) -> u64 {
        self.inside
    }

    fn advance(&mut self, now: Nanos) {
        self.integral += u128::from((now - self.since).0) * u128::from(self.inside);
        self.since = now;
    }

    /// Asserts the law, when all have left.
    pub(crate) fn assert_law(&self) {
        assert_eq!(self.inside, 0, "nobody is inside when a run ends");
        assert_eq!(
            self.integral, self.sojourns,
            "Little's law: the integral of the number in the system is the sum of the times inside"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_stays_add_up() {
        let mut number = NumberInSystem::default();
        number.enter(Nanos(10));
        number.enter(Nanos(15));
        number.leave(Nanos(40));
        number.was_inside(Nanos(30));
        number.leave(Nanos(41));
        number.was_inside(Nanos(26));
        number.assert_law();
    }

    #[test]
    #[should_panic(expected = "Little's law")]
    fn a_nanosecond_too_much_is_noticed() {
        let mut number = NumberInSystem::default();
        number.enter(Nanos(10));
        number.leave(Nanos(40));
        number.was_inside(Nanos(31));
        number.assert_law();
    }
}
