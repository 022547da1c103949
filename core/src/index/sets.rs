//! Small sets of nodes: up to four inline in eight bytes, more as a bit set in a slab.

use crate::ids::NodeId;
use alloc::vec::Vec;

/// A set of this many nodes or fewer is inline.
pub(super) const INLINE_MAX: usize = 4;

/// The nodes that hold one block, in four lanes of 16 bits: up to four nodes, then unused lanes; or, as the highest
/// lane says, the number of a bit set in [`Sets`], or of the next free record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Residents(u64);

const LANE: u32 = 16;
/// The same bit of each lane.
const ONES: u64 = 0x0001_0001_0001_0001;
/// An unused lane. Values of a lane from `FREE` on are no nodes.
const NONE: u64 = 0xFFFF;
const WIDE: u64 = 0xFFFE;
const FREE: u64 = 0xFFFD;

/// What [`Residents`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Inline nodes.
    Few,
    /// Number of a bit set.
    Wide(u32),
    /// Not a set: the record is free, and this is the next free one.
    Free(u32),
}

impl Residents {
    pub(super) const EMPTY: Self = Self(u64::MAX);

    pub(super) fn one(node: NodeId) -> Self {
        Self(u64::MAX << LANE | u64::from(node.0))
    }

    const fn wide(set: u32) -> Self {
        Self(WIDE << (3 * LANE) | set as u64)
    }

    pub(super) const fn free(next: u32) -> Self {
        Self(FREE << (3 * LANE) | next as u64)
    }

    pub(super) const fn kind(self) -> Kind {
        match self.0 >> (3 * LANE) {
            WIDE => Kind::Wide(self.0 as u32),
            FREE => Kind::Free(self.0 as u32),
            _ => Kind::Few,
        }
    }

    pub(super) const fn is_free(self) -> bool {
        self.0 >> (3 * LANE) == FREE
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// How many nodes an inline set has.
    const fn len(self) -> u32 {
        4 - self.0.leading_ones() / LANE
    }

    /// True if an inline set has the node.
    pub(super) const fn has(self, node: u16) -> bool {
        // A lane is zero in `differs` if it is the node; and a lane that is zero borrows from its highest bit.
        let differs = self.0 ^ (ONES * node as u64);
        differs.wrapping_sub(ONES) & !differs & ONES << (LANE - 1) != 0
    }

    /// An inline set with one node more, which it has not; `None` if there is no room for it.
    pub(super) fn with(self, node: u16) -> Option<Self> {
        let lane = self.len() * LANE;
        (lane < 64).then(|| Self(self.0 & !(NONE << lane) | u64::from(node) << lane))
    }

    /// The nodes of an inline set.
    pub(super) fn inline(self) -> impl Iterator<Item = u16> {
        (0..self.len()).map(move |lane| (self.0 >> (lane * LANE)) as u16)
    }

    /// An inline set with one node more, which it has not and for which there is room.
    pub(super) fn and(self, node: u16) -> Self {
        self.with(node)
            .expect("a set is inline only if it is small")
    }

    /// An inline set of nodes, which are at most [`INLINE_MAX`].
    pub(super) fn of(nodes: impl Iterator<Item = u16>) -> Self {
        nodes.fold(Self::EMPTY, Self::and)
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
            nodes < FREE as usize,
            "node numbers fit in 16 bits, three values are kept"
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
        match residents.kind() {
            Kind::Few => residents.has(node.0),
            Kind::Wide(wide) => {
                self.words_of(wide)[node.index() / 64] >> (node.index() % 64) & 1 == 1
            }
            Kind::Free(_) => false,
        }
    }

    /// Every node's number is below this.
    pub(super) fn nodes(&self) -> usize {
        self.words * 64
    }

    /// Calls `see` for each node of a set.
    pub(super) fn each(&self, residents: Residents, see: impl FnMut(u16)) {
        match residents.kind() {
            Kind::Few => residents.inline().for_each(see),
            Kind::Wide(wide) => members(self.words_of(wide)).for_each(see),
            Kind::Free(_) => {}
        }
    }

    pub(super) fn insert(&mut self, residents: Residents, node: NodeId) -> Residents {
        if self.contains(residents, node) {
            return residents;
        }
        if let Kind::Wide(wide) = residents.kind() {
            self.set(wide, node.0);
            return residents;
        }
        residents.with(node.0).unwrap_or_else(|| {
            let wide = self.new_set();
            for member in residents.inline() {
                self.set(wide, member);
            }
            self.set(wide, node.0);
            Residents::wide(wide)
        })
    }

    pub(super) fn remove(&mut self, residents: Residents, node: NodeId) -> Residents {
        if !self.contains(residents, node) {
            return residents;
        }
        let Kind::Wide(wide) = residents.kind() else {
            return Residents::of(residents.inline().filter(|&member| member != node.0));
        };
        let start = wide as usize * self.words;
        self.bits[start + node.index() / 64] &= !(1 << (node.index() % 64));
        self.sizes[wide as usize] -= 1;
        // One below the inline limit, so that a set at the limit does not flip with every event.
        if self.sizes[wide as usize] as usize >= INLINE_MAX {
            return residents;
        }
        let few = Residents::of(members(self.words_of(wide)));
        self.bits[start..start + self.words].fill(0);
        self.sizes[wide as usize] = 0;
        self.free.push(wide);
        few
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        /// Few nodes, the largest among them, so that sets go inline and wide and back.
        #[test]
        fn it_is_a_set(ops in proptest::collection::vec((0_usize..8, any::<bool>()), 0..120)) {
            let nodes = [0, 1, 63, 64, 0x7FFF, 0x8000, 0xFFFA, 0xFFFB].map(NodeId);
            let mut sets = Sets::new(0xFFFC);
            let (mut set, mut slow) = (Residents::EMPTY, BTreeSet::new());
            for (node, insert) in ops {
                let node = nodes[node];
                if insert {
                    set = sets.insert(set, node);
                    slow.insert(node);
                } else {
                    set = sets.remove(set, node);
                    slow.remove(&node);
                }
                prop_assert!(nodes.iter().all(|node| sets.contains(set, *node) == slow.contains(node)));
                let mut seen = BTreeSet::new();
                sets.each(set, |node| { seen.insert(NodeId(node)); });
                prop_assert_eq!(&seen, &slow);
                prop_assert_eq!(set.is_empty(), slow.is_empty());
            }
        }
    }
}
