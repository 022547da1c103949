//! What a cache of finite size makes of a workload: one pool, order only, no time.
//!
//! [`study`] replays the rows through a [`Policy`] at a [`Capacity`]. Every policy touches the blocks of a prompt
//! from front to back; a hit is a leading block that was in the pool when its turn came, so what lies behind the
//! first miss counts for nothing, though it is touched. Sources: the Mooncake technical report, Table 1 (LRU,
//! LFU, LengthAware), and Belady's optimum for the ceiling.
//!
//! Not here: where in a cluster a block lies, and what a hit saves (`conductor-sim`).

mod heap;
mod pool;
mod sub_block;

pub use sub_block::SubBlock;

use crate::intern::BlockTable;
use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use pool::Pool;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Which block leaves a full pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The one that was used longest ago.
    Lru,
    /// The one that was used least often since it came in; among equals the one used longest ago.
    Lfu,
    /// As LFU, but among equals the one deepest in its prompt; then the one used longest ago. The papers name
    /// this policy without defining it; this is the reading that keeps prefixes whole.
    LengthAware,
    /// The one whose next use is farthest: optimal, and only possible with the future at hand. A block that is
    /// not worth keeping is not kept. With a capacity in tokens it is a very good guess, not the optimum.
    Belady,
}

/// What a capacity counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Blocks; a partial block counts as one.
    #[default]
    Blocks,
    /// Tokens; a partial block counts what it holds.
    Tokens,
}

/// How much a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capacity {
    /// So many units.
    Finite(u64),
    /// Everything.
    Infinite,
}

/// A capacity or a policy that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}: expected {expected}, found `{found}`")]
pub struct ParseChoiceError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

/// One result. Field names are the keys of `trace cache --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheRow {
    /// The policy.
    pub policy: Policy,
    /// The capacity, `null` in JSON for an infinite pool.
    pub capacity: Capacity,
    /// What the capacity counts.
    pub unit: Unit,
    /// Blocks hit over blocks of all prompts; 0 where there are none.
    pub hit_ratio_blocks: f64,
    /// Tokens hit over tokens of all prompts.
    pub hit_ratio_tokens: f64,
}

/// A workload, prepared once for many replays: dense block numbers, and the next use of every use.
#[derive(Debug)]
pub struct CacheStudy {
    rows: Vec<StudyRow>,
    /// Every use of a block, row after row.
    uses: Vec<u32>,
    /// For every use, the place in `uses` of the same block's next one; `NEVER` for the last.
    next_use: Vec<u32>,
    distinct: usize,
    block_tokens: Tokens,
}

#[derive(Debug)]
struct StudyRow {
    blocks: u32,
    input: Tokens,
}

const NEVER: u32 = u32::MAX;

