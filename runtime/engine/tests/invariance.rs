//! Why products are our own: candle's are not the same for a row alone and a row among others.

use candle_core::{Device, Tensor};
use conductor_core::rng::Stream;
use conductor_engine::math::Workers;
use conductor_engine::math::matrix::Matrix;

const ROWS: usize = 64;
const INPUTS: usize = 1_536;
const OUTPUTS: usize = 576;
const GROUPS: [usize; 4] = [1, 2, 8, 32];

fn numbers(name: &str, count: usize) -> Vec<f32> {
    let stream = Stream::new(3, name);
    let number = |i| (stream.draw(i) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..count as u64).map(number).collect()
}

/// How many rows differ when they are computed in groups of this size, and not all together.
fn differ(group: usize, product: impl Fn(&[f32]) -> Vec<f32>) -> usize {
    let x = numbers("x", ROWS * INPUTS);
    let together = product(&x);
    let apart: Vec<f32> = x.chunks(group * INPUTS).flat_map(product).collect();
    let rows = together
        .chunks_exact(OUTPUTS)
        .zip(apart.chunks_exact(OUTPUTS));
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    rows.filter(|(a, b)| !same(a, b)).count()
}

#[test]
fn our_rows_do_not_depend_on_each_other() {
    let weights = numbers("w", OUTPUTS * INPUTS);
    let matrix = Matrix::pack(&weights, OUTPUTS, INPUTS);
    let ours = |x: &[f32]| {
        let (mut out, mut panels) = (Vec::new(), Vec::new());
        matrix.product(x, &mut out, &mut panels, &Workers::single());
        out
    };
    for group in GROUPS {
        assert_eq!(differ(group, ours), 0, "in groups of {group}");
    }
}

/// If this fails candle has become better, on this processor at least; see the header of `conductor_engine::math`.
#[test]
fn candles_rows_do() {
    let weights = numbers("w", OUTPUTS * INPUTS);
    let weights = Tensor::from_vec(weights, (OUTPUTS, INPUTS), &Device::Cpu).expect("a matrix");
    let weights = weights.t().expect("transposed");
    let candles = |x: &[f32]| {
        let x = Tensor::from_slice(x, (x.len() / INPUTS, INPUTS), &Device::Cpu);
        let product = x.and_then(|x| x.matmul(&weights)?.flatten_all()?.to_vec1());
        product.expect("a product")
    };
    let counts = GROUPS.map(|group| differ(group, candles));
    println!("of {ROWS} rows differ, in groups of {GROUPS:?}: {counts:?}");
    assert!(counts != [0; 4], "all rows are the same");
}
