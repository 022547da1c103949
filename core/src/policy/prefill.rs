//! Which prefill node a request goes to.
//!
//! The common tie rule: the node that is predicted to be free first (among idle nodes: the one that has been idle
//! longest), then the lowest number. All policies reuse what the chosen node has cached; they differ in the choice.

mod least_ttft;
mod simple;

use crate::books::PrefillBooks;
use crate::config::{ClusterConfig, PrefillConfig, ReplicationConfig};
use crate::cost::Costs;
use crate::ids::NodeId;
use crate::index::Matches;
use crate::rng::Stream;
use crate::units::{Nanos, Tokens};
use alloc::boxed::Box;

pub use least_ttft::LeastTtft;
pub use simple::{LeastLoaded, LeastQueued, Random, RoundRobin};

/// Chooses a prefill node.
pub trait PrefillPolicy: Send {
    /// The choice, or `None` if no prefill node is up.
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement>;
}

/// What a prefill policy may look at.
pub struct PrefillContext<'a> {
    /// Now.
    pub now: Nanos,
    /// Prompt length.
    pub input: Tokens,
    /// Which nodes hold how much of the prompt.
    pub matches: &'a Matches,
    /// What is promised to the nodes.
    pub books: &'a PrefillBooks,
    /// What work is estimated to cost.
    pub costs: &'a Costs,
    /// The nodes.
    pub cluster: &'a ClusterConfig,
}

/// Where a prompt goes and what that is predicted to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Leading blocks that the node has itself.
    pub local: u32,
    /// Leading blocks that it reuses; more than `local` if `source` sends the rest.
    pub reuse: u32,
    /// Who sends blocks `local .. reuse`.
    pub source: Option<NodeId>,
    /// Predicted time of that copy.
    pub transfer: Nanos,
    /// Predicted wait for the work that is queued before.
    pub queue: Nanos,
    /// Predicted time of the prefill itself.
    pub prefill: Nanos,
}

impl Placement {
    /// Predicted time to first token (Algorithm 1: transfer, queue and prefill add up), hand-over included.
    #[must_use]
    pub fn ttft(&self, schedule: Nanos) -> Nanos {
        schedule + self.transfer + self.queue + self.prefill
    }
}

impl PrefillContext<'_> {
    /// Tokens that `blocks` leading blocks save. At least one token is always computed: it makes the first answer
    /// token.
    #[must_use]
    pub fn cached_tokens(&self, blocks: u32) -> Tokens {
        cached_tokens(self.cluster.block, self.input, blocks)
    }

    /// Predicted prefill time on `node` with `blocks` reused.
    #[must_use]
    pub fn prefill(&self, node: NodeId, blocks: u32) -> Nanos {
        self.costs
            .of(node)
            .prefill(self.input, self.cached_tokens(blocks))
    }

    /// Predicted time to copy the blocks from `local` to `reuse` to `node`. What else the NICs carry is not known here.
    #[must_use]
    pub fn transfer(&self, node: NodeId, local: u32, reuse: u32) -> Nanos {
        let profile = self.cluster.profile_of(node);
        let tokens = self.cached_tokens(reuse) - self.cached_tokens(local);
        let bytes = u128::from(tokens.0) * u128::from(profile.kv_bytes_per_token.0);
        Nanos((bytes * 1_000_000_000 / u128::from(profile.nic_bytes_per_s)) as u64)
    }

    /// The placement on `node` with what it has itself.
    #[must_use]
    pub fn local_placement(&self, node: NodeId) -> Placement {
        let local = self.matches.depth_of(node);
        Placement {
            node,
            local,
            reuse: local,
            source: None,
            transfer: Nanos::ZERO,
            queue: self.books.queue(node, self.now),
            prefill: self.prefill(node, local),
        }
    }
}

/// Tokens that `blocks` leading blocks of `block` tokens save for a prompt of `input`: all but one at most.
#[must_use]
pub fn cached_tokens(block: Tokens, input: Tokens, blocks: u32) -> Tokens {
    Tokens((block.0 * u64::from(blocks)).min(input.0 - 1))
}

/// The policy that the file names. Random draws come from the stream `prefill-policy` of the run's seed.
#[must_use]
pub fn build(
    config: PrefillConfig,
    replication: ReplicationConfig,
    seed: u64,
) -> Box<dyn PrefillPolicy> {
    match config {
        PrefillConfig::Random => Box::new(Random::new(Stream::new(seed, "prefill-policy"))),
        PrefillConfig::RoundRobin => Box::new(RoundRobin::default()),
        PrefillConfig::LeastLoaded => Box::new(LeastLoaded),
        PrefillConfig::LeastQueued => Box::new(LeastQueued),
        PrefillConfig::LocalCacheAware => Box::new(LeastTtft::local()),
        PrefillConfig::KvcacheCentric {
            balancing_threshold,
        } => match replication {
            ReplicationConfig::LeaveCopy => Box::new(LeastTtft::global(balancing_threshold)),
            ReplicationConfig::Off => Box::new(LeastTtft::local()),
        },
    }
}
