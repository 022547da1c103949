//! The agent of a decode node: KV that comes, room for it, one step after the other.

use super::{Output, Outputs, say};
use crate::protocol::{EndReason, FromNode, Prompt};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::cost::Costs;
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{DecodeBatch, DecodeRun, Ended, Room, Sequence, SequenceId};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Place {
    prompt: Arc<Prompt>,
    /// In the machine, once its KV has come.
    sequence: Option<SequenceId>,
    loading: bool,
    /// Tokens of the answer so far, the first included.
    made: u64,
}

/// A sequence that gets a token with the step that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct InBatch {
    /// Whose.
    pub ticket: Ticket,
    /// What to continue.
    pub prompt: Arc<Prompt>,
    /// Tokens of the answer so far.
    pub made: u64,
}

/// A token that a step has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Whose.
    pub ticket: Ticket,
    /// The token.
    pub token: u32,
    /// It ends the answer, by the model's word.
    pub ends: bool,
}

/// See the module.
pub struct DecodeAgent {
    node: NodeId,
    cluster: Arc<ClusterConfig>,
    policy: Arc<PolicyConfig>,
    /// What it estimates with when it checks for itself.
    estimate: Costs,
    batch: DecodeBatch,
    places: BTreeMap<Ticket, Place>,
    running: Option<Nanos>,
    ended: Vec<Ended>,
}

impl DecodeAgent {
    /// An idle node.
    #[must_use]
    pub fn new(node: NodeId, cluster: &Arc<ClusterConfig>, policy: &Arc<PolicyConfig>) -> Self {
        let spec = &cluster.nodes[node.index()];
        Self {
            node,
            batch: DecodeBatch::new(cluster.block, spec.hbm_blocks),
            estimate: cluster.estimate(),
            cluster: Arc::clone(cluster),
            policy: Arc::clone(policy),
            places: BTreeMap::new(),
            running: None,
            ended: Vec::new(),
        }
    }

    /// The Conductor says that KV of this request will come.
    pub fn expect(&mut self, ticket: Ticket, prompt: &Arc<Prompt>) {
        self.places.insert(
            ticket,
            Place {
                prompt: Arc::clone(prompt),
                sequence: None,
                loading: false,
                made: 1,
            },
        );
    }

    /// True if KV of this attempt is expected.
    #[must_use]
    pub fn expects(&self, ticket: Ticket) -> bool {
        self.places
            .get(&ticket)
            .is_some_and(|place| place.sequence.is_none())
    }

    /// All KV of a request is here. If the policy says so, the node's own scheduler checks once more whether it can
    /// take it within the limit; if not, the prefill was in vain.
    pub fn arrived(&mut self, now: Nanos, ticket: Ticket, out: &mut Outputs) {
        if !self.expects(ticket) {
            return;
        }
        out.push(Output::Say(FromNode::Received { ticket }));
        let spec = &self.cluster.nodes[self.node.index()];
        let cost = self.estimate.of(self.node);
        let room = Room::new(&self.policy, self.cluster.block, spec, cost);
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        let context = place.prompt.input;
        let check = self.policy.admission.decode_check();
        let accepted = check.is_none_or(|load| self.batch.accepts(0, context, &room.at_load(load)));
        if !accepted {
            self.places.remove(&ticket);
            say::let_go(ticket, None, out);
            return;
        }
        let remaining = place.prompt.output_max.saturating_sub(Tokens(1)).0.max(1);
        let id = self.batch.offer(Sequence {
            ticket,
            context,
            remaining: Tokens(remaining),
            last_token: now,
        });
        place.sequence = Some(id);
        self.start_loads(out);
    }

    /// A sequence's KV is where it is decoded: it joins at the next step.
    pub fn loaded(&mut self, now: Nanos, ticket: Ticket, out: &mut Outputs) {
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        if let (true, Some(id)) = (std::mem::take(&mut place.loading), place.sequence) {
            self.batch.loaded(id);
            if self.running.is_none() {
                self.start(now, out);
            }
        }
    }

