//! The cache of a prefill node over its memories: HBM, DRAM and SSD.
//!
//! DRAM is where KV is worked with: what a request uses is pinned there, what is sent leaves from there, and its
//! capacity and eviction are those of [`BlockCache`]. What DRAM gives up goes down to the SSD, if there is one; what a
//! request wants from there is read back, and the SSD keeps its copy, so that giving it up again writes nothing. HBM
//! keeps
//! a copy of what was computed or used last, which then need not be loaded. A block is *here* as long as DRAM or SSD
//! has
//! it.
//!
//! Not here: how long reading, writing and loading take.

use super::{BlockCache, BlockSlot};
use crate::config::{EvictionConfig, Evictions, NodeSpec};
use crate::ids::BlockHash;
use alloc::vec::Vec;

/// Where a reused block was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// In the node's HBM.
    Hbm,
    /// In its DRAM.
    Dram,
    /// On its SSD: it was read for this request.
    Ssd,
    /// On another node: it was copied for this request.
    Remote,
}

impl Tier {
    /// All, the fastest first.
    pub const ALL: [Self; 4] = [Self::Hbm, Self::Dram, Self::Ssd, Self::Remote];

    /// The word of reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hbm => "hbm",
            Self::Dram => "dram",
            Self::Ssd => "ssd",
            Self::Remote => "remote",
        }
    }
}

/// What the cache gained and lost, to be reported; scratch space that is used again.
#[derive(Clone, Debug, Default)]
pub struct CacheChanges {
    /// New blocks.
    pub stored: Vec<BlockHash>,
    /// Blocks that went.
    pub evicted: Vec<BlockHash>,
    /// How many blocks were written to the SSD.
    pub written: u64,
}

impl CacheChanges {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.stored.clear();
        self.evicted.clear();
        self.written = 0;
    }
}

/// The cache of one node.
#[derive(Clone, Debug)]
pub struct TieredCache {
    dram: BlockCache,
    hbm: Option<BlockCache>,
    ssd: Option<BlockCache>,
    /// Scratch space: what one insertion moves.
    gone: Vec<BlockHash>,
    new: Vec<BlockHash>,
}

impl TieredCache {
    /// An empty cache with the capacities of `spec`.
    #[must_use]
    pub fn new(spec: &NodeSpec, evictions: Evictions) -> Self {
        let tier = |blocks: u32, eviction: EvictionConfig| {
            (blocks > 0).then(|| BlockCache::new(blocks as usize, eviction))
        };
        Self {
            dram: BlockCache::new(spec.cache_blocks as usize, evictions.main),
            hbm: tier(spec.hbm_cache_blocks, evictions.hbm),
            ssd: tier(spec.ssd_blocks, evictions.ssd),
            gone: Vec::new(),
            new: Vec::new(),
        }
    }

    /// What DRAM has.
    #[must_use]
    pub const fn dram(&self) -> &BlockCache {
        &self.dram
    }

