//! Blocks of another size than a trace's ids stand for.
//!
//! A trace says only which of its own blocks are equal. Smaller blocks are made by splitting: equal ids give equal
//! parts,
//! and no two ids a part in common. What two prompts share beyond their last common id stays unknown: sharing is still
//! found at the trace's granularity, while caches, transfers and HBM count in the smaller blocks. Larger blocks than
//! the
//! trace's would need the tokens and are refused.

use conductor_core::ids::BlockHash;
use conductor_core::rng::Stream;
use conductor_core::units::Tokens;

/// How ids become blocks.
#[derive(Clone, Copy, Debug)]
pub struct Splitter {
    stream: Stream,
    /// Parts of an id.
    parts: u64,
    block: Tokens,
}

impl Splitter {
    /// From ids that stand for `ids` tokens to blocks of `block`; `None` unless `ids` is a multiple of `block`.
    #[must_use]
    pub fn new(ids: Tokens, block: Tokens) -> Option<Self> {
        ids.0.is_multiple_of(block.0).then(|| Self {
            stream: Stream::new(0, "blocks"),
            parts: ids.0 / block.0,
            block,
        })
    }

    /// The blocks of a prompt of `input` tokens.
    #[must_use]
    pub fn split(&self, input: Tokens, ids: &[BlockHash]) -> Vec<BlockHash> {
        let parts = |id: &BlockHash| {
            let whole = Stream::new(self.stream.draw(id.0), "parts");
            (0..self.parts).map(move |part| BlockHash(whole.draw(part)))
        };
        let blocks = input.blocks(self.block) as usize;
        ids.iter().flat_map(parts).take(blocks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn equal_ids_give_equal_parts_and_others_none() {
        let splitter = Splitter::new(Tokens(512), Tokens(64)).expect("512 is 8 times 64");
        let ids: Vec<_> = [7, 8, 9].map(BlockHash).into();
        // 1,100 tokens: two whole ids and 76 tokens of the third.
        let long = splitter.split(Tokens(1_100), &ids);
        assert_eq!(long.len(), 18);
        assert_eq!(splitter.split(Tokens(600), &ids[..2]), long[..10]);
        let distinct: BTreeSet<_> = long.iter().map(|block| block.0).collect();
        assert_eq!(distinct.len(), 18);
        assert!(Splitter::new(Tokens(512), Tokens(100)).is_none());
        assert!(Splitter::new(Tokens(512), Tokens(1_024)).is_none());
    }
}
