//! A weight matrix, packed for products whose rows do not depend on each other.
//!
//! Outputs lie in panels of sixteen: `[panel][input][output in panel]`. A tile of rows goes through a panel from the
//! first input to the last and keeps its sums in registers; each sum is one output of one row, added up in that order
//! and no other, however many rows the tile has.
//!
//! Not here: blocking for caches beyond a panel. The models that this engine is for have panels of tens of kilobytes.

use super::{Workers, wide};

/// Outputs of a panel.
pub(super) const PANEL: usize = 16;

/// A matrix of `outputs` rows of `inputs` numbers.
#[derive(Clone, Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    packed: Vec<[f32; PANEL]>,
}

impl Matrix {
    /// Packs a matrix that lies row by row.
    ///
    /// Panics if `rows` has not `outputs * inputs` numbers.
    #[must_use]
    pub fn pack(rows: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(rows.len(), outputs * inputs, "a matrix is whole");
        let mut packed = vec![[0.0; PANEL]; outputs.div_ceil(PANEL) * inputs];
        if inputs > 0 {
            for (output, row) in rows.chunks_exact(inputs).enumerate() {
                let panel = &mut packed[output / PANEL * inputs..][..inputs];
                for (place, &number) in panel.iter_mut().zip(row) {
                    place[output % PANEL] = number;
                }
            }
        }
        Self {
            outputs,
            inputs,
            packed,
        }
    }

    /// Rows of the matrix: numbers that come out.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix: numbers that go in.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// One row of the matrix, as it was before packing: the embedding of a token.
    pub fn row(&self, output: usize) -> impl Iterator<Item = f32> + '_ {
        let panel = &self.packed[output / PANEL * self.inputs..][..self.inputs];
        panel.iter().map(move |place| place[output % PANEL])
    }

    /// All numbers, packed.
    #[must_use]
    pub fn numbers(&self) -> &[f32] {
        self.packed.as_flattened()
    }

    /// The product of each row of `x` with the matrix, row by row into `out`; `panels` is scratch space.
    pub fn product(&self, x: &[f32], out: &mut Vec<f32>, panels: &mut Vec<f32>, workers: &Workers) {
        let rows = x.len() / self.inputs;
        out.resize(rows * self.outputs, 0.0);
        panels.resize(rows * self.outputs.next_multiple_of(PANEL), 0.0);
        if rows == 0 {
            return;
        }
        workers.each_chunk(panels, rows * PANEL, |index, sums| {
            let panel = &self.packed[index * self.inputs..][..self.inputs];
            wide::panel(panel, x, sums);
        });
        for (index, sums) in panels.chunks_exact(rows * PANEL).enumerate() {
            let start = index * PANEL;
            let width = PANEL.min(self.outputs - start);
            for (row, sums) in sums.chunks_exact(PANEL).enumerate() {
                out[row * self.outputs + start..][..width].copy_from_slice(&sums[..width]);
            }
        }
    }
}

/// All rows of `x` through one panel.
#[inline(always)]
pub(super) fn panel<const TILE: usize>(panel: &[[f32; PANEL]], x: &[f32], sums: &mut [f32]) {
    let inputs = panel.len();
    let mut x = x.chunks_exact(TILE * inputs);
    let mut sums = sums.chunks_exact_mut(TILE * PANEL);
    for (x, sums) in x.by_ref().zip(sums.by_ref()) {
        tile::<TILE>(panel, x, sums);
    }
    let rest = sums.into_remainder().chunks_exact_mut(PANEL);
    for (x, sums) in x.remainder().chunks_exact(inputs).zip(rest) {
        tile::<1>(panel, x, sums);
    }
}

/// `ROWS` rows through one panel, their sums in registers.
#[inline(always)]
fn tile<const ROWS: usize>(panel: &[[f32; PANEL]], x: &[f32], out: &mut [f32]) {
    let inputs = panel.len();
    let mut rows = [x; ROWS];
    for (index, row) in rows.iter_mut().enumerate() {
        *row = &x[index * inputs..][..inputs];
    }
    let mut sums = [[0.0_f32; PANEL]; ROWS];
    for (input, weights) in panel.iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let x = row[input];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
    }
    out.copy_from_slice(sums.as_flattened());
}
