//! Sharing below a block: what a cache of finer blocks would hit that the trace's ids cannot show.
//!
//! Ids stand for whole blocks of 512 tokens, so a prefix that two prompts share seems to end at a block's border. The
//! store of FAST'25 has blocks of 256 tokens and less. This is an assumption with a derivation, not a measurement:
//!
//! * Where a prefix breaks, the shared part ends somewhere in the first block that differs: on average in its middle.
//! * On the conversation trace a prefix that breaks behind block 0 has shared the chat's system prompt, which is known
//!   to be longer than one block: the plateau of FAST'25 Fig 9 between 1e5 and 1e6 tokens is 0.0731 of 12,035 tokens,
//!   880, while the shortest prompt has 891.
//!
//! Capacity is not charged for what this adds. Not here: which blocks are hit (the pool's business).

use super::{CacheStudy, StudyRow};
use conductor_core::units::Tokens;

/// What is added to hits at broken prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubBlock {
    /// Length of the system prompt that prompts share if they begin with the block that most prompts begin with.
    pub system_prompt: Tokens,
    /// What any other broken prefix shares behind its last whole block, if it has one.
    pub broken: Tokens,
}

impl SubBlock {
    /// FAST'25 Fig 9: a system prompt of 880 tokens, and half a block of 512.
    pub const FAST25: Self = Self {
        system_prompt: Tokens(880),
        broken: Tokens(256),
    };

    /// Tokens that a prompt whose `hit` leading blocks are found shares behind them.
    pub(super) fn added(self, block: Tokens, row: &StudyRow, hit: u64, is_system: bool) -> Tokens {
        let whole = block * hit;
        if hit == 0 || hit == u64::from(row.blocks) {
            return Tokens::ZERO;
        }
        let ends_in_this = whole <= self.system_prompt && self.system_prompt < whole + block;
        let added = match is_system && ends_in_this {
            true => self.system_prompt - whole,
            false => self.broken,
        };
        added.min(row.input.saturating_sub(whole))
    }
}

impl CacheStudy {
    /// The block that most prompts begin with, of equals the one that came first.
    pub(super) fn commonest_first(&self) -> Option<u32> {
        let mut counts = vec![0_u32; self.distinct];
        let mut place = 0;
        for row in &self.rows {
            if row.blocks > 0 {
                counts[self.uses[place] as usize] += 1;
            }
            place += row.blocks as usize;
        }
        // Blocks are numbered by first appearance; `max_by_key` would take the last of equals.
        let blocks = (0..self.distinct as u32).rev();
        blocks.max_by_key(|&block| counts[block as usize])
    }
}
