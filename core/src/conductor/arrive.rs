//! The decision: a request comes in and is dispatched or turned away.

use super::{Conductor, Live, Phase};
use crate::action::{Action, Actions, RejectReason};
use crate::books::{Allowed, Staying, Stretch};
use crate::config::{ClassLimits, Moment, NodeSpec, Ratio, Role};
use crate::cost::PROMPT_MAX;
use crate::ids::{BlockHash, ClassId, NodeId, Ticket, WorkflowId};
use crate::node::Room;
use crate::policy::admission::AdmissionContext;
use crate::policy::predict::{Answering, Chance};
use crate::policy::prefill::longest_match;
use crate::policy::{Placement, PrefillContext};
use crate::units::{Nanos, Tokens};

/// A request that has come in; see [`crate::event::Event::Arrived`].
pub(super) struct Arrival<'a> {
    pub(super) ticket: Ticket,
    /// When; earlier than now for a job that was held.
    pub(super) arrived: Nanos,
    pub(super) input: Tokens,
    pub(super) blocks: &'a [BlockHash],
    pub(super) answer: Option<Tokens>,
    pub(super) class: ClassId,
    pub(super) workflow: Option<WorkflowId>,
}

/// Where a request could go.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    prefill: Placement,
    decode: NodeId,
    /// Predicted time to first token.
    ttft: Nanos,
    /// Predicted decoding.
    stretch: Stretch,
}

/// Why a request is turned away, and when trying again may help.
type Refusal = (RejectReason, Nanos);

/// Waiting does not help; said as a day.
pub(super) const NEVER: Nanos = Nanos::from_secs(86_400);

impl Conductor {
    pub(super) fn arrived(&mut self, mut arrival: Arrival<'_>, actions: &mut Actions) {
        let ticket = arrival.ticket;
        if self.slot_of_request(ticket.request).is_some() || self.backlog.holds(ticket.request) {
            // Said twice: the request is in the system and will end once.
            self.counters.stale += 1;
            return;
        }
        if ticket.attempt == 0 {
            self.counters.arrived += 1;
        }
        // No answer is longer than a prompt can be, whatever a driver says.
        arrival.answer = arrival.answer.map(|answer| answer.min(PROMPT_MAX));
        // A class that the policy does not have is its first.
        if arrival.class.index() >= self.policy.classes.len() {
            arrival.class = ClassId::default();
        }
        // Elsewhere a session says nothing about limits.
        if !matches!(
            self.policy.class(arrival.class).limits,
            ClassLimits::Workflow { .. }
        ) {
            arrival.workflow = None;
        }
        if let Err((reason, retry_after)) = self.admit(&arrival, actions) {
            self.counters.rejected += 1;
            actions.push(Action::Reject {
                request: ticket.request,
                reason,
                retry_after: retry_after.max(Nanos::SECOND),
            });
        }
    }

    /// Dispatches a request, holds it, or says why not.
    fn admit(&mut self, arrival: &Arrival<'_>, actions: &mut Actions) -> Result<(), Refusal> {
        if arrival.input.is_zero() || arrival.input > PROMPT_MAX {
            return Err((RejectReason::PromptTooLong, NEVER));
        }
        if self.live() >= self.cluster.live_requests_max as usize {
            return Err((RejectReason::TooManyRequests, self.shortest_queue()));
        }
        let Some(placed) = self.place(arrival) else {
            return Err(self.nowhere_for(arrival.input));
        };
        // Who comes again was admitted already, and lost its node.
        if arrival.ticket.attempt == 0 {
            if let ClassLimits::Completion { total } = self.policy.class(arrival.class).limits {
                // It goes at once if it fits what is idle: the caller lets jobs go after every fact.
                return match self.hold(arrival, total) {
                    true => Ok(()),
                    false => Err((RejectReason::TooLate, NEVER)),
                };
            }
            let began = arrival.workflow.and_then(|id| self.workflows.began(id));
            let own = match began {
                // What its earlier steps took would be lost: it goes before those who have not begun.
                Some(_) => Ratio::ONE,
                None => self.policy.class(arrival.class).ceiling,
            };
            let allowed = self.shares.ask(self.now, arrival.class, own);
            let limit = self.ttft_limit(arrival, &placed, began)?;
            self.tested(&placed, limit, allowed).inspect_err(|_| {
                // Who could not be in time even in an empty queue is not turned away by others.
                let most = self.policy.admission.threshold().of(limit);
                if placed.ttft - placed.prefill.queue <= most {
                    self.shares.denied(self.now, arrival.class);
                }
            })?;
        }
        self.dispatch(arrival, &placed, actions);
        Ok(())
    }