    /// All blocks that are here: what a node reports to who knows nothing of it. Costs O(blocks).
    pub fn blocks(&self) -> impl Iterator<Item = BlockHash> + '_ {
        let ssd = self.ssd.iter().flat_map(BlockCache::blocks);
        let below = ssd.filter(|&block| self.dram.match_chain(&[block]) == 0);
        self.dram.blocks().chain(below)
    }

    /// True if DRAM or SSD has the block.
    #[must_use]
    pub fn has(&self, block: BlockHash) -> bool {
        self.dram.match_chain(&[block]) == 1 || self.only_on_ssd(block)
    }

    /// True if the SSD has the block and DRAM has not.
    #[must_use]
    pub fn only_on_ssd(&self, block: BlockHash) -> bool {
        let on = |cache: &BlockCache| cache.match_chain(&[block]) == 1;
        self.ssd.as_ref().is_some_and(on) && !on(&self.dram)
    }

    /// How many leading blocks of `chain` are in HBM.
    #[must_use]
    pub fn in_hbm(&self, chain: &[BlockHash]) -> u32 {
        self.hbm.as_ref().map_or(0, |hbm| hbm.match_chain(chain))
    }

    /// Pins and uses a block if DRAM has it.
    pub fn pin(&mut self, block: BlockHash) -> Option<BlockSlot> {
        self.dram.pin(block)
    }

    /// Puts a block into DRAM, pinned; see [`BlockCache::insert`]. What has to make room for it goes to the SSD.
    pub fn insert(
        &mut self,
        block: BlockHash,
        depth: u32,
        changes: &mut CacheChanges,
    ) -> Option<BlockSlot> {
        let Some(ssd) = &mut self.ssd else {
            let (stored, evicted) = (&mut changes.stored, &mut changes.evicted);
            return self.dram.insert(block, depth, stored, evicted);
        };
        let in_dram = self.dram.match_chain(&[block]) == 1;
        let was_here = in_dram || ssd.match_chain(&[block]) == 1;
        if !in_dram && self.dram.len() >= self.dram.capacity() {
            self.gone.clear();
            self.new.clear();
            let depth = self.dram.evict_one(&mut self.gone)?;
            let place = ssd.insert(self.gone[0], depth, &mut self.new, &mut self.gone);
            changes.written += self.new.len() as u64;
            ssd.unpin(&[place.expect("nothing stays pinned on the SSD")]);
            // What goes from the SSD is lost, unless DRAM has it, or is about to.
            let lost = self.gone[1..].iter().filter(|&&lost| lost != block);
            let lost = lost.filter(|&&lost| self.dram.match_chain(&[lost]) == 0);
            changes.evicted.extend(lost);
        }
        self.new.clear();
        let slot = self
            .dram
            .insert(block, depth, &mut self.new, &mut self.gone)?;
        if !was_here {
            changes.stored.push(block);
        }
        Some(slot)
    }

    /// Releases blocks of one prompt that were pinned, front to back.
    pub fn unpin(&mut self, slots: &[BlockSlot]) {
        self.dram.unpin(slots);
    }

    /// The request that used `chain` has ended its prefill: its KV was in HBM, and stays as long as there is room.
    pub fn keep_in_hbm(&mut self, chain: &[BlockHash]) {
        let Some(hbm) = &mut self.hbm else { return };
        // From the last to the first, so that the front, which more prompts share, is the more recent one.
        for (depth, &block) in chain.iter().enumerate().rev() {
            self.new.clear();
            self.gone.clear();
            let slot = hbm.insert(block, depth as u32, &mut self.new, &mut self.gone);
            if let Some(slot) = slot {
                hbm.unpin(&[slot]);
            }
        }
    }

    /// Asserts what must always hold; costs O(blocks).
    pub fn check(&self) {
        self.dram.check();
        for tier in [&self.hbm, &self.ssd].into_iter().flatten() {
            tier.check();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use crate::units::Tokens;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn cache(dram: u32, hbm: u32, ssd: u32) -> TieredCache {
        let spec = NodeSpec {
            role: Role::Prefill,
            profile: 0,
            cache_blocks: dram,
            hbm_blocks: 1,
            hbm_cache_blocks: hbm,
            ssd_blocks: ssd,
            stages: 1,
            chunk: Tokens(1),
        };
        TieredCache::new(&spec, Evictions::default())
    }

    #[test]
    fn what_dram_gives_up_is_on_the_ssd_and_comes_back_without_being_written_again() {
        let mut cache = cache(1, 0, 2);
        let mut changes = CacheChanges::default();
        let mut used = |cache: &mut TieredCache, block| {
            changes.clear();
            let slot = cache.insert(BlockHash(block), 0, &mut changes);
            cache.unpin(&[slot.expect("room")]);
            (
                changes.stored.len(),
                changes.evicted.clone(),
                changes.written,
            )
        };
        assert_eq!(used(&mut cache, 1), (1, Vec::new(), 0));
        assert_eq!(used(&mut cache, 2), (1, Vec::new(), 1), "1 went down");
        assert!(cache.only_on_ssd(BlockHash(1)) && !cache.only_on_ssd(BlockHash(2)));
        assert_eq!(used(&mut cache, 1), (0, Vec::new(), 1), "2 went down");
        assert_eq!(used(&mut cache, 3), (1, Vec::new(), 0), "1 is there still");
        assert_eq!(
            used(&mut cache, 4),
            (1, Vec::from([BlockHash(2)]), 1),
            "3 went down"
        );
    }

    #[test]
    fn hbm_keeps_the_front_of_what_was_used_last() {
        let mut cache = cache(9, 2, 0);
        let chain: Vec<_> = (0..3).map(BlockHash).collect();
        cache.keep_in_hbm(&chain);
        assert_eq!(cache.in_hbm(&chain), 2);
        cache.keep_in_hbm(&[BlockHash(7)]);
        assert_eq!(
            (cache.in_hbm(&chain), cache.in_hbm(&[BlockHash(7)])),
            (1, 1)
        );
    }

    proptest! {
        /// What is reported as stored and not as evicted is what DRAM or SSD has.
        #[test]
        fn reports_say_what_is_here(
            dram in 1_u32..5, ssd in 0_u32..6, blocks in proptest::collection::vec(0_u64..12, 1..80),
        ) {
            let mut cache = cache(dram, 0, ssd);
            let mut here = BTreeSet::new();
            let mut changes = CacheChanges::default();
            for block in blocks {
                changes.clear();
                let slot = cache.insert(BlockHash(block), 0, &mut changes).expect("nothing stays pinned");
                cache.unpin(&[slot]);
                for gone in &changes.evicted {
                    prop_assert!(here.remove(&gone.0), "{gone:?} was here");
                }
                for new in &changes.stored {
                    prop_assert!(here.insert(new.0), "{new:?} was not here");
                }
                for block in 0..12 {
                    let hash = BlockHash(block);
                    let is = cache.has(hash);
                    prop_assert_eq!(is, here.contains(&block));
                }
                cache.check();
            }
        }
    }
}
