//! Events: facts that a driver tells the Conductor, in the past tense.
//!
//! What is not here matters: no event carries a request's true answer length before its end, so no decision can
//! use it. The one exception is asked for by name: the oracle predictor, a bound that no policy reaches. Block
//! lists are borrowed, or owned when an event comes from a journal.

use crate::config::Role;
use crate::digest::Digest;
use crate::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket, WorkflowId};
use crate::units::{Nanos, Tokens};
use alloc::borrow::Cow;
use serde::{Deserialize, Serialize};

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event<'a> {
    /// A request has come in. Its first attempt has number 0; after a `Resubmit` it comes again with the next one.
    Arrived {
        /// Who, and which attempt.
        ticket: Ticket,
        /// Prompt length, at least 1.
        input: Tokens,
        /// The prompt's blocks, front to back; none if nothing is known of prefixes.
        blocks: Cow<'a, [BlockHash]>,
        /// The true answer length. A driver tells it to the oracle predictor alone, as a bound; nothing else
        /// may read it.
        answer: Option<Tokens>,
        /// What kind of request it is.
        #[serde(default, skip_serializing_if = "ClassId::is_first")]
        class: ClassId,
        /// What it is a step of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workflow: Option<WorkflowId>,
    },
    /// A prefill node has begun to compute a request.
    PrefillStarted {
        /// Whose.
        ticket: Ticket,
        /// Tokens of the prompt that are reused, here.
        cached: Tokens,
    },
    /// A prefill node has made the first token.
    PrefillFinished {
        /// Whose.
        ticket: Ticket,
    },
    /// All KV of a request has arrived at its decode node.
    TransferFinished {
        /// Whose.
        ticket: Ticket,
    },
    /// The answer is complete.
    Finished {
        /// Whose.
        ticket: Ticket,
        /// Tokens of the answer.
        output: Tokens,
        /// Mean of the longest 10 % of its token gaps; none with a single token.
        tbt: Option<Nanos>,
    },
    /// The decode node could not hold the request after all; its prefill was in vain.
    Refused {
        /// Whose.
        ticket: Ticket,
    },
    /// The attempt cannot go on where it is, for no fault of its own: its KV did not get through, or an engine dropped
    /// it.
    Failed {
        /// Whose.
        ticket: Ticket,
    },
    /// The client has gone.
    Cancelled {
        /// Whose request.
        request: RequestId,
    },
    /// A node's cache has new blocks.
    BlocksStored {
        /// Whose cache.
        node: NodeId,
        /// What is new.
        blocks: Cow<'a, [BlockHash]>,
    },
    /// A node's cache has given up blocks.
    BlocksEvicted {
        /// Whose cache.
        node: NodeId,
        /// What has gone.
        blocks: Cow<'a, [BlockHash]>,
    },
    /// All that a node's cache has, front to back within a prompt; what was said of it before is void. A node says this
    /// when a report of it may have been lost, and to a Conductor that has restarted.
    CacheReported {
        /// Whose cache.
        node: NodeId,
        /// What is in it.
        blocks: Cow<'a, [BlockHash]>,
    },
    /// A node is there, with an empty cache and no work.
    NodeUp {
        /// Which.
        node: NodeId,
    },
    /// A node is gone, and with it its cache and its work.
    NodeDown {
        /// Which.
        node: NodeId,
    },
    /// A node that was ordered to switch has its new role, with an empty cache and no work.
    RoleChanged {
        /// Which.
        node: NodeId,
        /// What it does now.
        role: Role,
    },
    /// The Conductor has started anew and knows nothing of what was said before. The driver has ended all attempts; it
    /// goes on with `NodeUp` and `CacheReported` of the nodes, which have the roles of the cluster file, and gives
    /// every request that was in the system in again, with its next attempt.
    Restarted,
}

impl Event<'_> {
    /// Mixes the event into a journal's digest, field by field in the order of declaration.
    pub fn digest(&self, digest: &mut Digest) {
        match self {
            Self::Arrived {
                ticket,
                input,
                blocks,
                answer,
                class,
                workflow,
            } => {
                // A tag of its own for what most requests do not have: their digests are those of earlier versions.
                let plain = class.is_first() && workflow.is_none();
                digest.word(if plain { 1 } else { 100 });
                digest.ticket(*ticket).word(input.0).blocks(blocks);
                digest.option(answer.map(|answer| answer.0));
                if !plain {
                    digest.word(u64::from(class.0));
                    digest.option(workflow.map(|workflow| workflow.0));
                }
            }
            Self::PrefillStarted { ticket, cached } => {
                digest.word(2).ticket(*ticket).word(cached.0);
            }
            Self::PrefillFinished { ticket } => {
                digest.word(3).ticket(*ticket);
            }
            Self::TransferFinished { ticket } => {
                digest.word(4).ticket(*ticket);
            }
            Self::Finished {
                ticket,
                output,
                tbt,
            } => {
                digest
                    .word(5)
                    .ticket(*ticket)
                    .word(output.0)
                    .option(tbt.map(|tbt| tbt.0));
            }
            Self::Refused { ticket } => {
                digest.word(6).ticket(*ticket);
            }
            Self::Cancelled { request } => {
                digest.word(7).word(request.0);
            }
            Self::BlocksStored { node, blocks } => {
                digest.word(8).word(u64::from(node.0)).blocks(blocks);
            }
            Self::BlocksEvicted { node, blocks } => {
                digest.word(9).word(u64::from(node.0)).blocks(blocks);
            }
            Self::NodeUp { node } => {
                digest.word(10).word(u64::from(node.0));
            }
            Self::NodeDown { node } => {
                digest.word(11).word(u64::from(node.0));
            }
            Self::RoleChanged { node, role } => {
                digest.word(12).word(u64::from(node.0)).word(*role as u64);
            }
            Self::CacheReported { node, blocks } => {
                digest.word(13).word(u64::from(node.0)).blocks(blocks);
            }
            Self::Failed { ticket } => {
                digest.word(14).ticket(*ticket);
            }
            Self::Restarted => {
                digest.word(15);
            }
        }
    }
}
