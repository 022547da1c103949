//! Nodes on the virtual clock: agents whose engines are a time at which they are done.

use super::{Loopback, Times, Transfer, Wire};
use crate::agent::{Agent, DecodeAgent, Made, Obeyed, Output, Outputs, Pins, PrefillAgent};
use crate::protocol::{EndReason, FromNode, ToNode};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::units::{Nanos, Tokens};
use std::sync::Arc;

/// Blocks on their way from one prefill node to another.
pub(super) struct Copying {
    from: NodeId,
    to: NodeId,
    first: u32,
    pins: Pins,
}

/// A node.
pub(super) struct Node {
    id: NodeId,
    cluster: Arc<ClusterConfig>,
    policy: Arc<PolicyConfig>,
    agent: Agent,
    alive: bool,
    /// What a coupled node's pass makes.
    pass: Vec<Ticket>,
    /// Length of the answer of what a prefill node computes.
    one_token: bool,
}

impl Node {
    pub(super) fn new(
        id: NodeId,
        cluster: &Arc<ClusterConfig>,
        policy: &Arc<PolicyConfig>,
    ) -> Self {
        let role = cluster.nodes[id.index()].role;
        Self {
            id,
            agent: Agent::new(role, id, cluster, policy),
            cluster: Arc::clone(cluster),
            policy: Arc::clone(policy),
            alive: true,
            pass: Vec::new(),
            one_token: false,
        }
    }

    fn take_role(&mut self, role: Role) {
        self.agent = Agent::new(role, self.id, &self.cluster, &self.policy);
    }

    /// Back, and empty.
    pub(super) fn revive(&mut self) {
        self.alive = true;
        self.take_role(self.cluster.nodes[self.id.index()].role);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.agent.is_idle()
    }

    fn prefill(&mut self) -> Option<&mut PrefillAgent> {
        match &mut self.agent {
            Agent::Prefill(agent) if self.alive => Some(agent),
            _ => None,
        }
    }

    fn decode(&mut self) -> Option<&mut DecodeAgent> {
        match &mut self.agent {
            Agent::Decode(agent) if self.alive => Some(agent),
            _ => None,
        }
    }
}

impl<T: Times> Loopback<T> {
    /// A message from the driver reaches a node.
    pub(super) fn receive(&mut self, id: NodeId, message: ToNode) {
        let now = self.now;
        let node = &mut self.nodes[id.index()];
        if !node.alive {
            return;
        }
        let mut out = Outputs::new();
        match node.agent.obey(now, message, &mut out) {
            Obeyed::Done => {}
            Obeyed::TakeRole(role) => {
                node.take_role(role);
                out.push(Output::Say(FromNode::RoleChanged(role)));
            }
            Obeyed::NotMine(ticket) => unreachable!("{id} has not the role that {ticket} needs"),
        }
        self.perform(id, out);
    }

