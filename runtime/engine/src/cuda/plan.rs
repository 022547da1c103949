//! A step as the arrays that kernels read, in one piece of memory that is copied to the device at once.
//!
//! Pure: from the step, the pool's shape and the model's frequencies. Angles are computed here, by `libm`: so they have
//! the bits that the CPU engine's have.

use super::kernels::NONE;
use crate::kv::KvShape;
use crate::math;
use crate::sampling::Sampling;
use crate::step::Step;

/// Where the arrays begin, in bytes; all but `shares` have numbers of 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) shares: usize,
    pub(super) tokens: usize,
    pub(super) angles: usize,
    pub(super) slots: usize,
    pub(super) tables: usize,
    pub(super) chunks: usize,
    pub(super) singles: usize,
    pub(super) picks: usize,
    pub(super) temperatures: usize,
    pub(super) touched: usize,
}

/// A step, laid out.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What goes to the device.
    pub(super) bytes: Vec<u8>,
    pub(super) at: Offsets,
    /// Tokens of the step.
    pub(super) rows: usize,
    /// Lists of rows of longer pieces.
    pub(super) chunks: usize,
    /// Rows of pieces of one token.
    pub(super) singles: usize,
    /// Pieces that ask for a token.
    pub(super) picks: usize,
    /// Blocks that are written to, in order.
    pub(super) touched: Vec<u32>,
    /// Which of the picks have to be chosen on the host.
    pub(super) nucleus: Vec<usize>,
}

impl Plan {
    /// Lays out a step that has been checked.
    pub(super) fn new(step: &Step, shape: &KvShape, frequencies: &[f32], tile_rows: usize) -> Self {
        let mut arrays = Arrays::default();
        let mut plan = Self::default();
        let size = shape.block_tokens();
        for piece in &step.pieces {
            let table = arrays.tables.len() as u32;
            arrays
                .tables
                .extend(piece.blocks.iter().map(|block| block.0));
            let first = arrays.tokens.len();
            arrays.tokens.extend_from_slice(&piece.tokens);
            for position in piece.start as usize..piece.end() {
                math::angles(position, frequencies, &mut arrays.angles);
                arrays.slots.push(match position < piece.stored as usize {
                    true => NONE,
                    false => {
                        piece.blocks[position / size].0 * size as u32 + (position % size) as u32
                    }
                });
            }
            if (piece.stored as usize) < piece.end() {
                plan.touched.extend(
                    piece.blocks[piece.stored as usize / size..]
                        .iter()
                        .map(|block| block.0),
                );
            }
            let count = piece.tokens.len();
            let lists = if count == 1 {
                &mut arrays.singles
            } else {
                &mut arrays.chunks
            };
            for from in (0..count).step_by(tile_rows) {
                let rows = tile_rows.min(count - from) as u32;
                lists.extend([
                    (first + from) as u32,
                    rows,
                    piece.start + from as u32,
                    table,
                ]);
            }
            if let Some(sampling) = piece.sample {
                let (temperature, share) = match sampling {
                    Sampling::Random {
                        temperature, top_p, ..
                    } if top_p >= 1.0 => (temperature, sampling.share(piece.end() as u32)),
                    Sampling::Random { .. } => {
                        plan.nucleus.push(arrays.picks.len());
                        (0.0, 0.0)
                    }
                    Sampling::Greedy => (0.0, 0.0),
                };
                arrays.picks.push((first + count - 1) as u32);
                arrays.temperatures.push(temperature);
                arrays.shares.push(share);
            }
        }
        plan.touched.sort_unstable();
        plan.rows = arrays.tokens.len();
        plan.chunks = arrays.chunks.len() / 4;
        plan.singles = arrays.singles.len() / 4;
        plan.picks = arrays.picks.len();
        plan.pack(&arrays);
        plan
    }

