//! The decision: a request comes in and is dispatched or turned away.

use super::{Conductor, Live, Phase};
use crate::action::{Action, Actions, RejectReason};
use crate::config::Ratio;
use crate::books::Stretch;
use crate::cost::PROMPT_MAX;
use crate::ids::{BlockHash, NodeId, Ticket};
use crate::node::Room;
use crate::policy::admission::AdmissionContext;
use crate::policy::predict::Answering;
use crate::policy::prefill::longest_match;
use crate::policy::{Placement, PrefillContext};
use crate::units::{Nanos, Tokens};

/// A request that has come in; see [`crate::event::Event::Arrived`].
pub(super) struct Arrival<'a> {
    pub(super) ticket: Ticket,
    pub(super) input: Tokens,
    pub(super) blocks: &'a [BlockHash],
    pub(super) answer: Option<Tokens>,
}

/// Where a request goes.
struct Placed {
    prefill: Placement,
    decode: NodeId,
    /// Predicted time to first token.
    ttft: Nanos,
    /// Predicted decoding.
    stretch: Stretch,
}

impl Conductor {
    pub(super) fn arrived(&mut self, arrival: Arrival<'_>, actions: &mut Actions) {
        let ticket = arrival.ticket;
        if self.slot_of_request(ticket.request).is_some() {
            // Said twice: the request is in the system and will end once.
            self.counters.stale += 1;
            return;
        }
        if ticket.attempt == 0 {
            self.counters.arrived += 1;
        }
        match self.place(&arrival) {
            Ok(placed) => self.dispatch(&arrival, &placed, actions),
            Err(reason) => {
                self.counters.rejected += 1;
                let retry_after = self.retry_after(reason);
                let request = ticket.request;
                actions.push(Action::Reject {
                    request,
                    reason,
                    retry_after,
                });
            }
        }
    }

    /// Algorithm 1 as a whole: prefill node, decode node, admission.
    fn place(&mut self, arrival: &Arrival<'_>) -> Result<Placed, RejectReason> {
        let (input, blocks) = (arrival.input, arrival.blocks);
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
            longest: longest_match(&self.matches, &self.prefill_books),
            fetch: self.fetch,
            books: &self.prefill_books,
            costs: &self.costs,
            cluster: &self.cluster,
        };
        let prefill = self
            .prefill_policy
            .place(&context)
            .ok_or(RejectReason::NoPrefillNode)?;
        if self.decode_books.by_count().is_empty() {
            return Err(RejectReason::NoDecodeNode);
        }
        let tokens = input + self.policy.decode.output_reserve;
        let decode = self
            .decode_policy
            .place(&self.decode_books, tokens)
            .ok_or(RejectReason::PromptTooLong)?;
        let ttft = prefill.ttft(self.cluster.profile_of(prefill.node).schedule);
        let stretch = self.predict(arrival, decode, self.now + ttft);
        // Who comes again was admitted already, and lost its node.
        if arrival.ticket.attempt == 0 {
            let spec = &self.cluster.nodes[decode.index()];
            self.admission_policy.admit(&AdmissionContext {
                now: self.now,
                ttft,
                this: stretch,
                joins: self.now + self.shortest_queue(),
                ttft_limit: self.policy.slo.ttft,
                ceiling: Ratio::ONE,
                room: Room {
                    block: self.cluster.block,
                    capacity_blocks: u64::from(spec.hbm_blocks),
                    reserve: self.policy.decode.output_reserve,
                    limit: self.policy.slo.tbt,
                    cost: self.costs.of(decode),
                },
                books: &self.decode_books,
                forecast: &self.forecast,
                stays: &|slot, since, later| {
                    let live = self.live[slot].expect("who decodes is in the system");
                    self.predictor.stays(live.answering(since), later)
                },
            })?;
        }
        Ok(Placed {
            prefill,
            decode,
            ttft,
            stretch,
        })
    }

    /// The decoding that a request is predicted to do from `start` on.
    fn predict(&self, arrival: &Arrival<'_>, decode: NodeId, start: Nanos) -> Stretch {
        let step = self.step_with(decode, arrival.input);
        let time = self.predictor.remaining(Answering {
            input: arrival.input,
            since: Nanos::ZERO,
            step,
            answer: arrival.answer,
        });
        Stretch {
            node: decode,
            start,
            time,
            context: arrival.input,
            step,
        }
    }

    /// The predicted time of a token on a decode node with one request more than decode there now.
    pub(super) fn step_with(&self, node: NodeId, input: Tokens) -> Nanos {
        let (batch, tokens) = self.decode_books.decoding(node);
        self.costs.of(node).decode_step(batch + 1, tokens + input)
    }

    /// KV tokens that are booked for a request on its decode node.
    fn booked(&self, stretch: &Stretch) -> Tokens {
        match self.policy.admission.reserves() {
            true => stretch.context + stretch.answer(),
            false => stretch.context + self.policy.decode.output_reserve,
        }
    }

    /// How long until the first prefill node is free, as predicted.
    fn shortest_queue(&self) -> Nanos {
        let first = self.prefill_books.by_free().first();
        first.map_or(Nanos::ZERO, |&node| self.prefill_books.queue(node, self.now))
    }

    fn dispatch(&mut self, arrival: &Arrival<'_>, placed: &Placed, actions: &mut Actions) {
        let Placed {
            prefill,
            decode,
            ttft,
            stretch,
        } = *placed;
        let (ticket, input) = (arrival.ticket, arrival.input);
        let live = Live {
            ticket,
            phase: Phase::Queued,
            arrived: self.now,
            input,
            prefill: prefill.node,
            decode,
            work: prefill.prefill,
            reserved: self.booked(&stretch),
            source: prefill.source,
            predicted_ttft: ttft,
            step: stretch.step,
            answer: arrival.answer,
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
        self.forecast.enter(slot as usize, stretch);
        self.counters.dispatched += 1;
        if let Some(from) = prefill.source {
            self.counters.replications += 1;
            let (to, first, count) = (prefill.node, prefill.local, prefill.reuse - prefill.local);
            actions.push(Action::Replicate {
                ticket,
                from,
                to,
                first,
                count,
            });
        }
        let (node, reuse) = (prefill.node, prefill.reuse);
        actions.push(Action::Dispatch {
            ticket,
            prefill: node,
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
        self.shortest_queue().max(Nanos::SECOND)
    }
}
