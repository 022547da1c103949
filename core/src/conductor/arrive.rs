//! The decision: a request comes in and is dispatched or turned away.

use super::{Conductor, Live, Phase};
use crate::action::{Action, Actions, RejectReason};
use crate::cost::PROMPT_MAX;
use crate::ids::{BlockHash, NodeId, Ticket};
use crate::policy::admission::AdmissionContext;
use crate::policy::{Placement, PrefillContext};
use crate::units::{Nanos, Tokens};

impl Conductor {
    pub(super) fn arrived(
        &mut self,
        ticket: Ticket,
        input: Tokens,
        blocks: &[BlockHash],
        actions: &mut Actions,
    ) {
        if self.slot_of_request(ticket.request).is_some() {
            // Said twice: the request is in the system and will end once.
            self.counters.stale += 1;
            return;
        }
        if ticket.attempt == 0 {
            self.counters.arrived += 1;
        }
        match self.place(input, blocks) {
            Ok((placement, decode)) => self.dispatch(ticket, input, placement, decode, actions),
            Err(reason) => {
                self.counters.rejected += 1;
                let retry_after = self.retry_after(reason);
                actions.push(Action::Reject {
                    request: ticket.request,
                    reason,
                    retry_after,
                });
            }
        }
    }

    /// Algorithm 1 as a whole: prefill node, decode node, admission.
    fn place(
        &mut self,
        input: Tokens,
        blocks: &[BlockHash],
    ) -> Result<(Placement, NodeId), RejectReason> {
        if input.is_zero() || input > PROMPT_MAX {
            return Err(RejectReason::PromptTooLong);
        }
        if self.live() >= self.cluster.live_requests_max as usize {
            return Err(RejectReason::TooManyRequests);
        }
        // A prompt cannot have more blocks than tokens fill; what is beyond is not looked at.
        let known = blocks.len().min(input.blocks(self.cluster.block) as usize);
        self.index.match_chain(&blocks[..known], &mut self.matches);
        let context = PrefillContext {
            now: self.now,
            input,
            matches: &self.matches,
            books: &self.prefill_books,
            costs: &self.costs,
            cluster: &self.cluster,
        };
        let placement = self
            .prefill_policy
            .place(&context)
            .ok_or(RejectReason::NoPrefillNode)?;
        if self.decode_books.by_count().is_empty() {
            return Err(RejectReason::NoDecodeNode);
        }
        let reserved = input + self.policy.decode.output_reserve;
        let decode = self
            .decode_policy
            .place(&self.decode_books, reserved)
            .ok_or(RejectReason::PromptTooLong)?;
        let schedule = self.cluster.profile_of(placement.node).schedule;
        let context = AdmissionContext {
            ttft: placement.ttft(schedule),
            slo: self.policy.slo,
        };
        self.admission_policy.admit(&context)?;
        Ok((placement, decode))
    }

    fn dispatch(
        &mut self,
        ticket: Ticket,
        input: Tokens,
        placement: Placement,
        decode: NodeId,
        actions: &mut Actions,
    ) {
        let schedule = self.cluster.profile_of(placement.node).schedule;
        let live = Live {
            ticket,
            phase: Phase::Queued,
            arrived: self.now,
            input,
            prefill: placement.node,
            decode,
            work: placement.prefill,
            reserved: input + self.policy.decode.output_reserve,
            source: placement.source,
            predicted_ttft: placement.ttft(schedule),
        };
        self.prefill_books
            .assign(live.prefill, self.now, live.work, live.source);
        self.decode_books
            .reserve(decode, live.reserved, &self.costs);
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.live.push(None);
            self.ttft.push(Nanos::ZERO);
            self.free_slots.reserve(self.live.len());
            self.slot_of.keep_room_for(self.live.len());
            self.live.len() as u32 - 1
        });
        self.live[slot as usize] = Some(live);
        self.slot_of.insert_new(ticket.request.0, slot);
        self.counters.dispatched += 1;
        if let Some(from) = placement.source {
            self.counters.replications += 1;
            let count = placement.reuse - placement.local;
            let (to, first) = (placement.node, placement.local);
            actions.push(Action::Replicate {
                ticket,
                from,
                to,
                first,
                count,
            });
        }
        let (prefill, reuse, ttft) = (placement.node, placement.reuse, live.predicted_ttft);
        actions.push(Action::Dispatch {
            ticket,
            prefill,
            decode,
            reuse,
            ttft,
        });
    }

    /// When trying again may help: when the first prefill node is predicted to be free, but not before a second has
    /// passed. Never, said as a day, where waiting does not help.
    fn retry_after(&self, reason: RejectReason) -> Nanos {
        if reason == RejectReason::PromptTooLong {
            return Nanos::from_secs(86_400);
        }
        let first = self.prefill_books.by_free().first();
        let queue = first.map_or(Nanos::ZERO, |&node| {
            self.prefill_books.queue(node, self.now)
        });
        queue.max(Nanos::SECOND)
    }
}
