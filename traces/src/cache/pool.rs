//! One pool of blocks with a policy: touch a block, learn whether it was there.
//!
//! All four policies are one heap with different keys. Not here: prefixes; the pool knows single blocks only.

use super::heap::{IndexedHeap, Key};
use super::{NEVER, Policy};

#[derive(Debug)]
pub(super) struct Pool {
    policy: Policy,
    limit: u64,
    used: u64,
    order: IndexedHeap,
    /// For every block, what it took when it came in.
    weights: Vec<u32>,
    touches: u64,
}

impl Pool {
    /// An empty pool for blocks numbered below `blocks`.
    pub(super) fn new(policy: Policy, limit: u64, blocks: usize) -> Self {
        Self {
            policy,
            limit,
            used: 0,
            order: IndexedHeap::new(blocks),
            weights: vec![0; blocks],
            touches: 0,
        }
    }

    /// Uses a block: true if it was in the pool. It is afterwards, unless it is not worth its room.
    pub(super) fn touch(&mut self, block: u32, depth: u32, weight: u64, next_use: u32) -> bool {
        self.touches += 1;
        let old = self.order.key(block);
        let key = self.key(old, depth, next_use);
        if old.is_some() {
            self.order.set(block, key);
            return true;
        }
        if weight > self.limit {
            return false;
        }
        // The optimum may prefer what it has to what comes; an online policy always makes room.
        let refuses = self.policy == Policy::Belady;
        if refuses {
            if next_use == NEVER {
                return false;
            }
            self.insert(block, key, weight);
        }
        while self.used + if refuses { 0 } else { weight } > self.limit {
            // The pool is not empty: it uses more than nothing.
            let Some(victim) = self.order.pop() else {
                break;
            };
            self.used -= u64::from(self.weights[victim as usize]);
        }
        if !refuses {
            self.insert(block, key, weight);
        }
        false
    }

    fn insert(&mut self, block: u32, key: Key, weight: u64) {
        self.order.set(block, key);
        self.weights[block as usize] = weight as u32;
        self.used += weight;
    }

    /// The new place of a block in the order of leaving; `old` is its key so far, `None` if it comes in.
    fn key(&self, old: Option<Key>, depth: u32, next_use: u32) -> Key {
        let uses = old.map_or(1, |(uses, ..)| uses + 1);
        match self.policy {
            Policy::Lru => (self.touches, 0, 0),
            Policy::Lfu => (uses, self.touches, 0),
            Policy::LengthAware => (uses, u64::from(u32::MAX - depth), self.touches),
            // Two blocks never share a next use; those without one leave first.
            Policy::Belady => (u64::from(NEVER - next_use), self.touches, 0),
        }
    }
}
