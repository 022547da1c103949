//! Accounting of token gaps: a request's TBT is the mean of its longest 10 % of gaps (FAST'25 section 5).
//!
//! Gaps are kept as runs (a batch that did not change) and single gaps (the first, and those around a pause), so
//! that an answer of two thousand tokens costs a dozen entries. The mean over runs equals the mean over the gaps
//! written out one by one; it is rounded down to a nanosecond.

use crate::steps::StepRun;
use crate::units::Nanos;
use alloc::vec::Vec;

/// How many of `gaps` are in the tail: the longest tenth, rounded up.
#[must_use]
pub const fn tail_count(gaps: u64) -> u64 {
    gaps.div_ceil(10)
}

/// Collects one request's gaps; scratch space that is used again for each.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// Run and how many of its steps count.
    runs: Vec<(StepRun, u64)>,
    total: u64,
}

impl Gaps {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.total = 0;
    }

    /// Adds one gap.
    pub fn push(&mut self, gap: Nanos) {
        self.push_run(StepRun::once(gap), 1);
    }

    /// Adds the first `steps` steps of a run.
    pub fn push_run(&mut self, run: StepRun, steps: u64) {
        if steps > 0 {
            self.runs.push((run, steps));
            self.total += steps;
        }
    }

    /// How many gaps there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Mean of the longest tenth, or `None` if there is no gap.
    pub fn tail_mean(&mut self) -> Option<Nanos> {
        let tail = tail_count(self.total);
        if tail == 0 {
            return None;
        }
        // The shortest gap of the tail lies between two bounds: taking whole runs by their longest step until the
        // tail is full bounds it from above, by their shortest step from below.
        let longest = |entry: &(StepRun, u64)| entry.0.at(entry.1 - 1);
        let shortest = |entry: &(StepRun, u64)| entry.0.at(0);
        self.runs
            .sort_unstable_by_key(|entry| core::cmp::Reverse(longest(entry)));
        let mut above = bound(&self.runs, tail, longest);
        self.runs
            .sort_unstable_by_key(|entry| core::cmp::Reverse(shortest(entry)));
        let mut below = bound(&self.runs, tail, shortest);
        // Find the largest value that at least `tail` gaps reach.
        let longer = |limit: Nanos| {
            self.runs
                .iter()
                .map(|(run, n)| run.longer_than(*n, limit))
                .sum::<u64>()
        };
        while below < above {
            let middle = Nanos(below.0 + (above.0 - below.0).div_ceil(2));
            if longer(Nanos(middle.0 - 1)) >= tail {
                below = middle;
            } else {
                above = Nanos(middle.0 - 1);
            }
        }
        let (mut counted, mut sum) = (0, Nanos::ZERO);
        for (run, n) in &self.runs {
            let k = run.longer_than(*n, below);
            sum += run.total_of_last(*n, k);
            counted += k;
        }
        Some((sum + below * (tail - counted)) / tail)
    }
}

/// The `value` of the run with which the first runs, in the order given, hold at least `tail` gaps.
fn bound(runs: &[(StepRun, u64)], tail: u64, value: impl Fn(&(StepRun, u64)) -> Nanos) -> Nanos {
    let mut held = 0;
    for entry in runs {
        held += entry.1;
        if held >= tail {
            return value(entry);
        }
    }
    unreachable!("the tail is not longer than all runs together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tail_equals_sorting_every_gap(
            runs in proptest::collection::vec((0_u64..1 << 30, 0_u64..1 << 22, 1_u64..80), 0..12),
        ) {
            let mut gaps = Gaps::default();
            let mut all = Vec::new();
            for (first, slope, steps) in runs {
                let run = StepRun { first, slope, steps };
                gaps.push_run(run, steps);
                all.extend((0..steps).map(|i| run.at(i)));
            }
            all.sort_unstable();
            let k = all.len().div_ceil(10);
            let expected = all.iter().rev().take(k).copied().sum::<Nanos>().0.checked_div(k as u64).map(Nanos);
            prop_assert_eq!(gaps.tail_mean(), expected);
        }
    }

    #[test]
    fn a_single_token_has_no_gap() {
        assert_eq!(Gaps::default().tail_mean(), None);
    }
}
