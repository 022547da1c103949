//! From a block's hash to the number of its record, in the index and in caches: rows of eight slots, one row a cache
//! line.
//!
//! Why an own table beside [`crate::map`]: the key is in the record that a number leads to and is compared there, so
//! a slot needs only the number and 32 bits of the key, half of what a map's slot takes. Those bits say where a
//! slot's home is, so growing and closing gaps look at no record.
//!
//! Open addressing by rows, linear from row to row, in a table that is at most half full (Knuth, The Art of Computer
//! Programming, volume 3, section 6.4: buckets, and algorithm R for removal). An entry is in its home row, or in the
//! first one behind it with room; so a search ends at the first row that is not full, and only what goes from a full
//! row leaves a gap that others may have to close. All but the last three bits of a key choose the row: eight ids in
//! a row, as traces have them, share a cache line, each where its last bits say; keys that are hashes themselves are
//! spread as they were. Homes ascend with the bits, whatever the number of rows, so the table grows by a half at a
//! time, in one pass.

use alloc::vec;
use alloc::vec::Vec;

/// Eight slots, a cache line: bits of the keys, and numbers.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Row {
    bits: [u32; ROW],
    /// [`FREE`] where nothing is.
    numbers: [u32; ROW],
}

const ROW: usize = 1 << ROW_BITS;
const ROW_BITS: u32 = 3;
const FREE: u32 = u32::MAX;
const FREE_ROW: Row = Row {
    bits: [0; ROW],
    numbers: [FREE; ROW],
};
/// 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    len: usize,
}

/// A row with room, valid until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// The bits of a key that its slot has: those that choose the row, then the last ones, which choose the place in it.
fn bits(key: u64) -> u32 {
    let spread = (key >> ROW_BITS).wrapping_mul(GOLDEN) >> (32 + ROW_BITS);
    (spread << ROW_BITS) as u32 | (key as u32 % ROW as u32)
}

impl Row {
    // These look at all eight and do not branch, which is quicker than to stop early.

    fn has_bits(&self, bits: u32) -> bool {
        let each = self.bits.iter();
        each.fold(false, |any, &other| any | (other == bits))
    }

    fn is_full(&self) -> bool {
        let each = self.numbers.iter();
        each.fold(true, |all, &number| all & (number != FREE))
    }

    fn put(&mut self, bits: u32, number: u32) {
        let wished = bits as usize % ROW;
        let place = match self.numbers[wished] {
            FREE => Some(wished),
            _ => self.numbers.iter().position(|&number| number == FREE),
        };
        let place = place.expect("a place is a row with room");
        (self.bits[place], self.numbers[place]) = (bits, number);
    }

    /// Where the key with these bits is in the row, of which `is` says whether it is a number's.
    fn find(&self, bits: u32, is: impl Fn(u32) -> bool) -> Option<usize> {
        let here = |place: usize| {
            self.bits[place] == bits && self.numbers[place] != FREE && is(self.numbers[place])
        };
        let wished = bits as usize % ROW;
        if here(wished) {
            return Some(wished);
        }
        match self.has_bits(bits) {
            true => (0..ROW).find(|&place| here(place)),
            false => None,
        }
    }
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
        let mut row = self.home(bits);
        // At most half full: there is a row with room.
        loop {
            let slots = &self.rows[row];
            if let Some(place) = slots.find(bits, &is) {
                return Ok(slots.numbers[place]);
            }
            if !slots.is_full() {
                return Err(Place(row));
            }
            row = self.after(row);
        }
    }

    /// Enters `number` for `key`, for which [`Self::find`] has just found `place`.
    pub(crate) fn insert(&mut self, place: Place, key: u64, number: u32) {
        assert_ne!(
            number, FREE,
            "numbers are below the one that marks free slots"
        );
        self.len += 1;
        let bits = bits(key);
        if 2 * self.len > self.rows.len() * ROW {
            self.grow();
            self.put(bits, number);
        } else {
            self.rows[place.0].put(bits, number);
        }
    }

    /// Takes `number` out, which is there for `key`, and moves up those behind it that the search for would otherwise
    /// stop there.
    pub(crate) fn remove(&mut self, key: u64, number: u32) {
        let bits = bits(key);
        let mut gap = self.home(bits);
        let mut place = self.rows[gap].find(bits, |other| other == number);
        while place.is_none() {
            assert!(self.rows[gap].is_full(), "what is removed is there");
            gap = self.after(gap);
            place = self.rows[gap].find(bits, |other| other == number);
        }
        let mut place = place.expect("the loop ends with it");
        self.len -= 1;
        let mut row = gap;
        while self.rows[row].is_full() {
            row = self.after(row);
            // As far from its home as from the gap, or farther: its search passes the gap.
            let passes = |&place: &usize| {
                let Row { bits, numbers } = &self.rows[row];
                numbers[place] != FREE
                    && self.distance(self.home(bits[place]), row) >= self.distance(gap, row)
            };
            if let Some(moved) = (0..ROW).find(passes) {
                let Row { bits, numbers } = self.rows[row];
                let (bits, number) = (bits[moved], numbers[moved]);
                let slots = &mut self.rows[gap];
                (slots.bits[place], slots.numbers[place]) = (bits, number);
                (gap, place) = (row, moved);
            }
        }
        self.rows[gap].numbers[place] = FREE;
    }

    fn grow(&mut self) {
        let rows = vec![FREE_ROW; self.rows.len() + self.rows.len().div_ceil(2)];
        let old = core::mem::replace(&mut self.rows, rows);
        for Row { bits, numbers } in old {
            for (bits, number) in bits.into_iter().zip(numbers) {
                if number != FREE {
                    self.put(bits, number);
                }
            }
        }
    }

    /// Puts an entry into the first row with room.
    fn put(&mut self, bits: u32, number: u32) {
        let mut row = self.home(bits);
        while self.rows[row].is_full() {
            row = self.after(row);
        }
        self.rows[row].put(bits, number);
    }

    /// The row in which the search for a key with these bits begins.
    fn home(&self, bits: u32) -> usize {
        let spread = u64::from(bits >> ROW_BITS);
        (spread.wrapping_mul(self.rows.len() as u64) >> (32 - ROW_BITS)) as usize
    }

    const fn after(&self, row: usize) -> usize {
        if row + 1 == self.rows.len() {
            0
        } else {
            row + 1
        }
    }

    /// How many rows `to` is behind `from`.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.rows.len() - from
        }
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
