//! The durations of a node's past steps, as runs, as far back as a sequence in the batch needs them.

use crate::steps::StepRun;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// One stretch of steps.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first_step: u64,
    run: StepRun,
    steps: u64,
}

/// Past steps, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Stretch>);

impl History {
    pub(super) fn push(&mut self, first_step: u64, run: StepRun, steps: u64) {
        self.0.push_back(Stretch {
            first_step,
            run,
            steps,
        });
    }

    /// Drops what lies before `step`.
    pub(super) fn forget_before(&mut self, step: u64) {
        while self
            .0
            .front()
            .is_some_and(|stretch| stretch.first_step + stretch.steps <= step)
        {
            self.0.pop_front();
        }
    }

    /// Calls `each` with the runs of the steps `from .. to`.
    pub(super) fn each(&self, from: u64, to: u64, mut each: impl FnMut(StepRun, u64)) {
        let start = self
            .0
            .partition_point(|stretch| stretch.first_step + stretch.steps <= from);
        for stretch in self.0.range(start..) {
            let skip = from.saturating_sub(stretch.first_step);
            let end = to.min(stretch.first_step + stretch.steps);
            if end > stretch.first_step + skip {
                each(stretch.run.after(skip), end - stretch.first_step - skip);
            }
        }
    }

    /// Appends the runs of the steps `from .. to` to `runs`.
    pub(super) fn collect(&self, from: u64, to: u64, runs: &mut Vec<(StepRun, u64)>) {
        self.each(from, to, |run, steps| runs.push((run, steps)));
    }
}
