//! A node's cache of KV blocks: paged, addressed by content, evicted by policy; blocks in use never go.
//!
//! A block that a running request uses is pinned, and a pinned block is in no eviction order at all, so that
//! finding a victim is a look at the head. Blocks of one prompt are touched from the last to the first: the front of
//! a chain, which more prompts share, is then always the more recent one.
//!
//! What is known of a block is one record of half a cache line, its place in the order of last use included: with a
//! thousand nodes a block that is looked at, which most are once in many minutes, is in nobody's processor cache.
//!
//! Not here: which node to ask (`index`, `policy`), and bytes.

mod lru;
mod ranked;
mod tiers;

use crate::config::EvictionConfig;
use crate::ids::BlockHash;
use crate::table::{Place, Table};
use alloc::vec::Vec;
use lru::{Links, LruList};
use ranked::RankedHeap;
pub use tiers::{CacheChanges, Tier, TieredCache};

/// What an eviction policy may look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockFacts {
    /// How often the block was used since it came; forgotten when it goes.
    pub uses: u32,
    /// Its place in its prompt, from 0.
    pub depth: u32,
    /// When it was last used, as a running number.
    pub last_use: u64,
}

/// Orders blocks for eviction: the smallest rank goes first.
pub trait EvictionPolicy {
    /// The block's rank; equal ranks do not occur, because `last_use` is unique and comes last.
    fn rank(&self, facts: &BlockFacts) -> (u64, u64);
}

/// Least frequently used; among equals the least recently used.
#[derive(Clone, Copy, Debug)]
pub struct Lfu;

impl EvictionPolicy for Lfu {
    fn rank(&self, facts: &BlockFacts) -> (u64, u64) {
        (u64::from(facts.uses), facts.last_use)
    }
}

/// Like LFU, but among equals the block that lies deepest in its prompt goes first (v3 Table 1, "LengthAware";
/// the paper gives no definition, see DESIGN notes in ARCHITECTURE.md).
#[derive(Clone, Copy, Debug)]
pub struct LengthAware;

impl EvictionPolicy for LengthAware {
    fn rank(&self, facts: &BlockFacts) -> (u64, u64) {
        (
            u64::from(facts.uses) << 32 | u64::from(u32::MAX - facts.depth),
            facts.last_use,
        )
    }
}

/// A block's place in the cache, valid while the block is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSlot(u32);

/// Eviction order: a linked list where the order is of last use, a heap where it is a rank.
#[derive(Clone, Debug)]
enum Order {
    Lru(LruList),
    Lfu(RankedHeap<Lfu>),
    LengthAware(RankedHeap<LengthAware>),
}

/// Calls the same method on whichever order there is.
macro_rules! each_order {
    ($order:expr, $inner:ident => $body:expr) => {
        match $order {
            Order::Lru($inner) => $body,
            Order::Lfu($inner) => $body,
            Order::LengthAware($inner) => $body,
        }
    };
}

/// A block that is here.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Record {
    hash: u64,
    /// Its neighbours in the order of last use; meaningless while it is pinned, or ordered by rank.
    links: Links,
    /// Running requests that use it.
    pins: u32,
    uses: u32,
    depth: u32,
}

/// The cache of one node.
#[derive(Clone, Debug)]
pub struct BlockCache {
    table: Table,
    records: Vec<Record>,
    free: Vec<u32>,
    order: Order,
    clock: u64,
    capacity: usize,
}

impl BlockCache {
    /// An empty cache of `capacity` blocks.
    #[must_use]
    pub fn new(capacity: usize, eviction: EvictionConfig) -> Self {
        let order = match eviction {
            EvictionConfig::Lru => Order::Lru(LruList::default()),
            EvictionConfig::Lfu => Order::Lfu(RankedHeap::new(Lfu)),
            EvictionConfig::LengthAware => Order::LengthAware(RankedHeap::new(LengthAware)),
        };
        Self {
            table: Table::with_capacity(0),
            records: Vec::new(),
            free: Vec::new(),
            order,
            clock: 0,
            capacity,
        }
    }

    /// Blocks held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Blocks that fit.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many leading blocks of `chain` are here.
    #[must_use]
    pub fn match_chain(&self, chain: &[BlockHash]) -> u32 {
        chain
            .iter()
            .take_while(|&&block| self.find(block).is_ok())
            .count() as u32
    }

