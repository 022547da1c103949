//! Causal attention of single rows over the keys and values of a sequence.
//!
//! Each query head goes over the positions from the first to its own: scores, their maximum, exponentials and their
//! sum, then the weighted sum of the values. Query heads share key and value heads in groups (grouped-query
//! attention). Positions that come later do not exist for a row, so that a row's result is the same in a chunk as
//! alone.

use super::{Workers, dot, wide};

/// The heads of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads; a multiple of `kv`.
    pub query: usize,
    /// Key and value heads.
    pub kv: usize,
    /// Numbers of a head.
    pub dim: usize,
}

impl Heads {
    /// Numbers of a row of queries.
    #[must_use]
    pub const fn query_width(&self) -> usize {
        self.query * self.dim
    }

    /// Numbers of a row of keys (or values).
    #[must_use]
    pub const fn kv_width(&self) -> usize {
        self.kv * self.dim
    }
}

/// The keys and values of one sequence in one layer, row by row from position 0.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Keys, turned by their positions.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

/// Rows of queries that one thread takes at a time.
const ROWS: usize = 16;

/// The attention of rows of `queries`, the first at position `start`, into `out`.
pub fn attend(
    heads: Heads,
    queries: &[f32],
    start: usize,
    context: Context<'_>,
    out: &mut [f32],
    workers: &Workers,
) {
    let width = heads.query_width();
    workers.each_chunk(out, ROWS * width, |chunk, out| {
        let first = chunk * ROWS;
        let mut scores = Vec::new();
        let rows = queries[first * width..].chunks_exact(width);
        for ((row, queries), out) in rows.enumerate().zip(out.chunks_exact_mut(width)) {
            let seen = start + first + row + 1;
            scores.resize(seen, 0.0);
            let context = Context {
                keys: &context.keys[..seen * heads.kv_width()],
                values: &context.values[..seen * heads.kv_width()],
            };
            wide::attend_row(heads, queries, context, &mut scores, out);
        }
    });
}

/// One row.
#[inline(always)]
pub(super) fn row(
    heads: Heads,
    queries: &[f32],
    context: Context<'_>,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let Heads { query, kv, dim } = heads;
    let scale = 1.0 / (dim as f32).sqrt();
    let width = heads.kv_width();
    let each = queries.chunks_exact(dim).zip(out.chunks_exact_mut(dim));
    for (head, (query_head, out)) in each.enumerate() {
        let shared = head / (query / kv) * dim;
        let mut largest = f32::NEG_INFINITY;
        for (score, keys) in scores.iter_mut().zip(context.keys.chunks_exact(width)) {
            *score = dot(query_head, &keys[shared..][..dim]) * scale;
            largest = largest.max(*score);
        }
        let mut sum = 0.0;
        for score in scores.iter_mut() {
            *score = libm::expf(*score - largest);
            sum += *score;
        }
        out.fill(0.0);
        for (score, values) in scores.iter().zip(context.values.chunks_exact(width)) {
            for (out, value) in out.iter_mut().zip(&values[shared..][..dim]) {
                *out += score * value;
            }
        }
        for out in out {
            *out /= sum;
        }
    }
}
