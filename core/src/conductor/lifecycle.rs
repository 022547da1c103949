//! What becomes of a dispatched request, and of nodes: the books follow the facts.

use super::arrive::NEVER;
use super::{Conductor, Live, Phase};
use crate::action::{Action, Actions, RejectReason};
use crate::books::Stretch;
use crate::ids::{NodeId, RequestId, Ticket};
use crate::units::{Nanos, Tokens};

impl Conductor {
    pub(super) fn prefill_started(&mut self, ticket: Ticket, cached: Tokens) {
        let Some((slot, mut live)) = self.live_in(ticket, Phase::Queued) else {
            return;
        };
        // The node knows best what it reuses: blocks may have come or gone since the decision.
        let cached = cached.min(Tokens(live.input.0 - 1));
        let work = self.costs.occupancy(live.prefill, live.input, cached);
        let latency = self.costs.prefill(live.prefill, live.input, cached);
        self.prefill_books
            .start(live.prefill, self.now, live.work, work);
        live.phase = Phase::Prefilling;
        self.forecast.expect_at(slot, self.now + latency);
        self.copy_ended(&mut live);
        self.live[slot] = Some(live);
    }

    pub(super) fn prefill_finished(&mut self, ticket: Ticket) {
        let Some((slot, mut live)) = self.live_in(ticket, Phase::Prefilling) else {
            return;
        };
        self.prefill_books.finish(live.prefill, self.now);
        self.ttft[slot] = self.now - live.arrived;
        self.prefill_books.stream(live.prefill);
        live.phase = Phase::Transferring;
        self.forecast.expect_at(slot, self.now);
        self.live[slot] = Some(live);
        if live.prefill == live.decode {
            // A coupled node: the KV is where it is needed.
            self.transfer_finished(ticket);
        }
    }

    pub(super) fn transfer_finished(&mut self, ticket: Ticket) {
        let Some((slot, mut live)) = self.live_in(ticket, Phase::Transferring) else {
            return;
        };
        self.prefill_books.streamed(live.prefill);
        live.step = self.step_with(live.decode, live.input);
        self.decode_books.begin(live.decode, live.reserved);
        live.phase = Phase::Decoding;
        self.forecast.begin(
            slot,
            Stretch {
                node: live.decode,
                start: self.now,
                time: Nanos::ZERO,
                context: live.input,
                step: live.step,
            },
        );
        self.live[slot] = Some(live);
    }

    pub(super) fn finished(&mut self, ticket: Ticket, output: Tokens, tbt: Option<Nanos>) {
        let Some(slot) = self.find(ticket) else {
            return;
        };
        let live = self.live[slot].expect("the slot is in use: it was found by its request");
        if matches!(live.phase, Phase::Queued | Phase::Prefilling) {
            // The end is known before the first token is: it came no later than now.
            self.ttft[slot] = self.now - live.arrived;
        }
        let began = live
            .workflow
            .and_then(|workflow| self.workflows.began(workflow));
        let since = began.unwrap_or(live.arrived);
        let limits = self.policy.class(live.class).limits;
        if limits.met(self.ttft[slot], tbt, since, self.now) {
            self.counters.within_slo += 1;
        }
        self.counters.finished += 1;
        self.predictor.learn(live.input, output);
        self.end(slot);
    }

    pub(super) fn refused(&mut self, ticket: Ticket, actions: &mut Actions) {
        if let Some(slot) = self.find(ticket) {
            self.counters.refused += 1;
            let live = self.live[slot].expect("the slot is in use: it was found by its request");
            let retry_after = self.decode_wait(live.decode).max(Nanos::SECOND);
            self.end(slot);
            actions.push(Action::Reject {
                request: ticket.request,
                reason: RejectReason::DecodeFull,
                retry_after,
            });
        }
    }

    pub(super) fn cancelled(&mut self, request: RequestId, actions: &mut Actions) {
        match self.slot_of_request(request) {
            Some(slot) => {
                self.counters.cancelled += 1;
                let ticket = self.end(slot);
                actions.push(Action::Abort { ticket });
            }
            None if self.backlog.strike(request) => self.counters.cancelled_held += 1,
            None => self.counters.stale += 1,
        }
    }

    /// A node that comes up is empty. If it was taken to be up, it has restarted unseen: what it had is lost.
    pub(super) fn node_up(&mut self, node: NodeId, actions: &mut Actions) {
        let in_pool = self.prefill_books.is_up(node) || self.decode_books.is_up(node);
        if in_pool || self.roles.is_leaving(node) {
            self.node_down(node, actions);
        }
        match self.cluster.nodes.get(node.index()).map(|spec| spec.role) {
            Some(role) => {
                self.roles.restarted(node, role);
                self.join(node, role);
            }
            None => self.counters.stale += 1,
        }
    }

    /// The node's cache is forgotten, and every attempt that needed the node is given up and asked for again, in the
    /// order of the request table.
    pub(super) fn node_down(&mut self, node: NodeId, actions: &mut Actions) {
        if !self.knows(node) {
            self.counters.stale += 1;
            return;
        }
        self.prefill_books.node_down(node);
        self.decode_books.node_down(node);
        self.index.clear_node(node);
        self.keep_roles(node);
        for slot in 0..self.live.len() {
            let Some(live) = self.live[slot] else {
                continue;
            };
            let needs_prefill = live.prefill == node && live.phase != Phase::Decoding;
            if needs_prefill || live.decode == node {
                self.lose(slot, actions);
            }
        }
    }

    /// An attempt is lost: it is given up everywhere and asked for again, or its request is turned away if that was its
    /// last.
    pub(super) fn lose(&mut self, slot: usize, actions: &mut Actions) {
        self.counters.lost += 1;
        let ticket = self.end(slot);
        actions.push(Action::Abort { ticket });
        actions.push(match self.policy.lost.is_last(ticket) {
            false => Action::Resubmit { ticket },
            true => {
                self.counters.given_up += 1;
                Action::Reject {
                    request: ticket.request,
                    reason: RejectReason::TooManyAttempts,
                    retry_after: NEVER,
                }
            }
        });
    }

    /// A live attempt in `phase`; in any other phase the fact is stale (late, or said twice).
    fn live_in(&mut self, ticket: Ticket, phase: Phase) -> Option<(usize, Live)> {
        let slot = self.find(ticket)?;
        match self.live[slot] {
            Some(live) if live.phase == phase => Some((slot, live)),
            _ => {
                self.counters.stale += 1;
                None
            }
        }
    }

    fn copy_ended(&mut self, live: &mut Live) {
        if let Some(source) = live.source.take() {
            self.prefill_books.sent(source);
        }
    }

    /// Strikes an attempt out of all books and frees its slot.
    pub(super) fn end(&mut self, slot: usize) -> Ticket {
        let mut live = self.live[slot]
            .take()
            .expect("the slot is in use: it was found by its request");
        match live.phase {
            Phase::Queued => self.prefill_books.strike(live.prefill, self.now, live.work),
            Phase::Prefilling => self.prefill_books.finish(live.prefill, self.now),
            Phase::Transferring => self.prefill_books.streamed(live.prefill),
            Phase::Decoding => {}
        }
        self.copy_ended(&mut live);
        let began = live.phase == Phase::Decoding;
        self.decode_books
            .release(live.decode, live.reserved, began, &self.costs);
        self.forecast.strike(slot);
        self.slot_of.remove(live.ticket.request.0);
        self.free_slots.push(slot as u32);
        self.ttft[slot] = Nanos::ZERO;
        live.ticket
    }
}
