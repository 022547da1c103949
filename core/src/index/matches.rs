//! The result of one walk: which nodes hold how many leading blocks.
//!
//! Kept so that its size follows what differs, not the number of nodes: nodes that drop out alone are listed, a
//! crowd that drops out together (all who hold just the system prompt) is one bit set with one depth.

use super::sets::{INLINE_MAX, Kind, Residents, Sets, members};
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
    /// At which depth the last chain left the front that it shared: only speed depends on it.
    pub(super) leaves: usize,
}

/// The nodes that match so far. `Wide` is in `Matches::alive`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alive {
    All,
    /// An inline set.
    Few(Residents),
    Wide,
}

impl Alive {
    pub(super) fn is_dead(self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }
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
            leaves: usize::MAX,
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

    /// Calls `see` with each node that holds at least the first block, and how many leading blocks it holds.
    pub fn each(&self, mut see: impl FnMut(NodeId, u32)) {
        for &(node, depth) in &self.few {
            see(node, depth);
        }
        for level in &self.levels {
            let words = &self.words[level.start..level.start + self.words_per_set];
            for (word, base) in words.iter().zip((0_u16..).step_by(64)) {
                // By runs: of a crowd most nodes are neighbours.
                let mut rest = *word;
                while rest != 0 {
                    let first = rest.trailing_zeros();
                    let end = first + (rest >> first).trailing_ones();
                    for bit in first as u16..end as u16 {
                        see(NodeId(base | bit), level.depth);
                    }
                    rest &= u64::MAX.checked_shl(end).unwrap_or(0);
                }
            }
        }
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

    /// Keeps those alive that are in `residents`; the others have matched `depth` blocks.
    pub(super) fn intersect(
        &mut self,
        sets: &Sets,
        alive: Alive,
        residents: Residents,
        depth: u32,
    ) -> Alive {
        match (alive, residents.kind()) {
            (Alive::All, Kind::Wide(wide)) => {
                self.alive.copy_from_slice(sets.words_of(wide));
                Alive::Wide
            }
            (Alive::All, _) => Alive::Few(residents),
            (Alive::Few(few), _) => {
                let mut left = Residents::EMPTY;
                for node in few.inline() {
                    if sets.contains(residents, NodeId(node)) {
                        left = left.and(node);
                    } else {
                        self.few.push((NodeId(node), depth));
                    }
                }
                Alive::Few(left)
            }
            (Alive::Wide, Kind::Wide(wide)) => {
                let words = sets.words_of(wide);
                let pairs = || self.alive.iter().zip(words);
                if pairs().fold(0, |gone, (alive, word)| gone | alive & !word) == 0 {
                    return Alive::Wide;
                }
                let start = self.words.len();
                self.words.extend(
                    self.alive
                        .iter()
                        .zip(words)
                        .map(|(alive, word)| alive & !word),
                );
                let mut kept = 0;
                for (alive, word) in self.alive.iter_mut().zip(words) {
                    *alive &= word;
                    kept += alive.count_ones() as usize;
                }
                self.keep_level(start, depth);
                match kept {
                    0..=INLINE_MAX => Alive::Few(Residents::of(members(&self.alive))),
                    _ => Alive::Wide,
                }
            }
            (Alive::Wide, _) => {
                let mut left = Residents::EMPTY;
                for node in residents.inline() {
                    let (word, bit) = (usize::from(node) / 64, 1_u64 << (node % 64));
                    if self.alive[word] & bit != 0 {
                        self.alive[word] &= !bit;
                        left = left.and(node);
                    }
                }
                self.drop_alive(depth);
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
                .extend(few.inline().map(|node| (NodeId(node), depth))),
            Alive::Wide => self.drop_alive(depth),
        }
    }

    /// Those still in `self.alive` have matched `depth`.
    fn drop_alive(&mut self, depth: u32) {
        let start = self.words.len();
        self.words.extend_from_slice(&self.alive);
        self.keep_level(start, depth);
    }

    /// Makes the words from `start` a level, or lists their few members.
    fn keep_level(&mut self, start: usize, depth: u32) {
        let words = &self.words[start..];
        let size: u32 = words.iter().map(|word| word.count_ones()).sum();
        // With depth 0 a node has matched nothing: it is not mentioned at all.
        if depth > 0 && size as usize > INLINE_MAX {
            self.levels.push(WideLevel { depth, start });
            return;
        }
        if depth > 0 {
            self.few
                .extend(members(words).map(|node| (NodeId(node), depth)));
        }
        self.words.truncate(start);
    }
}
