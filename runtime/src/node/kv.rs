//! The book of a node's physical blocks: which hash is where, and who still needs which block.
//!
//! What is cached the core's machine decides and the agent reports; here the report is followed to the letter, so that
//! the two agree. Tables of blocks have several holders: a request, the step that is under way, a transfer that reads
//! them. A table's blocks are free, or stay as cache, when the last holder gives it back: a prompt that was aborted
//! while its KV is on the wire keeps its blocks until the wire is done.
//!
//! Copy-on-write is not needed: where all of a prompt is cached its last token is computed again, for what comes out of
//! it, but not stored again (`Piece::stored`).

use conductor_core::ids::BlockHash;
use conductor_engine::kv::{BlockId, BlockPool, Shared};
use std::collections::{BTreeMap, HashMap};

/// The right to use a table; to be given back with [`Kv::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "blocks that are not given back leak"]
pub(super) struct Holder(u64);

struct Table {
    blocks: Vec<BlockId>,
    holders: u32,
    /// What its private blocks hold, once they are complete.
    contents: Vec<(BlockHash, BlockId)>,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTable {
    /// Blocks are not free now.
    Full,
    /// A block that the machine says is cached is not here: a bug, or a fault before.
    Missing,
}

/// See the module.
pub(super) struct Kv {
    pool: BlockPool,
    tables: BTreeMap<u64, Table>,
    last: u64,
    /// Private blocks that are complete, by what they hold: the machine caches them when it says so.
    candidates: HashMap<BlockHash, BlockId>,
    /// Reports of blocks that are not here.
    missing: u64,
}

impl Kv {
    pub(super) fn new(blocks: u32) -> Self {
        Self {
            pool: BlockPool::new(blocks),
            tables: BTreeMap::new(),
            last: 0,
            candidates: HashMap::new(),
            missing: 0,
        }
    }

    fn enter(&mut self, blocks: Vec<BlockId>) -> Holder {
        self.last += 1;
        self.tables.insert(
            self.last,
            Table {
                blocks,
                holders: 1,
                contents: Vec::new(),
            },
        );
        Holder(self.last)
    }

    fn take_all(&mut self, count: usize, into: &mut Vec<BlockId>) -> bool {
        if self.pool.free() < count {
            return false;
        }
        into.extend((0..count).filter_map(|_| self.pool.take()));
        true
    }

    /// A table of `count` private blocks.
    pub(super) fn private(&mut self, count: usize) -> Option<Holder> {
        let mut blocks = Vec::with_capacity(count);
        self.take_all(count, &mut blocks)
            .then(|| self.enter(blocks))
    }

    /// A table of `count` blocks for a prompt, of which the first `hits` are cached.
    pub(super) fn prompt(
        &mut self,
        hashes: &[BlockHash],
        hits: usize,
        count: usize,
    ) -> Result<Holder, NoTable> {
        if self.pool.free() < count.saturating_sub(hits) {
            return Err(NoTable::Full);
        }
        let mut blocks = Vec::with_capacity(count);
        for &hash in hashes.iter().take(hits) {
            match self.pool.pin(hash) {
                Some(block) => blocks.push(block),
                None => {
                    self.missing += 1;
                    blocks
                        .into_iter()
                        .for_each(|block| self.pool.release(block));
                    return Err(NoTable::Missing);
                }
            }
        }
        let new = count.saturating_sub(blocks.len());
        self.take_all(new, &mut blocks);
        Ok(self.enter(blocks))
    }

    /// The blocks of a table from its place `from` on are complete and hold the contents `hashes[from..]`: the machine
    /// may cache them now.
    pub(super) fn complete(&mut self, holder: &Holder, hashes: &[BlockHash], from: usize) {
        let Some(table) = self.tables.get_mut(&holder.0) else {
            return;
        };
        let pairs = hashes.iter().copied().zip(table.blocks.iter().copied());
        for (hash, block) in pairs.skip(from) {
            self.candidates.insert(hash, block);
            table.contents.push((hash, block));
        }
    }

    /// A table of cached blocks: the leading ones of `hashes` that are here.
    pub(super) fn cached(&mut self, hashes: &[BlockHash]) -> Holder {
        let blocks = hashes.iter().map_while(|&hash| self.pool.pin(hash));
        let blocks = blocks.collect();
        self.enter(blocks)
    }

    /// One more holder of the same table.
    pub(super) fn share(&mut self, holder: &Holder) -> Holder {
        if let Some(table) = self.tables.get_mut(&holder.0) {
            table.holders += 1;
        }
        Holder(holder.0)
    }

    /// Adds a private block; false if none is free.
    pub(super) fn grow(&mut self, holder: &Holder) -> bool {
        let (Some(table), Some(block)) = (self.tables.get_mut(&holder.0), self.pool.take()) else {
            return false;
        };
        table.blocks.push(block);
        true
    }

