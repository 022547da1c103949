//! The smallest predicted TTFT: the paper's Algorithm 1, and its local form.
//!
//! For each node `i` with a local match of `m_i` blocks, and the best match of any node `best`:
//! if `best / m_i` is above the balancing threshold the node would fetch the rest, `cost_i = T_transfer(best - m_i) +
//! T_queue(i) + T_prefill(len, best)`; else it uses its own, `cost_i = T_queue(i) + T_prefill(len, m_i)`. The
//! smallest
//! cost wins, and what was fetched stays (FAST'25 Algorithm 1; `m_i = 0` is not defined there: here the ratio is then
//! infinite if anybody has anything). *Local* cache-aware is the same without fetching.
//!
//! Costs depend on a node only through its match and its queue. Nodes with matches of their own are scored one by one.
//! A crowd that shares a match (or has none) shares its cost too, but for the queues: so it is walked in order of
//! these, and is done with where no later one of it can win. All crowds are walked together, because a node's crowd is
//! found by its bits while an order for each crowd would have to be made. The result is that of scoring every node; a
//! test holds it to that.

use super::{Placement, PrefillContext, PrefillPolicy};
use crate::ids::NodeId;
use crate::index::{Matches, WideLevel};
use crate::units::Nanos;
use alloc::vec::Vec;

/// Algorithm 1 and its local form.
#[derive(Clone, Debug)]
pub struct LeastTtft {
    /// Nodes are compared with what each has itself, whatever the chosen one fetches then.
    local: bool,
    /// Scratch space: the crowds of one decision, those with a match before those with none.
    crowds: Vec<Crowd>,
}

/// Nodes with the same match.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    /// `None`: those without a match.
    level: Option<WideLevel>,
    /// The least that transfer and prefill take for any of them.
    work: Nanos,
    /// No later one of them can win.
    is_done: bool,
}

impl Crowd {
    fn depth(&self) -> u32 {
        self.level.map_or(0, |level| level.depth)
    }

    fn has(&self, matches: &Matches, node: NodeId) -> bool {
        self.level
            .is_none_or(|level| matches.in_level(&level, node))
    }
}

/// A candidate's rank: predicted TTFT, then when it is free, then its number.
type Rank = (Nanos, Nanos, NodeId);

impl PrefillContext<'_> {
    /// Transfer and prefill of a node with `own` blocks itself: what does not depend on its queue.
    fn work(&self, local: bool, node: NodeId, own: u32) -> Nanos {
        let reuse = if local { own } else { self.reuse(own) };
        self.transfer(node, own, reuse) + self.prefill(node, reuse)
    }

    fn rank(&self, local: bool, node: NodeId, own: u32) -> Rank {
        let ttft = self.work(local, node, own) + self.books.queue(node, self.now);
        (ttft, self.books.free_at(node), node)
    }

    fn crowd(&self, local: bool, level: Option<WideLevel>) -> Option<Crowd> {
        let own = level.map_or(0, |level| level.depth);
        let kinds = self.costs.representatives().iter();
        let work = kinds.map(|&node| self.work(local, node, own)).min()?;
        Some(Crowd {
            level,
            work,
            is_done: false,
        })
    }
}

impl LeastTtft {
    pub(super) const fn new(local: bool) -> Self {
        Self {
            local,
            crowds: Vec::new(),
        }
    }
}

