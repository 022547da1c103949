//! The definition against candle's own operations: that it is a Llama at all.
//!
//! Sums are in other orders there, so the two agree to rounding only.

use crate::plain::Plain;
use candle_core::{Device, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope;
use conductor_engine::math::matrix::Matrix;
use conductor_engine::model::{Model, tiny};

fn tensor(matrix: &Matrix) -> Result<Tensor> {
    let rows: Vec<f32> = (0..matrix.outputs()).flat_map(|o| matrix.row(o)).collect();
    Tensor::from_vec(rows, (matrix.outputs(), matrix.inputs()), &Device::Cpu)
}

fn norm(x: &Tensor, weight: &[f32], epsilon: f32) -> Result<Tensor> {
    let weight = Tensor::from_slice(weight, weight.len(), &Device::Cpu)?;
    rms_norm(&x.contiguous()?, &weight, epsilon)
}

/// The logits after each token, by candle.
fn logits(model: &Model, tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
    let config = model.config();
    let heads = config.heads;
    let (length, half) = (tokens.len(), heads.dim / 2);
    let times = |x: &Tensor, matrix: &Matrix| x.matmul(&tensor(matrix)?.t()?);
    let angle = |position: usize, pair: usize| {
        position as f32 / (config.rope_base as f32).powf(2.0 * pair as f32 / heads.dim as f32)
    };
    let angles: Vec<f32> = (0..length)
        .flat_map(|p| (0..half).map(move |i| (p, i)))
        .map(|(p, i)| angle(p, i))
        .collect();
    let angles = Tensor::from_vec(angles, (length, half), &Device::Cpu)?;
    let mask: Vec<f32> = (0..length)
        .flat_map(|row| (0..length).map(move |column| (row, column)))
        .map(|(row, column)| if column > row { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let mask = Tensor::from_vec(mask, (length, length), &Device::Cpu)?;
    let split = |x: Tensor, count: usize| {
        let x = x.reshape((1, length, count, heads.dim))?;
        x.transpose(1, 2)?.contiguous()
    };
    let repeat = |x: Tensor| {
        let group = heads.query / heads.kv;
        let x = x.unsqueeze(2)?;
        let shape = (1, heads.kv, group, length, heads.dim);
        x.broadcast_as(shape)?
            .reshape((1, heads.query, length, heads.dim))
    };
    let indices = Tensor::from_slice(tokens, length, &Device::Cpu)?;
    let mut x = tensor(model.embedding())?.index_select(&indices, 0)?;
    for layer in model.layers() {
        let normed = norm(&x, &layer.attention_norm, config.epsilon)?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let q = rope(
            &split(times(&normed, &layer.query)?, heads.query)?,
            &cos,
            &sin,
        )?;
        let k = repeat(rope(
            &split(times(&normed, &layer.key)?, heads.kv)?,
            &cos,
            &sin,
        )?)?;
        let v = repeat(split(times(&normed, &layer.value)?, heads.kv)?)?;
        let scores = (q.matmul(&k.t()?)? / (heads.dim as f64).sqrt())?;
        let weights = softmax_last_dim(&scores.broadcast_add(&mask)?)?;
        let attended = weights.matmul(&v.contiguous()?)?.transpose(1, 2)?;
        let attended = attended.reshape((length, heads.query_width()))?;
        x = (x + times(&attended, &layer.output)?)?;
        let normed = norm(&x, &layer.mlp_norm, config.epsilon)?;
        let gated = (silu(&times(&normed, &layer.gate)?)? * times(&normed, &layer.up)?)?;
        x = (x + times(&gated, &layer.down)?)?;
    }
    times(&norm(&x, model.norm(), config.epsilon)?, model.head())?.to_vec2()
}

#[test]
fn logits_agree_with_candle_to_rounding() {
    let model = tiny::model(11);
    let tokens: Vec<u32> = b"The quick brown fox jumps over the lazy dog."
        .iter()
        .map(|&byte| u32::from(byte))
        .collect();
    let ours = Plain::new(&model).logits(&tokens);
    let candles = logits(&model, &tokens).expect("candle computes");
    let mut spread = 0.0_f32;
    let mut apart = 0.0_f32;
    for (ours, candles) in ours.iter().flatten().zip(candles.iter().flatten()) {
        spread = spread.max(ours.abs());
        apart = apart.max((ours - candles).abs());
    }
    assert!(spread > 3.0, "logits up to {spread}");
    assert!(
        apart < 1e-3 * spread,
        "{apart} apart, logits up to {spread}"
    );
}
