//! An engine's blocks under its own hashes, and which of the Conductor's blocks they make up.
//!
//! An engine's hash says nothing to anybody else, but the event that stores a block has its tokens and names the block
//! before it. So each block that is heard of gets a record, which hangs below the record of the block before it and
//! knows the own name ([`crate::names`]) of all that is up to there. From then on the engine's hash is enough to say
//! which own block has gone.
//!
//! The engine's blocks and the Conductor's need not be of one size; one must be a multiple of the other. An own block
//! of several engine blocks is there when the last of them is, and none is missing between; then records keep their
//! tokens until they go, for what may still branch off. Of an engine block of several own blocks the record keeps the
//! names.
//!
//! A block that has gone while others hang below it is kept as a joint until they have gone, too: its hash may be named
//! as somebody's parent, and it may come again. Joints without anything below go at once, so records are given out
//! again as blocks go, and the tree does not only grow. It has [`TreeConfig::blocks_max`] records at most, joints among
//! them; what does not fit is counted, not kept, and is then merely not known to be cached.
//!
//! Measured (`tests/memory.rs`, 300,000 blocks): 102 bytes an engine block where it is as large as an own one or
//! larger, its record and its place in the table; 253 with the tokens of 16, where an own block takes 16 of them.
//!
//! An engine may hold two copies of one block, and says twice that it has come and twice that it has gone. Here it has
//! gone with the first: engines that are asked to (vLLM's `kv_cache_report_mode`) announce blocks again that they have
//! announced before, so counting would make blocks that never go.
//!
//! Not here: events' order ([`crate::follower`]), the index over all engines (the core's).

mod record;

use crate::event::{Attention, EngineHash, Place, Removed, Stored, Tiers};
use crate::names::{CacheSpace, Naming};
use conductor_core::ids::BlockHash;
use conductor_core::units::Tokens;
use record::{Contents, NOBODY, Record, Records};
use std::collections::HashMap;

/// What a tree is told of its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeConfig {
    /// The model, as the gateway names it.
    pub model: String,
    /// The adapter of what the engine stores without naming one.
    pub adapter: Option<String>,
    /// Set apart from others by this, besides what requests say.
    pub salt: Option<String>,
    /// Tokens in a block of the Conductor's.
    pub own: Tokens,
    /// Tokens in a block of the engine's; without it, those of the first block that it stores.
    pub engine: Option<u32>,
    /// How own blocks are named.
    pub naming: Naming,
    /// Records at most.
    pub blocks_max: u32,
}

impl TreeConfig {
    /// A model's, with room for four million blocks.
    #[must_use]
    pub fn new(model: &str, own: Tokens) -> Self {
        Self {
            model: model.into(),
            adapter: None,
            salt: None,
            own,
            engine: None,
            naming: Naming::Chained,
            blocks_max: 1 << 22,
        }
    }
}

/// One of the Conductor's blocks lies elsewhere than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which.
    pub block: BlockHash,
    /// Where it lay.
    pub was: Tiers,
    /// Where it lies.
    pub now: Tiers,
}

/// Engine blocks that events spoke of and that were not noted, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeCounts {
    /// They lie with somebody else, or nobody knows where.
    pub elsewhere: u64,
    /// Of another group of layers than the one that is followed.
    pub other_groups: u64,
    /// Of another size than the engine's blocks have, or than can be (see the module).
    pub odd: u64,
    /// Their parent is not known: it came before there was anybody to hear of it.
    pub orphans: u64,
    /// Without tokens, or with fewer or more than they need.
    pub without_tokens: u64,
    /// Known under the same hash as something else.
    pub conflicts: u64,
    /// There was no room.
    pub refused: u64,
    /// They have gone and were not known to be there.
    pub unknown_removed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Tree {
    config: TreeConfig,
    /// Tokens in an engine's block, once it is known and fits.
    engine: Option<u32>,
    group: Option<u32>,
    table: HashMap<u64, u32>,
    records: Records,
    counts: TreeCounts,
    bytes: Vec<u8>,
    /// Records whose tiers depend on their parent's, which have changed.
    below: Vec<u32>,
}

impl Tree {
    /// An empty one.
    #[must_use]
    pub fn new(config: TreeConfig) -> Self {
        let engine = config.engine.filter(|&engine| fits(engine, config.own));
        Self {
            config,
            engine,
            group: None,
            table: HashMap::new(),
            records: Records::default(),
            counts: TreeCounts::default(),
            bytes: Vec::new(),
            below: Vec::new(),
        }
    }

    /// What was not noted.
    #[must_use]
    pub const fn counts(&self) -> &TreeCounts {
        &self.counts
    }

