//! The loops of the CPU engine, and why their results do not depend on the batch.
//!
//! A product's rows must come out the same whatever other rows there are. candle's `gemm` does not promise that, and
//! does not keep it: 64 rows times a matrix of 576 x 1,536 all differ in their last bits from the same rows computed
//! one by one, which is how the tokens of a lone answer are (`tests/invariance.rs`; candle 0.11.1 on an AMD EPYC). In
//! groups of 2, 8 and 32 they were the same there; for other sizes and processors nobody says so. One different bit is
//! enough for another greedy token. So products are computed here, and candle reads files.
//!
//! The rule is one order of additions for each number that is computed, written down and independent of everything
//! else:
//!
//! - a product's element is the sum over its inputs from the first to the last ([`matrix`]); the loops run over many
//!   outputs side by side, which needs no other order;
//! - a sum over a row or a head is eight sums of every eighth element, added in a tree ([`dot`]);
//! - attention goes over positions from the first to the last ([`attention`]), wherever their blocks lie;
//! - products are rounded before they are added (no fused multiply-add), and `exp`, `sin` and `cos` are `libm`'s: so
//!   the bits are the same with and without AVX2, and on other machines.
//!
//! Threads share out elements, never sums.

pub mod attention;
pub mod matrix;
mod wide;
mod workers;

pub use workers::Workers;

/// Sums of this many elements side by side.
const LANES: usize = 8;

/// The dot product of two rows of equal length: eight sums of every eighth element, added in a tree.
#[inline(always)]
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Root-mean-square normalisation of a row: `x / sqrt(mean(x^2) + epsilon) * weight`.
pub fn rms_norm(row: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = dot(row, row) / row.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
        *out = x * scale * weight;
    }
}

/// The gate of SwiGLU: `gate * sigmoid(gate) * up`, into `gate`.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + libm::expf(-*gate)) * up;
    }
}

/// Adds a row to another.
pub fn add(to: &mut [f32], row: &[f32]) {
    for (to, x) in to.iter_mut().zip(row) {
        *to += x;
    }
}

/// Rotary embedding: turns the pair (`i`, `i + half`) of each head by the position's angle `i`.
///
/// `angles` are (cosine, sine) for the half of a head.
pub fn rotate(heads: &mut [f32], angles: &[(f32, f32)]) {
    let half = angles.len();
    for head in heads.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            let (x, y) = (*low, *high);
            *low = x * cos - y * sin;
            *high = y * cos + x * sin;
        }
    }
}

/// The angles of a position: `position * base^(-2i / dimension)`.
pub fn angles(position: usize, frequencies: &[f32], out: &mut Vec<(f32, f32)>) {
    out.extend(frequencies.iter().map(|frequency| {
        let angle = position as f32 * frequency;
        (libm::cosf(angle), libm::sinf(angle))
    }));
}

/// The frequencies of rotary embedding, for the half of a head.
#[must_use]
pub fn frequencies(base: f64, head_dim: usize) -> Vec<f32> {
    let exponent = |i: usize| -2.0 * i as f64 / head_dim as f64;
    (0..head_dim / 2)
        .map(|i| libm::pow(base, exponent(i)) as f32)
        .collect()
}
