//! Where a token's KV lies in the region.
//!
//! `[block][layer][k, v][token in block][kv head][dimension]`, 32-bit floats in the machine's order. A block is one
//! contiguous piece, which is what replication moves; so is a layer of a block, which is what layer-wise streaming
//! moves; and so are a layer's keys and its values of a block, which is what attention walks over.
//!
//! Not here: other precisions. KV is as exact as the computation, so that moving it changes nothing.

use super::BlockId;
use std::ops::Range;
use thiserror::Error;

/// Bytes of one number.
const NUMBER: usize = size_of::<f32>();

/// The largest block that is accepted: what goes beyond is a mistyped number, and sizes stay far from overflow.
const BLOCK_BYTES_MAX: u128 = 1 << 32;

/// The geometry of the KV pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    layers: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
}

/// Numbers that make no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{layers} layers, {kv_heads} KV heads, {head_dim} dimensions, {block_tokens} tokens a block: \
     expected each to be at least 1 (dimensions: 2) and a block of at most 4 GiB"
)]
pub struct ShapeError {
    layers: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
}

impl KvShape {
    /// A pool for a model of `layers` layers with `kv_heads` heads of `head_dim` numbers, in blocks of `block_tokens`.
    pub fn new(
        layers: u32,
        kv_heads: u32,
        head_dim: u32,
        block_tokens: u32,
    ) -> Result<Self, ShapeError> {
        let factors = [2 * NUMBER as u32, layers, kv_heads, head_dim, block_tokens];
        let mut bytes = 1_u128;
        for factor in factors {
            bytes = bytes.saturating_mul(u128::from(factor));
        }
        if bytes == 0 || bytes > BLOCK_BYTES_MAX || head_dim < 2 {
            return Err(ShapeError {
                layers,
                kv_heads,
                head_dim,
                block_tokens,
            });
        }
        Ok(Self {
            layers,
            kv_heads,
            head_dim,
            block_tokens,
        })
    }

    /// Layers.
    #[must_use]
    pub const fn layers(&self) -> usize {
        self.layers as usize
    }

    /// Tokens of a block.
    #[must_use]
    pub const fn block_tokens(&self) -> usize {
        self.block_tokens as usize
    }

    /// Numbers of a token's keys (or values) in one layer.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.kv_heads as usize * self.head_dim as usize
    }

    /// Bytes of a token's keys (or values) in one layer.
    #[must_use]
    pub const fn token_bytes(&self) -> usize {
        self.width() * NUMBER
    }

    /// Bytes of one layer of a block: its keys, then its values.
    #[must_use]
    pub const fn slice_bytes(&self) -> usize {
        2 * self.block_tokens() * self.token_bytes()
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.layers() * self.slice_bytes()
    }

    /// Bytes of a region of `blocks` blocks.
    #[must_use]
    pub const fn region_bytes(&self, blocks: u32) -> usize {
        self.block_bytes() * blocks as usize
    }

    /// Blocks that `tokens` tokens take.
    #[must_use]
    pub const fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens())
    }

    /// Where a block lies.
    #[must_use]
    pub const fn block(&self, block: BlockId) -> Range<usize> {
        let start = block.0 as usize * self.block_bytes();
        start..start + self.block_bytes()
    }

    /// Where one layer of a block lies.
    #[must_use]
    pub const fn slice(&self, block: BlockId, layer: usize) -> Range<usize> {
        let start = self.block(block).start + layer * self.slice_bytes();
        start..start + self.slice_bytes()
    }

    /// Where the keys of a block's token begin; those of the next token follow.
    #[must_use]
    pub const fn keys(&self, block: BlockId, layer: usize, token: usize) -> usize {
        self.slice(block, layer).start + token * self.token_bytes()
    }

    /// Where the values of a block's token begin.
    #[must_use]
    pub const fn values(&self, block: BlockId, layer: usize, token: usize) -> usize {
        self.keys(block, layer, token) + self.slice_bytes() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own_and_slices_lie_in_a_row() {
        let shape = KvShape::new(3, 2, 4, 5).expect("a shape");
        let mut places = Vec::new();
        for block in [BlockId(0), BlockId(1)] {
            for layer in 0..3 {
                let slice = shape.slice(block, layer);
                for token in 0..5 {
                    for start in [
                        shape.keys(block, layer, token),
                        shape.values(block, layer, token),
                    ] {
                        assert!(slice.contains(&start));
                        places.push(start);
                    }
                }
            }
        }
        places.sort_unstable();
        let expected: Vec<usize> = (0..2 * 3 * 2 * 5).map(|i| i * 2 * 4 * NUMBER).collect();
        assert_eq!(places, expected);
        assert_eq!(shape.region_bytes(2), shape.block(BlockId(1)).end);
    }

    #[test]
    fn absurd_shapes_are_refused() {
        assert!(KvShape::new(0, 1, 1, 1).is_err());
        assert!(KvShape::new(u32::MAX, u32::MAX, u32::MAX, u32::MAX).is_err());
    }
}
