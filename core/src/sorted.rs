//! Entries in order of a key, in blocks, with sums of all up to any key.
//!
//! Why: orders of nodes and of requests change several times with each request and are looked at once. In one sorted
//! array a change moves all that lies behind it; in a tree of single entries it follows a pointer, and misses the
//! cache, at each level. Here it moves half a block, and a few entries are one block: a flat sorted array.
//!
//! How: two levels, as of a B-tree (R. Bayer and E. McCreight, "Organization and maintenance of large ordered indices",
//! Acta Informatica 1, 1972). A directory has the first key and the sum of each block. A full block is split, and two
//! neighbours that together fill no more than half of one are joined, so there is a block for every
//! sixteen entries at most, and nothing is allocated once it has been as large as it gets.

use alloc::vec::Vec;
use core::fmt::Debug;

/// Entries in a block at most.
const BLOCK: usize = 64;

/// What is kept in order.
pub(crate) trait Entry: Copy {
    /// What it is ordered by; no two entries have the same.
    type Key: Copy + Ord + Debug;
    /// What is added up.
    type Sum: Sum + Debug;

    fn key(&self) -> Self::Key;
    fn sum(&self) -> Self::Sum;
}

/// Sums do not depend on the order of adding, and what was added can be taken off again.
pub(crate) trait Sum: Copy + Default {
    fn and(self, other: Self) -> Self;
    fn without(self, part: Self) -> Self;
}

/// Nothing is added up.
impl Sum for () {
    fn and(self, (): Self) -> Self {}
    fn without(self, (): Self) -> Self {}
}

#[derive(Clone, Debug)]
struct Block<E> {
    len: usize,
    entries: [E; BLOCK],
}

/// A block's entry in the directory.
#[derive(Clone, Copy, Debug)]
struct Part<E: Entry> {
    first: E::Key,
    sum: E::Sum,
    block: u32,
}

/// Entries, ascending by their keys.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<E: Entry> {
    /// The directory, ascending; no block in it is empty.
    parts: Vec<Part<E>>,
    blocks: Vec<Block<E>>,
    free: Vec<u32>,
    len: usize,
    all: E::Sum,
}

impl<E: Entry> Default for Sorted<E> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            blocks: Vec::new(),
            free: Vec::new(),
            len: 0,
            all: E::Sum::default(),
        }
    }
}

