//! Which prefill node a request goes to.
//!
//! The common tie rule: the node that is predicted to be free first (among idle nodes: the one that has been idle
//! longest), then the lowest number. All policies reuse what the chosen node has cached, and let it fetch if they
//! have a balancing threshold; they differ in the choice.

mod least_ttft;
mod simple;

use crate::books::PrefillBooks;
use crate::config::{ClusterConfig, PrefillSelect, Ratio};
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
    /// The longest match of any node that is up, in blocks; see [`longest_match`].
    pub longest: u32,
    /// A node fetches the longest match if it is more than this many times longer than its own; `None`: never.
    pub fetch: Option<Ratio>,
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
    /// Predicted time for which it keeps the node from the next one.
    pub work: Nanos,
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
        let cached = self.cached_tokens(blocks);
        self.costs.prefill(node, self.input, cached)
    }

    /// Predicted time to copy the blocks from `local` to `reuse` to `node`. What else the NICs carry is not
    /// known here.
    #[must_use]
    pub fn transfer(&self, node: NodeId, local: u32, reuse: u32) -> Nanos {
        let profile = self.cluster.profile_of(node);
        let tokens = self.cached_tokens(reuse) - self.cached_tokens(local);
        if tokens.is_zero() {
            return Nanos::ZERO;
        }
        let bytes = u128::from(tokens.0) * u128::from(profile.kv_bytes_per_token.0);
        Nanos((bytes * 1_000_000_000 / u128::from(self.cluster.transfer_bytes_per_s(node))) as u64)
    }

    /// How many blocks a node with `local` own ones reuses: all of the longest match, if it may fetch and its
    /// own is too
    /// much shorter.
    #[must_use]
    pub fn reuse(&self, local: u32) -> u32 {
        match self.fetch {
            Some(threshold) if threshold.exceeded_by(self.longest, local) => self.longest,
            _ => local,
        }
    }

    /// The placement of this request on `node`.
    #[must_use]
    pub fn placement(&self, node: NodeId) -> Placement {
        let local = self.matches.depth_of(node);
        let reuse = self.reuse(local);
        let cached = self.cached_tokens(reuse);
        Placement {
            node,
            local,
            reuse,
            source: if reuse > local { self.source() } else { None },
            transfer: self.transfer(node, local, reuse),
            queue: self.books.queue(node, self.now),
            prefill: self.prefill(node, reuse),
            work: self.costs.occupancy(node, self.input, cached),
        }
    }

    /// Who sends: of the nodes with the longest match the one that sends the fewest copies, then the lowest number.
    fn source(&self) -> Option<NodeId> {
        let few = self
            .matches
            .few()
            .iter()
            .filter(|entry| entry.1 == self.longest)
            .map(|entry| entry.0);
        let crowds = self
            .matches
            .levels()
            .iter()
            .filter(|level| level.depth == self.longest);
        let crowd = crowds.flat_map(|level| self.matches.members(level));
        let up = few.chain(crowd).filter(|&node| self.books.is_source(node));
        up.min_by_key(|&node| (self.books.sending(node), node))
    }
}

/// The longest match of any node that can send, in blocks: those that are up, and one that drains.
#[must_use]
pub fn longest_match(matches: &Matches, books: &PrefillBooks) -> u32 {
    let few = matches
        .few()
        .iter()
        .filter(|entry| books.is_source(entry.0))
        .map(|entry| entry.1);
    let mut crowds = matches.levels().iter().rev();
    let crowd = crowds.find(|level| matches.members(level).any(|node| books.is_source(node)));
    few.max()
        .unwrap_or(0)
        .max(crowd.map_or(0, |level| level.depth))
}

/// Tokens that `blocks` leading blocks of `block` tokens save for a prompt of `input`: all but one at most.
#[must_use]
pub fn cached_tokens(block: Tokens, input: Tokens, blocks: u32) -> Tokens {
    Tokens((block.0 * u64::from(blocks)).min(input.0 - 1))
}

/// The policy that the file names. Random draws come from the stream `prefill-policy` of the run's seed.
#[must_use]
pub fn build(select: PrefillSelect, seed: u64) -> Box<dyn PrefillPolicy> {
    match select {
        PrefillSelect::Random => Box::new(Random::new(Stream::new(seed, "prefill-policy"))),
        PrefillSelect::RoundRobin => Box::new(RoundRobin::default()),
        PrefillSelect::LeastLoaded => Box::new(LeastLoaded),
        PrefillSelect::LeastQueued => Box::new(LeastQueued),
        PrefillSelect::LocalCacheAware => Box::new(LeastTtft::new(true)),
        PrefillSelect::KvcacheCentric => Box::new(LeastTtft::new(false)),
    }
}
