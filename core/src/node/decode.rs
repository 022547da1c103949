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
mod gaps;

use super::Room;
use crate::books::Decoding;
use crate::ids::Ticket;
use crate::slo::Gaps;
use crate::steps::StepRun;
use crate::units::{Nanos, Tokens};
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use gaps::History;

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

#[derive(Clone, Debug)]
struct State {
    ticket: Ticket,
    /// KV tokens at the last join, or now if it is not in the batch.
    context: Tokens,
    remaining: Tokens,
    last_token: Nanos,
    /// The node's step count when it joined the batch.
    joined: u64,
    in_batch: bool,
    /// It leaves with the end of the run, and nothing is said of it.
    cancelled: bool,
    /// Gaps before the present stay in the batch: the first of each stay, and the runs of earlier stays.
    first_gap: Nanos,
    earlier: Vec<(StepRun, u64)>,
}

/// The machine of one decode node.
#[derive(Clone, Debug)]
pub struct DecodeBatch {
    block: Tokens,
    capacity_blocks: u64,
    sequences: Vec<State>,
    free: Vec<u32>,
    /// KV in DRAM, waiting for HBM.
    waiting: VecDeque<u32>,
    /// Sequences that are here but not in the batch, and their KV tokens.
    outside: u64,
    outside_tokens: Tokens,
    /// HBM is taken; the load is on its way.
    loading_blocks: u64,
    /// Loaded; joins at the next step.
    ready: Vec<u32>,
    /// How many in the batch leave with the end of the run.
    cancelled: u32,
    /// In order of joining: the youngest is last.
    batch: Vec<u32>,
    /// (step after which it is complete, sequence), of the batch and perhaps of some that were put back.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    context: Tokens,
    steps_done: u64,
    composition: u64,
    history: History,
    gaps: Gaps,
}

impl DecodeBatch {
    /// An idle node whose HBM holds `capacity_blocks` blocks of `block` tokens.
    #[must_use]
    pub fn new(block: Tokens, capacity_blocks: u32) -> Self {
        Self {
            block,
            capacity_blocks: u64::from(capacity_blocks),
            sequences: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            outside: 0,
            outside_tokens: Tokens::ZERO,
            loading_blocks: 0,
            ready: Vec::new(),
            cancelled: 0,
            batch: Vec::new(),
            ends: BinaryHeap::new(),
            context: Tokens::ZERO,
            steps_done: 0,
            composition: 0,
            history: History::default(),
            gaps: Gaps::default(),
        }
    }

