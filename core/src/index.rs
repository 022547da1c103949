//! Where every cached block is: one walk of a prompt's block chain finds the prefix match of all nodes at once.
//!
//! How: a block hash is interned once to a dense number, a place in a column of records: the hash and a small set of
//! nodes, 16 bytes. The set of nodes that still match is intersected block by block, and a node that drops out after
//! `d` blocks has matched `d`. Most blocks live on one to four nodes, which are inline; a popular one (a system prompt)
//! has a bit set. Blocks of one prompt are interned one after another, so the next block is first looked for in the
//! next record, which saves most hash look-ups; and where blocks come and go, a new one takes the record behind that of
//! the block before it, if that is free.
//!
//! Not here: what the nodes really hold. This is the Conductor's picture, made of what nodes reported.

mod matches;
mod sets;

pub use matches::{Matches, WideLevel};

use crate::ids::{BlockHash, NodeId};
use crate::table::{Place, Table};
use alloc::vec;
use alloc::vec::Vec;
use matches::Alive;
use sets::{Kind, Residents, Sets};

/// No record.
const NOWHERE: u32 = u32::MAX;

/// A block and who has it. A free record is in a list of all that are: its residents say the next, its hash the one
/// before.
#[derive(Clone, Copy, Debug)]
struct Record {
    hash: u64,
    residents: Residents,
}

/// The index of all cached blocks.
#[derive(Clone, Debug)]
pub struct BlockIndex {
    table: Table,
    records: Vec<Record>,
    sets: Sets,
    /// The record that has been free for the shortest time.
    free: u32,
    blocks_max: usize,
}

impl BlockIndex {
    /// An index for `nodes` nodes that holds at most `blocks_max` distinct blocks. Memory for `blocks_reserved` of
    /// them is taken at once.
    #[must_use]
    pub fn new(nodes: usize, blocks_max: usize, blocks_reserved: usize) -> Self {
        let reserved = blocks_reserved.min(blocks_max);
        Self {
            table: Table::with_capacity(reserved),
            records: Vec::with_capacity(reserved),
            sets: Sets::new(nodes),
            free: NOWHERE,
            // Numbers have 32 bits.
            blocks_max: blocks_max.min(NOWHERE as usize),
        }
    }

