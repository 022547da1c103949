//! The smallest predicted TTFT: the paper's Algorithm 1, and its local form.
//!
//! For each node `i` with a local match of `m_i` blocks, and the best match of any node `best`:
//! if `best / m_i` is above the balancing threshold the node would fetch the rest, `cost_i = T_transfer(best - m_i) +
//! T_queue(i) + T_prefill(len, best)`; else it uses its own, `cost_i = T_queue(i) + T_prefill(len, m_i)`. The
//! smallest
//! cost wins, and what was fetched stays (FAST'25 Algorithm 1; `m_i = 0` is not defined there: here the ratio is then
//! infinite if anybody has anything). *Local* cache-aware is the same without fetching.
//!
//! Costs depend on a node only through its match and its queue. Nodes with matches of their own are scored one
//! by one;
//! the crowd that shares a match (or has none) is walked in order of its queues, and the walk ends where no
//! later node
//! can win. The result is that of scoring every node; a test holds it to that.

use super::{Placement, PrefillContext, PrefillPolicy};
use crate::ids::NodeId;
use crate::units::Nanos;

/// Algorithm 1 and its local form.
#[derive(Clone, Copy, Debug)]
pub struct LeastTtft {
    /// Nodes are compared with what each has itself, whatever the chosen one fetches then.
    pub(super) local: bool,
}

/// A candidate's rank: predicted TTFT, then when it is free, then its number.
type Rank = (Nanos, Nanos, NodeId);

impl PrefillContext<'_> {
    /// Transfer and prefill of a node with `local` own blocks: what does not depend on its queue.
    fn work(&self, policy: LeastTtft, node: NodeId, local: u32) -> Nanos {
        let reuse = if policy.local {
            local
        } else {
            self.reuse(local)
        };
        self.transfer(node, local, reuse) + self.prefill(node, reuse)
    }

    fn rank(&self, policy: LeastTtft, node: NodeId, local: u32) -> Rank {
        let ttft = self.work(policy, node, local) + self.books.queue(node, self.now);
        (ttft, self.books.free_at(node), node)
    }
}

impl PrefillPolicy for LeastTtft {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let policy = *self;
        let few = cx
            .matches
            .few()
            .iter()
            .filter(|entry| cx.books.is_up(entry.0));
        let mut winner = few.map(|&(node, local)| cx.rank(policy, node, local)).min();
        // The least that transfer and prefill can take for any node that is not among the few: the smallest over the
        // crowds' depths and over the kinds of nodes.
        let least_work = cx.costs.representatives().flat_map(|node| {
            let depths = cx
                .matches
                .levels()
                .iter()
                .map(|level| level.depth)
                .chain([0]);
            depths.map(move |depth| cx.work(policy, node, depth))
        });
        let least_work = least_work.min()?;
        for node in cx.books.by_free() {
            let free_at = cx.books.free_at(node);
            let bound = (free_at.saturating_sub(cx.now) + least_work, free_at, node);
            if winner.is_some_and(|rank| bound > rank) {
                break;
            }
            let rank = cx.rank(policy, node, cx.matches.depth_of(node));
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
            let mut policy = LeastTtft { local };
            let placed = policy.place(&cx).expect("nodes are up");
            prop_assert_eq!(Some(cx.longest), held.iter().map(|&held| held.min(blocks)).max());
            let all = (0..8).map(NodeId).map(|node| cx.rank(policy, node, held[node.index()].min(blocks)));
            let least = all.min().expect("eight nodes");
            prop_assert_eq!(placed.node, least.2);
            prop_assert!(local || placed.ttft(Nanos::ZERO) == least.0);
            prop_assert_eq!(placed.source.is_some(), placed.reuse > placed.local);
        }
    }
}
