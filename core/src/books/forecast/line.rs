//! Entries in order of when they begin, with the sums of all that begin before any moment.
//!
//! Why: a decision asks how many sequences and tokens there will be at a moment. If all answers take one time, those
//! who are there then are those who began in one stretch of time, and what they hold together is the difference of two
//! sums; with thousands of requests in the system, adding them up one by one would be most of a decision.
//!
//! Not here: how they are kept in order (`sorted`). Sums are of integers: no order of adding changes them.

use super::{Entry, RATE_BITS};
use crate::sorted::{self, Sorted, Sum};
use crate::units::Nanos;

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

impl Sum for Totals {
    fn and(self, other: Self) -> Self {
        Self {
            sequences: self.sequences + other.sequences,
            context: self.context + other.context,
            base: self.base + other.base,
            rate: self.rate + other.rate,
        }
    }

    fn without(self, part: Self) -> Self {
        Self {
            sequences: self.sequences - part.sequences,
            context: self.context - part.context,
            base: self.base - part.base,
            rate: self.rate - part.rate,
        }
    }
}

impl Totals {
    /// Tokens at `time`, of those who have begun by then, in 2^-RATE_BITS.
    pub(super) fn grown(&self, time: Nanos) -> i128 {
        self.base + self.rate as i128 * i128::from(time.0)
    }

    /// Tokens `after` they have begun, all at once, in 2^-RATE_BITS.
    pub(super) fn grown_for(&self, after: Nanos) -> i128 {
        (i128::from(self.context) << RATE_BITS) + self.rate as i128 * i128::from(after.0)
    }
}

/// An entry and whose it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    entry: Entry,
}

impl sorted::Entry for Place {
    type Key = (Nanos, u32);
    type Sum = Totals;

    fn key(&self) -> Self::Key {
        (self.entry.start, self.slot)
    }

    fn sum(&self) -> Totals {
        Totals {
            sequences: 1,
            context: self.entry.context.0,
            base: self.entry.base(),
            rate: u128::from(self.entry.rate),
        }
    }
}

/// Entries by when they begin, then by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Sorted<Place>);

impl Line {
    /// Puts in the entry of a slot that is not in it.
    pub(super) fn insert(&mut self, slot: usize, entry: &Entry) {
        self.0.insert(Place {
            slot: slot as u32,
            entry: *entry,
        });
    }

    /// Takes out the entry of a slot, which is in it.
    pub(super) fn remove(&mut self, slot: usize, entry: &Entry) {
        self.0.remove((entry.start, slot as u32));
    }

    /// What all hold.
    pub(super) fn all(&self) -> Totals {
        self.0.all()
    }

    /// What those hold that begin at `moment` or before.
    pub(super) fn until(&self, moment: Nanos) -> Totals {
        self.0.until((moment, u32::MAX))
    }
}