    pub(super) fn blocks(&self, holder: &Holder) -> &[BlockId] {
        let table = self.tables.get(&holder.0);
        table.map_or(&[], |table| &table.blocks)
    }

    /// A holder gives its table back.
    pub(super) fn release(&mut self, holder: Holder) {
        let Some(table) = self.tables.get_mut(&holder.0) else {
            return;
        };
        table.holders -= 1;
        if table.holders > 0 {
            return;
        }
        if let Some(table) = self.tables.remove(&holder.0) {
            for (hash, block) in table.contents {
                if self.candidates.get(&hash) == Some(&block) {
                    self.candidates.remove(&hash);
                }
            }
            for block in table.blocks {
                self.pool.release(block);
            }
        }
    }

    /// The cache has changed, as the machine says.
    pub(super) fn follow(&mut self, evicted: &[BlockHash], stored: &[BlockHash]) {
        for &hash in evicted {
            self.missing += u64::from(!self.pool.evict(hash));
        }
        for hash in stored {
            let shared = self
                .candidates
                .remove(hash)
                .map(|block| self.pool.share(block, *hash));
            self.missing += u64::from(shared != Some(Shared::Now));
        }
    }

    /// The cache is given up.
    pub(super) fn forget_all(&mut self) {
        let all: Vec<BlockHash> = self.pool.contents().collect();
        for hash in all {
            self.pool.evict(hash);
        }
    }

    pub(super) fn free(&self) -> usize {
        self.pool.free()
    }

    /// Blocks in use, cached ones included.
    pub(super) fn used(&self) -> usize {
        self.pool.len() - self.pool.free()
    }

    /// Blocks that are cached.
    pub(super) fn cached_count(&self) -> usize {
        self.pool.contents().count()
    }

    /// Tables that somebody holds.
    pub(super) fn held(&self) -> usize {
        self.tables.len()
    }

    /// How often the machine named a block that is not here: never, if both are right.
    pub(super) const fn missing(&self) -> u64 {
        self.missing
    }

    /// Asserts what must always hold.
    pub(super) fn check(&self) {
        self.pool.check();
        if self.tables.is_empty() {
            assert_eq!(self.used(), self.cached_count(), "only the cache is in use");
            assert!(self.candidates.is_empty(), "nothing more is to be cached");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(range: std::ops::Range<u64>) -> Vec<BlockHash> {
        range.map(BlockHash).collect()
    }

    #[test]
    fn a_prompt_is_cached_reused_and_evicted_and_nothing_leaks() {
        let mut kv = Kv::new(8);
        let first = kv.prompt(&hashes(0..3), 0, 4).expect("room");
        let on_the_wire = kv.share(&first);
        kv.complete(&first, &hashes(0..3), 0);
        kv.follow(&[], &hashes(0..2));
        kv.release(first);
        assert_eq!(
            (kv.used(), kv.cached_count()),
            (4, 2),
            "the wire still reads"
        );
        kv.release(on_the_wire);
        assert_eq!((kv.used(), kv.held()), (2, 0));
        kv.check();

        let second = kv.prompt(&hashes(0..4), 2, 4).expect("room");
        assert_eq!(kv.used(), 4, "two are reused");
        kv.follow(&hashes(0..1), &[]);
        assert_eq!(kv.used(), 4, "what is held stays");
        kv.release(second);
        assert_eq!((kv.used(), kv.cached_count()), (1, 1));
        assert_eq!(kv.missing(), 0);
        kv.check();
    }

    #[test]
    fn a_full_pool_gives_nothing_away_and_takes_nothing() {
        let mut kv = Kv::new(3);
        let held = kv.private(2).expect("room");
        assert_eq!(kv.prompt(&hashes(0..2), 0, 2), Err(NoTable::Full));
        assert!(kv.grow(&held) && !kv.grow(&held));
        assert_eq!(kv.blocks(&held).len(), 3);
        kv.release(held);
        assert_eq!(kv.prompt(&hashes(0..2), 1, 2), Err(NoTable::Missing));
        assert_eq!((kv.used(), kv.missing()), (0, 1));
        kv.check();
    }

    #[test]
    fn of_two_private_copies_one_is_cached_and_the_other_goes() {
        let mut kv = Kv::new(4);
        let one = kv.prompt(&hashes(0..1), 0, 1).expect("room");
        let two = kv.prompt(&hashes(0..1), 0, 1).expect("room");
        kv.complete(&one, &hashes(0..1), 0);
        kv.complete(&two, &hashes(0..1), 0);
        kv.follow(&[], &hashes(0..1));
        kv.release(one);
        kv.release(two);
        assert_eq!((kv.used(), kv.cached_count()), (1, 1));
        kv.forget_all();
        assert_eq!(kv.used(), 0);
        kv.check();
    }
}