impl<E: Entry> Sorted<E> {
    /// Makes room, so that up to `entries` at a time never make it grow.
    pub(crate) fn keep_room_for(&mut self, entries: usize) {
        // Any two neighbours are more than half a block, and there may be one more for a moment.
        let blocks = 4 * entries / BLOCK + 2;
        self.parts.reserve(blocks.saturating_sub(self.parts.len()));
        self.blocks
            .reserve(blocks.saturating_sub(self.blocks.len()));
        self.free.reserve(blocks.saturating_sub(self.free.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sum of all.
    pub(crate) fn all(&self) -> E::Sum {
        self.all
    }

    /// All entries, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.parts.iter().flat_map(|part| self.entries(part))
    }

    /// The sum of those whose keys are at most `key`.
    pub(crate) fn until(&self, key: E::Key) -> E::Sum {
        let begun = self.parts.partition_point(|part| part.first <= key);
        let Some((last, before)) = self.parts[..begun].split_last() else {
            return E::Sum::default();
        };
        let sum = before
            .iter()
            .fold(E::Sum::default(), |sum, part| sum.and(part.sum));
        let entries = self.entries(last);
        let count = entries.partition_point(|entry| entry.key() <= key);
        // Whichever of its two parts is the shorter is added up.
        if count <= entries.len() / 2 {
            add_up(&entries[..count]).and(sum)
        } else {
            sum.and(last.sum).without(add_up(&entries[count..]))
        }
    }

    /// Puts in an entry whose key is new.
    pub(crate) fn insert(&mut self, entry: E) {
        self.len += 1;
        if 4 * self.len / BLOCK + 2 > self.blocks.capacity() {
            self.keep_room_for(2 * self.len);
        }
        self.all = self.all.and(entry.sum());
        let key = entry.key();
        if self.parts.is_empty() {
            return self.begin_part(0, &[entry]);
        }
        let mut at = self.part_of(key);
        if self.entries(&self.parts[at]).len() == BLOCK {
            let last = self.entries(&self.parts[at])[BLOCK - 1].key();
            if at + 1 == self.parts.len() && last < key {
                // What comes in order fills its blocks.
                return self.begin_part(at + 1, &[entry]);
            }
            self.split(at);
            at += usize::from(self.parts[at + 1].first <= key);
        }
        let part = &mut self.parts[at];
        let block = &mut self.blocks[part.block as usize];
        let place = block.entries[..block.len].partition_point(|other| other.key() < key);
        block.entries.copy_within(place..block.len, place + 1);
        block.entries[place] = entry;
        block.len += 1;
        part.first = block.entries[0].key();
        part.sum = part.sum.and(entry.sum());
    }

    /// Takes out the entry with this key, which must be there.
    pub(crate) fn remove(&mut self, key: E::Key) {
        let at = self.part_of(key);
        let part = &mut self.parts[at];
        let block = &mut self.blocks[part.block as usize];
        let place = block.entries[..block.len].partition_point(|other| other.key() < key);
        let entry = block.entries[place];
        assert!(
            place < block.len && entry.key() == key,
            "what is taken out is there"
        );
        block.entries.copy_within(place + 1..block.len, place);
        block.len -= 1;
        part.sum = part.sum.without(entry.sum());
        part.first = block.entries[0].key();
        self.len -= 1;
        self.all = self.all.without(entry.sum());
        if block.len == 0 {
            self.free.push(part.block);
            self.parts.remove(at);
        } else if block.len <= BLOCK / 2 {
            self.join(at);
            if at > 0 {
                self.join(at - 1);
            }
        }
    }

    /// Puts `entry` in the place of the one with the key `old`, which must be there.
    pub(crate) fn replace(&mut self, old: E::Key, entry: E) {
        let (at, key) = (self.part_of(old), entry.key());
        let bound = self.parts.get(at + 1).map(|part| part.first);
        let part = &mut self.parts[at];
        let block = &mut self.blocks[part.block as usize];
        let place = block.entries[..block.len].partition_point(|other| other.key() < old);
        let above = match place {
            0 => old <= key,
            place => block.entries[place - 1].key() < key,
        };
        let next = block.entries[..block.len].get(place + 1);
        let below = next.map(E::key).or(bound).is_none_or(|next| key < next);
        if !(above && below) {
            self.remove(old);
            return self.insert(entry);
        }
        let gone = core::mem::replace(&mut block.entries[place], entry);
        part.first = block.entries[0].key();
        part.sum = part.sum.without(gone.sum()).and(entry.sum());
        self.all = self.all.without(gone.sum()).and(entry.sum());
    }

    /// Where a key is in the directory, or belongs; there is at least one block.
    fn part_of(&self, key: E::Key) -> usize {
        let begun = self.parts.partition_point(|part| part.first <= key);
        begun.saturating_sub(1)
    }

    fn entries(&self, part: &Part<E>) -> &[E] {
        let block = &self.blocks[part.block as usize];
        &block.entries[..block.len]
    }

    /// A new block at a place of the directory.
    fn begin_part(&mut self, at: usize, entries: &[E]) {
        let block = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Block {
                len: 0,
                entries: [entries[0]; BLOCK],
            });
            self.blocks.len() as u32 - 1
        });
        let place = &mut self.blocks[block as usize];
        place.entries[..entries.len()].copy_from_slice(entries);
        place.len = entries.len();
        let part = Part {
            first: entries[0].key(),
            sum: add_up(entries),
            block,
        };
        self.parts.insert(at, part);
    }

    /// The second half of a full block becomes a block of its own.
    fn split(&mut self, at: usize) {
        let block = &mut self.blocks[self.parts[at].block as usize];
        let entries = block.entries;
        block.len = BLOCK / 2;
        self.begin_part(at + 1, &entries[BLOCK / 2..]);
        self.parts[at].sum = self.parts[at].sum.without(self.parts[at + 1].sum);
    }

    /// Joins a block with the one behind it, if together they fill no more than half of one.
    fn join(&mut self, at: usize) {
        let Some(&next) = self.parts.get(at + 1) else {
            return;
        };
        let (len, more) = (
            self.entries(&self.parts[at]).len(),
            self.entries(&next).len(),
        );
        if len + more > BLOCK / 2 {
            return;
        }
        let entries = self.blocks[next.block as usize].entries;
        let part = &mut self.parts[at];
        let block = &mut self.blocks[part.block as usize];
        block.entries[len..len + more].copy_from_slice(&entries[..more]);
        block.len += more;
        part.sum = part.sum.and(next.sum);
        self.parts.remove(at + 1);
        self.free.push(next.block);
    }
}

