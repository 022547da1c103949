//! Entries in order of when they begin, with the sums of all that begin before any moment.
//!
//! Why: a decision asks how many sequences and tokens there will be at a moment. If all answers take one time, those
//! who are there then are those who began in one stretch of time, and what they hold together is the difference of two
//! sums; with thousands of requests in the system, adding them up one by one would be most of a decision.
//!
//! How: a treap (R. Seidel and C. R. Aragon, "Randomized Search Trees", Algorithmica 16, 1996) over the slots of the
//! request table, each with the totals of what hangs on it. Its priorities are a fixed scrambling of the slot's number,
//! so its shape depends on nothing but what is in it. Sums are of integers: no order of adding changes them.

use super::{Entry, RATE_BITS};
use crate::units::Nanos;
use alloc::vec::Vec;

/// No place.
const NONE: u32 = u32::MAX;

/// What entries hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) sequences: u32,
    /// Tokens when they begin.
    context: u64,
    /// See [`Entry`].
    base: i128,
    rate: u128,
}

impl Totals {
    fn of(entry: &Entry) -> Self {
        let context = entry.base + entry.rate * i128::from(entry.start.0);
        Self {
            sequences: 1,
            context: (context >> RATE_BITS) as u64,
            base: entry.base,
            rate: entry.rate as u128,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            sequences: self.sequences + other.sequences,
            context: self.context + other.context,
            base: self.base + other.base,
            rate: self.rate + other.rate,
        }
    }

    /// These without `part` of them.
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            sequences: self.sequences - part.sequences,
            context: self.context - part.context,
            base: self.base - part.base,
            rate: self.rate - part.rate,
        }
    }

    /// Tokens at `time`, of those who have begun by then, in 2^-RATE_BITS.
    pub(super) fn grown(&self, time: Nanos) -> i128 {
        self.base + self.rate as i128 * i128::from(time.0)
    }

    /// Tokens `after` they have begun, all at once, in 2^-RATE_BITS.
    pub(super) fn grown_for(&self, after: Nanos) -> i128 {
        (i128::from(self.context) << RATE_BITS) + self.rate as i128 * i128::from(after.0)
    }
}

/// A slot's place in the tree; meaningless for slots that are not in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: Nanos,
    left: u32,
    right: u32,
    own: Totals,
    /// Of this place and all below it.
    all: Totals,
}

/// Entries by when they begin, then by slot.
#[derive(Clone, Debug)]
pub(super) struct Line {
    root: u32,
    places: Vec<Place>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            root: NONE,
            places: Vec::new(),
        }
    }
}

impl Line {
    /// Puts in the entry of a slot that is not in it.
    pub(super) fn insert(&mut self, slot: usize, entry: &Entry) {
        let own = Totals::of(entry);
        let place = Place {
            start: entry.start,
            left: NONE,
            right: NONE,
            own,
            all: own,
        };
        if slot >= self.places.len() {
            self.places.resize(slot + 1, place);
        }
        self.places[slot] = place;
        let slot = slot as u32;
        let (before, after) = self.split(self.root, (entry.start, slot));
        let before = self.join(before, slot);
        self.root = self.join(before, after);
    }

    /// Takes out a slot that is in it.
    pub(super) fn remove(&mut self, slot: usize) {
        let (start, slot) = (self.places[slot].start, slot as u32);
        let (before, rest) = self.split(self.root, (start, slot));
        let (own, after) = self.split(rest, (start, slot + 1));
        debug_assert_eq!(own, slot, "the slot is in line");
        self.root = self.join(before, after);
    }

    /// What all hold.
    pub(super) fn all(&self) -> Totals {
        self.below(self.root)
    }

    /// What those hold that begin at `moment` or before.
    pub(super) fn until(&self, moment: Nanos) -> Totals {
        let (mut found, mut at) = (Totals::default(), self.root);
        while at != NONE {
            let place = &self.places[at as usize];
            at = if place.start <= moment {
                found = found.and(place.own).and(self.below(place.left));
                place.right
            } else {
                place.left
            };
        }
        found
    }

    fn below(&self, at: u32) -> Totals {
        match at {
            NONE => Totals::default(),
            at => self.places[at as usize].all,
        }
    }

    /// Those below `at` that come before `key`, and the others.
    fn split(&mut self, at: u32, key: (Nanos, u32)) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        let place = self.places[at as usize];
        if (place.start, at) < key {
            let (left, right) = self.split(place.right, key);
            self.places[at as usize].right = left;
            self.add_up(at);
            (at, right)
        } else {
            let (left, right) = self.split(place.left, key);
            self.places[at as usize].left = right;
            self.add_up(at);
            (left, at)
        }
    }

    /// One tree of two, of which all of the first comes before all of the second.
    fn join(&mut self, first: u32, second: u32) -> u32 {
        if first == NONE || second == NONE {
            return if first == NONE { second } else { first };
        }
        if priority(first) > priority(second) {
            let right = self.join(self.places[first as usize].right, second);
            self.places[first as usize].right = right;
            self.add_up(first);
            first
        } else {
            let left = self.join(first, self.places[second as usize].left);
            self.places[second as usize].left = left;
            self.add_up(second);
            second
        }
    }

    fn add_up(&mut self, at: u32) {
        let Place {
            left, right, own, ..
        } = self.places[at as usize];
        self.places[at as usize].all = own.and(self.below(left)).and(self.below(right));
    }
}

/// The slot's number, scrambled one to one: no two slots have the same (the finaliser of SplitMix64).
const fn priority(slot: u32) -> u64 {
    let mut x = slot as u64 + 0x9E37_79B9_7F4A_7C15;
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
