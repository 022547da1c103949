//! One request, alone: the workload `single-request`.
//!
//! With a cached share the blocks that it reuses are put there by a request before it, an hour earlier, which has no
//! answer to speak of and is left out of reports. Whole blocks are reused, so the share is rounded down to such.

use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;

/// The name of the workload in specifications.
pub(crate) const NAME: &str = "single-request";

/// When the request comes: whatever was there before is over.
const ARRIVAL: Nanos = Nanos::from_secs(3600);

/// A request that is alone in the cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Single {
    /// Its length.
    pub prompt: Tokens,
    /// Which share of it a prefill node has, 0 up to but not 1.
    pub cached: f64,
    /// Length of its answer.
    pub output: Tokens,
}

impl Default for Single {
    fn default() -> Self {
        Self {
            prompt: Tokens(8_192),
            cached: 0.0,
            output: Tokens(128),
        }
    }
}

impl Single {
    fn reused(&self, block: Tokens) -> u64 {
        (self.prompt.0 as f64 * self.cached) as u64 / block.0
    }

    /// How many requests come before it.
    pub(crate) fn warm_up(&self, block: Tokens) -> u64 {
        u64::from(self.reused(block) > 0)
    }

    /// It, behind the one that fills the cache if there is one.
    pub(crate) fn requests(&self, block: Tokens) -> Vec<WorkloadRequest> {
        let request = |arrival, input: Tokens, output| WorkloadRequest {
            class: ClassId::default(),
            workflow: None,
            arrival,
            input,
            output,
            blocks: (0..u64::from(input.blocks(block))).map(BlockHash).collect(),
        };
        let reused = block * self.reused(block);
        let before = (!reused.is_zero()).then(|| request(Nanos::ZERO, reused, Tokens(1)));
        let it = request(ARRIVAL, self.prompt, self.output);
        before.into_iter().chain([it]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_are_there_before_it() {
        let block = Tokens(512);
        let single = Single {
            cached: 0.95,
            ..Single::default()
        };
        let [before, it] = &single.requests(block)[..] else {
            panic!("two requests")
        };
        assert_eq!((before.blocks.len(), it.blocks.len()), (15, 16));
        assert_eq!(before.blocks[..], it.blocks[..15]);
        assert_eq!(single.warm_up(block), 1);
        let bare = Single::default();
        assert_eq!((bare.requests(block).len(), bare.warm_up(block)), (1, 0));
    }
}
