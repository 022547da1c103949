//! What the Conductor's side and a node say to each other: orders down, facts up.
//!
//! Plain data without a wire form: the same messages go through gRPC to a node in another process and by a function
//! call to one on a virtual clock. A node's messages come in the order in which it made them; between nodes there is no
//! order, which the driver makes up for.
//!
//! Not here: KV, which goes from node to node, and addresses, which are the links' business.

use conductor_core::config::Role;
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_core::units::Tokens;
use std::sync::Arc;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the likeliest.
    pub temperature: f32,
    /// Of the random numbers, one for each position: the same request with the same seed has the same answer, wherever
    /// and beside whomever it runs.
    pub seed: u64,
    /// Go on when the model says that it has ended.
    pub ignore_end: bool,
}

impl Sampling {
    /// The likeliest token each time, until the model ends.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        seed: 0,
        ignore_end: false,
    };
}

/// On what a request's KV depends besides its tokens. The names of its blocks have it in them; engines that name blocks
/// by themselves must be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The adapter.
    pub adapter: Option<Arc<str>>,
    /// What keeps the client's cache apart.
    pub salt: Option<Arc<str>>,
}

/// What a client asked for, as nodes need it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Prompt length; the length of `tokens` where there are any.
    pub input: Tokens,
    /// The tokens themselves; none where engines only take the time that a model would.
    pub tokens: Arc<[u32]>,
    /// Hashes of the prompt's whole blocks, front to back.
    pub blocks: Arc<[BlockHash]>,
    /// What is in those names besides the tokens. Not sent to nodes of this project, which need the names alone.
    pub space: Space,
    /// Tokens of the answer at most; at least 1.
    pub output_max: Tokens,
    /// How they are chosen.
    pub sampling: Sampling,
}

/// Blocks that a prefill node gets from another before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Who has them.
    pub from: NodeId,
    /// The first of the prompt's blocks to get.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// To a node.
#[derive(Clone, Debug, PartialEq)]
pub enum ToNode {
    /// Get blocks of a prompt; its `Prefill` follows and waits for them.
    Fetch {
        /// For whom.
        ticket: Ticket,
        /// The prompt.
        prompt: Arc<Prompt>,
        /// Which blocks.
        fetch: Fetch,
    },
    /// Compute a prompt, and send its KV to `decode` meanwhile; a coupled node (`decode` is itself) answers too.
    Prefill {
        /// Whose.
        ticket: Ticket,
        /// The prompt.
        prompt: Arc<Prompt>,
        /// Where its KV goes.
        decode: NodeId,
        /// A `Fetch` went before.
        awaits_copy: bool,
    },
    /// KV of this request will come from `prefill`; when it is complete, answer.
    Decode {
        /// Whose.
        ticket: Ticket,
        /// The prompt.
        prompt: Arc<Prompt>,
        /// Where its KV comes from.
        prefill: NodeId,
    },
    /// Stop all work for an attempt and free what it holds; nothing more is to be said of it.
    Abort {
        /// Whose.
        ticket: Ticket,
    },
    /// The answer is long enough (its client has seen what it waited for): end it as if the model had.
    Stop {
        /// Whose.
        ticket: Ticket,
    },
    /// Take another role; there is no work.
    SwitchRole(Role),
    /// Say all that the cache has.
    ReportCache,
}

/// From a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNode {
    /// A prompt is being computed.
    Started {
        /// Whose.
        ticket: Ticket,
        /// Tokens that are reused.
        cached: Tokens,
    },
    /// A prompt is computed: the answer's first token.
    FirstToken {
        /// Whose.
        ticket: Ticket,
        /// The token.
        token: u32,
    },
    /// All KV has arrived at the decode node.
    Received {
        /// Whose.
        ticket: Ticket,
    },
    /// One more token of the answer.
    Token {
        /// Whose.
        ticket: Ticket,
        /// Counted from the answer's first token, which is 0.
        position: u64,
        /// The token.
        token: u32,
    },
    /// The answer is complete.
    Ended {
        /// Whose.
        ticket: Ticket,
        /// Tokens of the answer.
        output: Tokens,
        /// Why it ended.
        reason: EndReason,
    },
    /// The decode node cannot hold the request.
    Refused {
        /// Whose.
        ticket: Ticket,
    },
    /// The attempt cannot go on here.
    Failed {
        /// Whose.
        ticket: Ticket,
        /// In words, for the log.
        why: String,
    },
    /// The cache gave up blocks, then has new ones.
    Cache {
        /// Counted from 0 since the node came up; a missing number means a lost report.
        report: u64,
        /// What has gone.
        evicted: Vec<BlockHash>,
        /// What is new.
        stored: Vec<BlockHash>,
    },
    /// All that the cache has; what was reported before is void.
    WholeCache {
        /// As of [`FromNode::Cache`].
        report: u64,
        /// What is in it.
        blocks: Vec<BlockHash>,
    },
    /// The node has the role that it was ordered to take.
    RoleChanged(Role),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The model said so, or a stop condition was met.
    Stop,
    /// It is as long as was asked for.
    Length,
}
