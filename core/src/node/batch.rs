//! A batch of sequences that get one token each at every step, and the gaps between their tokens.
//!
//! What a decode node and a coupled node have in common: who is in the batch, who ends when, what each holds, and each
//! sequence's token gaps. Steps are counted, not listed: a run of many steps is one entry, and a sequence's tail mean
//! comes out exactly as if every step had been an event.
//!
//! Not here: who may join and when, where KV lies, and how long a step takes.

mod gaps;

use super::Ended;
use crate::ids::Ticket;
use crate::slo::Gaps;
use crate::steps::StepRun;
use crate::units::{Nanos, Tokens};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use gaps::History;

/// A sequence, in the batch or beside it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) ticket: Ticket,
    /// KV tokens at the last join, or now if it is not in the batch.
    pub(super) context: Tokens,
    /// Tokens to make from then on.
    pub(super) remaining: Tokens,
    pub(super) last_token: Nanos,
    /// The step count when it joined the batch.
    joined: u64,
    in_batch: bool,
    /// It leaves with the end of the run, and nothing is said of it.
    cancelled: bool,
    /// Gaps before the present stay in the batch: the first of each stay, and the runs of earlier stays.
    first_gap: Nanos,
    earlier: Vec<(StepRun, u64)>,
}

/// Sequences by place, and those of them that are in the batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    members: Vec<Member>,
    free: Vec<u32>,
    /// In order of joining: the youngest is last.
    batch: Vec<u32>,
    /// (step after which it is complete, place), of the batch and perhaps of some that were taken out.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    context: Tokens,
    steps_done: u64,
    /// When the last step ended.
    last_end: Nanos,
    /// How many in the batch leave with the end of the run.
    cancelled: u32,
    composition: u64,
    history: History,
    gaps: Gaps,
}

impl Batch {
    /// Sequences in the batch.
    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    /// True if no sequence is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Places of the batch, the youngest last.
    pub(super) fn places(&self) -> &[u32] {
        &self.batch
    }

    /// KV tokens of the batch.
    pub(super) const fn context(&self) -> Tokens {
        self.context
    }

    /// How often a sequence has joined or left.
    pub(super) const fn composition(&self) -> u64 {
        self.composition
    }

    pub(super) fn member(&self, place: u32) -> &Member {
        &self.members[place as usize]
    }

    /// KV tokens that a member of the batch holds now.
    pub(super) fn held(&self, place: u32) -> Tokens {
        let member = &self.members[place as usize];
        member.context + Tokens(self.steps_done - member.joined)
    }

    /// Takes a sequence in, beside the batch; its last token was made at `last_token`.
    pub(super) fn enter(
        &mut self,
        ticket: Ticket,
        context: Tokens,
        remaining: Tokens,
        last_token: Nanos,
    ) -> u32 {
        let place = self.free.pop();
        // The vector of the place's last sequence is used again.
        let mut earlier = match place {
            Some(place) => core::mem::take(&mut self.members[place as usize].earlier),
            None => Vec::new(),
        };
        earlier.clear();
        let member = Member {
            ticket,
            context,
            remaining,
            last_token,
            joined: 0,
            in_batch: false,
            cancelled: false,
            first_gap: Nanos::ZERO,
            earlier,
        };
        match place {
            Some(place) => {
                self.members[place as usize] = member;
                place
            }
            None => {
                self.members.push(member);
                self.members.len() as u32 - 1
            }
        }
    }

    /// A sequence beside the batch has got its first token, at `now`.
    pub(super) fn first_token(&mut self, place: u32, now: Nanos) {
        self.members[place as usize].last_token = now;
    }

    /// A sequence beside the batch has got a later token there, at `now`.
    pub(super) fn token_outside(&mut self, place: u32, now: Nanos) {
        let member = &mut self.members[place as usize];
        let gap = now.saturating_sub(member.last_token);
        member.earlier.push((StepRun::once(gap), 1));
        member.last_token = now;
        member.context += Tokens(1);
        member.remaining -= Tokens(1);
    }

    /// Lets a member leave, silently, with the end of the run, which must be with the step that is under way. False if
    /// it
    /// is not in the batch: then it is the caller's to forget.
    pub(super) fn cancel(&mut self, place: u32) -> bool {
        let member = &mut self.members[place as usize];
        if member.in_batch {
            member.cancelled = true;
            self.cancelled += 1;
        }
        member.in_batch
    }

    /// Places that are free.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Places that there are.
    pub(super) fn known(&self) -> usize {
        self.members.len()
    }

    /// Gives a place back.
    pub(super) fn forget(&mut self, place: u32) {
        self.free.push(place);
    }

    /// The sequence is in the batch from the next step on.
    pub(super) fn join(&mut self, place: u32) {
        let member = &mut self.members[place as usize];
        member.joined = self.steps_done;
        member.in_batch = true;
        let end = self.steps_done + member.remaining.0;
        self.context += member.context;
        self.composition += 1;
        self.batch.push(place);
        self.ends.push(Reverse((end, place)));
    }

    /// Steps until the first sequence is complete; `None` if the batch is empty.
    pub(super) fn steps_to_end(&mut self) -> Option<u64> {
        self.next_end()
            .map(|Reverse((end, _))| end - self.steps_done)
    }

