//! The book of blocks: which are free, who holds them, and which one has what content.
//!
//! The bytes do not matter here; see [`super`] for who may touch them. Content is a [`BlockHash`], chained over all
//! tokens before, so that a found block is the right prefix. A block is private to one holder until it is shared under
//! its hash; then many hold it, and it stays after the last of them, until it is evicted.
//!
//! Not here: which block to evict. The core's node machine decides it by hash and the agent carries it out, so that
//! there is one eviction order, the one that was validated. A pool must therefore have room for what the machine keeps
//! and for the private blocks of what is being computed besides.

use conductor_core::ids::BlockHash;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A block of the region, dense from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// What came of sharing a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Shared {
    /// The block now is the one with this content.
    Now,
    /// This other block has had the content before; the caller's stays private.
    Already(BlockId),
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    holders: u32,
    hash: Option<BlockHash>,
}

/// The blocks of one region.
#[derive(Clone, Debug)]
pub struct BlockPool {
    states: Vec<State>,
    /// The next to be taken is last.
    free: Vec<BlockId>,
    by_hash: HashMap<BlockHash, BlockId>,
}

impl BlockPool {
    /// A pool of `blocks` free blocks.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        Self {
            states: vec![State::default(); blocks as usize],
            free: (0..blocks).rev().map(BlockId).collect(),
            by_hash: HashMap::with_capacity(blocks as usize),
        }
    }

    /// Takes a free block for one holder, whose alone it is. Its bytes are whatever they were.
    #[must_use]
    pub fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        self.states[block.0 as usize].holders = 1;
        Some(block)
    }

    /// Publishes a block whose bytes are complete. From now on nobody writes to it.
    pub fn share(&mut self, block: BlockId, hash: BlockHash) -> Shared {
        let state = &mut self.states[block.0 as usize];
        assert!(
            state.holders > 0 && state.hash.is_none(),
            "only a private block is shared"
        );
        match self.by_hash.entry(hash) {
            Entry::Occupied(there) => Shared::Already(*there.get()),
            Entry::Vacant(place) => {
                place.insert(block);
                state.hash = Some(hash);
                Shared::Now
            }
        }
    }

    /// The shared block with this content.
    #[must_use]
    pub fn find(&self, hash: BlockHash) -> Option<BlockId> {
        self.by_hash.get(&hash).copied()
    }

    /// Holds the shared block with this content; it is given back with [`Self::release`].
    #[must_use]
    pub fn pin(&mut self, hash: BlockHash) -> Option<BlockId> {
        let block = self.find(hash)?;
        self.states[block.0 as usize].holders += 1;
        Some(block)
    }

    /// One holder less. A private block is free then; a shared one stays.
    pub fn release(&mut self, block: BlockId) {
        let state = &mut self.states[block.0 as usize];
        assert!(state.holders > 0, "what is released was held");
        state.holders -= 1;
        if state.holders == 0 && state.hash.is_none() {
            self.free.push(block);
        }
    }

    /// Takes a content out, as the node machine orders. The block is free at once, or with the last of its holders.
    /// False if the content is not here.
    pub fn evict(&mut self, hash: BlockHash) -> bool {
        let Some(block) = self.by_hash.remove(&hash) else {
            return false;
        };
        let state = &mut self.states[block.0 as usize];
        state.hash = None;
        if state.holders == 0 {
            self.free.push(block);
        }
        true
    }

    /// The content of a block, if it is shared.
    #[must_use]
    pub fn content(&self, block: BlockId) -> Option<BlockHash> {
        self.states[block.0 as usize].hash
    }

    /// All contents that are here, by block: what a node reports when it is asked for everything.
    pub fn contents(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.states.iter().filter_map(|state| state.hash)
    }

    /// Blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// True for a pool without any block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Free blocks.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        let mut free = vec![false; self.states.len()];
        for block in &self.free {
            let twice = std::mem::replace(&mut free[block.0 as usize], true);
            assert!(!twice, "a block is free once");
        }
        for (index, state) in self.states.iter().enumerate() {
            let unused = state.holders == 0 && state.hash.is_none();
            assert_eq!(free[index], unused, "a block is free if nobody needs it");
            if let Some(hash) = state.hash {
                assert_eq!(self.find(hash), Some(BlockId(index as u32)));
            }
        }
        assert_eq!(self.contents().count(), self.by_hash.len());
    }
}