    /// Sequences in the batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.len()
    }

    /// KV tokens of the batch, as of the last finished run.
    #[must_use]
    pub const fn context(&self) -> Tokens {
        self.context
    }

    /// How often a sequence has joined or left the batch.
    #[must_use]
    pub const fn composition(&self) -> u64 {
        self.composition
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
            tokens: self.context + Tokens(steps * batch) + self.outside_tokens,
        };
        room.takes(there.and(context))
    }

    /// Takes a sequence whose KV is complete in DRAM.
    pub fn offer(&mut self, sequence: Sequence) -> SequenceId {
        assert!(
            !sequence.remaining.is_zero(),
            "a sequence has at least one token to make"
        );
        let slot = self.free.pop();
        // The vector of the place's last sequence is used again.
        let mut earlier = match slot {
            Some(slot) => core::mem::take(&mut self.sequences[slot as usize].earlier),
            None => Vec::new(),
        };
        earlier.clear();
        let state = State {
            ticket: sequence.ticket,
            context: sequence.context,
            remaining: sequence.remaining,
            last_token: sequence.last_token,
            joined: 0,
            in_batch: false,
            cancelled: false,
            first_gap: Nanos::ZERO,
            earlier,
        };
        let slot = match slot {
            Some(slot) => {
                self.sequences[slot as usize] = state;
                slot
            }
            None => {
                self.sequences.push(state);
                self.sequences.len() as u32 - 1
            }
        };
        self.outside += 1;
        self.outside_tokens += sequence.context;
        self.waiting.push_back(slot);
        SequenceId(slot)
    }

    /// Gives HBM to the first waiting sequence if there is room beside what the batch will need for its next
    /// step; the
    /// driver then loads it and says [`Self::loaded`]. Returns the sequence and how many KV tokens to load.
    ///
    /// `steps` are complete of the run that is under way, 0 if there is none. The run must then not go on beyond
    /// [`Self::room`], except for the step that is under way.
    pub fn next_load(&mut self, steps: u64) -> Option<(SequenceId, Tokens)> {
        let &slot = self.waiting.front()?;
        let context = self.sequences[slot as usize].context;
        let needed = self.blocks_after_step(context);
        let batch = self.batch.len() as u64;
        let idle = batch == 0 && self.loading_blocks == 0;
        // Rounded up by less than a block for each sequence, and each may need one more at its next step.
        let grown = self.context.0 + steps * batch;
        let used = grown / self.block.0 + 2 * batch + self.ready.len() as u64 + self.loading_blocks;
        if !idle && used + needed > self.capacity_blocks {
            return None;
        }
        self.waiting.pop_front();
        self.loading_blocks += needed;
        Some((SequenceId(slot), context))
    }

    /// The sequence's KV is in HBM: it joins the batch at the next step.
    pub fn loaded(&mut self, id: SequenceId) {
        self.ready.push(id.0);
    }

    /// Lets loaded sequences join and says what to run next; `None` if there is nothing. To be called as soon
    /// as the run
    /// before has finished, at `now`. Sequences that can never fit are given up into `ended`; others may be put
    /// back to
    /// wait.
    pub fn start(&mut self, now: Nanos, ended: &mut Vec<Ended>) -> Option<DecodeRun> {
        for i in 0..self.ready.len() {
            self.join(self.ready[i]);
        }
        self.ready.clear();
        let mut put_back = false;
        loop {
            if self.batch.is_empty() {
                return None;
            }
            let room = self.room();
            if room > 0 {
                let Reverse((end, _)) = self
                    .next_end()
                    .expect("every sequence in the batch has an end");
                // Who was put back may fit again after one step.
                let steps = if put_back {
                    1
                } else {
                    (end - self.steps_done).min(room)
                };
                return Some(DecodeRun {
                    batch: self.batch.len() as u32,
                    context: self.context,
                    steps,
                });
            }
            self.put_back_youngest(now, ended);
            put_back = true;
        }
    }

    /// The run that was started at `started` is over after `steps` steps, whose durations were `run`. Complete
    /// sequences
    /// leave into `ended`, in the order of their places.
    pub fn finish(&mut self, started: Nanos, run: StepRun, steps: u64, ended: &mut Vec<Ended>) {
        debug_assert!(steps > 0 && steps <= run.steps);
        let first = self.steps_done;
        // Those that joined for this run have waited since their last token, elsewhere or before a pause.
        for &slot in self.batch.iter().rev() {
            let state = &mut self.sequences[slot as usize];
            if state.joined != first {
                break; // The batch is in order of joining: all before have been in it for longer.
            }
            state.first_gap = (started + run.at(0)).saturating_sub(state.last_token);
        }
        self.history.push(first, run, steps);
        self.steps_done += steps;
        self.context += Tokens(steps * self.batch.len() as u64);
        let mut any = false;
        while let Some(Reverse((end, slot))) = self.next_end() {
            if end > self.steps_done {
                break;
            }
            self.ends.pop();
            any = true;
            if !self.sequences[slot as usize].cancelled {
                let tbt = self.tail_mean(slot);
                ended.push(Ended {
                    ticket: self.sequences[slot as usize].ticket,
                    complete: true,
                    tbt,
                });
            }
            self.leave(slot);
            self.free.push(slot);
        }
        any |= self.leave_cancelled();
        if any {
            self.batch
                .retain(|&slot| self.sequences[slot as usize].in_batch);
            let oldest = self
                .batch
                .first()
                .map(|&slot| self.sequences[slot as usize].joined);
            self.history
                .forget_before(oldest.unwrap_or(self.steps_done));
        }
    }

    fn join(&mut self, slot: u32) {
        let state = &mut self.sequences[slot as usize];
        state.joined = self.steps_done;
        state.in_batch = true;
        let (context, end) = (state.context, self.steps_done + state.remaining.0);
        self.loading_blocks -= self.blocks_after_step(context);
        self.context += context;
        self.outside -= 1;
        self.outside_tokens -= context;
        self.composition += 1;
        self.batch.push(slot);
        self.ends.push(Reverse((end, slot)));
    }

    /// The earliest end in the batch; entries of sequences that were put back are dropped on the way.
    fn next_end(&mut self) -> Option<Reverse<(u64, u32)>> {
        while let Some(&Reverse((end, slot))) = self.ends.peek() {
            let state = &self.sequences[slot as usize];
            if state.in_batch && state.joined + state.remaining.0 == end {
                return Some(Reverse((end, slot)));
            }
            self.ends.pop();
        }
        None
    }

    /// Takes a sequence's tokens off the batch; the batch's list is the caller's.
    fn leave(&mut self, slot: u32) {
        let state = &mut self.sequences[slot as usize];
        self.context -= state.context + Tokens(self.steps_done - state.joined);
        state.in_batch = false;
        self.composition += 1;
    }

    /// The youngest sequence goes back to DRAM and waits, first in line. The last one is given up if it has the
    /// node for
    /// itself; while another is being loaded it waits like any, for it may fit when that one has ended.
    fn put_back_youngest(&mut self, now: Nanos, ended: &mut Vec<Ended>) {
        let slot = self.batch.pop().expect("there is a batch to shrink");
        let alone = self.batch.is_empty() && self.loading_blocks == 0;
        let stayed = self.steps_done - self.sequences[slot as usize].joined;
        if alone {
            let tbt = self.tail_mean(slot);
            ended.push(Ended {
                ticket: self.sequences[slot as usize].ticket,
                complete: false,
                tbt,
            });
        } else if stayed > 0 {
            let state = &mut self.sequences[slot as usize];
            state.earlier.push((StepRun::once(state.first_gap), 1));
            self.history
                .collect(state.joined + 1, self.steps_done, &mut state.earlier);
            state.last_token = now;
        }
        self.leave(slot);
        let state = &mut self.sequences[slot as usize];
        state.context += Tokens(stayed);
        state.remaining -= Tokens(stayed);
        if alone {
            self.free.push(slot);
        } else {
            self.outside += 1;
            self.outside_tokens += self.sequences[slot as usize].context;
            self.waiting.push_front(slot);
        }
    }

    /// Tail mean of all gaps of a sequence that is in the batch.
    fn tail_mean(&mut self, slot: u32) -> Option<Nanos> {
        let state = &self.sequences[slot as usize];
        self.gaps.clear();
        for &(run, steps) in &state.earlier {
            self.gaps.push_run(run, steps);
        }
        if self.steps_done > state.joined {
            self.gaps.push(state.first_gap);
            self.history
                .each(state.joined + 1, self.steps_done, |run, steps| {
                    self.gaps.push_run(run, steps)
                });
        }
        self.gaps.tail_mean()
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
        let room = budget.saturating_sub(self.context.0) / batch;
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
        let blocks = self.batch.iter().map(|&slot| {
            let state = &self.sequences[slot as usize];
            (state.context.0 + (self.steps_done - state.joined) + steps).div_ceil(self.block.0)
        });
        blocks.sum()
    }

    /// Asserts what must always hold between calls.
    pub fn check(&self) {
        let context: u64 = self
            .batch
            .iter()
            .map(|&slot| {
                let state = &self.sequences[slot as usize];
                state.context.0 + self.steps_done - state.joined
            })
            .sum();
        assert_eq!(
            context, self.context.0,
            "the batch's tokens are the sum of its sequences'"
        );
        // One that has the node for itself is loaded even if there is no room for its next token; then it is given up.
        let lone = self.batch.is_empty() && self.outside <= 1 + self.waiting.len() as u64;
        assert!(
            lone || self.exact_blocks(0) + self.loading_blocks <= self.capacity_blocks,
            "HBM is not overfull"
        );
        self.check_outside();
    }
}
