//! Accounting of token gaps: a request's TBT is the mean of its longest 10 % of gaps (FAST'25 section 5).
//!
//! Gaps are kept as runs (a batch that did not change) and single gaps (the first, and those around a pause), so
//! that an answer of two thousand tokens costs a dozen entries. The mean over runs equals the mean over the gaps
//! written out one by one; it is rounded down to a nanosecond.

use crate::steps::StepRun;
use crate::units::Nanos;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// How many of `gaps` are in the tail: the longest tenth, rounded up.
#[must_use]
pub const fn tail_count(gaps: u64) -> u64 {
    gaps.div_ceil(10)
}

/// Steps of one run.
#[derive(Clone, Copy, Debug)]
struct Part {
    longest: Nanos,
    run: StepRun,
    /// How many of its steps count.
    steps: u64,
}

/// Collects one request's gaps; scratch space that is used again for each.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    parts: BinaryHeap<Part>,
    /// Those that may have gaps in the tail.
    tail: Vec<Part>,
    total: u64,
}

/// By the longest step: it decides whether a run has gaps in the tail.
impl Ord for Part {
    fn cmp(&self, other: &Self) -> Ordering {
        self.longest.cmp(&other.longest)
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Part {}

impl Gaps {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.total = 0;
    }

    /// Adds one gap.
    pub fn push(&mut self, gap: Nanos) {
        self.push_run(StepRun::once(gap), 1);
    }

    /// Adds the first `steps` steps of a run.
    pub fn push_run(&mut self, run: StepRun, steps: u64) {
        if steps > 0 {
            self.parts.push(Part {
                longest: run.at(steps - 1),
                run,
                steps,
            });
            self.total += steps;
        }
    }

    /// How many gaps there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Mean of the longest tenth, or `None` if there is no gap; then there is none any more.
    pub fn tail_mean(&mut self) -> Option<Nanos> {
        let tail = tail_count(self.total);
        if tail == 0 {
            return None;
        }
        // Runs by their longest steps until they hold the tail: its shortest gap is no longer than the longest of the
        // last of them, and no shorter than the shortest of all of them.
        self.tail.clear();
        let (mut held, mut above, mut below) = (0, Nanos::MAX, Nanos::MAX);
        while let Some(&part) = self.parts.peek() {
            if held >= tail && part.longest <= below {
                // Nor has any later one a gap that is longer than that.
                break;
            }
            if held < tail {
                (above, below) = (part.longest, below.min(part.run.at(0)));
            }
            held += part.steps;
            self.tail.push(part);
            self.parts.pop();
        }
        let longer = |limit: Nanos| {
            let parts = self.tail.iter();
            parts
                .map(|part| part.run.longer_than(part.steps, limit))
                .sum::<u64>()
        };
        // Find the largest value that at least `tail` gaps reach.
        while below < above {
            let middle = Nanos(below.0 + (above.0 - below.0).div_ceil(2));
            if longer(Nanos(middle.0 - 1)) >= tail {
                below = middle;
            } else {
                above = Nanos(middle.0 - 1);
            }
        }
        let (mut counted, mut sum) = (0, Nanos::ZERO);
        for part in &self.tail {
            let k = part.run.longer_than(part.steps, below);
            sum += part.run.total_of_last(part.steps, k);
            counted += k;
        }
        self.clear();
        Some((sum + below * (tail - counted)) / tail)
    }
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
