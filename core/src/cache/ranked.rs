//! Order by rank: a binary heap that knows where each slot is, so that a block in use can be taken out.

use super::{BlockFacts, EvictionPolicy};
use alloc::vec::Vec;

/// Slots by rank, the smallest on top.
#[derive(Clone, Debug)]
pub(super) struct RankedHeap<P> {
    policy: P,
    heap: Vec<((u64, u64), u32)>,
    /// For each slot its place in the heap; meaningless for slots that are not in it.
    places: Vec<u32>,
}

impl<P: EvictionPolicy> RankedHeap<P> {
    pub(super) const fn new(policy: P) -> Self {
        Self {
            policy,
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn push(&mut self, slot: u32, facts: &BlockFacts) {
        if slot as usize >= self.places.len() {
            self.places.resize(slot as usize + 1, 0);
        }
        self.heap.push((self.policy.rank(facts), slot));
        self.rise(self.heap.len() - 1);
    }

    /// Takes `slot`, which is in the heap, out of it.
    pub(super) fn remove(&mut self, slot: u32) {
        let place = self.places[slot as usize] as usize;
        debug_assert_eq!(self.heap[place].1, slot);
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.sink(place);
            self.rise(place);
        }
    }

    /// Takes the slot of the smallest rank.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let slot = self.heap.first()?.1;
        self.remove(slot);
        Some(slot)
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.swap(least, place);
            place = least;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1 as usize] = a as u32;
        self.places[self.heap[b].1 as usize] = b as u32;
    }
}