fn add_up<E: Entry>(entries: &[E]) -> E::Sum {
    let sums = entries.iter().map(E::sum);
    sums.fold(E::Sum::default(), E::Sum::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    impl Sum for u64 {
        fn and(self, other: Self) -> Self {
            self + other
        }
        fn without(self, part: Self) -> Self {
            self - part
        }
    }

    impl Entry for (u16, u64) {
        type Key = u16;
        type Sum = u64;

        fn key(&self) -> u16 {
            self.0
        }
        fn sum(&self) -> u64 {
            self.1
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Enough of them that blocks are split and joined; in a row, from the end, or anyhow.
        #[test]
        fn it_is_a_sorted_list(
            ops in proptest::collection::vec((0_u16..600, 0_u64..9, 0..8), 1..900),
            ascending in 0_u16..700, until in 0_u16..800,
        ) {
            let (mut sorted, mut slow) = (Sorted::default(), BTreeMap::new());
            sorted.keep_room_for(1_300);
            let blocks = sorted.blocks.capacity();
            for key in 0..ascending {
                sorted.insert((2 * key, 1));
                slow.insert(2 * key, 1);
            }
            // Gone again, but for a few: blocks are joined.
            for key in (0..ascending).filter(|key| key % 40 != 0) {
                sorted.remove(2 * key);
                slow.remove(&(2 * key));
            }
            for (key, value, op) in ops {
                let nearest = slow.range(key..).next().map(|(&key, _)| key);
                match (slow.contains_key(&key), op, nearest) {
                    (true, ..) => {
                        sorted.remove(key);
                        slow.remove(&key);
                    }
                    (false, 0..3, Some(old)) => {
                        sorted.replace(old, (key, value));
                        slow.remove(&old);
                        slow.insert(key, value);
                    }
                    _ => {
                        sorted.insert((key, value));
                        slow.insert(key, value);
                    }
                }
                prop_assert_eq!(sorted.len(), slow.len());
            }
            let entries: Vec<(u16, u64)> = sorted.iter().copied().collect();
            let expected: Vec<(u16, u64)> = slow.iter().map(|(&key, &value)| (key, value)).collect();
            prop_assert_eq!(entries, expected);
            let sum = |until: u16| slow.range(..=until).map(|entry| entry.1).sum::<u64>();
            prop_assert_eq!(sorted.until(until), sum(until));
            prop_assert_eq!(sorted.all(), sum(u16::MAX));
            for part in &sorted.parts {
                prop_assert_eq!(part.sum, add_up(sorted.entries(part)));
                prop_assert_eq!(part.first, sorted.entries(part)[0].0);
            }
            for pair in sorted.parts.windows(2) {
                prop_assert!(sorted.entries(&pair[0]).len() + sorted.entries(&pair[1]).len() > BLOCK / 2);
            }
            prop_assert_eq!(sorted.blocks.capacity(), blocks, "nothing was allocated");
        }
    }
}
