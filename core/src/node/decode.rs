//! A decode node: continuous batching over paged KV in HBM.
//!
//! A sequence whose KV has arrived in DRAM waits, in order, until HBM has room; is loaded; and joins the batch at the
//! next step. Each step gives every sequence one token. When a batch can no longer grow in HBM, the youngest sequence
//! is put back to DRAM and waits again, first in line.
//!
//! A driver runs many steps at once where nothing changes ([`DecodeRun::steps`]) and may end a run early at any step,
//! for a join. The gaps between tokens are kept as runs, and each sequence's tail mean comes out exactly as if every
//! step had been an event.
//!
//! Not here: how long a step takes; the driver says.

mod cancel;

use super::Room;
use super::batch::Batch;
use crate::books::Decoding;
use crate::ids::Ticket;
use crate::steps::StepRun;
use crate::units::{Nanos, Tokens};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A sequence's place in the node, from its coming until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceId(u32);

/// A sequence whose KV has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Whose.
    pub ticket: Ticket,
    /// KV tokens that it has: its prompt.
    pub context: Tokens,
    /// Tokens that it may still make; at least 1. An engine may end it earlier.
    pub remaining: Tokens,
    /// When its last token was made, elsewhere.
    pub last_token: Nanos,
}

/// Work to do: up to `steps` decode steps of an unchanging batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeRun {
    /// Sequences in the batch; at least 1.
    pub batch: u32,
    /// KV tokens of the batch before the first step.
    pub context: Tokens,
    /// After how many steps something changes; at least 1.
    pub steps: u64,
}

/// A sequence that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub ticket: Ticket,
    /// False if it cannot go on because its KV alone outgrows the node.
    pub complete: bool,
    /// Mean of the longest 10 % of its token gaps.
    pub tbt: Option<Nanos>,
}

/// The machine of one decode node.
#[derive(Clone, Debug)]
pub struct DecodeBatch {
    block: Tokens,
    capacity_blocks: u64,
    batch: Batch,
    /// KV in DRAM, waiting for HBM.
    waiting: VecDeque<u32>,
    /// Sequences that are here but not in the batch, and their KV tokens.
    outside: u64,
    outside_tokens: Tokens,
    /// HBM is taken; the load is on its way.
    loading_blocks: u64,
    /// Loaded; joins at the next step.
    ready: Vec<u32>,
}

impl DecodeBatch {
    /// An idle node whose HBM holds `capacity_blocks` blocks of `block` tokens.
    #[must_use]
    pub fn new(block: Tokens, capacity_blocks: u32) -> Self {
        Self {
            block,
            capacity_blocks: u64::from(capacity_blocks),
            batch: Batch::default(),
            waiting: VecDeque::new(),
            outside: 0,
            outside_tokens: Tokens::ZERO,
            loading_blocks: 0,
            ready: Vec::new(),
        }
    }

