//! Launches of attention: which rows go together, and how much of a context is in shared memory.

use super::{Kernels, SIDE_MAX, View, word};
use crate::cuda::driver::{Arg, Result, Shape, Stream};
use crate::kv::KvShape;
use crate::math::attention::Heads;

/// The largest head that there is room for.
pub const HEAD_MAX: usize = 512;

/// Shared memory that every device gives without being asked, in numbers.
const SHARED_MAX: usize = 12 << 10;

/// Attention of lists of rows.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// `[row][query head][dimension]`.
    pub queries: View<'a>,
    /// The pool.
    pub pool: View<'a>,
    /// As the queries.
    pub out: View<'a>,
    /// Four numbers each: first row, rows, position of the first, where its blocks begin in `tables`.
    pub lists: View<'a>,
    /// How many lists.
    pub count: usize,
    /// Blocks of sequences, one sequence after the other.
    pub tables: View<'a>,
    /// The model's heads.
    pub heads: Heads,
    /// The pool's shape.
    pub shape: KvShape,
    /// Which layer.
    pub layer: usize,
}

/// Rows of a list of a chunk, and positions that are in shared memory at a time.
#[must_use]
pub(in crate::cuda) const fn prefill_tile(dim: usize) -> (usize, usize) {
    match dim {
        0..=160 => (16, 32),
        161..=256 => (8, 16),
        _ => (4, 8),
    }
}

/// Numbers of shared memory for such a tile.
const fn shared(dim: usize) -> usize {
    let (rows, span) = prefill_tile(dim);
    (2 * rows + span) * (dim + 1) + rows * (span + 2)
}

impl Attention<'_> {
    fn args(&self) -> Vec<Arg> {
        let Heads { query, kv, dim } = self.heads;
        self.lists.holds(4 * self.count);
        assert!(
            dim <= HEAD_MAX && query <= SIDE_MAX,
            "heads that there is room for"
        );
        assert!(self.layer < self.shape.layers(), "a layer of the pool");
        let mut args = vec![
            self.queries.arg(),
            self.pool.arg(),
            self.out.arg(),
            self.lists.arg(),
            self.tables.arg(),
        ];
        let sizes = [
            query,
            kv,
            dim,
            self.shape.block_tokens(),
            self.layer,
            self.shape.layers(),
        ];
        args.extend(sizes.map(word));
        args.push(Arg::Float(1.0 / (dim as f32).sqrt()));
        args
    }
}

impl Kernels {
    /// Rows of chunks, at most as many to a list as the tile for the head has.
    pub fn attend_prefill(&self, stream: &Stream, a: &Attention<'_>) -> Result<()> {
        let dim = a.heads.dim;
        let (rows, span) = prefill_tile(dim);
        let mut args = a.args();
        args.extend([word(rows), word(span)]);
        let shape = Shape {
            grid: (a.count, a.heads.query),
            threads: 128,
            shared: shared(dim),
        };
        self.attend_prefill.launch(stream, shape, &args)
    }

    /// Lists of one row each.
    pub fn attend_decode(&self, stream: &Stream, a: &Attention<'_>) -> Result<()> {
        const THREADS: usize = 128;
        let shape = Shape {
            grid: (a.count, a.heads.query),
            threads: THREADS,
            shared: 2 * a.heads.dim + THREADS + 1,
        };
        self.attend_decode.launch(stream, shape, &a.args())
    }
}

const _: () = assert!(
    shared(160) <= SHARED_MAX && shared(256) <= SHARED_MAX && shared(HEAD_MAX) <= SHARED_MAX
);
