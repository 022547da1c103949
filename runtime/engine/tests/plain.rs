//! The definition: one sequence, one token at a time, unpaged, without batches, tiles, panels or threads.
//!
//! Loops are as literal as they can be; what they share with the engine is the order of additions that
//! `conductor_engine::math` writes down, and `libm`.

use conductor_engine::math::attention::Heads;
use conductor_engine::math::matrix::Matrix;
use conductor_engine::math::{angles, dot, rms_norm, rotate, swiglu};
use conductor_engine::model::Model;
use conductor_engine::sampling::Sampling;

/// One sequence and its KV: by layer, token after token.
pub(crate) struct Plain<'a> {
    model: &'a Model,
    /// Rows of each matrix, unpacked once, because that takes longer than using them.
    rows: Vec<[Vec<Vec<f32>>; 7]>,
    head: Vec<Vec<f32>>,
    keys: Vec<Vec<Vec<f32>>>,
    values: Vec<Vec<Vec<f32>>>,
}

fn rows(matrix: &Matrix) -> Vec<Vec<f32>> {
    let row = |output| matrix.row(output).collect();
    (0..matrix.outputs()).map(row).collect()
}

fn product(rows: &[Vec<f32>], x: &[f32]) -> Vec<f32> {
    let output = |row: &Vec<f32>| {
        let mut sum = 0.0;
        for (weight, x) in row.iter().zip(x) {
            sum += x * weight;
        }
        sum
    };
    rows.iter().map(output).collect()
}

impl<'a> Plain<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        let layers = model.layers().iter();
        Self {
            model,
            rows: layers
                .map(|layer| {
                    [
                        rows(&layer.query),
                        rows(&layer.key),
                        rows(&layer.value),
                        rows(&layer.output),
                        rows(&layer.gate),
                        rows(&layer.up),
                        rows(&layer.down),
                    ]
                })
                .collect(),
            head: rows(model.head()),
            keys: vec![Vec::new(); model.layers().len()],
            values: vec![Vec::new(); model.layers().len()],
        }
    }

    /// Forgets the sequence.
    fn restart(&mut self) {
        self.keys.iter_mut().for_each(Vec::clear);
        self.values.iter_mut().for_each(Vec::clear);
    }

    /// The logits after one more token.
    fn push(&mut self, token: u32) -> Vec<f32> {
        let config = self.model.config();
        let norm = |row: &[f32], weight: &[f32]| {
            let mut out = vec![0.0; row.len()];
            rms_norm(row, weight, config.epsilon, &mut out);
            out
        };
        let mut turn = Vec::new();
        angles(self.keys[0].len(), self.model.frequencies(), &mut turn);
        let mut x: Vec<f32> = self.model.embedding().row(token as usize).collect();
        for (index, layer) in self.model.layers().iter().enumerate() {
            let [query, key, value, output, gate, up, down] = &self.rows[index];
            let normed = norm(&x, &layer.attention_norm);
            let (mut q, mut k) = (product(query, &normed), product(key, &normed));
            rotate(&mut q, &turn);
            rotate(&mut k, &turn);
            self.keys[index].push(k);
            self.values[index].push(product(value, &normed));
            let attended = attention(config.heads, &q, &self.keys[index], &self.values[index]);
            for (x, add) in x.iter_mut().zip(product(output, &attended)) {
                *x += add;
            }
            let normed = norm(&x, &layer.mlp_norm);
            let mut gated = product(gate, &normed);
            swiglu(&mut gated, &product(up, &normed));
            for (x, add) in x.iter_mut().zip(product(down, &gated)) {
                *x += add;
            }
        }
        product(&self.head, &norm(&x, self.model.norm()))
    }

    /// The logits after each token of a sequence.
    pub(crate) fn logits(&mut self, tokens: &[u32]) -> Vec<Vec<f32>> {
        self.restart();
        tokens.iter().map(|&token| self.push(token)).collect()
    }

    /// The answer to a prompt, in `count` tokens.
    pub(crate) fn answer(&mut self, prompt: &[u32], count: usize, sampling: Sampling) -> Vec<u32> {
        let mut logits = self.logits(prompt).pop().expect("a prompt has a token");
        let mut answer = Vec::new();
        for position in prompt.len()..prompt.len() + count {
            let token = sampling.choose(&logits, position as u32);
            answer.push(token.expect("numbers"));
            logits = self.push(answer[answer.len() - 1]);
        }
        answer
    }
}

fn attention(heads: Heads, query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f32> {
    let mut out = vec![0.0; query.len()];
    let scale = 1.0 / (heads.dim as f32).sqrt();
    for head in 0..heads.query {
        let own = head * heads.dim..(head + 1) * heads.dim;
        let shared = head / (heads.query / heads.kv) * heads.dim;
        let score = |key: &Vec<f32>| dot(&query[own.clone()], &key[shared..][..heads.dim]) * scale;
        let scores: Vec<f32> = keys.iter().map(score).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (score, value) in scores.iter().zip(values) {
            let weight = libm::expf(score - largest);
            sum += weight;
            for (out, value) in out[own.clone()].iter_mut().zip(&value[shared..]) {
                *out += weight * value;
            }
        }
        for out in &mut out[own] {
            *out /= sum;
        }
    }
    out
}
