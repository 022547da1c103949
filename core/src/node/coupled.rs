//! A coupled node: prompts and answers on one engine, over paged KV in HBM.
//!
//! The papers' baseline, after vLLM 0.5.1. Requests are taken in first come, first served, as long as HBM has room for
//! the whole prompt. *Prefill-first*: while any can be taken in, a pass computes whole prompts and the batch stands
//! still; else it is a step of the batch. *Chunked*: each pass is a step of the batch and, within a budget of tokens,
//! pieces of prompts beside it. When the batch cannot grow, whatever nobody uses goes from the prefix cache; if that is
//! not enough the youngest request loses its KV and waits again, first in line, to be computed anew with what it has
//! answered so far.
//!
//! With prefix caching a prompt's blocks stay in HBM after the request, to be reused, until room is needed.
//!
//! Not here: how long a pass takes; the driver says.

mod cancel;

use super::batch::Batch;
use super::{CacheChanges, Ended};
use crate::cache::{BlockCache, BlockSlot};
use crate::config::{CoupledConfig, CoupledSchedule, EvictionConfig};
use crate::cost::Piece;
use crate::ids::{BlockHash, Ticket};
use crate::steps::StepRun;
use crate::units::{Nanos, Tokens};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A request's place in the node, from its coming until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceId(u32);

/// Work to do: up to `steps` steps of an unchanging batch, or one pass over [`CoupledBatch::pieces`] and the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoupledRun {
    /// Sequences that get a token; 0 if the batch stands still.
    pub batch: u32,
    /// Their KV tokens before the first step.
    pub context: Tokens,
    /// After how many steps something changes; 1 with pieces.
    pub steps: u64,
}

/// A request whose prompt is being computed for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whose.
    pub ticket: Ticket,
    /// Tokens of the prompt that are reused.
    pub cached: Tokens,
    /// Blocks that are reused.
    pub hit_blocks: u32,
}

/// What has happened on a node; scratch space that is used again.
#[derive(Clone, Debug, Default)]
pub struct CoupledNews {
    /// Prompts that were begun.
    pub started: Vec<Started>,
    /// Requests that got their first token.
    pub first: Vec<Ticket>,
    /// Requests that have left.
    pub ended: Vec<Ended>,
    /// What the prefix cache gained and lost.
    pub cache: CacheChanges,
}

impl CoupledNews {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.started.clear();
        self.first.clear();
        self.ended.clear();
        self.cache.clear();
    }
}

/// What the prompt of a place needs and has; places are the batch's.
#[derive(Clone, Debug, Default)]
struct Prompt {
    blocks: Vec<BlockHash>,
    /// Pinned blocks of the prefix cache, front to back.
    pinned: Vec<BlockSlot>,
    /// The prompt as it came, in tokens.
    asked: Tokens,
    /// What is to be computed: the prompt, and after a loss of KV what was answered, too.
    input: Tokens,
    /// Tokens whose KV is there.
    done: Tokens,
    /// It leaves with the pass that is under way, and nothing is said of it.
    cancelled: bool,
    /// It has been taken in before.
    begun: bool,
    /// It has no token yet.
    fresh: bool,
}

/// The machine of one coupled node.
#[derive(Clone, Debug)]
pub struct CoupledBatch {
    config: CoupledConfig,
    block: Tokens,
    capacity: u64,
    watermark: u64,
    /// Blocks of prompts by content. Blocks of HBM that are not in it belong to one request each.
    cache: BlockCache,
    batch: Batch,
    prompts: Vec<Prompt>,
    waiting: VecDeque<u32>,
    /// Taken in, prompt not complete; in that order.
    computing: Vec<u32>,
    /// What the present pass computes, and whose it is.
    pieces: Vec<Piece>,
    pieces_of: Vec<u32>,
    left: Vec<u32>,
    recomputed: u64,
}

impl CoupledBatch {
    /// An idle node whose HBM holds `capacity_blocks` blocks of `block` tokens.
    #[must_use]
    pub fn new(
        config: CoupledConfig,
        block: Tokens,
        capacity_blocks: u32,
        eviction: EvictionConfig,
    ) -> Self {
        let capacity = u64::from(capacity_blocks);
        Self {
            config,
            block,
            capacity,
            watermark: capacity * u64::from(config.watermark.0) / 1000,
            cache: BlockCache::new(capacity_blocks as usize, eviction),
            batch: Batch::default(),
            prompts: Vec::new(),
            waiting: VecDeque::new(),
            computing: Vec::new(),
            pieces: Vec::new(),
            pieces_of: Vec::new(),
            left: Vec::new(),
            recomputed: 0,
        }
    }

