//! A binary heap that knows where each of its members is.
//!
//! Why: most things in a simulation have one next event that moves (a node's step, a flow's end). Keeping one entry a
//! member and moving it needs no cancelled entries, and the heap stays as small as the cluster.

/// Members `0 .. n`, each with at most one key; the smallest (key, member) is on top.
#[derive(Clone, Debug)]
pub struct IndexedHeap<K> {
    heap: Vec<(K, u32)>,
    /// Place in the heap by member, or [`ABSENT`].
    places: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl<K> Default for IndexedHeap<K> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl<K: Copy + Ord> IndexedHeap<K> {
    /// The smallest entry.
    #[must_use]
    pub fn peek(&self) -> Option<(K, u32)> {
        self.heap.first().copied()
    }

    /// Gives a member a key, in place of the one that it may have.
    pub fn set(&mut self, member: u32, key: K) {
        if member as usize >= self.places.len() {
            self.places.resize(member as usize + 1, ABSENT);
        }
        let place = match self.places[member as usize] {
            ABSENT => {
                self.heap.push((key, member));
                self.heap.len() - 1
            }
            place if self.heap[place as usize].0 == key => return,
            place => {
                self.heap[place as usize].0 = key;
                place as usize
            }
        };
        self.settle(place);
    }

    /// Takes a member out, if it is in.
    pub fn remove(&mut self, member: u32) {
        let Some(&place) = self
            .places
            .get(member as usize)
            .filter(|&&place| place != ABSENT)
        else {
            return;
        };
        self.places[member as usize] = ABSENT;
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Moves the entry at `place`, whose key may have changed, to where it belongs.
    fn settle(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        loop {
            let mut child = 2 * place + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1] < self.heap[child] {
                child += 1;
            }
            if entry <= self.heap[child] {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (K, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_top_is_the_smallest(ops in proptest::collection::vec((0_u32..20, 0_u64..50, any::<bool>()), 1..300)) {
            let mut heap = IndexedHeap::default();
            let mut slow = BTreeMap::new();
            for (member, key, set) in ops {
                if set {
                    heap.set(member, key);
                    slow.insert(member, key);
                } else {
                    heap.remove(member);
                    slow.remove(&member);
                }
                prop_assert_eq!(heap.peek(), slow.iter().map(|(&member, &key)| (key, member)).min());
            }
        }
    }
}