impl CacheStudy {
    /// Prepares the rows of an iterator; memory grows with their blocks, eight bytes each.
    ///
    /// # Panics
    /// Where the rows have 2^32 blocks or more, or `block_tokens` is zero.
    #[must_use]
    pub fn new<'a>(
        rows: impl IntoIterator<Item = &'a WorkloadRequest>,
        block_tokens: Tokens,
    ) -> Self {
        assert!(!block_tokens.is_zero(), "a block holds at least one token");
        let mut table = BlockTable::default();
        let mut study = Self {
            rows: Vec::new(),
            uses: Vec::new(),
            next_use: Vec::new(),
            distinct: 0,
            block_tokens,
        };
        for row in rows {
            study.rows.push(StudyRow {
                blocks: row.blocks.len() as u32,
                input: row.input,
            });
            study
                .uses
                .extend(row.blocks.iter().map(|block| table.intern(*block)));
        }
        assert!(
            study.uses.len() < NEVER as usize,
            "a cache study takes fewer than 2^32 blocks"
        );
        study.distinct = table.len();
        let mut seen = vec![NEVER; study.distinct];
        study.next_use = vec![NEVER; study.uses.len()];
        for (place, block) in study.uses.iter().enumerate().rev() {
            study.next_use[place] = std::mem::replace(&mut seen[*block as usize], place as u32);
        }
        study
    }

    /// Replays the rows through one pool.
    #[must_use]
    pub fn run(&self, policy: Policy, capacity: Capacity, unit: Unit) -> CacheRow {
        self.run_with(policy, capacity, unit, None)
    }

    /// Replays the rows through one pool; `sub_block` adds to hits in tokens what ids do not show.
    #[must_use]
    pub fn run_with(
        &self,
        policy: Policy,
        capacity: Capacity,
        unit: Unit,
        sub_block: Option<SubBlock>,
    ) -> CacheRow {
        let system = sub_block.and_then(|_| self.commonest_first());
        let limit = match capacity {
            Capacity::Finite(limit) => limit,
            Capacity::Infinite => u64::MAX,
        };
        let mut pool = Pool::new(policy, limit, self.distinct);
        let (mut blocks_hit, mut tokens_hit, mut tokens) = (0, Tokens::ZERO, Tokens::ZERO);
        let mut place = 0;
        for row in &self.rows {
            let first = self.uses.get(place).copied();
            let mut hit = 0;
            let mut leading = true;
            for depth in 0..row.blocks {
                let weight = match unit {
                    Unit::Blocks => 1,
                    Unit::Tokens => {
                        row.input
                            .saturating_sub(self.block_tokens * u64::from(depth))
                            .min(self.block_tokens)
                            .0
                    }
                };
                let found = pool.touch(self.uses[place], depth, weight, self.next_use[place]);
                leading = leading && found;
                hit += u64::from(leading);
                place += 1;
            }
            blocks_hit += hit;
            tokens_hit += (self.block_tokens * hit).min(row.input);
            if let Some(sub_block) = sub_block {
                tokens_hit += sub_block.added(self.block_tokens, row, hit, first == system);
            }
            tokens += row.input;
        }
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        CacheRow {
            policy,
            capacity,
            unit,
            hit_ratio_blocks: share(blocks_hit, self.uses.len() as u64),
            hit_ratio_tokens: share(tokens_hit.0, tokens.0),
        }
    }
}

/// Replays the rows through every policy at every capacity, policies outermost.
#[must_use]
pub fn study(
    rows: &[WorkloadRequest],
    policies: &[Policy],
    capacities: &[Capacity],
    unit: Unit,
    block_tokens: Tokens,
) -> Vec<CacheRow> {
    let study = CacheStudy::new(rows, block_tokens);
    let run = |policy: &Policy| {
        let policy = *policy;
        capacities
            .iter()
            .map(move |capacity| (policy, *capacity))
            .collect::<Vec<_>>()
    };
    policies
        .iter()
        .flat_map(run)
        .map(|(policy, capacity)| study.run(policy, capacity, unit))
        .collect()
}

impl Policy {
    /// Every policy, in the order of their first descriptions.
    pub const ALL: [Self; 4] = [Self::Lru, Self::Lfu, Self::LengthAware, Self::Belady];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::LengthAware => "length-aware",
            Self::Belady => "belady",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| ParseChoiceError {
                what: "cache policy",
                expected: "lru, lfu, length-aware or belady",
                found: text.to_owned(),
            })
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(limit) => write!(f, "{limit}"),
            Self::Infinite => f.write_str("inf"),
        }
    }
}

impl FromStr for Capacity {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "inf" {
            return Ok(Self::Infinite);
        }
        let limit = text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten();
        match limit {
            Some(limit @ 1..) => Ok(Self::Finite(limit)),
            _ => Err(ParseChoiceError {
                what: "cache capacity",
                expected: "a whole number from 1, or inf",
                found: text.to_owned(),
            }),
        }
    }
}

impl Serialize for Capacity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(limit) => serializer.serialize_some(limit),
            Self::Infinite => serializer.serialize_none(),
        }
    }
}

impl FromStr for Unit {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "blocks" => Ok(Self::Blocks),
            "tokens" => Ok(Self::Tokens),
            _ => Err(ParseChoiceError {
                what: "capacity unit",
                expected: "blocks or tokens",
                found: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
