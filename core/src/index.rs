//! Where every cached block is: one walk of a prompt's block chain finds the prefix match of all nodes at once.
//!
//! How: a block hash is interned once to a dense number; residency is a column of small node sets. The set of
//! nodes that still match is intersected block by block, and a node that drops out after `d` blocks has matched
//! `d`. Most blocks live on one to three nodes and are a few bytes inline; a popular one (a system prompt) has a bit
//! set. Blocks of one prompt are usually interned one after another, so the next block is first looked for at the
//! next dense number, which saves most hash look-ups.
//!
//! Not here: what the nodes really hold. This is the Conductor's picture, made of what nodes reported.

mod matches;
mod sets;

pub use matches::{Matches, WideLevel};

use crate::ids::{BlockHash, NodeId};
use crate::map::Map;
use alloc::vec;
use alloc::vec::Vec;
use matches::Alive;
use sets::{Residents, Sets};

/// The index of all cached blocks.
#[derive(Clone, Debug)]
pub struct BlockIndex {
    interned: Map<u32>,
    hashes: Vec<u64>,
    residents: Vec<Residents>,
    sets: Sets,
    free: Vec<u32>,
    blocks_max: usize,
}

impl BlockIndex {
    /// An index for `nodes` nodes that holds at most `blocks_max` distinct blocks. Memory for `blocks_reserved` of
    /// them is taken at once.
    #[must_use]
    pub fn new(nodes: usize, blocks_max: usize, blocks_reserved: usize) -> Self {
        let reserved = blocks_reserved.min(blocks_max);
        Self {
            interned: Map::with_capacity(reserved),
            hashes: Vec::with_capacity(reserved),
            residents: Vec::with_capacity(reserved),
            sets: Sets::new(nodes),
            free: Vec::with_capacity(reserved),
            blocks_max,
        }
    }

    /// How many distinct blocks are cached somewhere.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.interned.len()
    }

    /// True if `node` is known to hold `block`.
    #[must_use]
    pub fn holds(&self, node: NodeId, block: BlockHash) -> bool {
        self.interned
            .get(block.0)
            .is_some_and(|dense| self.sets.contains(self.residents[dense as usize], node))
    }

    /// How many blocks each node is known to hold. Costs O(blocks): for checks.
    #[must_use]
    pub fn held_by_each(&self) -> Vec<usize> {
        let mut held = vec![0; self.sets.nodes()];
        for &residents in &self.residents {
            self.sets
                .each(residents, |node| held[usize::from(node)] += 1);
        }
        held
    }

    /// Notes that `node` holds `blocks`. Returns how many could not be noted because the index is full.
    pub fn store(&mut self, node: NodeId, blocks: &[BlockHash]) -> u64 {
        let mut refused = 0;
        let mut guess = u32::MAX;
        for &block in blocks {
            let dense = match self.find(block.0, guess) {
                Some(dense) => dense,
                None if self.interned.len() < self.blocks_max => self.intern(block),
                None => {
                    refused += 1;
                    continue;
                }
            };
            let residents = &mut self.residents[dense as usize];
            *residents = self.sets.insert(*residents, node);
            guess = dense.wrapping_add(1);
        }
        refused
    }

    /// Notes that `node` no longer holds `blocks`; unknown blocks are passed over.
    pub fn evict(&mut self, node: NodeId, blocks: &[BlockHash]) {
        // A cache gives up chains from their ends.
        let mut guess = u32::MAX;
        for &block in blocks {
            if let Some(dense) = self.find(block.0, guess) {
                self.evict_dense(node, dense);
                guess = dense.wrapping_sub(1);
            }
        }
    }

    /// Forgets all blocks of `node`.
    pub fn clear_node(&mut self, node: NodeId) {
        for dense in 0..self.residents.len() as u32 {
            if self.sets.contains(self.residents[dense as usize], node) {
                self.evict_dense(node, dense);
            }
        }
    }

    /// Finds how many leading blocks of `chain` each node holds.
    pub fn match_chain(&self, chain: &[BlockHash], matches: &mut Matches) {
        matches.clear();
        let mut alive = Alive::All;
        let mut depth = 0;
        let mut guess = u32::MAX;
        for block in chain {
            let Some(dense) = self.find(block.0, guess) else {
                break;
            };
            alive = matches.intersect(&self.sets, alive, self.residents[dense as usize], depth);
            if matches.is_dead(alive) {
                return;
            }
            depth += 1;
            guess = dense.wrapping_add(1);
        }
        matches.finish(alive, depth);
    }

    /// The dense number of `hash`, which is likely to be `guess`.
    fn find(&self, hash: u64, guess: u32) -> Option<u32> {
        // A freed slot keeps its old hash, but has no residents.
        match self.hashes.get(guess as usize) {
            Some(&found) if found == hash && !self.residents[guess as usize].is_empty() => {
                Some(guess)
            }
            _ => self.interned.get(hash),
        }
    }

    fn intern(&mut self, block: BlockHash) -> u32 {
        let dense = match self.free.pop() {
            Some(dense) => {
                self.hashes[dense as usize] = block.0;
                dense
            }
            None => {
                self.hashes.push(block.0);
                self.residents.push(Residents::EMPTY);
                // As much room as there are numbers, so that blocks come and go without allocating.
                self.free.reserve(self.hashes.len());
                self.interned.keep_room_for(self.hashes.len());
                self.hashes.len() as u32 - 1
            }
        };
        self.interned.insert_new(block.0, dense);
        dense
    }

    fn evict_dense(&mut self, node: NodeId, dense: u32) {
        let residents = &mut self.residents[dense as usize];
        *residents = self.sets.remove(*residents, node);
        if residents.is_empty() {
            self.interned.remove(self.hashes[dense as usize]);
            self.free.push(dense);
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
