//! Cost as tables of measurements with linear interpolation, for hardware that no polynomial fits.
//!
//! Interpolation is in linear space (in log space it is biased, see the literature on serving simulators). Rows and
//! columns must ascend and values must not fall along either axis: then a longer context never costs less, which
//! run arithmetic and chunk pricing rely on. Outside the grid the nearest cell is continued. Each cell's slope is
//! rounded down to 2^-20 ns a token and a value is the cell's left edge plus that slope times the distance, so
//! that a run of steps equals its steps priced one by one.

use super::CostModel;
use crate::steps::{FRACTION_BITS, StepRun};
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;

/// A rectangular grid: `values[row * columns.len() + column]`, in 2^-20 ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    rows: Vec<u64>,
    columns: Vec<u64>,
    values: Vec<u64>,
}

/// Why a grid is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridError {
    /// There must be at least one row and two columns, and one value for each pair.
    Shape,
    /// Rows and columns must ascend strictly.
    Axis,
    /// A value is smaller than its left or upper neighbour.
    Falls {
        /// Row of the smaller value.
        row: usize,
        /// Column of the smaller value.
        column: usize,
    },
}

impl Grid {
    /// Checks shape, order and monotony.
    ///
    /// # Errors
    /// See [`GridError`].
    pub fn new(rows: Vec<u64>, columns: Vec<u64>, values: Vec<u64>) -> Result<Self, GridError> {
        if rows.is_empty() || columns.len() < 2 || values.len() != rows.len() * columns.len() {
            return Err(GridError::Shape);
        }
        let ascends = |axis: &[u64]| axis.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends(&rows) || !ascends(&columns) {
            return Err(GridError::Axis);
        }
        for (i, &value) in values.iter().enumerate() {
            let (row, column) = (i / columns.len(), i % columns.len());
            let left = if column > 0 { values[i - 1] } else { 0 };
            let above = if row > 0 {
                values[i - columns.len()]
            } else {
                0
            };
            if value < left || value < above {
                return Err(GridError::Falls { row, column });
            }
        }
        Ok(Self {
            rows,
            columns,
            values,
        })
    }

    /// The two knots of an axis around `at`, clamped to the axis' ends.
    fn cell(axis: &[u64], at: u64) -> (usize, usize) {
        if axis.len() == 1 {
            return (0, 0);
        }
        let right = axis
            .partition_point(|&knot| knot <= at)
            .clamp(1, axis.len() - 1);
        (right - 1, right)
    }

    /// Value at column knot `column`, interpolated between rows.
    fn at_row(&self, row: u64, column: usize) -> u64 {
        let (low, high) = Self::cell(&self.rows, row);
        let width = self.columns.len();
        let (a, b) = (
            self.values[low * width + column],
            self.values[high * width + column],
        );
        if low == high {
            return a;
        }
        let span = self.rows[high] - self.rows[low];
        if row >= self.rows[low] {
            a + (u128::from(b - a) * u128::from(row - self.rows[low]) / u128::from(span)) as u64
        } else {
            a.saturating_sub(
                (u128::from(b - a) * u128::from(self.rows[low] - row) / u128::from(span)) as u64,
            )
        }
    }

    /// The line through the cell of (row, column): left knot, value there, slope a column unit, right knot if any.
    fn line(&self, row: u64, column: u64) -> Line {
        let (left, right) = Self::cell(&self.columns, column);
        let (a, b) = (self.at_row(row, left), self.at_row(row, right));
        let span = self.columns[right] - self.columns[left];
        let last = right == self.columns.len() - 1;
        Line {
            left: self.columns[left],
            value: a,
            slope: b.saturating_sub(a) / span,
            right: if last { u64::MAX } else { self.columns[right] },
        }
    }
}

/// One cell's line along the columns.
struct Line {
    left: u64,
    value: u64,
    slope: u64,
    right: u64,
}