    /// The prefix cache.
    #[must_use]
    pub const fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Requests that wait to be taken in.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that are decoded.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.len()
    }

    /// True if the node has no request.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.waiting.is_empty() && self.computing.is_empty()
    }

    /// Blocks of HBM in use, cached ones that nobody uses included.
    #[must_use]
    pub fn used_now(&self) -> u64 {
        self.used(0)
    }

    /// How often a sequence has joined or left the batch.
    #[must_use]
    pub const fn composition(&self) -> u64 {
        self.batch.composition()
    }

    /// How often a request has lost its KV.
    #[must_use]
    pub const fn recomputed(&self) -> u64 {
        self.recomputed
    }

    /// What the present pass computes of prompts, besides a step of the batch.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whose the first piece of the present pass is.
    #[must_use]
    pub fn first_piece(&self) -> Option<Ticket> {
        let &place = self.pieces_of.first()?;
        Some(self.batch.member(place).ticket)
    }

    /// Whose each of [`Self::pieces`] is.
    pub fn tickets_of_pieces(&self) -> impl Iterator<Item = Ticket> + '_ {
        let places = self.pieces_of.iter();
        places.map(|&place| self.batch.member(place).ticket)
    }

    /// Whose the sequences of the batch are, the youngest last; those that leave with the end of the run included.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        let places = self.batch.places().iter();
        places.map(|&place| self.batch.member(place).ticket)
    }

    /// Whose requests wait to be taken in: they have no KV, or have lost it.
    pub fn tickets_waiting(&self) -> impl Iterator<Item = Ticket> + '_ {
        let places = self.waiting.iter();
        places.map(|&place| self.batch.member(place).ticket)
    }

    /// Takes a request of `input` tokens that may make up to `output`, at least 1 each.
    pub fn enqueue(
        &mut self,
        ticket: Ticket,
        input: Tokens,
        output: Tokens,
        blocks: &[BlockHash],
    ) -> PlaceId {
        let later = output - Tokens(1);
        let place = self.batch.enter(ticket, input, later, Nanos::ZERO);
        if self.prompts.len() <= place as usize {
            self.prompts.push(Prompt::default());
        }
        let prompt = &mut self.prompts[place as usize];
        prompt.blocks.clear();
        if self.config.prefix_caching {
            // A prompt cannot have more blocks than tokens fill.
            let known = blocks.len().min(input.blocks(self.block) as usize);
            prompt.blocks.extend_from_slice(&blocks[..known]);
        }
        (prompt.asked, prompt.input, prompt.done) = (input, input, Tokens::ZERO);
        (prompt.cancelled, prompt.begun, prompt.fresh) = (false, false, true);
        self.waiting.push_back(place);
        PlaceId(place)
    }

    /// Says what to run next; `None` if there is nothing. To be called as soon as the run before has finished, or when
    /// a request comes to an idle node.
    pub fn start(&mut self, news: &mut CoupledNews) -> Option<CoupledRun> {
        loop {
            let run = self.plan(news);
            // Who had the node for itself and was given up has left it empty; whoever waits can then be taken in.
            if run.is_some() || self.waiting.is_empty() {
                return run;
            }
        }
    }

    fn plan(&mut self, news: &mut CoupledNews) -> Option<CoupledRun> {
        self.pieces.clear();
        self.pieces_of.clear();
        let lost = match self.config.schedule {
            CoupledSchedule::PrefillFirst => {
                self.take_in(self.config.pass_tokens, news);
                if !self.pieces.is_empty() {
                    return Some(CoupledRun {
                        batch: 0,
                        context: Tokens::ZERO,
                        steps: 1,
                    });
                }
                self.make_room(news)
            }
            CoupledSchedule::Chunked => {
                let lost = self.make_room(news);
                let batch = Tokens(self.batch.len() as u64);
                let budget = self.config.pass_tokens.saturating_sub(batch);
                let left = self.go_on(budget);
                // Who has just lost its KV must not take the room back that it was made for.
                if !lost {
                    self.take_in(left, news);
                }
                lost
            }
        };
        let batch = self.batch.len() as u32;
        if batch == 0 && self.pieces.is_empty() {
            return None;
        }
        let steps = match self.batch.steps_to_end() {
            Some(end) if self.pieces.is_empty() && !lost => end.min(self.room()),
            _ => 1,
        };
        Some(CoupledRun {
            batch,
            context: self.batch.context(),
            steps,
        })
    }

    /// The run that was started at `started` is over after `steps` steps, whose durations were `run`.
    pub fn finish(&mut self, started: Nanos, run: StepRun, steps: u64, news: &mut CoupledNews) {
        let prompts_only =
            self.config.schedule == CoupledSchedule::PrefillFirst && !self.pieces.is_empty();
        let mut left = core::mem::take(&mut self.left);
        if prompts_only || self.batch.is_empty() {
            self.batch.stood_still(|place| left.push(place));
        } else {
            let ended = &mut news.ended;
            self.batch
                .finish(started, run, steps, ended, |place| left.push(place));
        }
        for place in left.drain(..) {
            self.release(place);
        }
        self.left = left;
        let now = started + run.total(steps);
        for i in 0..self.pieces.len() {
            let (piece, place) = (self.pieces[i], self.pieces_of[i]);
            let prompt = &mut self.prompts[place as usize];
            prompt.done = piece.end;
            if prompt.cancelled {
                self.computing.retain(|&other| other != place);
                self.release(place);
                self.batch.forget(place);
            } else if prompt.done == prompt.input {
                self.prompt_done(now, place, news);
            }
        }
        self.pieces.clear();
        self.pieces_of.clear();
    }

    /// Goes on with the prompts that are being computed, within `budget` tokens; returns what is left of it.
    fn go_on(&mut self, budget: Tokens) -> Tokens {
        let mut budget = budget;
        for &place in &self.computing {
            if budget.is_zero() {
                break;
            }
            let prompt = &self.prompts[place as usize];
            let end = prompt.input.min(prompt.done + budget);
            budget -= end - prompt.done;
            let start = prompt.done;
            self.pieces.push(Piece { start, end });
            self.pieces_of.push(place);
        }
        budget
    }

    /// Takes waiting requests in as long as there is room and `budget`, and computes as much of them as the schedule
    /// says.
    fn take_in(&mut self, budget: Tokens, news: &mut CoupledNews) {
        let whole = self.config.schedule == CoupledSchedule::PrefillFirst;
        let mut budget = budget;
        while let Some(&place) = self.waiting.front() {
            let requests = self.batch.len() + self.computing.len();
            let prompt = &self.prompts[place as usize];
            let too_long = prompt.input > budget && !self.pieces.is_empty();
            let full = requests >= self.config.batch_requests as usize;
            if full || budget.is_zero() || whole && too_long {
                break;
            }
            let blocks = u64::from(prompt.input.blocks(self.block));
            if blocks > self.capacity {
                // It will never fit: after a loss of KV, or because the cluster's file says less than the Conductor
                // knew.
                self.waiting.pop_front();
                self.give_up(place, news);
                continue;
            }
            let (hits, idle) = self.cache.reusable(&prompt.blocks);
            let new = blocks - u64::from(hits);
            let least = if requests == 0 { 0 } else { self.watermark };
            let (used, pinned) = (self.used(0), self.cache.pinned() as u64);
            let can_go = self.cache.len() as u64 - pinned - u64::from(idle);
            if used + new + least > self.capacity + can_go {
                break;
            }
            self.waiting.pop_front();
            self.pin(place);
            self.evict_to_fit(used + new, news);
            let prompt = &mut self.prompts[place as usize];
            let end = if whole {
                prompt.input
            } else {
                prompt.input.min(prompt.done + budget)
            };
            // vLLM 0.5.1 counts a prompt with what it reuses.
            budget = match whole {
                true => budget.saturating_sub(prompt.input),
                false => budget - (end - prompt.done),
            };
            if !core::mem::replace(&mut prompt.begun, true) {
                news.started.push(Started {
                    ticket: self.batch.member(place).ticket,
                    cached: prompt.done,
                    hit_blocks: prompt.pinned.len() as u32,
                });
            }
            let start = prompt.done;
            self.pieces.push(Piece { start, end });
            self.pieces_of.push(place);
            self.computing.push(place);
        }
    }

    /// Pins what the prompt can reuse.
    fn pin(&mut self, place: u32) {
        let prompt = &mut self.prompts[place as usize];
        for &block in &prompt.blocks {
            let Some(slot) = self.cache.pin(block) else {
                break;
            };
            prompt.pinned.push(slot);
        }
        let hits = self.block * prompt.pinned.len() as u64;
        // The last block of a prompt is not full, and one token is always computed: it makes the next one.
        prompt.done = hits.min(prompt.asked).min(prompt.input - Tokens(1));
    }

    /// A prompt is complete: it has its next token.
    fn prompt_done(&mut self, now: Nanos, place: u32, news: &mut CoupledNews) {
        self.computing.retain(|&other| other != place);
        let prompt = &mut self.prompts[place as usize];
        for depth in prompt.pinned.len()..prompt.blocks.len() {
            let block = prompt.blocks[depth];
            let (stored, evicted) = (&mut news.cache.stored, &mut news.cache.evicted);
            let slot = self.cache.insert(block, depth as u32, stored, evicted);
            prompt
                .pinned
                .push(slot.expect("the block was the request's own, so there is room for it"));
        }
        if prompt.fresh {
            prompt.fresh = false;
            self.batch.first_token(place, now);
            news.first.push(self.batch.member(place).ticket);
        } else {
            self.batch.token_outside(place, now);
        }
        if self.batch.member(place).remaining.is_zero() {
            let tbt = self.batch.tail_mean(place);
            let ticket = self.batch.member(place).ticket;
            news.ended.push(Ended {
                ticket,
                complete: true,
                tbt,
            });
            self.release(place);
            self.batch.forget(place);
        } else {
            self.batch.join(place);
        }
    }

    /// Makes room for the batch's next step. True if a request has lost its KV for it.
    fn make_room(&mut self, news: &mut CoupledNews) -> bool {
        let mut lost = false;
        loop {
            let needed = self.used(1);
            self.evict_to_fit(needed, news);
            if self.used(1) <= self.capacity {
                return lost;
            }
            lost = true;
            self.recomputed += 1;
            // A prompt that is not complete is younger than all who are decoded.
            let place = match self.computing.pop() {
                Some(place) => place,
                None => self
                    .batch
                    .take_youngest()
                    .expect("an empty node is not overfull"),
            };
            self.release(place);
            let prompt = &mut self.prompts[place as usize];
            prompt.done = Tokens::ZERO;
            if !prompt.fresh {
                // The last token has no KV yet.
                prompt.input = self.batch.member(place).context + Tokens(1);
            }
            if self.batch.is_empty() && self.computing.is_empty() {
                self.give_up(place, news);
            } else {
                self.waiting.push_front(place);
            }
        }
    }

    /// The request is larger than the node.
    fn give_up(&mut self, place: u32, news: &mut CoupledNews) {
        let tbt = self.batch.tail_mean(place);
        let ticket = self.batch.member(place).ticket;
        news.ended.push(Ended {
            ticket,
            complete: false,
            tbt,
        });
        self.batch.forget(place);
    }

    /// Gives the request's HBM back; prefix blocks stay as long as room is not needed.
    fn release(&mut self, place: u32) {
        let prompt = &mut self.prompts[place as usize];
        self.cache.unpin(&prompt.pinned);
        prompt.pinned.clear();
    }

    /// Lets blocks go that nobody uses until `used` blocks fit, as far as there are any.
    fn evict_to_fit(&mut self, used: u64, news: &mut CoupledNews) {
        for _ in self.capacity..used {
            if self.cache.evict_one(&mut news.cache.evicted).is_none() {
                break;
            }
        }
    }

    /// Blocks of HBM in use after `steps` more steps of the batch, if nothing goes.
    fn used(&self, steps: u64) -> u64 {
        let own = |place: u32, tokens: Tokens| {
            let pinned = self.prompts[place as usize].pinned.len() as u64;
            u64::from(tokens.blocks(self.block)).saturating_sub(pinned)
        };
        let decoding = self.batch.places().iter();
        let decoding: u64 = decoding
            .map(|&place| own(place, self.batch.held(place) + Tokens(steps)))
            .sum();
        let computing = self.computing.iter();
        let computing: u64 = computing
            .map(|&place| own(place, self.prompts[place as usize].input))
            .sum();
        self.cache.len() as u64 + decoding + computing
    }

    /// For how many steps the batch can go on without anything going; at least 1, because room was made for one.
    fn room(&self) -> u64 {
        let batch = (self.batch.len() as u64).max(1);
        // Without counting: a sequence of c tokens takes less than c / block + 1 blocks.
        let budget = self
            .capacity
            .saturating_sub(self.cache.len() as u64 + batch)
            * self.block.0;
        let room = budget.saturating_sub(self.batch.context().0) / batch;
        if room >= 64 && self.computing.is_empty() {
            return room;
        }
        let fits = |&steps: &u64| self.used(steps) <= self.capacity;
        (1..=64).take_while(fits).last().unwrap_or(1)
    }

    /// Asserts what must always hold at the start of a run.
    pub fn check(&self) {
        self.batch.check();
        self.cache.check();
        assert!(self.used(0) <= self.capacity, "HBM is not overfull");
    }
}