    /// Who gets a token with the step that is under way, in order.
    pub fn in_batch(&self) -> impl Iterator<Item = InBatch> + '_ {
        self.batch.tickets().filter_map(|ticket| {
            let place = self.places.get(&ticket)?;
            Some(InBatch {
                ticket,
                prompt: Arc::clone(&place.prompt),
                made: place.made,
            })
        })
    }

    /// The step is over, and made these tokens; of sequences that have left meanwhile nothing is said.
    pub fn stepped(&mut self, now: Nanos, made: &[Made], out: &mut Outputs) {
        let Some(started) = self.running.take() else {
            return;
        };
        for &Made {
            ticket,
            token,
            ends,
        } in made
        {
            let Some(place) = self.places.get_mut(&ticket) else {
                continue;
            };
            let position = place.made;
            place.made += 1;
            out.push(Output::Say(FromNode::Token {
                ticket,
                position,
                token,
            }));
            if ends && Tokens(place.made) < place.prompt.output_max {
                let output = Tokens(place.made);
                self.leave(ticket, out);
                say::ended(ticket, output, EndReason::Stop, out);
            }
        }
        self.ended.clear();
        let step = StepRun::once(now - started);
        self.batch.finish(started, step, 1, &mut self.ended);
        self.say_ended(out);
        self.start_loads(out);
        self.start(now, out);
    }

    /// The answer is long enough: it ends as if the model had said so, also if its KV is still on its way.
    pub fn stop(&mut self, ticket: Ticket, out: &mut Outputs) {
        if let Some(place) = self.places.get(&ticket) {
            let output = Tokens(place.made);
            self.leave(ticket, out);
            say::ended(ticket, output, EndReason::Stop, out);
        }
    }

    /// The Conductor has given the attempt up.
    pub fn abort(&mut self, ticket: Ticket, out: &mut Outputs) {
        if self.places.contains_key(&ticket) {
            self.leave(ticket, out);
            out.push(Output::Forget { ticket });
        }
    }

    /// The Conductor has gone: all work for it is given up.
    pub fn session_ended(&mut self, out: &mut Outputs) {
        let tickets: Vec<Ticket> = self.places.keys().copied().collect();
        for ticket in tickets {
            self.abort(ticket, out);
        }
    }

    /// The attempts that it has work for, in order.
    #[must_use]
    pub fn tickets(&self) -> Vec<Ticket> {
        self.places.keys().copied().collect()
    }

    /// True if it has work for the attempt.
    #[must_use]
    pub fn has(&self, ticket: Ticket) -> bool {
        self.places.contains_key(&ticket)
    }

    /// True if it has no work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.places.is_empty()
    }

    /// The machine.
    #[must_use]
    pub const fn batch(&self) -> &DecodeBatch {
        &self.batch
    }

    /// Takes a sequence off: one in the batch leaves with the end of the step.
    fn leave(&mut self, ticket: Ticket, out: &mut Outputs) {
        let Some(place) = self.places.remove(&ticket) else {
            return;
        };
        let Some(id) = place.sequence else { return };
        if place.loading {
            out.push(Output::EndLoad { ticket });
        }
        if !self.batch.cancel(id) {
            self.start_loads(out);
        }
    }

    /// Gives room to who waits, as far as there is any.
    fn start_loads(&mut self, out: &mut Outputs) {
        while let Some((id, tokens)) = self.batch.next_load(0) {
            let ticket = self.batch.ticket(id);
            if let Some(place) = self.places.get_mut(&ticket) {
                place.loading = true;
            }
            out.push(Output::Load { ticket, tokens });
        }
    }

    fn start(&mut self, now: Nanos, out: &mut Outputs) {
        self.ended.clear();
        let planned = self.batch.start(&mut self.ended);
        if let Some(run) = planned {
            self.running = Some(now);
            out.push(Output::Step(DecodeRun { steps: 1, ..run }));
        }
        let gave_up = !self.ended.is_empty();
        self.say_ended(out);
        if gave_up && planned.is_none() {
            self.start_loads(out);
        }
    }

    fn say_ended(&mut self, out: &mut Outputs) {
        for Ended {
            ticket, complete, ..
        } in std::mem::take(&mut self.ended)
        {
            let Some(place) = self.places.remove(&ticket) else {
                continue;
            };
            say::let_go(ticket, complete.then_some(Tokens(place.made)), out);
        }
    }
}
