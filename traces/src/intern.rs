//! Block hashes to dense numbers, in order of first appearance, so that columns can be plain vectors.
//!
//! Why: the map can be looked up but not iterated, so no result can depend on its order.

use conductor_core::ids::BlockHash;
use rustc_hash::FxHashMap;

/// Numbers blocks from zero.
#[derive(Debug, Default)]
pub(crate) struct BlockTable {
    numbers: FxHashMap<u64, u32>,
}

impl BlockTable {
    /// The number of a block; a new block gets the next one.
    pub(crate) fn intern(&mut self, block: BlockHash) -> u32 {
        let next = u32::try_from(self.numbers.len())
            .expect("fewer than 2^32 distinct blocks fit into memory");
        *self.numbers.entry(block.0).or_insert(next)
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}