    /// Algorithm 1 as a whole, without admission: prefill node and decode node.
    pub(super) fn place(&mut self, arrival: &Arrival<'_>) -> Option<Placed> {
        let (input, blocks) = (arrival.input, arrival.blocks);
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
        let mut prefill = self.prefill_policy.place(&context)?;
        let tokens = input + self.policy.decode.output_reserve;
        let handed_to = self.decode_policy.place(&self.decode_books, tokens);
        // Where the answer would be made if the prompt were computed on `node`.
        let answers = |node: NodeId| match self.cluster.nodes[node.index()].role {
            Role::Coupled => (tokens <= self.decode_books.capacity(node)).then_some(node),
            Role::Prefill | Role::Decode => handed_to,
        };
        if answers(prefill.node).is_none() {
            // Prefill policies do not look at room for answers: the first free one that leads to some takes it.
            let mut by_free = self.prefill_books.by_free();
            let other = by_free.find(|&node| answers(node).is_some())?;
            prefill = context.placement(other);
        }
        let decode = answers(prefill.node)?;
        let ttft = prefill.ttft(self.cluster.profile_of(prefill.node).schedule);
        let stretch = self.predict(arrival, decode, self.now + ttft);
        Some(Placed {
            prefill,
            decode,
            ttft,
            stretch,
        })
    }

    /// Why a request of this length could not be placed. One that only a node that is down could hold may come again.
    fn nowhere_for(&self, input: Tokens) -> Refusal {
        let tokens = input + self.policy.decode.output_reserve;
        let is_away = |node| {
            !self.prefill_books.is_up(node)
                && !self.decode_books.is_up(node)
                && !self.roles.is_leaving(node)
        };
        let any = |is: &dyn Fn(NodeId, Role) -> bool| {
            let nodes = self.cluster.nodes.iter().enumerate();
            let mut nodes =
                nodes.map(|(i, spec): (usize, &NodeSpec)| (NodeId(i as u16), spec.role));
            nodes.any(|(node, role)| is(node, role))
        };
        let could = |node| tokens <= self.decode_books.capacity(node);
        let decode_away = |node, role| role != Role::Prefill && is_away(node) && could(node);
        let decode_there =
            |node, role| role == Role::Decode && self.decode_books.is_up(node) && could(node);
        let prefill_away = |node, role| role == Role::Prefill && is_away(node);
        match self.nowhere() {
            (RejectReason::PromptTooLong, _) if any(&decode_away) => {
                (RejectReason::NoDecodeNode, Nanos::SECOND)
            }
            // Only coupled nodes are up that compute prompts, and they are too small.
            (RejectReason::PromptTooLong, _) if any(&decode_there) && any(&prefill_away) => {
                (RejectReason::NoPrefillNode, Nanos::SECOND)
            }
            other => other,
        }
    }

    /// Why nothing could be placed on the nodes that are up.
    pub(super) fn nowhere(&self) -> Refusal {
        if self.prefill_books.up().is_empty() {
            (RejectReason::NoPrefillNode, Nanos::SECOND)
        } else if self.decode_books.up().is_empty() {
            (RejectReason::NoDecodeNode, Nanos::SECOND)
        } else {
            (RejectReason::PromptTooLong, NEVER)
        }
    }

    /// The longest time to first token that the limits of the request's class leave it; `began` is when its workflow
    /// did.
    fn ttft_limit(
        &self,
        arrival: &Arrival<'_>,
        placed: &Placed,
        began: Option<Nanos>,
    ) -> Result<Nanos, Refusal> {
        match self.policy.class(arrival.class).limits {
            ClassLimits::Answer(slo) => Ok(slo.ttft),
            ClassLimits::Completion { total } => Ok(total),
            ClassLimits::Workflow { total } => {
                let until = began.unwrap_or(arrival.arrived) + total;
                let left = until.saturating_sub(self.now + placed.stretch.time);
                match left.is_zero() {
                    true => Err((RejectReason::TooLate, NEVER)),
                    false => Ok(left),
                }
            }
        }
    }