    /// How many leading blocks of `chain` are here, and how many of those nobody uses.
    #[must_use]
    pub fn reusable(&self, chain: &[BlockHash]) -> (u32, u32) {
        let here = chain.iter().map_while(|&block| self.find(block).ok());
        here.fold((0, 0), |(here, idle), slot| {
            let is_idle = self.records[slot as usize].pins == 0;
            (here + 1, idle + u32::from(is_idle))
        })
    }

    /// Blocks in use.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.len() - each_order!(&self.order, order => order.len())
    }

    /// Lets the block go that the policy says, and says how deep in its prompt it lay; `None` if all are in use.
    pub fn evict_one(&mut self, evicted: &mut Vec<BlockHash>) -> Option<u32> {
        let victim = match &mut self.order {
            Order::Lru(list) => list.pop(&mut self.records),
            Order::Lfu(heap) => heap.pop(),
            Order::LengthAware(heap) => heap.pop(),
        }?;
        let Record { hash, depth, .. } = self.records[victim as usize];
        evicted.push(BlockHash(hash));
        self.table.remove(hash, victim);
        self.free.push(victim);
        Some(depth)
    }

    /// Pins and uses a block if it is here.
    pub fn pin(&mut self, block: BlockHash) -> Option<BlockSlot> {
        let slot = self.find(block).ok()?;
        self.pin_slot(slot);
        Some(BlockSlot(slot))
    }

    /// Puts a block in, pinned, evicting what the policy says; it lies at `depth` in its prompt. A block that is here
    /// already is pinned and used. `None` if all blocks are in use: then nothing changes.
    ///
    /// `stored` gets the block if it is new, `evicted` the block that went.
    pub fn insert(
        &mut self,
        block: BlockHash,
        depth: u32,
        stored: &mut Vec<BlockHash>,
        evicted: &mut Vec<BlockHash>,
    ) -> Option<BlockSlot> {
        let mut place = match self.find(block) {
            Ok(slot) => {
                self.pin_slot(slot);
                return Some(BlockSlot(slot));
            }
            Err(place) => place,
        };
        if self.len() >= self.capacity {
            self.evict_one(evicted)?;
            let moved = self.find(block);
            place = moved.expect_err("what was not here has not come by another's going");
        }
        let record = Record {
            hash: block.0,
            links: Links::NONE,
            pins: 1,
            uses: 1,
            depth,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.records[slot as usize] = record;
                slot
            }
            None => self.add(record),
        };
        self.table.insert(place, block.0, slot);
        stored.push(block);
        Some(BlockSlot(slot))
    }

    /// Releases pinned blocks of one prompt, given front to back. Those that nobody uses any more can go from now on.
    pub fn unpin(&mut self, slots: &[BlockSlot]) {
        for &BlockSlot(slot) in slots.iter().rev() {
            let record = &mut self.records[slot as usize];
            record.pins -= 1;
            if record.pins > 0 {
                continue;
            }
            self.clock += 1;
            let facts = BlockFacts {
                uses: record.uses,
                depth: record.depth,
                last_use: self.clock,
            };
            match &mut self.order {
                Order::Lru(list) => list.push(slot, &mut self.records),
                Order::Lfu(heap) => heap.push(slot, &facts),
                Order::LengthAware(heap) => heap.push(slot, &facts),
            }
        }
    }

    /// All blocks, in the order of their places: what a node reports to who knows nothing of it. Costs O(blocks).
    pub fn blocks(&self) -> impl Iterator<Item = BlockHash> + '_ {
        let blocks = self.records.iter().map(|record| BlockHash(record.hash));
        let here = |&(slot, block): &(u32, BlockHash)| self.find(block) == Ok(slot);
        (0..).zip(blocks).filter(here).map(|(_, block)| block)
    }

    /// Asserts what must always hold; costs O(blocks).
    pub fn check(&self) {
        assert!(
            self.len() <= self.capacity,
            "the cache holds at most its capacity"
        );
        let pinned = self.pinned();
        let ordered = each_order!(&self.order, order => order.len());
        assert_eq!(
            pinned + ordered,
            self.len(),
            "a block is pinned or can go, never both"
        );
        assert_eq!(
            self.len() + self.free.len(),
            self.records.len(),
            "a slot is used or free"
        );
    }

    fn find(&self, block: BlockHash) -> Result<u32, Place> {
        let is = |slot| self.records[slot as usize].hash == block.0;
        self.table.find(block.0, is)
    }

    /// Pins and uses the block of a slot.
    fn pin_slot(&mut self, slot: u32) {
        let record = &mut self.records[slot as usize];
        record.uses += 1;
        record.pins += 1;
        if record.pins == 1 {
            match &mut self.order {
                Order::Lru(list) => list.remove(slot, &mut self.records),
                Order::Lfu(heap) => heap.remove(slot),
                Order::LengthAware(heap) => heap.remove(slot),
            }
        }
    }

    /// One slot more than there were.
    fn add(&mut self, record: Record) -> u32 {
        if self.records.len() == self.records.capacity() {
            // By a half, but never beyond what the cache holds: nothing is taken for blocks that cannot come.
            let more = self.records.len() / 2 + 64;
            let room = self.capacity - self.records.len();
            self.records.reserve_exact(more.min(room));
            self.free.reserve_exact(self.records.capacity());
        }
        self.records.push(record);
        self.records.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slow, literal model: a list of blocks, searched for the smallest rank.
    struct Slow {
        blocks: Vec<(u64, u32, BlockFacts)>,
        capacity: usize,
        clock: u64,
    }

    impl Slow {
        fn rank(eviction: EvictionConfig, facts: &BlockFacts) -> (u64, u64) {
            match eviction {
                EvictionConfig::Lru => (0, facts.last_use),
                EvictionConfig::Lfu => Lfu.rank(facts),
                EvictionConfig::LengthAware => LengthAware.rank(facts),
            }
        }

        fn insert(
            &mut self,
            eviction: EvictionConfig,
            block: u64,
            depth: u32,
        ) -> Option<Option<u64>> {
            if let Some(entry) = self.blocks.iter_mut().find(|entry| entry.0 == block) {
                entry.1 += 1;
                entry.2.uses += 1;
                return Some(None);
            }
            let mut gone = None;
            if self.blocks.len() >= self.capacity {
                let victim = self.blocks.iter().filter(|entry| entry.1 == 0);
                let victim = victim.min_by_key(|entry| Self::rank(eviction, &entry.2))?.0;
                self.blocks.retain(|entry| entry.0 != victim);
                gone = Some(victim);
            }
            self.blocks.push((
                block,
                1,
                BlockFacts {
                    uses: 1,
                    depth,
                    last_use: 0,
                },
            ));
            Some(gone)
        }
    }

    proptest! {
        #[test]
        fn eviction_equals_the_literal_model(
            which in 0..3, capacity in 1_usize..9,
            ops in proptest::collection::vec((0_u64..16, 0_u32..4, any::<bool>()), 1..200),
        ) {
            let eviction = [EvictionConfig::Lru, EvictionConfig::Lfu, EvictionConfig::LengthAware][which as usize];
            let mut cache = BlockCache::new(capacity, eviction);
            let mut slow = Slow { blocks: Vec::new(), capacity, clock: 0 };
            let mut held: Vec<(u64, BlockSlot)> = Vec::new();
            for (block, depth, release) in ops {
                let (mut stored, mut evicted) = (Vec::new(), Vec::new());
                let fast = cache.insert(BlockHash(block), depth, &mut stored, &mut evicted);
                let literal = slow.insert(eviction, block, depth);
                prop_assert_eq!(fast.is_some(), literal.is_some());
                prop_assert_eq!(evicted.first().map(|b| b.0), literal.flatten());
                held.extend(fast.map(|slot| (block, slot)));
                if release && !held.is_empty() {
                    let (block, slot) = held.remove(0);
                    cache.unpin(&[slot]);
                    let entry = slow.blocks.iter_mut().find(|entry| entry.0 == block).expect("pinned blocks stay");
                    entry.1 -= 1;
                    if entry.1 == 0 {
                        slow.clock += 1;
                        entry.2.last_use = slow.clock;
                    }
                }
                cache.check();
            }
        }
    }

    #[test]
    fn the_front_of_a_chain_outlives_its_end() {
        let mut cache = BlockCache::new(3, EvictionConfig::Lru);
        let (mut stored, mut evicted) = (Vec::new(), Vec::new());
        let chain: Vec<_> = (0..3).map(BlockHash).collect();
        let slots: Vec<_> = chain
            .iter()
            .map(|&b| {
                cache
                    .insert(b, b.0 as u32, &mut stored, &mut evicted)
                    .expect("room")
            })
            .collect();
        assert_eq!(
            cache.insert(BlockHash(9), 0, &mut stored, &mut evicted),
            None,
            "all are in use"
        );
        cache.unpin(&slots);
        assert!(
            cache
                .insert(BlockHash(9), 0, &mut stored, &mut evicted)
                .is_some()
        );
        assert_eq!(evicted, [BlockHash(2)]);
        assert_eq!(cache.match_chain(&chain), 2);
    }
}