    /// A node's engine is done with what it was doing.
    pub(super) fn engine_done(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id.index()];
        let mut out = Outputs::new();
        let token = |ticket: Ticket| Made {
            ticket,
            token: 0,
            ends: false,
        };
        match &mut node.agent {
            Agent::Prefill(agent) => {
                let last = node.one_token.then_some(EndReason::Length);
                agent.computed(0, last, &mut out);
            }
            Agent::Decode(agent) => {
                let made: Vec<Made> = agent.in_batch().map(|one| token(one.ticket)).collect();
                agent.stepped(now, &made, &mut out);
            }
            Agent::Coupled(agent) => {
                let made: Vec<Made> = node.pass.drain(..).map(token).collect();
                agent.passed(now, &made, &mut out);
            }
        }
        self.perform(id, out);
    }

    /// A transfer has arrived.
    pub(super) fn transfer_done(&mut self) {
        let now = self.now;
        let (ticket, wire) = self.times.pop_end(now);
        let mut out = Outputs::new();
        match wire {
            Wire::Copy => {
                let Some(copy) = self.copies.remove(&ticket) else {
                    return;
                };
                let count = copy.pins.len();
                if let Some(sender) = self.nodes[copy.from.index()].prefill() {
                    sender.unpin(&copy.pins);
                }
                if let Some(agent) = self.nodes[copy.to.index()].prefill() {
                    agent.copy_arrived(ticket, copy.first, count, &mut out);
                }
                self.perform(copy.to, out);
            }
            Wire::Stream => {
                let (from, to) = self.placed(ticket);
                if let Some(agent) = from.and_then(|from| self.nodes[from.index()].prefill()) {
                    agent.sent(ticket, &mut out);
                }
                if let (Some(to), Some(agent)) =
                    (to, to.and_then(|to| self.nodes[to.index()].decode()))
                {
                    agent.arrived(now, ticket, &mut out);
                    self.perform(to, out);
                }
            }
            Wire::Load => {
                let (_, to) = self.placed(ticket);
                if let (Some(to), Some(agent)) =
                    (to, to.and_then(|to| self.nodes[to.index()].decode()))
                {
                    agent.loaded(now, ticket, &mut out);
                    self.perform(to, out);
                }
            }
        }
    }

    /// The prefill and the decode node that have work for the attempt.
    fn placed(&self, ticket: Ticket) -> (Option<NodeId>, Option<NodeId>) {
        let has = |has: &dyn Fn(&Agent) -> bool| {
            let mut nodes = self.nodes.iter();
            nodes.find(|node| has(&node.agent)).map(|node| node.id)
        };
        let from = has(&|agent| matches!(agent, Agent::Prefill(agent) if agent.has(ticket)));
        let to = has(&|agent| matches!(agent, Agent::Decode(agent) if agent.has(ticket)));
        (from, to)
    }

    /// A node is gone: its agent, and what flows to and from it; then the driver hears of it.
    pub(super) fn crash(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id.index()];
        node.alive = false;
        self.engines[id.index()] = None;
        let role = node.cluster.nodes[id.index()].role;
        let tickets = match &node.agent {
            Agent::Prefill(agent) => agent.tickets(),
            Agent::Decode(agent) => agent.tickets(),
            Agent::Coupled(_) => Vec::new(),
        };
        node.take_role(role);
        let mut failed = Vec::new();
        for ticket in tickets {
            for wire in [Wire::Stream, Wire::Load] {
                self.times.end(now, ticket, wire);
            }
        }
        let copies: Vec<Ticket> = self.copies.keys().copied().collect();
        for ticket in copies {
            let copy = &self.copies[&ticket];
            if copy.to == id {
                self.end_copy(ticket);
            } else if copy.from == id {
                failed.push((copy.to, ticket, copy.first));
            }
        }
        for (to, ticket, first) in failed {
            self.end_copy(ticket);
            let mut out = Outputs::new();
            if let Some(agent) = self.nodes[to.index()].prefill() {
                agent.copy_arrived(ticket, first, 0, &mut out);
            }
            self.perform(to, out);
        }
        self.driver.node_down(now, id);
    }

    fn end_copy(&mut self, ticket: Ticket) {
        self.times.end(self.now, ticket, Wire::Copy);
        if let Some(copy) = self.copies.remove(&ticket)
            && let Some(sender) = self.nodes[copy.from.index()].prefill()
        {
            sender.unpin(&copy.pins);
        }
    }

    /// Does what an agent wants done, in order.
    fn perform(&mut self, id: NodeId, outputs: Outputs) {
        let now = self.now;
        for output in outputs {
            match output {
                Output::Say(fact) => {
                    self.driver.node_said(now, id, [fact]);
                    self.carry_out();
                }
                Output::Compute {
                    run,
                    prompt,
                    decode,
                } => {
                    let time = self.times.prefill(id, &run);
                    self.engines[id.index()] = Some(now + time);
                    self.nodes[id.index()].one_token = prompt.output_max == Tokens(1);
                    self.stream(run.ticket, id, decode, run.input, Some(time));
                }
                Output::SendRest { ticket } => {
                    let what = self.nodes[id.index()]
                        .prefill()
                        .and_then(|agent| agent.going_to(ticket));
                    if let Some((to, tokens)) = what {
                        self.stream(ticket, id, to, tokens, None);
                    }
                }
                Output::EndSend { ticket } => self.times.end(now, ticket, Wire::Stream),
                Output::Get {
                    ticket,
                    from,
                    first,
                    blocks,
                } => self.copy(ticket, from, id, first, &blocks),
                Output::EndGet { ticket } => self.end_copy(ticket),
                Output::Load { ticket, tokens } => self.times.begin(
                    now,
                    Transfer {
                        ticket,
                        wire: Wire::Load,
                        from: id,
                        to: id,
                        tokens,
                        made_in: None,
                    },
                ),
                Output::EndLoad { ticket } => self.times.end(now, ticket, Wire::Load),
                Output::Step(run) => {
                    if let Agent::Decode(agent) = &self.nodes[id.index()].agent {
                        let composition = agent.batch().composition();
                        let time = self.times.step(id, composition, run);
                        self.engines[id.index()] = Some(now + time);
                    }
                }
                Output::Pass(run) => {
                    let node = &mut self.nodes[id.index()];
                    if let Agent::Coupled(agent) = &node.agent {
                        let done = agent.pieces().filter(|piece| piece.is_last());
                        node.pass = done.map(|piece| piece.ticket).collect();
                        node.pass.extend(agent.in_batch(&run).map(|one| one.ticket));
                        let time = self.times.pass(id, agent.batch(), run);
                        self.engines[id.index()] = Some(now + time);
                    }
                }
                Output::Forget { .. } => {}
            }
        }
    }

    fn stream(
        &mut self,
        ticket: Ticket,
        from: NodeId,
        to: NodeId,
        tokens: Tokens,
        made_in: Option<Nanos>,
    ) {
        if !self.nodes[to.index()].alive {
            // It is lost, which the Conductor will find with the node.
            return;
        }
        let transfer = Transfer {
            ticket,
            wire: Wire::Stream,
            from,
            to,
            tokens,
            made_in,
        };
        match made_in {
            Some(_) => self.times.begin(self.now, transfer),
            None => self.times.rest(self.now, transfer),
        }
    }

    /// A node gets blocks from another's cache, those that are still there.
    fn copy(
        &mut self,
        ticket: Ticket,
        from: NodeId,
        to: NodeId,
        first: u32,
        blocks: &[conductor_core::ids::BlockHash],
    ) {
        let pins = self.nodes[from.index()]
            .prefill()
            .map(|agent| agent.pin(blocks))
            .filter(|pins| !pins.is_empty());
        let Some(pins) = pins else {
            let mut out = Outputs::new();
            if let Some(agent) = self.nodes[to.index()].prefill() {
                agent.copy_arrived(ticket, first, 0, &mut out);
            }
            self.perform(to, out);
            return;
        };
        let block = self.cluster.block;
        let input = self.nodes[to.index()]
            .prefill()
            .and_then(|agent| agent.input_of(ticket))
            .unwrap_or(Tokens(u64::MAX));
        let start = block * u64::from(first);
        let end = (block * u64::from(first + pins.len())).min(input);
        self.outcome.copies += 1;
        self.copies.insert(
            ticket,
            Copying {
                from,
                to,
                first,
                pins,
            },
        );
        self.times.begin(
            self.now,
            Transfer {
                ticket,
                wire: Wire::Copy,
                from,
                to,
                tokens: end - start,
                made_in: None,
            },
        );
    }
}