    /// How many distinct blocks are cached somewhere.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.table.len()
    }

    /// True if `node` is known to hold `block`.
    #[must_use]
    pub fn holds(&self, node: NodeId, block: BlockHash) -> bool {
        let record = self.find(block, NOWHERE);
        record.is_ok_and(|record| self.sets.contains(self.residents(record), node))
    }

    /// How many blocks each node is known to hold. Costs O(blocks): for checks.
    #[must_use]
    pub fn held_by_each(&self) -> Vec<usize> {
        let mut held = vec![0; self.sets.nodes()];
        for record in &self.records {
            self.sets
                .each(record.residents, |node| held[usize::from(node)] += 1);
        }
        held
    }

    /// Notes that `node` holds `blocks`. Returns how many could not be noted because the index is full.
    pub fn store(&mut self, node: NodeId, blocks: &[BlockHash]) -> u64 {
        let mut refused = 0;
        let mut guess = NOWHERE;
        for &block in blocks {
            match self.find(block, guess) {
                Ok(record) => {
                    let residents = self.sets.insert(self.residents(record), node);
                    self.records[record as usize].residents = residents;
                    guess = record.wrapping_add(1);
                }
                Err(place) if self.blocks() < self.blocks_max => {
                    let record = self.intern(block, node, place, guess);
                    guess = record.wrapping_add(1);
                }
                Err(_) => refused += 1,
            }
        }
        refused
    }

    /// Notes that `node` no longer holds `blocks`; unknown blocks are passed over.
    pub fn evict(&mut self, node: NodeId, blocks: &[BlockHash]) {
        // A cache gives up chains from their ends.
        let mut guess = NOWHERE;
        for &block in blocks {
            if let Ok(record) = self.find(block, guess) {
                self.evict_record(node, record);
                guess = record.wrapping_sub(1);
            }
        }
    }

    /// Forgets all blocks of `node`.
    pub fn clear_node(&mut self, node: NodeId) {
        for record in 0..self.records.len() as u32 {
            if self.sets.contains(self.residents(record), node) {
                self.evict_record(node, record);
            }
        }
    }

    /// Finds how many leading blocks of `chain` each node holds.
    pub fn match_chain(&self, chain: &[BlockHash], matches: &mut Matches) {
        matches.clear();
        // The look-up that comes after a shared front is begun before the walk, where the last chain needed it: its
        // cache misses pass while the front is walked.
        let (leaves, mut left) = (matches.leaves, false);
        let ahead = chain.get(leaves).map(|&block| self.look_up(block));
        let mut alive = Alive::All;
        let mut depth = 0;
        let mut guess = NOWHERE;
        while let Some(&block) = chain.get(depth) {
            let found = match (self.is_at(block, guess), ahead) {
                (true, _) => Ok(guess),
                (false, Some(ahead)) if depth == leaves => ahead,
                (false, _) => self.look_up(block),
            };
            if depth > 0 && !left && found != Ok(guess) {
                (matches.leaves, left) = (depth, true);
            }
            let Ok(record) = found else {
                break;
            };
            let residents = self.residents(record);
            alive = matches.intersect(&self.sets, alive, residents, depth as u32);
            if alive.is_dead() {
                return;
            }
            // Where the chain goes on in the records, and with the same nodes, nobody drops out.
            let records = &self.records[record as usize + 1..];
            let same = |(record, block): &(&Record, &BlockHash)| {
                record.hash == block.0 && record.residents == residents
            };
            let run = records
                .iter()
                .zip(&chain[depth + 1..])
                .take_while(same)
                .count();
            depth += 1 + run;
            guess = record + 1 + run as u32;
        }
        matches.finish(alive, depth as u32);
    }

    /// The record of `block`, which is likely to be `guess`; or else where it would be in the table.
    fn find(&self, block: BlockHash, guess: u32) -> Result<u32, Place> {
        match self.is_at(block, guess) {
            true => Ok(guess),
            false => self.look_up(block),
        }
    }

    fn is_at(&self, block: BlockHash, record: u32) -> bool {
        let record = self.records.get(record as usize);
        record.is_some_and(|record| record.hash == block.0 && !record.residents.is_free())
    }

    fn look_up(&self, block: BlockHash) -> Result<u32, Place> {
        let is = |record| self.records[record as usize].hash == block.0;
        self.table.find(block.0, is)
    }

    fn residents(&self, record: u32) -> Residents {
        self.records[record as usize].residents
    }

    /// A new block's record: `wish` if it is free.
    fn intern(&mut self, block: BlockHash, node: NodeId, place: Place, wish: u32) -> u32 {
        let fresh = Record {
            hash: block.0,
            residents: Residents::one(node),
        };
        let wished = self.records.get(wish as usize);
        let wished = wished.is_some_and(|record| record.residents.is_free());
        let record = if wished { wish } else { self.free };
        let record = if record == NOWHERE {
            if self.records.len() == self.records.capacity() {
                // By a quarter: all that is there may be moved, but at most a fifth is taken for nothing.
                self.records.reserve_exact(self.records.len() / 4 + 64);
            }
            self.records.push(fresh);
            self.records.len() as u32 - 1
        } else {
            self.take(record);
            self.records[record as usize] = fresh;
            record
        };
        self.table.insert(place, block.0, record);
        record
    }

    fn evict_record(&mut self, node: NodeId, record: u32) {
        let residents = self.sets.remove(self.residents(record), node);
        self.records[record as usize].residents = residents;
        if residents.is_empty() {
            self.table
                .remove(self.records[record as usize].hash, record);
            self.give_back(record);
        }
    }

    /// Puts a record first in the list of those that are free.
    fn give_back(&mut self, record: u32) {
        self.records[record as usize] = Record {
            hash: u64::from(NOWHERE),
            residents: Residents::free(self.free),
        };
        if self.free != NOWHERE {
            self.records[self.free as usize].hash = u64::from(record);
        }
        self.free = record;
    }

    /// Takes a free record out of their list.
    fn take(&mut self, record: u32) {
        let Record { hash, residents } = self.records[record as usize];
        let (before, Kind::Free(after)) = (hash as u32, residents.kind()) else {
            unreachable!("only free records are taken");
        };
        match before {
            NOWHERE => self.free = after,
            before => self.records[before as usize].residents = Residents::free(after),
        }
        if after != NOWHERE {
            self.records[after as usize].hash = u64::from(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    /// The slow, literal model: a set of (node, block) pairs.
    fn slow_depth(pairs: &BTreeSet<(u16, u64)>, node: u16, chain: &[BlockHash]) -> u32 {
        chain
            .iter()
            .take_while(|block| pairs.contains(&(node, block.0)))
            .count() as u32
    }

    #[derive(Clone, Debug)]
    enum Step {
        Store(u16, u64, u64),
        Evict(u16, u64, u64),
        Clear(u16),
    }

    const NODES: u16 = 70; // more than one word of a bit set

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range = (0..NODES, 0_u64..24, 1_u64..12);
        let step = prop_oneof![
            8 => range.clone().prop_map(|(node, from, len)| Step::Store(node, from, len)),
            3 => range.prop_map(|(node, from, len)| Step::Evict(node, from, len)),
            1 => (0..NODES).prop_map(Step::Clear),
        ];
        proptest::collection::vec(step, 1..160)
    }

    proptest! {
        #[test]
        fn every_nodes_depth_equals_the_literal_model(steps in steps(), from in 0_u64..8, len in 1_u64..20) {
            let mut index = BlockIndex::new(usize::from(NODES), 1_000, 10);
            let mut pairs = BTreeSet::new();
            let blocks = |from: u64, len: u64| (from..from + len).map(BlockHash).collect::<Vec<_>>();
            for step in steps {
                match step {
                    Step::Store(node, from, len) => {
                        index.store(NodeId(node), &blocks(from, len));
                        pairs.extend((from..from + len).map(|block| (node, block)));
                    }
                    Step::Evict(node, from, len) => {
                        index.evict(NodeId(node), &blocks(from, len));
                        for block in from..from + len {
                            pairs.remove(&(node, block));
                        }
                    }
                    Step::Clear(node) => {
                        index.clear_node(NodeId(node));
                        pairs.retain(|pair| pair.0 != node);
                    }
                }
            }
            let chain = blocks(from, len);
            let mut matches = Matches::new(usize::from(NODES));
            index.match_chain(&chain, &mut matches);
            for node in 0..NODES {
                let depth = slow_depth(&pairs, node, &chain);
                prop_assert_eq!(matches.depth_of(NodeId(node)), depth, "node {}", node);
            }
            let distinct: BTreeSet<u64> = pairs.iter().map(|pair| pair.1).collect();
            prop_assert_eq!(index.blocks(), distinct.len());
        }
    }

    #[test]
    fn a_full_index_refuses_and_says_so() {
        let mut index = BlockIndex::new(2, 2, 2);
        assert_eq!(
            index.store(NodeId(0), &[BlockHash(1), BlockHash(2), BlockHash(3)]),
            1
        );
        assert_eq!(
            index.store(NodeId(1), &[BlockHash(1)]),
            0,
            "a known block always has room"
        );
        index.evict(NodeId(0), &[BlockHash(2)]);
        assert_eq!(index.store(NodeId(0), &[BlockHash(3)]), 0);
        assert!(index.holds(NodeId(0), BlockHash(3)) && !index.holds(NodeId(0), BlockHash(2)));
    }
}
