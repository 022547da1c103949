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

pub use coupled::CoupledAgent;
pub use coupled::PieceOf;
pub use decode::{DecodeAgent, InBatch, Made};
pub use prefill::{Pins, PrefillAgent};

use crate::protocol::{FromNode, Prompt};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_core::node::{CoupledRun, DecodeRun, PrefillRun};
use conductor_core::units::Tokens;
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
