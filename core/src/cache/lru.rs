//! Order of last use as a doubly linked list over slot numbers: everything is O(1). A block's links are in its record.

use super::Record;

/// End of the list.
const NONE: u32 = u32::MAX;

/// A slot's neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    older: u32,
    newer: u32,
}

impl Links {
    /// Those of a slot that is not in the list.
    pub(super) const NONE: Self = Self {
        older: NONE,
        newer: NONE,
    };
}

/// Slots from the least to the most recently used.
#[derive(Clone, Debug)]
pub(super) struct LruList {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Default for LruList {
    fn default() -> Self {
        Self {
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
    pub(super) fn push(&mut self, slot: u32, records: &mut [Record]) {
        records[slot as usize].links = Links {
            older: self.newest,
            newer: NONE,
        };
        match self.newest {
            NONE => self.oldest = slot,
            newest => records[newest as usize].links.newer = slot,
        }
        self.newest = slot;
        self.len += 1;
    }

    /// Takes `slot`, which is in the list, out of it.
    pub(super) fn remove(&mut self, slot: u32, records: &mut [Record]) {
        let Links { older, newer } = records[slot as usize].links;
        match older {
            NONE => self.oldest = newer,
            older => records[older as usize].links.newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => records[newer as usize].links.older = older,
        }
        self.len -= 1;
    }

    /// Takes the least recently used slot.
    pub(super) fn pop(&mut self, records: &mut [Record]) -> Option<u32> {
        let slot = self.oldest;
        (slot != NONE).then(|| {
            self.remove(slot, records);
            slot
        })
    }
}