impl PrefillPolicy for LeastTtft {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let local = self.local;
        let few = cx.matches.few();
        let up = few.iter().filter(|entry| cx.books.is_up(entry.0));
        let mut winner = up.map(|&(node, own)| cx.rank(local, node, own)).min();
        let levels = cx.matches.levels().iter().copied().map(Some).chain([None]);
        self.crowds.clear();
        self.crowds
            .extend(levels.filter_map(|level| cx.crowd(local, level)));
        let mut open = self.crowds.len();
        for (free_at, node) in cx.books.by_free_at() {
            let mut crowds = self.crowds.iter_mut();
            let crowd = crowds.find(|crowd| crowd.has(cx.matches, node));
            let crowd = crowd.expect("the last crowd is of all who are in no other");
            if crowd.is_done {
                continue;
            }
            let bound = (free_at.saturating_sub(cx.now) + crowd.work, free_at, node);
            if winner.is_some_and(|rank| bound > rank) {
                crowd.is_done = true;
                open -= 1;
                if open == 0 {
                    break;
                }
                continue;
            }
            // Who has a match of its own has been scored.
            if few.iter().any(|entry| entry.0 == node) {
                continue;
            }
            let rank = cx.rank(local, node, crowd.depth());
            if winner.is_none_or(|least| rank < least) {
                winner = Some(rank);
            }
        }
        winner.map(|(_, _, node)| cx.placement(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::PrefillBooks;
    use crate::config::{ClusterConfig, Ratio};
    use crate::ids::BlockHash;
    use crate::index::{BlockIndex, Matches};
    use crate::policy::prefill::longest_match;
    use crate::units::Tokens;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Eight nodes that compute prompts: all alike, or of several GPUs, some of them pipelines, some coupled.
    fn cluster(mixed: bool) -> ClusterConfig {
        if !mixed {
            return ClusterConfig::built_in("8p1d").expect("built in");
        }
        let groups = [
            "count = 2\nrole = \"prefill\"\nprofile = \"h100-llama3-70b-tp8\"\n",
            "count = 2\nrole = \"prefill\"\npipeline = 3\nchunk_tokens = 700\n",
            "count = 2\nrole = \"prefill\"\nprofile = \"a100-llama3-70b-tp4\"\n",
            "count = 2\nrole = \"coupled\"\n",
            "count = 1\nrole = \"decode\"\n",
        ];
        let groups = groups.map(|group| alloc::format!("[[nodes]]\n{group}"));
        ClusterConfig::parse(
            &alloc::format!("name = \"mixed\"\n{}", groups.concat()),
            &[],
        )
        .expect("valid")
    }

    proptest! {
        /// The walk with its bound gives what scoring each node gives.
        #[test]
        fn the_winner_is_the_smallest_of_all(
            held in proptest::collection::vec(0_u32..9, 8),
            work in proptest::collection::vec((0_u64..4, any::<bool>()), 8),
            blocks in 1_u32..9, now in 0_u64..6, local: bool, mixed: bool, threshold in prop_oneof![Just(None), (1000_u32..4000).prop_map(Some)],
        ) {
            let cluster = cluster(mixed);
            let costs = cluster.estimate();
            let chain: Vec<BlockHash> = (0..u64::from(blocks)).map(BlockHash).collect();
            let mut index = BlockIndex::new(9, 100, 100);
            let mut books = PrefillBooks::new(9, false);
            for (i, (&held, &(work, runs))) in held.iter().zip(&work).enumerate() {
                let node = NodeId(i as u16);
                books.node_up(node, Nanos(0));
                index.store(node, &chain[..held.min(blocks) as usize]);
                for _ in 0..work {
                    books.assign(node, Nanos(0), Nanos::SECOND, None);
                }
                if runs && work > 0 {
                    books.start(node, Nanos(0), Nanos::SECOND, Nanos::SECOND * 2);
                }
            }
            let mut matches = Matches::new(9);
            index.match_chain(&chain, &mut matches);
            let cx = PrefillContext {
                now: Nanos::SECOND * now,
                input: Tokens(u64::from(blocks) * 512),
                matches: &matches,
                longest: longest_match(&matches, &books),
                fetch: threshold.map(Ratio),
                books: &books,
                costs: &costs,
                cluster: &cluster,
            };
            let mut policy = LeastTtft::new(local);
            let placed = policy.place(&cx).expect("nodes are up");
            prop_assert_eq!(Some(cx.longest), held.iter().map(|&held| held.min(blocks)).max());
            let all = (0..8).map(NodeId).map(|node| cx.rank(local, node, held[node.index()].min(blocks)));
            let least = all.min().expect("eight nodes");
            prop_assert_eq!(placed.node, least.2);
            prop_assert!(local || placed.ttft(Nanos::ZERO) == least.0);
            prop_assert_eq!(placed.source.is_some(), placed.reuse > placed.local);
        }
    }
}