    /// Records there are, joints among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Where a block lies, by its engine's hash.
    #[must_use]
    pub fn tiers(&self, hash: EngineHash) -> Tiers {
        let record = self.table.get(&hash.0);
        record.map_or(Tiers::NONE, |&record| self.records.at(record).tiers)
    }

    /// Forgets all. Counts stay.
    pub fn clear(&mut self) {
        self.table = HashMap::new();
        self.records = Records::default();
        self.group = None;
    }

    /// Blocks have come.
    pub fn store(&mut self, stored: &Stored, changes: &mut Vec<Change>) {
        let count = stored.blocks.len() as u64;
        let tier = stored.place.medium.tier();
        if tier.is_empty() {
            self.counts.elsewhere += count;
            return;
        }
        if !self.follows(stored.place, Some(stored.attention)) {
            self.counts.other_groups += count;
            return;
        }
        let Some(size) = self.size(stored.block_tokens) else {
            self.counts.odd += count;
            return;
        };
        if stored.tokens.len() as u64 != count * u64::from(size) || count == 0 {
            self.counts.without_tokens += count;
            return;
        }
        let mut parent = match stored.parent {
            None => NOBODY,
            Some(hash) => match self.table.get(&hash.0) {
                Some(&record) => record,
                None => {
                    self.counts.orphans += count;
                    return;
                }
            },
        };
        let root = match self.records.get(parent) {
            // What a prompt's first block says holds for those behind it.
            Some(parent) => parent.root,
            None => self.space(stored).root(),
        };
        let blocks = stored
            .blocks
            .iter()
            .zip(stored.tokens.chunks_exact(size as usize));
        for (position, (&hash, tokens)) in blocks.enumerate() {
            let other = stored.others.get(position).copied().unwrap_or(0);
            let left = count - position as u64;
            let record = match self.table.get(&hash.0).copied() {
                Some(known) if self.is_same(known, parent, root, tokens, other) => known,
                Some(_) => {
                    self.counts.conflicts += left;
                    return;
                }
                None if self.table.len() >= self.config.blocks_max as usize => {
                    self.counts.refused += left;
                    return;
                }
                None => {
                    let record = self.record(hash, parent, root, tokens, other);
                    let record = self.records.add(record);
                    self.table.insert(hash.0, record);
                    record
                }
            };
            let tiers = self.records.at(record).tiers | tier;
            self.set(record, tiers, changes);
            parent = record;
        }
    }

    /// Blocks have gone.
    pub fn remove(&mut self, removed: &Removed, changes: &mut Vec<Change>) {
        let count = removed.blocks.len() as u64;
        let tier = removed.place.medium.tier();
        if tier.is_empty() {
            self.counts.elsewhere += count;
            return;
        }
        if !self.follows(removed.place, None) {
            self.counts.other_groups += count;
            return;
        }
        for hash in &removed.blocks {
            let record = self.table.get(&hash.0).copied();
            let known = record.filter(|&record| self.records.at(record).tiers.has(tier));
            let Some(record) = known else {
                self.counts.unknown_removed += 1;
                continue;
            };
            let tiers = self.records.at(record).tiers & !tier;
            self.set(record, tiers, changes);
            self.prune(record);
        }
    }

    fn space<'a>(&'a self, stored: &'a Stored) -> CacheSpace<'a> {
        CacheSpace {
            model: &self.config.model,
            adapter: stored.adapter.as_deref().or(self.config.adapter.as_deref()),
            salt: stored.salt.as_deref().or(self.config.salt.as_deref()),
        }
    }

    /// One group is followed: the first that attends to everything. Blocks of others have the same hashes and are not
    /// the same blocks; taken together they would make prefixes that nobody has.
    fn follows(&mut self, place: Place, attention: Option<Attention>) -> bool {
        match self.group {
            Some(group) => group == place.group,
            None if attention == Some(Attention::Full) => {
                self.group = Some(place.group);
                true
            }
            None => false,
        }
    }

    /// The size of the engine's blocks, if it is this one.
    fn size(&mut self, said: u32) -> Option<u32> {
        if self.engine.is_none() && self.config.engine.is_none() && fits(said, self.config.own) {
            self.engine = Some(said);
        }
        self.engine.filter(|&engine| engine == said)
    }

    /// How many engine blocks an own one takes, if more than one.
    fn pieces(&self) -> u32 {
        let engine = u64::from(self.engine.unwrap_or(1).max(1));
        (self.config.own.0 / engine).max(1) as u32
    }

