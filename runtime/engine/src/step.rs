//! What an engine is ordered to do, and what it answers.
//!
//! A step is what the node machines decide, in tokens: a prefill node's chunk (`PrefillRun::chunk_ends`) is a step of
//! one piece, a decode node's step (`DecodeRun`, one of its `steps`) has a piece of one token for each sequence of the
//! batch, and a coupled node's pass (`CoupledRun` with its `pieces`) has both. A piece of an answer is no different
//! from a piece of a prompt but for its [`Phase`], which only matters to what it is said to cost.
//!
//! A step is checked whole before an engine touches anything: an order that cannot be right is an error and changes no
//! block.

use crate::EngineError;
use crate::kv::{BlockId, KvShape};
use crate::sampling::Sampling;
use conductor_core::ids::Ticket;

/// Why the tokens of a piece are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They are of a prompt, or of an answer whose KV was lost.
    Prefill,
    /// It is the last token of an answer, and the next one is wanted.
    Decode,
}

/// Tokens of one sequence, to be computed in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Whose.
    pub ticket: Ticket,
    /// Why.
    pub phase: Phase,
    /// Position of the first token, from 0.
    pub start: u32,
    /// The tokens from there on; at least one.
    pub tokens: Vec<u32>,
    /// Positions below this have their KV in the blocks already, at least those below `start`. Tokens that are computed
    /// nevertheless, for what comes out of the last of them, are not stored again.
    pub stored: u32,
    /// The sequence's blocks, in order, as far as the last token of the piece.
    pub blocks: Vec<BlockId>,
    /// How the token after the last one is chosen; `None` within a prompt.
    pub sample: Option<Sampling>,
}

impl Piece {
    /// The position after the last token.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start as usize + self.tokens.len()
    }
}

/// A batch of pieces, of different sequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// In any order; results do not depend on it.
    pub pieces: Vec<Piece>,
}

/// What a step is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks of the region.
    pub blocks: usize,
    /// Tokens that the model knows.
    pub vocabulary: usize,
    /// Longest sequence.
    pub positions: usize,
}

impl Step {
    /// All tokens of the step.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.tokens.len()).sum()
    }

    /// Says what is wrong with the step, if anything.
    pub fn check(&self, shape: &KvShape, limits: &Limits) -> Result<(), EngineError> {
        let mut written = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let bad = |what: String| EngineError::BadStep { piece: index, what };
            let (start, end) = (piece.start as usize, piece.end());
            if piece.tokens.is_empty() {
                return Err(bad("expected at least one token".into()));
            }
            if end > limits.positions {
                let positions = limits.positions;
                return Err(bad(format!(
                    "ends at position {end}, expected at most {positions}"
                )));
            }
            let known = limits.vocabulary;
            if let Some(token) = piece.tokens.iter().find(|&&token| token as usize >= known) {
                return Err(bad(format!("token {token}, expected one below {known}")));
            }
            let stored = piece.stored as usize;
            if !(start..=end).contains(&stored) {
                return Err(bad(format!(
                    "{stored} positions stored, expected {start} to {end}"
                )));
            }
            let blocks = shape.blocks_for(end);
            if piece.blocks.len() != blocks {
                let found = piece.blocks.len();
                return Err(bad(format!("{found} blocks, expected {blocks}")));
            }
            let there = limits.blocks;
            if let Some(block) = piece.blocks.iter().find(|block| block.0 as usize >= there) {
                return Err(bad(format!(
                    "block {}, expected one below {there}",
                    block.0
                )));
            }
            if stored < end {
                let from = stored / shape.block_tokens();
                written.extend(piece.blocks[from..].iter().map(|&block| (block, index)));
            }
        }
        written.sort_unstable();
        self.check_owners(&written)
    }

    /// A block that is written to is in no other place of any table.
    fn check_owners(&self, written: &[(BlockId, usize)]) -> Result<(), EngineError> {
        let mut uses = vec![0_u32; written.len()];
        for (index, piece) in self.pieces.iter().enumerate() {
            for &block in &piece.blocks {
                let Ok(place) = written.binary_search_by_key(&block, |&(block, _)| block) else {
                    continue;
                };
                uses[place] += 1;
                if uses[place] > 1 || written[place].1 != index {
                    let what = format!(
                        "block {} is used beside where it is written, expected a private block",
                        block.0
                    );
                    return Err(EngineError::BadStep { piece: index, what });
                }
            }
        }
        Ok(())
    }
}

/// A layer of a step is computed: the KV of all its pieces in that layer is in the region, visible to whoever is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerDone {
    /// From 0.
    pub layer: usize,
}

/// A token that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Whose.
    pub ticket: Ticket,
    /// The position that it takes in its sequence.
    pub position: u32,
    /// The token.
    pub token: u32,
}

/// What a step has made: a token for each piece that asked, in the order of the pieces,
/// but for those that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepOutput {
    /// The tokens.
    pub sampled: Vec<Sampled>,
    /// Whose output is not a number: KV that it was given is damaged, or the weights are. Others are not affected.
    pub failed: Vec<Ticket>,
}
