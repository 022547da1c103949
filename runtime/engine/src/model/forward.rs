//! The forward pass of a step.
//!
//! The rows of all pieces go through products together; attention, which is each sequence's own, goes piece by piece.
//! In each layer a piece's keys and values are written to its blocks first and then read back with those before them,
//! so that there is one way by which attention gets KV, whether it was computed now, long ago or on another node.
//!
//! Memory follows the number of tokens of a step and the longest context in it, and is kept for the next step.

use super::{Layer, Model};
use crate::kv::{KvRegion, KvShape};
use crate::math::attention::{Context, attend};
use crate::math::{Workers, add, angles, rms_norm, rotate, swiglu};
use crate::step::{LayerDone, Piece, Step};

/// Space that is used again from step to step.
#[derive(Debug, Default)]
pub struct Scratch {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    out: Vec<f32>,
    panels: Vec<f32>,
    angles: Vec<(f32, f32)>,
    keys: Vec<f32>,
    values: Vec<f32>,
    logits: Vec<f32>,
}

impl Model {
    /// Computes a step that has been checked. Returns the logits for each piece that asks for a token, in order.
    pub fn forward<'a>(
        &self,
        step: &Step,
        shape: &KvShape,
        region: &dyn KvRegion,
        scratch: &'a mut Scratch,
        workers: &Workers,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> std::slice::ChunksExact<'a, f32> {
        let config = self.config();
        scratch.hidden.clear();
        scratch.angles.clear();
        for piece in &step.pieces {
            for (position, &token) in (piece.start as usize..).zip(&piece.tokens) {
                scratch.hidden.extend(self.embedding.row(token as usize));
                angles(position, &self.frequencies, &mut scratch.angles);
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention(index, layer, step, shape, region, scratch, workers);
            on_layer(LayerDone { layer: index });
            self.mlp(layer, scratch, workers);
        }
        let mut last = 0;
        scratch.attended.clear();
        for piece in &step.pieces {
            last += piece.tokens.len();
            if piece.sample.is_some() {
                let row = &scratch.hidden[(last - 1) * config.hidden..][..config.hidden];
                scratch.attended.extend_from_slice(row);
            }
        }
        norm_rows(
            &scratch.attended,
            &self.norm,
            config.epsilon,
            &mut scratch.normed,
        );
        self.head().product(
            &scratch.normed,
            &mut scratch.logits,
            &mut scratch.panels,
            workers,
        );
        scratch.logits.chunks_exact(config.vocabulary)
    }

    /// The first half of a layer, KV in the region included.
    #[expect(
        clippy::too_many_arguments,
        reason = "one half of a loop's body, with a name"
    )]
    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        step: &Step,
        shape: &KvShape,
        region: &dyn KvRegion,
        scratch: &mut Scratch,
        workers: &Workers,
    ) {
        let config = self.config();
        let heads = config.heads;
        let s = scratch;
        let x = &mut s.normed;
        norm_rows(&s.hidden, &layer.attention_norm, config.epsilon, x);
        layer.query.product(x, &mut s.query, &mut s.panels, workers);
        layer.key.product(x, &mut s.key, &mut s.panels, workers);
        layer.value.product(x, &mut s.value, &mut s.panels, workers);
        let each = s.angles.chunks_exact(heads.dim / 2);
        let queries = s.query.chunks_exact_mut(heads.query_width());
        let keys = s.key.chunks_exact_mut(heads.kv_width());
        for ((angles, query), key) in each.zip(queries).zip(keys) {
            rotate(query, angles);
            rotate(key, angles);
        }
        s.attended.resize(s.query.len(), 0.0);
        let mut row = 0;
        for piece in &step.pieces {
            let rows = row..row + piece.tokens.len();
            row = rows.end;
            let kv = rows.start * heads.kv_width()..rows.end * heads.kv_width();
            store(
                piece,
                index,
                shape,
                region,
                &s.key[kv.clone()],
                &s.value[kv],
            );
            fetch(piece, index, shape, region, &mut s.keys, &mut s.values);
            let context = Context {
                keys: &s.keys,
                values: &s.values,
            };
            let own = rows.start * heads.query_width()..rows.end * heads.query_width();
            attend(
                heads,
                &s.query[own.clone()],
                piece.start as usize,
                context,
                &mut s.attended[own],
                workers,
            );
        }
        layer
            .output
            .product(&s.attended, &mut s.out, &mut s.panels, workers);
        add(&mut s.hidden, &s.out);
    }

    /// The second half of a layer.
    fn mlp(&self, layer: &Layer, scratch: &mut Scratch, workers: &Workers) {
        let s = scratch;
        let x = &mut s.normed;
        norm_rows(&s.hidden, &layer.mlp_norm, self.config().epsilon, x);
        layer.gate.product(x, &mut s.gate, &mut s.panels, workers);
        layer.up.product(x, &mut s.up, &mut s.panels, workers);
        swiglu(&mut s.gate, &s.up);
        layer
            .down
            .product(&s.gate, &mut s.out, &mut s.panels, workers);
        add(&mut s.hidden, &s.out);
    }
}

fn norm_rows(rows: &[f32], weight: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    out.resize(rows.len(), 0.0);
    let each = rows.chunks_exact(weight.len());
    for (row, out) in each.zip(out.chunks_exact_mut(weight.len())) {
        rms_norm(row, weight, epsilon, out);
    }
}

/// Writes the keys and values of a piece's tokens to its blocks, but for those that are there.
fn store(
    piece: &Piece,
    layer: usize,
    shape: &KvShape,
    region: &dyn KvRegion,
    keys: &[f32],
    values: &[f32],
) {
    let (width, size) = (shape.width(), shape.block_tokens());
    let mut position = piece.stored as usize;
    while position < piece.end() {
        let (block, token) = (piece.blocks[position / size], position % size);
        let tokens = (size - token).min(piece.end() - position);
        let from = (position - piece.start as usize) * width;
        let own = from..from + tokens * width;
        region.write(
            shape.keys(block, layer, token),
            bytemuck::cast_slice(&keys[own.clone()]),
        );
        region.write(
            shape.values(block, layer, token),
            bytemuck::cast_slice(&values[own]),
        );
        position += tokens;
    }
}

/// Brings the keys and values of a sequence next to each other, up to the piece's last token.
fn fetch(
    piece: &Piece,
    layer: usize,
    shape: &KvShape,
    region: &dyn KvRegion,
    keys: &mut Vec<f32>,
    values: &mut Vec<f32>,
) {
    let numbers = piece.end() * shape.width();
    keys.resize(numbers, 0.0);
    values.resize(numbers, 0.0);
    let size = shape.block_tokens() * shape.width();
    let each = keys.chunks_mut(size).zip(values.chunks_mut(size));
    for (&block, (keys, values)) in piece.blocks.iter().zip(each) {
        region.read(shape.keys(block, layer, 0), bytemuck::cast_slice_mut(keys));
        region.read(
            shape.values(block, layer, 0),
            bytemuck::cast_slice_mut(values),
        );
    }
}
