//! The records of a tree: in one column, linked by numbers, given out again when they are given up.
//!
//! Not here: what they mean ([`super::Tree`]).

use crate::event::Tiers;
use conductor_core::ids::BlockHash;

/// No record.
pub(super) const NOBODY: u32 = u32::MAX;

/// What a record keeps of its block.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    /// Its name is enough.
    Nothing,
    /// What is hashed of it, for the own block that it is a piece of.
    Words(Box<[u32]>),
    /// The own blocks in it.
    Names(Box<[BlockHash]>),
}

/// An engine's block.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The engine's name of it.
    pub(super) hash: u64,
    /// The name of its space.
    pub(super) root: u64,
    /// The hash up to the end of the last own block that ends with it or before it; the root if there is none.
    pub(super) before: u64,
    pub(super) parent: u32,
    /// The first below it.
    pub(super) child: u32,
    /// Its neighbours below the same parent.
    pub(super) next: u32,
    previous: u32,
    /// Which piece of its own block it is.
    pub(super) piece: u32,
    pub(super) tiers: Tiers,
    /// Where its own block lies as far as up to here.
    pub(super) whole: Tiers,
    pub(super) contents: Contents,
}

impl Record {
    pub(super) const fn new(
        hash: u64,
        root: u64,
        before: u64,
        parent: u32,
        piece: u32,
        contents: Contents,
    ) -> Self {
        Self {
            hash,
            root,
            before,
            parent,
            child: NOBODY,
            next: NOBODY,
            previous: NOBODY,
            piece,
            tiers: Tiers::NONE,
            whole: Tiers::NONE,
            contents,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    free: Vec<u32>,
}

impl Records {
    pub(super) fn get(&self, record: u32) -> Option<&Record> {
        self.records.get(record as usize)
    }

    pub(super) fn at(&self, record: u32) -> &Record {
        &self.records[record as usize]
    }

    pub(super) fn at_mut(&mut self, record: u32) -> &mut Record {
        &mut self.records[record as usize]
    }

    /// Hangs a record below its parent.
    pub(super) fn add(&mut self, mut record: Record) -> u32 {
        let number = self.free.pop().unwrap_or(self.records.len() as u32);
        let parent = record.parent;
        if parent != NOBODY {
            let first = std::mem::replace(&mut self.at_mut(parent).child, number);
            record.next = first;
            if first != NOBODY {
                self.at_mut(first).previous = number;
            }
        }
        match self.records.get_mut(number as usize) {
            Some(place) => *place = record,
            None => {
                if self.records.len() == self.records.capacity() {
                    // By a quarter: at most a fifth is taken for nothing.
                    self.records.reserve_exact(self.records.len() / 4 + 64);
                }
                self.records.push(record);
            }
        }
        number
    }

    /// Takes a record that nothing hangs below out.
    pub(super) fn give_up(&mut self, number: u32) {
        let record = self.at_mut(number);
        let (parent, next, previous) = (record.parent, record.next, record.previous);
        record.contents = Contents::Nothing;
        if previous != NOBODY {
            self.at_mut(previous).next = next;
        } else if parent != NOBODY {
            self.at_mut(parent).child = next;
        }
        if next != NOBODY {
            self.at_mut(next).previous = previous;
        }
        self.free.push(number);
        if self.free.len() == self.records.len() {
            // All have gone: so does the memory.
            *self = Self::default();
        }
    }
}
