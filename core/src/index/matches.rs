//! The result of one walk: which nodes hold how many leading blocks.
//!
//! Kept so that its size follows what differs, not the number of nodes: nodes that drop out alone are listed, a
//! crowd that drops out together (all who hold just the system prompt) is one bit set with one depth.

use super::sets::{INLINE_MAX, Residents, Sets, members};
use crate::ids::NodeId;
use alloc::vec;
use alloc::vec::Vec;

/// A crowd of nodes with one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideLevel {
    /// How many leading blocks each of the crowd holds.
    pub depth: u32,
    /// Where its words start in the scratch space.
    start: usize,
}

/// Prefix matches of one prompt; scratch space that is used again for each.
#[derive(Clone, Debug)]
pub struct Matches {
    words_per_set: usize,
    few: Vec<(NodeId, u32)>,
    levels: Vec<WideLevel>,
    words: Vec<u64>,
    alive: Vec<u64>,
}

/// The nodes that match so far. `Wide` is in `Matches::alive`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alive {
    All,
    Few([u16; INLINE_MAX]),
    Wide,
}

impl Matches {
    /// Scratch space for a cluster of `nodes`.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let words_per_set = nodes.div_ceil(64);
        Self {
            words_per_set,
            few: Vec::with_capacity(nodes),
            levels: Vec::with_capacity(16),
            words: Vec::with_capacity(16 * words_per_set),
            alive: vec![0; words_per_set],
        }
    }

    /// Nodes with a depth of their own, in the order in which they dropped out (so depths ascend).
    #[must_use]
    pub fn few(&self) -> &[(NodeId, u32)] {
        &self.few
    }

    /// Crowds, depths ascending. No node is in two of them, nor in [`Self::few`].
    #[must_use]
    pub fn levels(&self) -> &[WideLevel] {
        &self.levels
    }

    /// True if `node` is in the crowd.
    #[must_use]
    pub fn in_level(&self, level: &WideLevel, node: NodeId) -> bool {
        self.words[level.start + node.index() / 64] >> (node.index() % 64) & 1 == 1
    }

    /// The nodes of a crowd, ascending.
    pub fn members(&self, level: &WideLevel) -> impl Iterator<Item = NodeId> + '_ {
        members(&self.words[level.start..level.start + self.words_per_set]).map(NodeId)
    }

    /// How many leading blocks `node` holds.
    #[must_use]
    pub fn depth_of(&self, node: NodeId) -> u32 {
        if let Some(&(_, depth)) = self.few.iter().find(|(member, _)| *member == node) {
            return depth;
        }
        self.levels
            .iter()
            .find(|level| self.in_level(level, node))
            .map_or(0, |level| level.depth)
    }

    pub(super) fn clear(&mut self) {
        self.few.clear();
        self.levels.clear();
        self.words.clear();
    }

    pub(super) fn is_dead(&self, alive: Alive) -> bool {
        matches!(alive, Alive::Few(few) if Residents::Few(few).is_empty())
    }

    /// Keeps those alive that are in `residents`; the others have matched `depth` blocks.
    pub(super) fn intersect(
        &mut self,
        sets: &Sets,
        alive: Alive,
        residents: Residents,
        depth: u32,
    ) -> Alive {
        match (alive, residents) {
            (Alive::All, Residents::Few(few)) => Alive::Few(few),
            (Alive::All, Residents::Wide(wide)) => {
                self.alive.copy_from_slice(sets.words_of(wide));
                Alive::Wide
            }
            (Alive::Few(few), _) => {
                let mut left = Residents::EMPTY_PLACES;
                let mut kept = 0;
                for node in Residents::inline(&few) {
                    if sets.contains(residents, NodeId(node)) {
                        left[kept] = node;
                        kept += 1;
                    } else {
                        self.few.push((NodeId(node), depth));
                    }
                }
                Alive::Few(left)
            }
            (Alive::Wide, Residents::Few(few)) => {
                let mut left = Residents::EMPTY_PLACES;
                let mut kept = 0;
                for node in Residents::inline(&few) {
                    let (word, bit) = (usize::from(node) / 64, 1_u64 << (node % 64));
                    if self.alive[word] & bit != 0 {
                        self.alive[word] &= !bit;
                        left[kept] = node;
                        kept += 1;
                    }
                }
                self.drop_alive(depth);
                Alive::Few(left)
            }
            (Alive::Wide, Residents::Wide(wide)) => {
                let start = self.words.len();
                let (mut dropped, mut kept) = (0, 0);
                for (alive, &word) in self.alive.iter_mut().zip(sets.words_of(wide)) {
                    let gone = *alive & !word;
                    *alive &= word;
                    dropped += gone.count_ones() as usize;
                    kept += alive.count_ones() as usize;
                    self.words.push(gone);
                }
                self.keep_level(start, dropped, depth);
                if kept > INLINE_MAX {
                    return Alive::Wide;
                }
                let mut left = Residents::EMPTY_PLACES;
                for (place, node) in left.iter_mut().zip(members(&self.alive)) {
                    *place = node;
                }
                Alive::Few(left)
            }
        }
    }

    /// All blocks of the chain were walked: who is alive has matched `depth`.
    pub(super) fn finish(&mut self, alive: Alive, depth: u32) {
        match alive {
            // Nobody was ever asked: the chain is empty or its first block unknown.
            Alive::All => {}
            Alive::Few(few) => self
                .few
                .extend(Residents::inline(&few).map(|node| (NodeId(node), depth))),
            Alive::Wide => self.drop_alive(depth),
        }
    }

    /// Those still in `self.alive` have matched `depth`.
    fn drop_alive(&mut self, depth: u32) {
        let start = self.words.len();
        self.words.extend_from_slice(&self.alive);
        let dropped = self
            .alive
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum();
        self.keep_level(start, dropped, depth);
    }

    /// Makes the words from `start` a level, or lists their few members.
    fn keep_level(&mut self, start: usize, size: usize, depth: u32) {
        // With depth 0 a node has matched nothing: it is not mentioned at all.
        if depth > 0 && size > INLINE_MAX {
            self.levels.push(WideLevel { depth, start });
            return;
        }
        if depth > 0 {
            self.few
                .extend(members(&self.words[start..]).map(|node| (NodeId(node), depth)));
        }
        self.words.truncate(start);
    }
}
