//! Runs of decode steps in closed form.
//!
//! Why: while a batch does not change, each step lasts a little longer than the one before, by the tokens that
//! the batch has grown. That is an arithmetic progression, so a node can jump to its next change, and a request's
//! token gaps can be kept as a few runs instead of thousands of numbers. Durations are fixed-point (2^-20 ns) and
//! rounded down step by step; the sums here are *equal* to adding the rounded steps one at a time.
//!
//! Not here: how long a step takes (`cost`), and which steps are run (`node`).

use crate::units::Nanos;

/// Fractional bits of fixed-point durations: one unit is 2^-20 ns.
pub const FRACTION_BITS: u32 = 20;

/// One nanosecond in fixed point.
const ONE: u64 = 1 << FRACTION_BITS;

/// Converts a rate in nanoseconds to fixed point, rounding to nearest. `None` if negative, NaN or above 2^42 ns.
#[must_use]
pub fn fixed_from_nanos(nanos: f64) -> Option<u64> {
    let scaled = nanos * ONE as f64 + 0.5;
    (nanos >= 0.0 && scaled < (1_u64 << 62) as f64).then_some(scaled as u64)
}

/// A run of consecutive steps: step `i`, counted from 0, takes `(first + i * slope) / 2^20` ns, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// Duration of step 0, in 2^-20 ns.
    pub first: u64,
    /// By how much each step is longer than the one before, in 2^-20 ns.
    pub slope: u64,
    /// For how many steps this holds; at least 1.
    pub steps: u64,
}

impl StepRun {
    /// One step that took `duration`.
    #[must_use]
    pub const fn once(duration: Nanos) -> Self {
        Self {
            first: duration.0 << FRACTION_BITS,
            slope: 0,
            steps: 1,
        }
    }

    /// Duration of step `i`.
    #[must_use]
    pub const fn at(&self, i: u64) -> Nanos {
        Nanos((self.first + i * self.slope) >> FRACTION_BITS)
    }

    /// Duration of the first `n` steps together.
    #[must_use]
    pub fn total(&self, n: u64) -> Nanos {
        Nanos(floor_sum(n, self.slope, self.first))
    }

    /// The fewest steps after which at least `elapsed` has passed; at most `steps`.
    #[must_use]
    pub fn steps_to_reach(&self, elapsed: Nanos) -> u64 {
        // Steps never get shorter: elapsed / first bounds the answer from above, elapsed / last from below.
        let shortest = self.at(0).0.max(1);
        let mut above = (elapsed.0.div_ceil(shortest)).min(self.steps);
        if self.total(above) < elapsed {
            return self.steps;
        }
        let mut below = elapsed.0 / self.at(above).0.max(1);
        below = below.min(above);
        // Invariant: total(above) >= elapsed, and total(n) < elapsed for every n < below.
        while below < above {
            let middle = below + (above - below) / 2;
            if self.total(middle) >= elapsed {
                above = middle;
            } else {
                below = middle + 1;
            }
        }
        above
    }

    /// The run that is left after the first `n` steps; `n` must be below `steps`.
    #[must_use]
    pub const fn after(&self, n: u64) -> Self {
        Self {
            first: self.first + n * self.slope,
            slope: self.slope,
            steps: self.steps - n,
        }
    }

    /// How many of the first `n` steps last longer than `limit`.
    #[must_use]
    pub fn longer_than(&self, n: u64, limit: Nanos) -> u64 {
        // floor(x / 2^20) > limit  <=>  x >= (limit + 1) * 2^20; no x is as large as what does not fit.
        let bar = limit
            .0
            .checked_add(1)
            .and_then(|next| next.checked_mul(ONE));
        let Some(bar) = bar else {
            return 0;
        };
        if self.first >= bar {
            return n;
        }
        if self.slope == 0 {
            return 0;
        }
        let short = (bar - self.first).div_ceil(self.slope);
        n.saturating_sub(short)
    }

    /// Total duration of the last `k` of the first `n` steps (the longest `k`).
    #[must_use]
    pub fn total_of_last(&self, n: u64, k: u64) -> Nanos {
        Nanos(floor_sum(k, self.slope, self.first + (n - k) * self.slope))
    }
}

/// `sum over i in 0..n of floor((slope * i + first) / 2^20)`, by the Euclid-like reduction of lattice-point counting.
///
/// All but the sum itself fits 64 bits: what a step takes does, and after the first round nothing is above 2^20 times
/// `n`, which no run of steps makes large.
fn floor_sum(mut n: u64, mut slope: u64, mut first: u64) -> u64 {
    let mut modulus = ONE;
    let mut sum = 0_u64;
    while n > 0 {
        if slope >= modulus {
            let pairs = u128::from(n) * u128::from(n - 1) / 2;
            sum += u64::try_from(pairs * u128::from(slope / modulus)).expect(TOO_LONG);
            slope %= modulus;
        }
        if first >= modulus {
            sum += n * (first / modulus);
            first %= modulus;
        }
        let top = slope * n + first;
        if top < modulus {
            break;
        }
        // Swap the axes of the lattice triangle.
        n = top / modulus;
        first = top % modulus;
        core::mem::swap(&mut modulus, &mut slope);
    }
    sum
}

const TOO_LONG: &str = "a run of steps lasts less than 2^64 ns";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow_total(run: &StepRun, n: u64) -> u64 {
        (0..n).map(|i| run.at(i).0).sum()
    }

    proptest! {
        #[test]
        fn closed_forms_equal_step_by_step(first in 0_u64..1 << 45, slope in 0_u64..1 << 32, n in 1_u64..400, t in 0_u64..1 << 32) {
            let run = StepRun { first, slope, steps: n };
            prop_assert_eq!(run.total(n).0, slow_total(&run, n));
            let reach = (0..=n).find(|&k| slow_total(&run, k) >= t).unwrap_or(n);
            prop_assert_eq!(run.steps_to_reach(Nanos(t)), reach);
            let limit = Nanos(t >> 8);
            let longer = (0..n).filter(|&i| run.at(i) > limit).count() as u64;
            prop_assert_eq!(run.longer_than(n, limit), longer);
            let k = t % (n + 1);
            prop_assert_eq!(run.total_of_last(n, k).0, slow_total(&run, n) - slow_total(&run, n - k));
            if k < n {
                prop_assert_eq!(run.after(k).at(0), run.at(k));
            }
        }
    }
}
