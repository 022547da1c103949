//! A hash map from ids without iteration, so that hash order cannot leak into a decision.
//!
//! Why an own one: requests and their blocks come and go for ever, and in a general map a removed entry leaves a mark
//! that later searches have to pass, until the table cleans itself; and it scatters what is in a row over memory. Here
//! a removal closes the gap, so a table that has turned over a million times is as quick as a new one, and neighbours
//! stay together.
//!
//! Open addressing with linear probing in a table that is at most half full (Knuth, The Art of Computer Programming,
//! volume 3, section 6.4; algorithm R for removal). Homes are found by multiplicative hashing of all but the last bits
//! of a key: eight ids in a row, as the blocks of a prompt often have, are neighbours in memory, and a prompt costs a
//! cache miss for every few blocks instead of for each. Keys that are hashes themselves are spread as they were.

use alloc::vec;
use alloc::vec::Vec;

/// Look-up, insertion and removal; nothing else. It grows only in [`Self::keep_room_for`] and, if that was not asked
/// for, when it is half full.
#[derive(Clone, Debug)]
pub(crate) struct Map<V> {
    /// A power of two of slots; those with the key [`FREE`] are free.
    slots: Vec<(u64, V)>,
    len: usize,
    /// The value of the one key that the slots cannot hold.
    of_free: Option<V>,
}

/// Marks a free slot.
const FREE: u64 = u64::MAX;
/// 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// Last bits of a key that are not hashed: this many ids in a row stay together.
const ROW_BITS: u32 = 3;
/// Fewer slots than this are not worth it.
const SLOTS_MIN: usize = 2 << ROW_BITS;

impl<V: Copy + Default> Map<V> {
    /// A map that holds up to `entries` at a time without growing, whatever comes and goes.
    pub(crate) fn with_capacity(entries: usize) -> Self {
        let slots = (2 * entries).next_power_of_two().max(SLOTS_MIN);
        Self {
            slots: vec![(FREE, V::default()); slots],
            len: 0,
            of_free: None,
        }
    }

    /// Grows, if need be, so that up to `entries` at a time never make it grow.
    pub(crate) fn keep_room_for(&mut self, entries: usize) {
        if 2 * entries <= self.slots.len() {
            return;
        }
        let old = core::mem::replace(&mut self.slots, Self::with_capacity(entries).slots);
        for (key, value) in old {
            if key != FREE {
                let place = self.place_of(key).unwrap_or_else(|free| free);
                self.slots[place] = (key, value);
            }
        }
    }

    pub(crate) fn get(&self, key: u64) -> Option<V> {
        if key == FREE {
            return self.of_free;
        }
        self.place_of(key).ok().map(|place| self.slots[place].1)
    }

    /// Inserts a key that must not be there.
    pub(crate) fn insert_new(&mut self, key: u64, value: V) {
        self.len += 1;
        if key == FREE {
            debug_assert!(self.of_free.is_none(), "the key is new");
            self.of_free = Some(value);
            return;
        }
        if 2 * self.len > self.slots.len() {
            self.keep_room_for(2 * self.len);
        }
        let place = self.place_of(key);
        debug_assert!(place.is_err(), "the key is new");
        self.slots[place.unwrap_or_else(|free| free)] = (key, value);
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let removed = if key == FREE {
            self.of_free.take()
        } else {
            self.place_of(key).ok().map(|place| self.clear(place))
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the key is, or the free slot where it would be.
    fn place_of(&self, key: u64) -> Result<usize, usize> {
        let last = self.slots.len() - 1;
        let mut place = self.home(key);
        // At most half full: there is a free slot.
        loop {
            let found = self.slots[place].0;
            if found == key {
                return Ok(place);
            }
            if found == FREE {
                return Err(place);
            }
            place = (place + 1) & last;
        }
    }

    /// Where the search for a key begins.
    fn home(&self, key: u64) -> usize {
        let rows = self.slots.len().trailing_zeros() - ROW_BITS;
        let row = (key >> ROW_BITS).wrapping_mul(GOLDEN) >> (64 - rows);
        (row << ROW_BITS | key & ((1 << ROW_BITS) - 1)) as usize
    }

    /// Frees a slot, and moves up those behind it that the search for would otherwise stop there.
    fn clear(&mut self, place: usize) -> V {
        let last = self.slots.len() - 1;
        let removed = self.slots[place].1;
        let (mut gap, mut next) = (place, (place + 1) & last);
        while self.slots[next].0 != FREE {
            let home = self.home(self.slots[next].0);
            // As far from its home as from the gap, or farther: its search passes the gap.
            if next.wrapping_sub(home) & last >= next.wrapping_sub(gap) & last {
                self.slots[gap] = self.slots[next];
                gap = next;
            }
            next = (next + 1) & last;
        }
        self.slots[gap].0 = FREE;
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        /// Few keys with few homes, so that runs form, wrap around the end and are closed again.
        #[test]
        fn it_is_a_map(ops in proptest::collection::vec((0_u64..40, any::<bool>(), 0_u32..9), 0..400), grows: bool) {
            let keys: Vec<u64> = (0..40).map(key_of).collect();
            let mut map = Map::with_capacity(if grows { 0 } else { 64 });
            let mut slow = BTreeMap::new();
            for (drawn, insert, value) in ops {
                let key = keys[drawn as usize];
                prop_assert_eq!(map.get(key), slow.get(&key).copied());
                match (insert, slow.contains_key(&key)) {
                    (true, false) => {
                        map.insert_new(key, value);
                        slow.insert(key, value);
                    }
                    _ => prop_assert_eq!(map.remove(key), slow.remove(&key)),
                }
                prop_assert_eq!(map.len(), slow.len());
                prop_assert!(keys.iter().all(|key| map.get(*key) == slow.get(key).copied()));
            }
        }
    }

    /// Dense keys, keys whose homes are the last of a table of 16 to 128 slots, and the one that slots cannot hold.
    fn key_of(drawn: u64) -> u64 {
        let at_the_end = |key: &u64| {
            let home = |slots| Map::<u32>::with_capacity(slots / 2).home(*key);
            [16, 32, 64, 128]
                .into_iter()
                .all(|slots| home(slots) >= slots - 4)
        };
        match drawn {
            0 => u64::MAX,
            1..20 => drawn,
            _ => (0..)
                .filter(at_the_end)
                .nth(drawn as usize - 20)
                .expect("there are many"),
        }
    }
}
