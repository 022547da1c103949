//! Order of last use as a doubly linked list over slot numbers: everything is O(1).

use super::BlockFacts;
use alloc::vec::Vec;

/// End of the list, and mark of a slot that is not in it.
const NONE: u32 = u32::MAX;

/// Slots from the least to the most recently used.
#[derive(Clone, Debug)]
pub(super) struct LruList {
    /// For each slot its neighbours (towards the oldest, towards the newest).
    links: Vec<(u32, u32)>,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Default for LruList {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }
}

impl LruList {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Appends `slot` as the most recently used.
    pub(super) fn push(&mut self, slot: u32, _facts: &BlockFacts) {
        let place = slot as usize;
        if place >= self.links.len() {
            self.links.resize(place + 1, (NONE, NONE));
        }
        self.links[place] = (self.newest, NONE);
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.links[newest as usize].1 = slot,
        }
        self.newest = slot;
        self.len += 1;
    }

    /// Takes `slot`, which is in the list, out of it.
    pub(super) fn remove(&mut self, slot: u32) {
        let (older, newer) = self.links[slot as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize].1 = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[newer as usize].0 = older,
        }
        self.len -= 1;
    }

    /// Takes the least recently used slot.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let slot = self.oldest;
        (slot != NONE).then(|| {
            self.remove(slot);
            slot
        })
    }
}
