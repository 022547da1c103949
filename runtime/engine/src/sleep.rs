//! An engine that takes a profile's time and computes nothing.
//!
//! For measuring what is around an engine: queues, transfers, gateways. Steps take the time that the core's cost model
//! says, and each token is a function of all tokens before it, like a real one. That function goes through the KV
//! region: a token leaves a word in every layer, made of the word before it, so a block that was lost, mixed up or
//! read too early changes the answer and is noticed.
//!
//! The words are all of a block that is written; its other bytes stay as they were, and move all the same.

use crate::engine::{Engine, EngineError};
use crate::kv::{KvRegion, KvShape};
use crate::step::{LayerDone, Limits, Phase, Piece, Sampled, Step, StepOutput};
use conductor_core::cost::{self, CostModel};
use conductor_core::ids::Ticket;
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use std::sync::Arc;
use std::time::Duration;

/// Tokens are letters and spaces, so that a person sees words.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz     ";

/// Sleeps through steps.
pub struct SleepEngine {
    shape: KvShape,
    limits: Limits,
    region: Arc<dyn KvRegion>,
    cost: Box<dyn CostModel>,
    sleep: Box<dyn FnMut(Duration) + Send>,
    /// The pieces of prompts of a step, as the cost model has them; used again.
    prompts: Vec<cost::Piece>,
    whole: Option<Begun>,
}

/// The prompt whose pieces come one after the other.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    ticket: Option<Ticket>,
    /// Tokens that were cached.
    cached: Tokens,
}

impl SleepEngine {
    /// An engine over `region`; `positions` is the longest sequence, `sleep` lets time pass
    /// ([`std::thread::sleep`] in production).
    pub fn new(
        shape: KvShape,
        positions: usize,
        region: Arc<dyn KvRegion>,
        cost: Box<dyn CostModel>,
        sleep: Box<dyn FnMut(Duration) + Send>,
    ) -> Result<Self, EngineError> {
        let blocks = super::engine::blocks(&shape, &*region)?;
        Ok(Self {
            shape,
            limits: Limits {
                blocks,
                vocabulary: 256,
                positions,
            },
            region,
            cost,
            sleep,
            prompts: Vec::new(),
            whole: None,
        })
    }

    /// The engine of a prefill node: a prompt's pieces take together what the whole prompt takes, and what is cached of
    /// it is loaded. Otherwise each piece is a pass of its own over KV that is where it computes, as on a coupled node.
    #[must_use]
    pub fn with_whole_prompts(mut self) -> Self {
        self.whole = Some(Begun::default());
        self
    }

    /// How long a step takes.
    fn time(&mut self, step: &Step) -> Nanos {
        self.prompts.clear();
        let mut prompts = Nanos::ZERO;
        let (mut batch, mut context) = (0, Tokens::ZERO);
        for piece in &step.pieces {
            let start = Tokens(u64::from(piece.start));
            match piece.phase {
                Phase::Decode => {
                    batch += 1;
                    context += start;
                }
                Phase::Prefill => {
                    let end = Tokens(piece.end() as u64);
                    match &mut self.whole {
                        None => self.prompts.push(cost::Piece { start, end }),
                        Some(begun) => {
                            prompts += begun.piece(&*self.cost, piece.ticket, start, end)
                        }
                    }
                }
            }
        }
        prompts + cost::mixed(&*self.cost, &self.prompts, batch, context)
    }

    /// Leaves the words of a piece in one layer; returns the last one.
    fn walk(&self, piece: &Piece, layer: usize) -> u64 {
        let place = |position: usize| {
            let block = piece.blocks[position / self.shape.block_tokens()];
            self.shape
                .keys(block, layer, position % self.shape.block_tokens())
        };
        let mut bytes = [0; 8];
        let mut word = layer as u64;
        if let Some(before) = (piece.start as usize).checked_sub(1) {
            self.region.read(place(before), &mut bytes);
            word = u64::from_le_bytes(bytes);
        }
        for (position, &token) in (piece.start as usize..).zip(&piece.tokens) {
            word = Stream::new(word, "").draw(u64::from(token));
            if position >= piece.stored as usize {
                self.region.write(place(position), &word.to_le_bytes());
            }
        }
        word
    }
}

impl Begun {
    /// What a piece adds to what the pieces before it took.
    fn piece(&mut self, cost: &dyn CostModel, ticket: Ticket, start: Tokens, end: Tokens) -> Nanos {
        if self.ticket != Some(ticket) {
            *self = Self {
                ticket: Some(ticket),
                cached: start,
            };
        }
        let until = |end: Tokens| match end > self.cached {
            true => cost.prefill(end, self.cached),
            false => Nanos::ZERO,
        };
        until(end).saturating_sub(until(start))
    }
}

impl Engine for SleepEngine {
    fn shape(&self) -> KvShape {
        self.shape
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn run(
        &mut self,
        step: &Step,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> Result<StepOutput, EngineError> {
        step.check(&self.shape, &self.limits)?;
        let time = Duration::from_nanos(self.time(step).0);
        let layers = self.shape.layers();
        let mut words = vec![0_u64; step.pieces.len()];
        for layer in 0..layers {
            for (piece, word) in step.pieces.iter().zip(&mut words) {
                *word = word.rotate_left(1) ^ self.walk(piece, layer);
            }
            // What whole shares leave over is the last layer's.
            let share = time / layers as u32;
            let last = layer + 1 == layers;
            (self.sleep)(if last {
                time - share * layer as u32
            } else {
                share
            });
            on_layer(LayerDone { layer });
        }
        let sampled = |(piece, word): (&Piece, &u64)| {
            piece.sample.map(|_| Sampled {
                ticket: piece.ticket,
                position: piece.end() as u32,
                token: u32::from(LETTERS[(word % LETTERS.len() as u64) as usize]),
            })
        };
        Ok(StepOutput {
            sampled: step.pieces.iter().zip(&words).filter_map(sampled).collect(),
            failed: Vec::new(),
        })
    }
}