    /// The admission policy's word, within what the request's class may use.
    fn tested(&self, placed: &Placed, limit: Nanos, allowed: Allowed) -> Result<(), Refusal> {
        let limit = limit.min(allowed.ttft);
        let stays = |slot: usize, since, later| self.stays(slot, since, later);
        let context = self.admission_context(placed, limit, allowed.part, &stays);
        self.admission_policy.admit(&context).map_err(|reason| {
            let wait = match reason {
                RejectReason::PrefillLoad => {
                    let threshold = self.policy.admission.threshold();
                    let most = allowed.part.of(threshold.of(limit));
                    placed.ttft.saturating_sub(most)
                }
                _ => self.decode_wait(placed.decode),
            };
            (reason, wait)
        })
    }

    /// True if a job would start at once, and the decode pool stay below the class's ceiling.
    pub(super) fn fits_idle(&self, arrival: &Arrival<'_>, placed: &Placed) -> bool {
        let ceiling = self.policy.class(arrival.class).ceiling;
        let stays = |slot: usize, since, later| self.stays(slot, since, later);
        let context = self.admission_context(placed, Nanos::MAX, ceiling, &stays);
        let threshold = self.policy.admission.decode_threshold();
        let then = context.question(Moment::FirstJoin);
        // Where nothing is predicted, nobody has learnt how long answers take.
        let decode = match self.policy.admission.predicts() {
            true => context.decode_at(then, threshold),
            false => context.decode_now(threshold),
        };
        placed.prefill.queue.is_zero() && decode.is_ok()
    }

    fn admission_context<'a>(
        &'a self,
        placed: &Placed,
        ttft_limit: Nanos,
        ceiling: Ratio,
        stays: &'a dyn Fn(usize, Nanos, Nanos) -> Chance,
    ) -> AdmissionContext<'a> {
        AdmissionContext {
            now: self.now,
            ttft: placed.ttft,
            this: placed.stretch,
            joins: self.now + self.shortest_queue(),
            ttft_limit,
            ceiling,
            room: Room::new(
                &self.policy,
                self.cluster.block,
                &self.cluster.nodes[placed.decode.index()],
                self.costs.of(placed.decode),
            ),
            books: &self.decode_books,
            forecast: &self.forecast,
            staying: self
                .predictor
                .alike()
                .map_or(Staying::Each(stays), Staying::Alike),
            one_drains: self.leaving().is_some(),
        }
    }

    fn stays(&self, slot: usize, since: Nanos, later: Nanos) -> Chance {
        let live = self.live[slot].expect("who decodes is in the system");
        self.predictor.stays(live.answering(since), later)
    }

    /// How long until a full decode node has room again: as long as one of those that decode there takes to leave, on
    /// average, if answers have the length that is booked for them. The same estimate for every policy.
    pub(super) fn decode_wait(&self, node: NodeId) -> Nanos {
        let (batch, _) = self.decode_books.decoding(node);
        let stay = self.step_with(node, Tokens::ZERO) * self.policy.decode.output_reserve.0;
        Nanos(stay.0 / u64::from(batch.max(1)))
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
    pub(super) fn shortest_queue(&self) -> Nanos {
        let first = self.prefill_books.by_free().next();
        first.map_or(Nanos::ZERO, |node| self.prefill_books.queue(node, self.now))
    }

    pub(super) fn dispatch(
        &mut self,
        arrival: &Arrival<'_>,
        placed: &Placed,
        actions: &mut Actions,
    ) {
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
            arrived: arrival.arrived,
            class: arrival.class,
            workflow: arrival.workflow,
            input,
            prefill: prefill.node,
            decode,
            work: prefill.work,
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
        if arrival.ticket.attempt == 0 {
            self.shares.admitted(self.now, arrival.class, prefill.work);
        }
        if let Some(workflow) = arrival.workflow {
            self.workflows.step(workflow, arrival.arrived);
        }
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
}
