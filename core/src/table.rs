//! From a block's hash to the number of its record, in the index and in caches: open addressing in rows of eight slots,
//! one row a cache line.
//!
//! Why an own table beside [`crate::map`]: the key is in the record that a number leads to and is compared there, so a
//! slot needs only the number and 32 bits of the key, half of what a map's slot takes. A slot's bits say where its home
//! is, so growing and closing gaps look at no record.
//!
//! Linear probing in a table that is at most half full (Knuth, The Art of Computer Programming, volume 3, section 6.4;
//! algorithm R for removal). As in the map, all but the last three bits of a key choose the row: eight ids in a row, as
//! traces have them, share a cache line; keys that are hashes themselves are spread as they were. Homes ascend with the
//! bits, whatever the number of rows, so the table grows by a half at a time, in one pass over it.

use alloc::vec;
use alloc::vec::Vec;

/// Eight slots, a cache line. A slot is 32 bits of a key above a dense number.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Row([u64; ROW]);

const ROW: usize = 1 << ROW_BITS;
const ROW_BITS: u32 = 3;
const FREE: u64 = u64::MAX;
const FREE_ROW: Row = Row([FREE; ROW]);
/// 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    len: usize,
}

/// A place in the table, valid until it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// The bits of a key that its slot has: those that choose the row, then the last ones, which choose the place in it.
fn bits(key: u64) -> u64 {
    let spread = (key >> ROW_BITS).wrapping_mul(GOLDEN) >> (32 + ROW_BITS);
    spread << ROW_BITS | key & (ROW as u64 - 1)
}

impl Table {
    /// A table in which `entries` find room before it grows.
    pub(crate) fn with_capacity(entries: usize) -> Self {
        let rows = (2 * entries).div_ceil(ROW).max(2);
        Self {
            rows: vec![FREE_ROW; rows],
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The number of `key`, of which `is` says whether it is a number's key; or else where it would be.
    pub(crate) fn find(&self, key: u64, is: impl Fn(u32) -> bool) -> Result<u32, Place> {
        let bits = bits(key);
        let mut place = self.home(bits);
        // At most half full: there is a free slot.
        loop {
            let slot = self.slot(place);
            if slot == FREE {
                return Err(Place(place));
            }
            if slot >> 32 == bits && is(slot as u32) {
                return Ok(slot as u32);
            }
            place = self.after(place);
        }
    }

    /// Enters `number` for `key`, for which [`Self::find`] has just found `place`.
    pub(crate) fn insert(&mut self, place: Place, key: u64, number: u32) {
        let place = if 2 * (self.len + 1) > self.slots() {
            self.grow();
            self.free_from(self.home(bits(key)))
        } else {
            place.0
        };
        self.len += 1;
        *self.slot_mut(place) = bits(key) << 32 | u64::from(number);
    }

    /// Takes `number` out, which is there for `key`, and moves up those behind it that the search for would otherwise
    /// stop there.
    pub(crate) fn remove(&mut self, key: u64, number: u32) {
        let wanted = bits(key) << 32 | u64::from(number);
        let mut gap = self.home(bits(key));
        while self.slot(gap) != wanted {
            assert_ne!(self.slot(gap), FREE, "what is removed is there");
            gap = self.after(gap);
        }
        self.len -= 1;
        let mut next = self.after(gap);
        loop {
            let slot = self.slot(next);
            if slot == FREE {
                break;
            }
            // As far from its home as from the gap, or farther: its search passes the gap.
            if self.distance(self.home(slot >> 32), next) >= self.distance(gap, next) {
                *self.slot_mut(gap) = slot;
                gap = next;
            }
            next = self.after(next);
        }
        *self.slot_mut(gap) = FREE;
    }

    fn grow(&mut self) {
        let rows = vec![FREE_ROW; self.rows.len() + self.rows.len().div_ceil(2)];
        let old = core::mem::replace(&mut self.rows, rows);
        for &slot in old.iter().flat_map(|row| &row.0) {
            if slot != FREE {
                let place = self.free_from(self.home(slot >> 32));
                *self.slot_mut(place) = slot;
            }
        }
    }

    fn free_from(&self, mut place: usize) -> usize {
        while self.slot(place) != FREE {
            place = self.after(place);
        }
        place
    }

    /// Where the search for a key with these bits begins.
    fn home(&self, bits: u64) -> usize {
        let row = ((bits >> ROW_BITS) * self.rows.len() as u64) >> (32 - ROW_BITS);
        ((row as usize) << ROW_BITS) | (bits as usize % ROW)
    }

    const fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots() {
            0
        } else {
            place + 1
        }
    }

    /// How many places `to` is behind `from`.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.slots() - from
        }
    }

    const fn slots(&self) -> usize {
        self.rows.len() << ROW_BITS
    }

    fn slot(&self, place: usize) -> u64 {
        self.rows[place >> ROW_BITS].0[place % ROW]
    }

    fn slot_mut(&mut self, place: usize) -> &mut u64 {
        &mut self.rows[place >> ROW_BITS].0[place % ROW]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    /// Dense keys; keys of one row, some with equal bits, so that records must tell them apart; keys at the end.
    fn keys() -> Vec<u64> {
        let last = |key: &u64| bits(*key) >> 28 == 15;
        let mut keys: Vec<u64> = (0..24).chain((1000..).filter(last).take(12)).collect();
        // Two keys have equal bits if their rows' numbers differ by what the multiplication drops.
        let inverse = (0..6).fold(GOLDEN, |x, _| {
            x.wrapping_mul(2_u64.wrapping_sub(GOLDEN.wrapping_mul(x)))
        });
        let twin = |row: u64, low: u64| (row.wrapping_mul(GOLDEN) ^ low).wrapping_mul(inverse);
        let twins = (0..1 << 20)
            .map(|low| twin(5, low))
            .filter(|row| row >> 61 == 0);
        keys.extend(twins.take(4).map(|row| row << ROW_BITS));
        keys.push(u64::MAX);
        keys
    }

    #[test]
    fn some_keys_have_equal_bits() {
        let keys = keys();
        let equal = |key: &&u64| {
            keys.iter()
                .any(|other| other != *key && bits(*other) == bits(**key))
        };
        assert!(keys.iter().filter(equal).count() >= 4);
    }

    proptest! {
        /// Few keys with few homes, so that runs form, wrap around the end and are closed again.
        #[test]
        fn it_is_a_map(ops in proptest::collection::vec((any::<proptest::sample::Index>(), any::<bool>()), 0..400), room in 0_usize..64) {
            let keys = keys();
            let mut table = Table::with_capacity(room);
            let mut slow = BTreeMap::new();
            for (drawn, insert) in ops {
                let number = drawn.index(keys.len());
                let key = keys[number];
                let found = table.find(key, |number| keys[number as usize] == key);
                prop_assert_eq!(found.ok(), slow.get(&key).copied());
                match found {
                    Err(place) if insert => {
                        table.insert(place, key, number as u32);
                        slow.insert(key, number as u32);
                    }
                    Ok(number) => {
                        table.remove(key, number);
                        slow.remove(&key);
                    }
                    Err(_) => {}
                }
                prop_assert_eq!(table.len(), slow.len());
                for key in &keys {
                    let found = table.find(*key, |number| keys[number as usize] == *key).ok();
                    prop_assert_eq!(found, slow.get(key).copied());
                }
            }
        }
    }
}