    /// A new block's record, without tiers.
    fn record(
        &mut self,
        hash: EngineHash,
        parent: u32,
        root: u64,
        tokens: &[u32],
        other: u64,
    ) -> Record {
        let pieces = self.pieces();
        let (mut before, mut piece) = (root, 0);
        if parent != NOBODY {
            let parent = self.records.at(parent);
            before = parent.before;
            piece = (parent.piece + 1) % pieces;
        }
        let mut contents = Contents::Nothing;
        if pieces == 1 {
            (before, contents) = self.names_of(root, before, tokens, other);
        } else if piece + 1 == pieces {
            before = self.name_of_pieces(root, before, parent, tokens, other);
            // Nobody needs them again: who comes below begins a new own block.
        } else {
            contents = Contents::Words(words(tokens, other).collect());
        }
        Record::new(hash.0, root, before, parent, piece, contents)
    }

    /// The name up to the end of an engine block that is as large as an own one, or some of them.
    fn names_of(&mut self, root: u64, before: u64, tokens: &[u32], other: u64) -> (u64, Contents) {
        let own = self.config.own.0.max(1) as usize;
        let naming = self.config.naming;
        if tokens.len() <= own {
            let last = naming.next(root, before, words(tokens, other), &mut self.bytes);
            return (last, Contents::Nothing);
        }
        let mut last = before;
        let names = tokens.chunks_exact(own).map(|tokens| {
            last = naming.next(root, last, words(tokens, other), &mut self.bytes);
            naming.block(root, last)
        });
        let names: Box<[BlockHash]> = names.collect();
        (last, Contents::Names(names))
    }

    /// The name of an own block whose last piece this is.
    fn name_of_pieces(
        &mut self,
        root: u64,
        before: u64,
        parent: u32,
        tokens: &[u32],
        other: u64,
    ) -> u64 {
        let mut pieces = Vec::with_capacity(self.pieces() as usize);
        let mut record = parent;
        while let Some(Record {
            contents: Contents::Words(words),
            piece,
            parent,
            ..
        }) = self.records.get(record)
        {
            pieces.push(words);
            record = *parent;
            if *piece == 0 {
                break;
            }
        }
        let front = pieces.iter().rev().flat_map(|words| words.iter().copied());
        let all = front.chain(words(tokens, other));
        let naming = self.config.naming;
        naming.next(root, before, all, &mut self.bytes)
    }

    /// True if what is known under a block's hash is that block. Its tokens are compared where it is a prompt's first:
    /// some engines' hashes are the same whatever keeps clients apart.
    fn is_same(&mut self, known: u32, parent: u32, root: u64, tokens: &[u32], other: u64) -> bool {
        if self.records.at(known).parent != parent {
            return false;
        }
        if parent != NOBODY {
            return true;
        }
        let pieces = self.pieces();
        let before = match pieces {
            1 => self.names_of(root, root, tokens, other).0,
            _ => root,
        };
        let known = self.records.at(known);
        (known.root, known.before) == (root, before)
    }

    /// A block lies elsewhere than before, and so may the own blocks that it is part of.
    fn set(&mut self, record: u32, tiers: Tiers, changes: &mut Vec<Change>) {
        let pieces = self.pieces();
        self.records.at_mut(record).tiers = tiers;
        let mut below = std::mem::take(&mut self.below);
        below.push(record);
        while let Some(record) = below.pop() {
            let &Record {
                tiers,
                whole: was,
                piece,
                parent,
                root,
                before,
                child,
                ..
            } = self.records.at(record);
            let now = match piece {
                0 => tiers,
                _ => self.records.at(parent).whole.of_both(tiers),
            };
            if now == was {
                continue;
            }
            self.records.at_mut(record).whole = now;
            if piece + 1 < pieces {
                let mut next = child;
                while next != NOBODY {
                    below.push(next);
                    next = self.records.at(next).next;
                }
                continue;
            }
            match &self.records.at(record).contents {
                Contents::Names(names) => {
                    let change = |&block| Change { block, was, now };
                    changes.extend(names.iter().map(change));
                }
                _ => changes.push(Change {
                    block: self.config.naming.block(root, before),
                    was,
                    now,
                }),
            }
        }
        self.below = below;
    }

    /// Gives up joints that join nothing.
    fn prune(&mut self, mut record: u32) {
        while record != NOBODY {
            let &Record {
                tiers,
                child,
                parent,
                hash,
                ..
            } = self.records.at(record);
            if !tiers.is_empty() || child != NOBODY {
                return;
            }
            self.records.give_up(record);
            self.table.remove(&hash);
            record = parent;
        }
    }
}

/// True if blocks of these sizes fit into each other.
fn fits(engine: u32, own: Tokens) -> bool {
    let engine = u64::from(engine);
    engine > 0 && own.0 > 0 && (engine.is_multiple_of(own.0) || own.0.is_multiple_of(engine))
}

/// What is hashed of a block: its tokens and, where it depends on something else, that.
fn words(tokens: &[u32], other: u64) -> impl Iterator<Item = u32> + '_ {
    let other = [other as u32, (other >> 32) as u32]
        .into_iter()
        .filter(move |_| other != 0);
    tokens.iter().copied().chain(other)
}
