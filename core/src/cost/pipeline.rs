//! Chunked pipeline parallelism: a group of nodes that computes one prompt's chunks one behind the other.
//!
//! FAST'25 section 3.3 and v3 section 5.1: the layers are split over X nodes; a prompt is cut into chunks; while one
//! node
//! computes its layers of a chunk, the node before it computes the next chunk. The papers give neither X nor the
//! chunk's
//! size nor a formula. Here a chunk that takes `t` on one node takes `t / X` on each, and between two nodes its
//! activations are sent. Each chunk but the first also pays the fixed part of a pass ([`CostModel::pass`]), which one
//! node's own cost has only once.
//!
//! All stages of a chunk take the same time, so this is a proportionate flow shop: alone, a prompt takes the sum of its
//! chunks on one stage, and for each further stage the longest chunk once more. That last part is the bubble.

use super::CostModel;
use crate::units::{Bytes, Nanos, Tokens};

/// A group of nodes that computes prompts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Nodes in the group, X; at least 1.
    pub stages: u32,
    /// Tokens of a chunk; at least 1.
    pub chunk: Tokens,
    /// Activations of one token at a border between layers.
    pub border_bytes: Bytes,
    /// What one node sends to the next, bytes a second; at least 1.
    pub border_bytes_per_s: u64,
}

/// One chunk on its way through the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Time on each stage.
    pub stage: Nanos,
    /// Time from one stage to the next.
    pub border: Nanos,
}

impl Pipeline {
    /// The chunks of a prompt whose first `cached` tokens are reused.
    pub fn chunks<'a>(
        &'a self,
        cost: &'a dyn CostModel,
        prompt: Tokens,
        cached: Tokens,
    ) -> impl Iterator<Item = Chunk> + 'a {
        let (mut done, mut before) = (cached, Nanos::ZERO);
        core::iter::from_fn(move || {
            if done >= prompt {
                return None;
            }
            let end = prompt.min(done + self.chunk);
            let until = cost.prefill(end, cached);
            let mut time = until.saturating_sub(before);
            if done > cached {
                time += cost.pass();
            }
            let bytes = u128::from((end - done).0) * u128::from(self.border_bytes.0);
            let border = bytes * 1_000_000_000 / u128::from(self.border_bytes_per_s);
            (done, before) = (end, until);
            Some(Chunk {
                stage: Nanos(time.0.div_ceil(u64::from(self.stages))),
                border: Nanos(border as u64),
            })
        })
    }

    /// Time from a prompt's start to its end, alone in the group.
    #[must_use]
    pub fn latency(&self, cost: &dyn CostModel, prompt: Tokens, cached: Tokens) -> Nanos {
        let (mut sum, mut longest) = (Nanos::ZERO, Nanos::ZERO);
        for chunk in self.chunks(cost, prompt, cached) {
            sum += chunk.stage;
            longest = longest.max(chunk.stage + chunk.border);
        }
        sum + longest * u64::from(self.stages - 1)
    }

    /// Time for which a prompt keeps the first stage from the next prompt.
    #[must_use]
    pub fn occupancy(&self, cost: &dyn CostModel, prompt: Tokens, cached: Tokens) -> Nanos {
        let chunks = self.chunks(cost, prompt, cached);
        chunks.map(|chunk| chunk.stage).sum()
    }

    /// Sends one chunk through the group: `free` says until when each stage is busy with what came before, and is
    /// updated. The chunk is there at `ready`; returns when it leaves the last stage.
    pub fn pass(&self, chunk: Chunk, ready: Nanos, free: &mut [Nanos]) -> Nanos {
        let mut at = ready;
        for (stage, free) in free.iter_mut().enumerate() {
            if stage > 0 {
                at += chunk.border;
            }
            at = at.max(*free) + chunk.stage;
            *free = at;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Profile;
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        /// The closed form equals sending every chunk through every stage.
        #[test]
        fn alone_the_bubble_is_the_longest_chunk_for_each_further_stage(
            stages in 1_u32..9, chunk in 100_u64..9_000, prompt in 1_u64..40_000, cached in 0_u64..20_000, border in 0_u64..1 << 20,
        ) {
            let profile = Profile::built_in("a800-llama3-70b").expect("built in");
            let cost = profile.cost();
            let pipeline = Pipeline {
                stages,
                chunk: Tokens(chunk),
                border_bytes: Bytes(border),
                border_bytes_per_s: 87_000_000_000,
            };
            let (prompt, cached) = (Tokens(prompt), Tokens(cached.min(prompt - 1)));
            let mut free = vec![Nanos::ZERO; stages as usize];
            let mut end = Nanos::ZERO;
            for chunk in pipeline.chunks(&*cost, prompt, cached) {
                end = pipeline.pass(chunk, Nanos::ZERO, &mut free);
            }
            prop_assert_eq!(end, pipeline.latency(&*cost, prompt, cached));
            prop_assert_eq!(free[0], pipeline.occupancy(&*cost, prompt, cached));
        }
    }
}