    /// The run that was started at `started` is over after `steps` steps, whose durations were `run`. Complete
    /// sequences leave into `ended`, in the order of their places; `left` hears of each place before it is free.
    pub(super) fn finish(
        &mut self,
        started: Nanos,
        run: StepRun,
        steps: u64,
        ended: &mut Vec<Ended>,
        mut left: impl FnMut(u32),
    ) {
        debug_assert!(steps > 0 && steps <= run.steps);
        let first = self.steps_done;
        // Those that joined for this run have waited since their last token, elsewhere or before a pause.
        for &place in self.batch.iter().rev() {
            let member = &mut self.members[place as usize];
            if member.joined != first {
                break; // The batch is in order of joining: all before have been in it for longer.
            }
            member.first_gap = (started + run.at(0)).saturating_sub(member.last_token);
        }
        // For those that were in it before, a pause of the node lengthens the first step.
        let pause = started.saturating_sub(self.last_end);
        let oldest = self.batch.first().copied();
        let waited = oldest.is_some_and(|place| self.members[place as usize].joined < first);
        if pause.is_zero() || !waited {
            self.history.push(first, run, steps);
        } else {
            self.history
                .push(first, StepRun::once(pause + run.at(0)), 1);
            if steps > 1 {
                self.history.push(first + 1, run.after(1), steps - 1);
            }
        }
        self.last_end = started + run.total(steps);
        self.steps_done += steps;
        self.context += Tokens(steps * self.batch.len() as u64);
        let mut any = false;
        while let Some(Reverse((end, place))) = self.next_end() {
            if end > self.steps_done {
                break;
            }
            self.ends.pop();
            any = true;
            left(place);
            if !self.members[place as usize].cancelled {
                let tbt = self.tail_mean(place);
                ended.push(Ended {
                    ticket: self.members[place as usize].ticket,
                    complete: true,
                    tbt,
                });
            }
            self.leave(place);
            self.free.push(place);
        }
        any |= self.leave_cancelled(&mut left);
        if any {
            self.forget_who_left();
        }
    }

    /// The node has done something else than a step: who was taken out meanwhile leaves; `left` hears of each place.
    pub(super) fn stood_still(&mut self, mut left: impl FnMut(u32)) {
        if self.leave_cancelled(&mut left) {
            self.forget_who_left();
        }
    }

    /// Those that were taken out leave the batch; true if there were any.
    fn leave_cancelled(&mut self, left: &mut impl FnMut(u32)) -> bool {
        if self.cancelled == 0 {
            return false;
        }
        for i in 0..self.batch.len() {
            let place = self.batch[i];
            let member = &self.members[place as usize];
            if member.cancelled && member.in_batch {
                left(place);
                self.leave(place);
                self.free.push(place);
            }
        }
        self.cancelled = 0;
        true
    }

    /// Brings the batch's list and the history up to date.
    fn forget_who_left(&mut self) {
        self.batch
            .retain(|&place| self.members[place as usize].in_batch);
        let oldest = self
            .batch
            .first()
            .map(|&place| self.members[place as usize].joined);
        self.history
            .forget_before(oldest.unwrap_or(self.steps_done));
    }

    /// Takes the youngest sequence out of the batch; it keeps its place and the gaps that it has had.
    pub(super) fn take_youngest(&mut self) -> Option<u32> {
        let place = self.batch.pop()?;
        let stayed = self.steps_done - self.members[place as usize].joined;
        if stayed > 0 {
            let member = &mut self.members[place as usize];
            member.earlier.push((StepRun::once(member.first_gap), 1));
            self.history
                .collect(member.joined + 1, self.steps_done, &mut member.earlier);
            member.last_token = self.last_end;
        }
        self.leave(place);
        let member = &mut self.members[place as usize];
        member.context += Tokens(stayed);
        member.remaining -= Tokens(stayed);
        Some(place)
    }

    /// Mean of the longest 10 % of the token gaps that the sequence has had.
    pub(super) fn tail_mean(&mut self, place: u32) -> Option<Nanos> {
        let member = &self.members[place as usize];
        self.gaps.clear();
        for &(run, steps) in &member.earlier {
            self.gaps.push_run(run, steps);
        }
        if member.in_batch && self.steps_done > member.joined {
            self.gaps.push(member.first_gap);
            self.history
                .each(member.joined + 1, self.steps_done, |run, steps| {
                    self.gaps.push_run(run, steps)
                });
        }
        self.gaps.tail_mean()
    }

    /// The earliest end in the batch; entries of sequences that were taken out are dropped on the way.
    fn next_end(&mut self) -> Option<Reverse<(u64, u32)>> {
        while let Some(&Reverse((end, place))) = self.ends.peek() {
            let member = &self.members[place as usize];
            if member.in_batch && member.joined + member.remaining.0 == end {
                return Some(Reverse((end, place)));
            }
            self.ends.pop();
        }
        None
    }

    /// Takes a sequence's tokens off the batch; the batch's list is the caller's.
    fn leave(&mut self, place: u32) {
        let member = &mut self.members[place as usize];
        self.context -= member.context + Tokens(self.steps_done - member.joined);
        member.in_batch = false;
        self.composition += 1;
    }

    /// Asserts what must always hold.
    pub(super) fn check(&self) {
        let context: u64 = self.batch.iter().map(|&place| self.held(place).0).sum();
        assert_eq!(
            context, self.context.0,
            "the batch's tokens are the sum of its sequences'"
        );
    }
}