    /// Sequences in the batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.len()
    }

    /// Whose the sequences of the batch are, the youngest last; those that leave with the end of the run included.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        let places = self.batch.places().iter();
        places.map(|&place| self.batch.member(place).ticket)
    }

    /// KV tokens of the batch, as of the last finished run.
    #[must_use]
    pub const fn context(&self) -> Tokens {
        self.batch.context()
    }

    /// How often a sequence has joined or left the batch.
    #[must_use]
    pub const fn composition(&self) -> u64 {
        self.batch.composition()
    }

    /// Sequences that wait for HBM.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True if a loaded sequence waits for the next step.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The local scheduler's own check before it takes a request of `context` tokens. `steps` are complete of the run
    /// that is under way.
    #[must_use]
    pub fn accepts(&self, steps: u64, context: Tokens, room: &Room<'_>) -> bool {
        let batch = self.batch.len() as u64;
        let there = Decoding {
            sequences: (batch + self.outside) as u32,
            tokens: self.batch.context() + Tokens(steps * batch) + self.outside_tokens,
        };
        room.takes(there.and(context))
    }

    /// Takes a sequence whose KV is complete in DRAM.
    pub fn offer(&mut self, sequence: Sequence) -> SequenceId {
        assert!(
            !sequence.remaining.is_zero(),
            "a sequence has at least one token to make"
        );
        let place = self.batch.enter(
            sequence.ticket,
            sequence.context,
            sequence.remaining,
            sequence.last_token,
        );
        self.outside += 1;
        self.outside_tokens += sequence.context;
        self.waiting.push_back(place);
        SequenceId(place)
    }

    /// Gives HBM to the first waiting sequence if there is room beside what the batch will need for its next
    /// step; the
    /// driver then loads it and says [`Self::loaded`]. Returns the sequence and how many KV tokens to load.
    ///
    /// `steps` are complete of the run that is under way, 0 if there is none. The run must then not go on beyond
    /// [`Self::room`], except for the step that is under way.
    pub fn next_load(&mut self, steps: u64) -> Option<(SequenceId, Tokens)> {
        let &place = self.waiting.front()?;
        let context = self.batch.member(place).context;
        let needed = self.blocks_after_step(context);
        let batch = self.batch.len() as u64;
        let idle = batch == 0 && self.loading_blocks == 0;
        // Rounded up by less than a block for each sequence, and each may need one more at its next step.
        let grown = self.batch.context().0 + steps * batch;
        let used = grown / self.block.0 + 2 * batch + self.ready.len() as u64 + self.loading_blocks;
        if !idle && used + needed > self.capacity_blocks {
            return None;
        }
        self.waiting.pop_front();
        self.loading_blocks += needed;
        Some((SequenceId(place), context))
    }

    /// Whose sequence it is.
    #[must_use]
    pub fn ticket(&self, id: SequenceId) -> Ticket {
        self.batch.member(id.0).ticket
    }

    /// The sequence's KV is in HBM: it joins the batch at the next step.
    pub fn loaded(&mut self, id: SequenceId) {
        self.ready.push(id.0);
    }

    /// Lets loaded sequences join and says what to run next; `None` if there is nothing. To be called as soon
    /// as the run
    /// before has finished. Sequences that can never fit are given up into `ended`; others may be put
    /// back to
    /// wait.
    pub fn start(&mut self, ended: &mut Vec<Ended>) -> Option<DecodeRun> {
        for i in 0..self.ready.len() {
            self.join(self.ready[i]);
        }
        self.ready.clear();
        let mut put_back = false;
        loop {
            let end = self.batch.steps_to_end()?;
            let room = self.room();
            if room > 0 {
                // Who was put back may fit again after one step.
                let steps = if put_back { 1 } else { end.min(room) };
                return Some(DecodeRun {
                    batch: self.batch.len() as u32,
                    context: self.batch.context(),
                    steps,
                });
            }
            self.put_back_youngest(ended);
            put_back = true;
        }
    }

    /// The run that was started at `started` is over after `steps` steps, whose durations were `run`. Complete
    /// sequences leave into `ended`, in the order of their places.
    pub fn finish(&mut self, started: Nanos, run: StepRun, steps: u64, ended: &mut Vec<Ended>) {
        self.batch.finish(started, run, steps, ended, |_| {});
    }

    fn join(&mut self, place: u32) {
        let context = self.batch.member(place).context;
        self.loading_blocks -= self.blocks_after_step(context);
        self.outside -= 1;
        self.outside_tokens -= context;
        self.batch.join(place);
    }

    /// The youngest sequence goes back to DRAM and waits, first in line. The last one is given up if it has the
    /// node for itself; while another is being loaded it waits like any, for it may fit when that one has ended.
    fn put_back_youngest(&mut self, ended: &mut Vec<Ended>) {
        let place = self.batch.take_youngest();
        let place = place.expect("there is a batch to shrink");
        if self.batch.is_empty() && self.loading_blocks == 0 {
            let tbt = self.batch.tail_mean(place);
            ended.push(Ended {
                ticket: self.batch.member(place).ticket,
                complete: false,
                tbt,
            });
            self.batch.forget(place);
        } else {
            self.outside += 1;
            self.outside_tokens += self.batch.member(place).context;
            self.waiting.push_front(place);
        }
    }

    /// Blocks that `context` tokens and the next one take.
    fn blocks_after_step(&self, context: Tokens) -> u64 {
        (context.0 + 1).div_ceil(self.block.0)
    }

    /// For how many steps from the start of the present run the batch fits into HBM.
    #[must_use]
    pub fn room(&self) -> u64 {
        let batch = (self.batch.len() as u64).max(1);
        // Without counting: a sequence of c tokens takes less than c / block + 1 blocks.
        let budget = self
            .capacity_blocks
            .saturating_sub(self.loading_blocks)
            .saturating_sub(batch)
            * self.block.0;
        let room = budget.saturating_sub(self.batch.context().0) / batch;
        if room >= 64 {
            return room;
        }
        // Close to full: count blocks.
        (1..=64)
            .take_while(|&steps| {
                self.exact_blocks(steps) + self.loading_blocks <= self.capacity_blocks
            })
            .last()
            .unwrap_or(0)
    }

    /// Blocks that the batch takes after `steps` more steps.
    fn exact_blocks(&self, steps: u64) -> u64 {
        let places = self.batch.places().iter();
        let blocks = places.map(|&place| (self.batch.held(place).0 + steps).div_ceil(self.block.0));
        blocks.sum()
    }

    /// Asserts what must always hold between calls.
    pub fn check(&self) {
        self.batch.check();
        // One that has the node for itself is loaded even if there is no room for its next token; then it is given up.
        let lone = self.batch.is_empty() && self.outside <= 1 + self.waiting.len() as u64;
        assert!(
            lone || self.exact_blocks(0) + self.loading_blocks <= self.capacity_blocks,
            "HBM is not overfull"
        );
        self.check_outside();
    }
}