    fn pack(&mut self, arrays: &Arrays) {
        let mut put = |bytes: &[u8]| {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
            at
        };
        let angles: Vec<f32> = arrays
            .angles
            .iter()
            .flat_map(|&(cosine, sine)| [cosine, sine])
            .collect();
        self.at = Offsets {
            shares: put(bytemuck::cast_slice(&arrays.shares)),
            tokens: put(bytemuck::cast_slice(&arrays.tokens)),
            angles: put(bytemuck::cast_slice(&angles)),
            slots: put(bytemuck::cast_slice(&arrays.slots)),
            tables: put(bytemuck::cast_slice(&arrays.tables)),
            chunks: put(bytemuck::cast_slice(&arrays.chunks)),
            singles: put(bytemuck::cast_slice(&arrays.singles)),
            picks: put(bytemuck::cast_slice(&arrays.picks)),
            temperatures: put(bytemuck::cast_slice(&arrays.temperatures)),
            touched: put(bytemuck::cast_slice(&self.touched)),
        };
    }
}

#[derive(Default)]
struct Arrays {
    shares: Vec<f64>,
    tokens: Vec<u32>,
    angles: Vec<(f32, f32)>,
    slots: Vec<u32>,
    tables: Vec<u32>,
    chunks: Vec<u32>,
    singles: Vec<u32>,
    picks: Vec<u32>,
    temperatures: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::BlockId;
    use crate::step::{Phase, Piece};
    use conductor_core::ids::{RequestId, Ticket};

    fn piece(
        start: u32,
        tokens: &[u32],
        stored: u32,
        blocks: &[u32],
        sample: Option<Sampling>,
    ) -> Piece {
        Piece {
            ticket: Ticket {
                request: RequestId(1),
                attempt: 0,
            },
            phase: Phase::Prefill,
            start,
            tokens: tokens.to_vec(),
            stored,
            blocks: blocks.iter().map(|&block| BlockId(block)).collect(),
            sample,
        }
    }

    fn words(plan: &Plan, at: usize, count: usize) -> Vec<u32> {
        let (words, _) = plan.bytes[at..at + 4 * count].as_chunks::<4>();
        words.iter().map(|word| u32::from_ne_bytes(*word)).collect()
    }

    #[test]
    fn a_step_is_laid_out_row_by_row() {
        let shape = KvShape::new(2, 1, 4, 4).expect("a shape");
        let nucleus = Sampling::new(1.0, 0.5, 7).expect("in range");
        let step = Step {
            pieces: vec![
                piece(2, &[10, 11, 12], 3, &[5, 9], Some(Sampling::Greedy)),
                piece(8, &[13], 8, &[1, 0, 3], Some(nucleus)),
                piece(0, &[14, 15], 2, &[7], None),
            ],
        };
        let plan = Plan::new(&step, &shape, &[1.0, 0.5], 2);
        assert_eq!(
            (plan.rows, plan.chunks, plan.singles, plan.picks),
            (6, 3, 1, 2)
        );
        assert_eq!(words(&plan, plan.at.tokens, 6), [10, 11, 12, 13, 14, 15]);
        // Positions 2, 3, 4 of blocks 5 and 9; the first is stored already, as are those of the last piece.
        assert_eq!(
            words(&plan, plan.at.slots, 6),
            [NONE, 23, 36, 12, NONE, NONE]
        );
        assert_eq!(words(&plan, plan.at.tables, 6), [5, 9, 1, 0, 3, 7]);
        assert_eq!(
            words(&plan, plan.at.chunks, 12),
            [0, 2, 2, 0, 2, 1, 4, 0, 4, 2, 0, 5]
        );
        assert_eq!(words(&plan, plan.at.singles, 4), [3, 1, 8, 2]);
        assert_eq!(words(&plan, plan.at.picks, 2), [2, 3]);
        assert_eq!(plan.touched, [3, 5, 9]);
        assert_eq!(plan.nucleus, [1]);
        assert!(plan.at.shares.is_multiple_of(8) && plan.bytes.len().is_multiple_of(16));
    }
}
