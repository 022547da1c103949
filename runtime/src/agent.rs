//! A node's agent: turns the Conductor's orders into work for an engine and for the messenger, and what they have done
//! into facts.
//!
//! The node machines of the core decide (who starts, what is cached, who is in a batch); the agent keeps tickets and
//! prompts beside them. It is synchronous and has no clock: the node's process runs it over a real engine and a real
//! messenger, the tests over durations. Every call appends to [`Outputs`], in the order in which they are to be done.
//!
//! Not here: KV's bytes (a process keeps them by the block numbers that it is told), connections, time.

mod coupled;
mod decode;
mod prefill;
mod say;

pub use coupled::CoupledAgent;
pub use coupled::PieceOf;
pub use decode::{DecodeAgent, InBatch, Made};
pub use prefill::{Pins, PrefillAgent};

use crate::protocol::{FromNode, Prompt, ToNode};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_core::node::{CoupledRun, DecodeRun, PrefillRun};
use conductor_core::units::{Nanos, Tokens};
use std::sync::Arc;

/// What an agent wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Tell the Conductor.
    Say(FromNode),
    /// Compute a prompt; say [`PrefillAgent::computed`] when it is done. Its KV goes to `decode` while it is computed:
    /// all layers but the last of each block as they are made.
    Compute {
        /// What to compute.
        run: PrefillRun,
        /// The prompt.
        prompt: Arc<Prompt>,
        /// Where the KV goes.
        decode: NodeId,
    },
    /// The prompt is computed: what is left of its KV follows; say [`PrefillAgent::sent`] when all has arrived.
    SendRest {
        /// Whose.
        ticket: Ticket,
    },
    /// No KV of this attempt is wanted any more.
    EndSend {
        /// Whose.
        ticket: Ticket,
    },
    /// Copy blocks from another node; say [`PrefillAgent::copy_arrived`], with 0 blocks if they cannot be had.
    Get {
        /// For whom.
        ticket: Ticket,
        /// From whom.
        from: NodeId,
        /// The first of the prompt's blocks.
        first: u32,
        /// The blocks.
        blocks: Vec<BlockHash>,
    },
    /// The copy is not wanted any more.
    EndGet {
        /// For whom.
        ticket: Ticket,
    },
    /// Bring a sequence's KV to where it is decoded; say [`DecodeAgent::loaded`].
    Load {
        /// Whose.
        ticket: Ticket,
        /// KV tokens to load.
        tokens: Tokens,
    },
    /// The load is not wanted any more.
    EndLoad {
        /// Whose.
        ticket: Ticket,
    },
    /// One decode step for all of the batch; say [`DecodeAgent::stepped`].
    Step(DecodeRun),
    /// One pass of a coupled node; say [`CoupledAgent::passed`].
    Pass(CoupledRun),
    /// Nothing of the attempt is here any more.
    Forget {
        /// Whose.
        ticket: Ticket,
    },
}

/// What is to be done, in order; used again.
pub type Outputs = Vec<Output>;

/// The agent of a node, whatever its role.
pub enum Agent {
    /// Of a prefill node.
    Prefill(PrefillAgent),
    /// Of a decode node.
    Decode(DecodeAgent),
    /// Of a coupled node.
    Coupled(CoupledAgent),
}

/// What an agent did with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a change of role and an order for another one are the caller's to answer"]
pub enum Obeyed {
    /// It was carried out.
    Done,
    /// The node is to have a fresh agent of this role: who keeps the agent makes one, and says
    /// [`FromNode::RoleChanged`].
    TakeRole(Role),
    /// It is for a node of another role, on behalf of this attempt.
    NotMine(Ticket),
}

impl Agent {
    /// A fresh agent of an idle node.
    #[must_use]
    pub fn new(
        role: Role,
        node: NodeId,
        cluster: &Arc<ClusterConfig>,
        policy: &Arc<PolicyConfig>,
    ) -> Self {
        let spec = &cluster.nodes[node.index()];
        match role {
            Role::Prefill => Self::Prefill(PrefillAgent::new(cluster.block, spec, policy.eviction)),
            Role::Decode => Self::Decode(DecodeAgent::new(node, cluster, policy)),
            Role::Coupled => Self::Coupled(CoupledAgent::new(node, cluster, policy.eviction)),
        }
    }

    /// Does what the Conductor orders.
    pub fn obey(&mut self, now: Nanos, order: ToNode, out: &mut Outputs) -> Obeyed {
        match (self, order) {
            (
                Self::Prefill(agent),
                ToNode::Fetch {
                    ticket,
                    prompt,
                    fetch,
                },
            ) => agent.fetch(ticket, &prompt, &fetch, out),
            (
                Self::Prefill(agent),
                ToNode::Prefill {
                    ticket,
                    prompt,
                    decode,
                    ..
                },
            ) => agent.prefill(ticket, &prompt, decode, out),
            (Self::Coupled(agent), ToNode::Prefill { ticket, prompt, .. }) => {
                agent.serve(now, ticket, &prompt, out);
            }
            (Self::Decode(agent), ToNode::Decode { ticket, prompt, .. }) => {
                agent.expect(ticket, &prompt);
            }
            (Self::Prefill(agent), ToNode::Abort { ticket }) => agent.abort(ticket, out),
            (Self::Decode(agent), ToNode::Abort { ticket }) => agent.abort(ticket, out),
            (Self::Coupled(agent), ToNode::Abort { ticket }) => agent.abort(ticket, out),
            (Self::Prefill(agent), ToNode::Stop { ticket }) => agent.stop(ticket, out),
            (Self::Decode(agent), ToNode::Stop { ticket }) => agent.stop(ticket, out),
            (Self::Coupled(agent), ToNode::Stop { ticket }) => agent.stop(ticket, out),
            (Self::Prefill(agent), ToNode::ReportCache) => agent.report_cache(out),
            (Self::Coupled(agent), ToNode::ReportCache) => agent.report_cache(out),
            // It caches nothing.
            (Self::Decode(_), ToNode::ReportCache) => {}
            (_, ToNode::SwitchRole(role)) => return Obeyed::TakeRole(role),
            (
                _,
                ToNode::Fetch { ticket, .. }
                | ToNode::Prefill { ticket, .. }
                | ToNode::Decode { ticket, .. },
            ) => return Obeyed::NotMine(ticket),
        }
        Obeyed::Done
    }

    /// The Conductor has gone: all work for it is given up; what is cached stays.
    pub fn session_ended(&mut self, out: &mut Outputs) {
        match self {
            Self::Prefill(agent) => agent.session_ended(out),
            Self::Decode(agent) => agent.session_ended(out),
            Self::Coupled(agent) => agent.session_ended(out),
        }
    }

    /// True if it has no work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Prefill(agent) => agent.is_idle(),
            Self::Decode(agent) => agent.is_idle(),
            Self::Coupled(agent) => agent.is_idle(),
        }
    }
}
