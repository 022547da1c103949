//! The inner loops, compiled once for any processor and once for those with AVX2.
//!
//! The same source and, because nothing is fused or reordered, the same bits (a test compares them). Only how many
//! numbers the compiler handles at a time differs. Calling a function that needs AVX2 is the one thing for which this
//! crate needs `unsafe`.

use super::attention::{self, Context, Heads};
use super::matrix::{self, PANEL};

/// All rows of `x` through one panel of a matrix.
pub(super) fn panel(panel: &[[f32; PANEL]], x: &[f32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "a call of code for AVX2")]
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::panel(panel, x, sums) };
    }
    matrix::panel::<2>(panel, x, sums);
}

/// One row of attention.
pub(super) fn attend_row(
    heads: Heads,
    queries: &[f32],
    context: Context<'_>,
    scores: &mut [f32],
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "a call of code for AVX2")]
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::attend_row(heads, queries, context, scores, out) };
    }
    attention::row(heads, queries, context, scores, out);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Context, Heads, PANEL, attention, matrix};

    #[target_feature(enable = "avx2")]
    pub(super) fn panel(panel: &[[f32; PANEL]], x: &[f32], sums: &mut [f32]) {
        matrix::panel::<4>(panel, x, sums);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn attend_row(
        heads: Heads,
        queries: &[f32],
        context: Context<'_>,
        scores: &mut [f32],
        out: &mut [f32],
    ) {
        attention::row(heads, queries, context, scores, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::rng::Stream;

    fn numbers(name: &str, count: usize) -> Vec<f32> {
        let stream = Stream::new(7, name);
        let number = |i| (stream.draw(i) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u64).map(number).collect()
    }

    #[test]
    fn a_product_has_the_same_bits_by_any_tile_and_any_processor() {
        let (rows, inputs) = (7, 37);
        let x = numbers("x", rows * inputs);
        let weights = numbers("w", PANEL * inputs);
        let (weights, _) = weights.as_chunks::<PANEL>();
        let mut expected = vec![0.0; rows * PANEL];
        for (x, sums) in x.chunks(inputs).zip(expected.chunks_mut(PANEL)) {
            for (x, weights) in x.iter().zip(weights) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += x * weight;
                }
            }
        }
        let expected: Vec<u32> = expected.iter().map(|sum| sum.to_bits()).collect();
        for kernel in [
            panel,
            matrix::panel::<1>,
            matrix::panel::<2>,
            matrix::panel::<4>,
        ] {
            let mut sums = vec![0.0; rows * PANEL];
            kernel(weights, &x, &mut sums);
            assert!(
                sums.iter()
                    .map(|sum| sum.to_bits())
                    .eq(expected.iter().copied())
            );
        }
    }

    #[test]
    fn attention_has_the_same_bits_on_any_processor() {
        let heads = Heads {
            query: 6,
            kv: 2,
            dim: 24,
        };
        let seen = 19;
        let queries = numbers("q", heads.query_width());
        let keys = numbers("k", seen * heads.kv_width());
        let values = numbers("v", seen * heads.kv_width());
        let context = Context {
            keys: &keys,
            values: &values,
        };
        let bits = |row: fn(Heads, &[f32], Context<'_>, &mut [f32], &mut [f32])| {
            let (mut scores, mut out) = (vec![0.0; seen], vec![0.0; heads.query_width()]);
            row(heads, &queries, context, &mut scores, &mut out);
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(attend_row), bits(attention::row));
    }
}