impl Line {
    fn at(&self, column: u64) -> u64 {
        if column >= self.left {
            self.value + self.slope * (column - self.left)
        } else {
            self.value.saturating_sub(self.slope * (self.left - column))
        }
    }
}

/// A table cost model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Rows: cached tokens. Columns: tokens that are *computed*, the prompt without the cached ones: along prompt
    /// lengths a longer cached prefix would make cost fall, which no grid may.
    pub prefill: Grid,
    /// Rows: batch. Columns: context tokens *a request*.
    pub decode: Grid,
    /// The part of every row with reuse that is loading, in 2^-20 ns: once, and for each cached token.
    pub hit_base: u64,
    /// See `hit_base`.
    pub per_cached_token: u64,
}

impl CostModel for Table {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        let computed = prompt.0.saturating_sub(cached.0);
        Nanos(self.prefill.line(cached.0, computed).at(computed) >> FRACTION_BITS)
    }

    fn decode(&self, batch: u32, context: Tokens) -> StepRun {
        let requests = u64::from(batch.max(1));
        let each = context.0 / requests;
        let line = self.decode.line(requests, each);
        // The column grows by one a step; a run ends where the cell does.
        let steps = if line.right == u64::MAX {
            u64::MAX
        } else {
            (line.right - each).max(1)
        };
        // Below the first knot the line is flat at its (clamped) value until the knot is reached.
        if each < line.left && line.slope * (line.left - each) > line.value {
            return StepRun {
                first: 0,
                slope: 0,
                steps: 1,
            };
        }
        StepRun {
            first: line.at(each),
            slope: line.slope,
            steps,
        }
    }

    fn load(&self, cached: Tokens) -> Nanos {
        if cached.is_zero() {
            return Nanos::ZERO;
        }
        let tokens = u128::from(self.per_cached_token) * u128::from(cached.0);
        let fixed = u128::from(self.hit_base) + tokens;
        Nanos(u64::try_from(fixed >> FRACTION_BITS).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Table {
        let ns = |values: &[u64]| values.iter().map(|v| v << FRACTION_BITS).collect();
        Table {
            prefill: Grid::new(
                Vec::from([0, 100]),
                Vec::from([100, 356]),
                ns(&[10, 50, 12, 60]),
            )
            .expect("valid"),
            decode: Grid::new(
                Vec::from([1, 4]),
                Vec::from([0, 128, 256]),
                ns(&[10, 20, 50, 40, 80, 100]),
            )
            .expect("valid"),
            hit_base: 0,
            per_cached_token: 0,
        }
    }

    #[test]
    fn values_between_knots_are_on_the_line() {
        let table = table();
        assert_eq!(table.prefill(Tokens(228), Tokens(0)), Nanos(30));
        assert_eq!(table.prefill(Tokens(228 + 50), Tokens(50)), Nanos(33));
        assert_eq!(
            table.prefill(Tokens(500), Tokens(0)),
            Nanos(72),
            "continued beyond the last knot"
        );
        assert_eq!(table.decode_step(4, Tokens(4 * 64)), Nanos(60));
    }

    #[test]
    fn a_grid_must_ascend() {
        let grid = |values: &[u64]| Grid::new(Vec::from([1]), Vec::from([1, 2]), values.to_vec());
        assert_eq!(grid(&[2, 1]), Err(GridError::Falls { row: 0, column: 1 }));
        assert_eq!(grid(&[1]), Err(GridError::Shape));
        assert_eq!(
            Grid::new(Vec::from([1]), Vec::from([2, 2]), Vec::from([1, 1])),
            Err(GridError::Axis)
        );
    }

    proptest! {
        #[test]
        fn a_run_equals_its_steps(batch in 1_u32..9, each in 0_u64..400) {
            let table = table();
            let context = Tokens(each * u64::from(batch));
            let run = table.decode(batch, context);
            for i in 0..run.steps.min(150) {
                let later = Tokens(context.0 + i * u64::from(batch));
                prop_assert_eq!(run.at(i), table.decode_step(batch, later));
            }
        }
    }
}
