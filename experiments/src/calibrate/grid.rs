//! A table of seconds over two axes, as `core::cost::Grid` reads it, in floats.
//!
//! Measurements are noisy and a profile's table must not fall along an axis: each value becomes the mean of the
//! largest value before it and the smallest one behind it, both of which never fall. That moves both neighbours of a
//! dip by half of it, and leaves alone what does not fall.

use std::collections::BTreeSet;

/// Rows by columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) rows: Vec<u64>,
    pub(super) columns: Vec<u64>,
    pub(super) seconds: Vec<Vec<f64>>,
}

impl Grid {
    /// Of cells (row, column, seconds), one each. Where a row lacks cells its own line is continued. `None` if there
    /// are fewer than two columns, a row has fewer than two cells, or more than half of all cells are missing.
    pub(super) fn of(cells: &[(u64, u64, f64)]) -> Option<Self> {
        let axis = |part: fn(&(u64, u64, f64)) -> u64| -> Vec<u64> {
            let all: BTreeSet<u64> = cells.iter().map(part).collect();
            all.into_iter().collect()
        };
        let (rows, columns) = (axis(|cell| cell.0), axis(|cell| cell.1));
        if columns.len() < 2 || cells.len() * 2 < rows.len() * columns.len() {
            return None;
        }
        let mut seconds = Vec::new();
        for &row in &rows {
            let mut known: Vec<(u64, f64)> = cells
                .iter()
                .filter(|cell| cell.0 == row)
                .map(|cell| (cell.1, cell.2))
                .collect();
            known.sort_by_key(|cell| cell.0);
            if known.len() < 2 {
                return None;
            }
            seconds.push(columns.iter().map(|&at| line(&known, at)).collect());
        }
        let mut grid = Self {
            rows,
            columns,
            seconds,
        };
        grid.level();
        Some(grid)
    }

    /// See the module.
    pub(super) fn level(&mut self) {
        let (mut above, mut below) = (self.seconds.clone(), self.seconds.clone());
        let (rows, columns) = (self.rows.len(), self.columns.len());
        for i in 0..rows {
            for j in 0..columns {
                if i > 0 {
                    above[i][j] = above[i][j].max(above[i - 1][j]);
                }
                if j > 0 {
                    above[i][j] = above[i][j].max(above[i][j - 1]);
                }
            }
        }
        for i in (0..rows).rev() {
            for j in (0..columns).rev() {
                if i + 1 < rows {
                    below[i][j] = below[i][j].min(below[i + 1][j]);
                }
                if j + 1 < columns {
                    below[i][j] = below[i][j].min(below[i][j + 1]);
                }
            }
        }
        for (i, row) in self.seconds.iter_mut().enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = (above[i][j] + below[i][j]) / 2.0;
            }
        }
    }

    /// Between cells on the line through them, outside of the grid on the nearest cell's line.
    pub(super) fn at(&self, row: u64, column: u64) -> f64 {
        let across: Vec<(u64, f64)> = self
            .rows
            .iter()
            .zip(&self.seconds)
            .map(|(&at, values)| {
                let along: Vec<(u64, f64)> = self
                    .columns
                    .iter()
                    .copied()
                    .zip(values.iter().copied())
                    .collect();
                (at, line(&along, column))
            })
            .collect();
        if across.len() == 1 {
            return across[0].1;
        }
        line(&across, row)
    }
}

/// The value at `at` of the line through the two of at least two knots, in order, that are nearest.
pub(super) fn line(knots: &[(u64, f64)], at: u64) -> f64 {
    let right = knots
        .partition_point(|knot| knot.0 <= at)
        .clamp(1, knots.len() - 1);
    let ((x0, y0), (x1, y1)) = (knots[right - 1], knots[right]);
    y0 + (y1 - y0) * (at as f64 - x0 as f64) / (x1 - x0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_kept_and_what_is_missing_is_continued() {
        let grid = Grid::of(&[
            (1, 10, 1.0),
            (1, 20, 2.0),
            (1, 40, 4.0),
            (2, 10, 2.0),
            (2, 20, 3.0),
        ]);
        let grid = grid.expect("two rows, one cell missing");
        assert_eq!(grid.seconds, [[1.0, 2.0, 4.0], [2.0, 3.0, 5.0]]);
        assert!((grid.at(1, 30) - 3.0).abs() < 1e-12);
        assert!((grid.at(3, 20) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_dip_is_levelled_by_half() {
        let grid = Grid::of(&[(0, 1, 1.0), (0, 2, 3.0), (0, 3, 2.0), (0, 4, 5.0)]);
        assert_eq!(grid.expect("one row").seconds, [[1.0, 2.5, 2.5, 5.0]]);
    }

    #[test]
    fn a_sweep_is_no_grid() {
        let cross = [(1, 10, 1.0), (1, 20, 1.0), (2, 10, 1.0), (4, 10, 1.0)];
        assert_eq!(Grid::of(&cross), None);
    }
}
