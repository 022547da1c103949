//! What a decode node can take: the one rule by which a node's own scheduler accepts, and by which admission predicts
//! that it will.
//!
//! One rule for both, because where they differ the stricter one decides alone: an admission that charges less than the
//! node does never turns anybody away, and every overload becomes a wasted prefill.

use crate::books::Decoding;
use crate::config::{NodeSpec, PolicyConfig, Ratio};
use crate::cost::CostModel;
use crate::units::{Nanos, Tokens};

/// A decode node's limits.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// Tokens in a block.
    pub block: Tokens,
    /// Blocks of KV that HBM holds.
    pub capacity_blocks: u64,
    /// Tokens that are held back for what each sequence may still grow.
    pub reserve: Tokens,
    /// The longest step that is allowed.
    pub limit: Nanos,
    /// What a step is estimated to take.
    pub cost: &'a dyn CostModel,
}

impl<'a> Room<'a> {
    /// What a node of `spec` can take under `policy`, its steps being estimated by `cost`.
    #[must_use]
    pub fn new(
        policy: &PolicyConfig,
        block: Tokens,
        spec: &NodeSpec,
        cost: &'a dyn CostModel,
    ) -> Self {
        Self {
            block,
            capacity_blocks: u64::from(spec.hbm_blocks),
            reserve: policy.decode.output_reserve,
            limit: policy.strictest_tbt(),
            cost,
        }
    }

    /// What the node can take if no more than this part of its limits shall be used.
    #[must_use]
    pub fn at_load(self, load: Ratio) -> Self {
        Self {
            capacity_blocks: self.capacity_blocks * u64::from(load.0) / 1000,
            limit: load.of(self.limit),
            ..self
        }
    }

    /// The same where every sequence counts with all that it will ever hold.
    #[must_use]
    pub fn without_reserve(self) -> Self {
        Self {
            reserve: Tokens::ZERO,
            ..self
        }
    }

    /// True if the node can take these: with `reserve` for each, their KV fits (the last block of each may be almost
    /// empty), and a step does not take more than `limit`.
    #[must_use]
    pub fn takes(&self, these: Decoding) -> bool {
        let sequences = u64::from(these.sequences);
        let tokens = these.tokens + self.reserve * sequences;
        let fits = tokens.0 / self.block.0 + sequences <= self.capacity_blocks;
        fits && (these.sequences == 0
            || self.cost.decode_step(these.sequences, tokens) <= self.limit)
    }
}
