//! Small sets of nodes: up to three inline in eight bytes, more as a bit set in a slab.

use crate::ids::NodeId;
use alloc::vec::Vec;

/// Marks an unused inline place. A cluster has fewer nodes than this.
const NONE: u16 = u16::MAX;
/// A set of this many nodes or fewer is inline.
pub(super) const INLINE_MAX: usize = 3;

/// The nodes that hold one block: inline, or a place in [`Sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residents {
    /// Up to three nodes, unused places are [`NONE`] and come last.
    Few([u16; INLINE_MAX]),
    /// Number of a bit set.
    Wide(u32),
}

impl Residents {
    pub(super) const EMPTY_PLACES: [u16; INLINE_MAX] = [NONE; INLINE_MAX];
    pub(super) const EMPTY: Self = Self::Few(Self::EMPTY_PLACES);

    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// The nodes of an inline set.
    pub(super) fn inline(few: &[u16; INLINE_MAX]) -> impl Iterator<Item = u16> + '_ {
        few.iter().copied().take_while(|&node| node != NONE)
    }
}

/// The slab of bit sets.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// 64-bit words in a set.
    words: usize,
    bits: Vec<u64>,
    sizes: Vec<u32>,
    free: Vec<u32>,
}

impl Sets {
    pub(super) fn new(nodes: usize) -> Self {
        assert!(
            nodes < usize::from(NONE),
            "node numbers fit in 16 bits, one value is kept"
        );
        let words = nodes.div_ceil(64);
        // Half a megabyte of sets: how many blocks are popular at a time goes up and down.
        let reserved = (1 << 16) / words.max(1);
        Self {
            words,
            bits: Vec::with_capacity(reserved * words),
            sizes: Vec::with_capacity(reserved),
            free: Vec::with_capacity(reserved),
        }
    }

    /// The words of bit set `wide`.
    pub(super) fn words_of(&self, wide: u32) -> &[u64] {
        &self.bits[wide as usize * self.words..][..self.words]
    }

    pub(super) fn contains(&self, residents: Residents, node: NodeId) -> bool {
        match residents {
            Residents::Few(few) => few.contains(&node.0),
            Residents::Wide(wide) => {
                self.words_of(wide)[node.index() / 64] >> (node.index() % 64) & 1 == 1
            }
        }
    }

    /// Every node's number is below this.
    pub(super) fn nodes(&self) -> usize {
        self.words * 64
    }

    /// Calls `see` for each node of a set.
    pub(super) fn each(&self, residents: Residents, see: impl FnMut(u16)) {
        match residents {
            Residents::Few(few) => Residents::inline(&few).for_each(see),
            Residents::Wide(wide) => members(self.words_of(wide)).for_each(see),
        }
    }

    pub(super) fn insert(&mut self, residents: Residents, node: NodeId) -> Residents {
        if self.contains(residents, node) {
            return residents;
        }
        match residents {
            Residents::Few(mut few) => {
                if let Some(place) = few.iter_mut().find(|place| **place == NONE) {
                    *place = node.0;
                    return Residents::Few(few);
                }
                let wide = self.new_set();
                for member in few {
                    self.set(wide, member);
                }
                self.set(wide, node.0);
                Residents::Wide(wide)
            }
            Residents::Wide(wide) => {
                self.set(wide, node.0);
                residents
            }
        }
    }

    pub(super) fn remove(&mut self, residents: Residents, node: NodeId) -> Residents {
        if !self.contains(residents, node) {
            return residents;
        }
        match residents {
            Residents::Few(few) => {
                let mut left = [NONE; INLINE_MAX];
                let others = Residents::inline(&few).filter(|&member| member != node.0);
                for (place, member) in left.iter_mut().zip(others) {
                    *place = member;
                }
                Residents::Few(left)
            }
            Residents::Wide(wide) => {
                let start = wide as usize * self.words;
                self.bits[start + node.index() / 64] &= !(1 << (node.index() % 64));
                self.sizes[wide as usize] -= 1;
                // One below the inline limit, so that a set at the limit does not flip with every event.
                if self.sizes[wide as usize] as usize >= INLINE_MAX {
                    return residents;
                }
                let mut few = [NONE; INLINE_MAX];
                for (place, member) in few.iter_mut().zip(members(self.words_of(wide))) {
                    *place = member;
                }
                self.bits[start..start + self.words].fill(0);
                self.sizes[wide as usize] = 0;
                self.free.push(wide);
                Residents::Few(few)
            }
        }
    }

    fn new_set(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.bits.resize(self.bits.len() + self.words, 0);
            self.sizes.push(0);
            // As many places as there are sets, so that freeing never allocates.
            self.free.reserve(self.sizes.len());
            self.sizes.len() as u32 - 1
        })
    }

    fn set(&mut self, wide: u32, node: u16) {
        self.bits[wide as usize * self.words + usize::from(node) / 64] |= 1 << (node % 64);
        self.sizes[wide as usize] += 1;
    }
}

/// The nodes of a bit set, ascending.
pub(super) fn members(words: &[u64]) -> impl Iterator<Item = u16> + '_ {
    words.iter().enumerate().flat_map(|(i, &word)| {
        let mut rest = word;
        core::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            Some((i * 64) as u16 + bit as u16)
        })
    })
}
