//! The smallest predicted TTFT: the paper's Algorithm 1, and its local form.
//!
//! For each node `i` with a local match of `m_i` blocks, and the best match of any node `best`:
//! if `best / m_i` is above the balancing threshold the node would fetch the rest, `cost_i = T_transfer(best - m_i) +
//! T_queue(i) + T_prefill(len, best)`; else it uses its own, `cost_i = T_queue(i) + T_prefill(len, m_i)`. The smallest
//! cost wins, and what was fetched stays (FAST'25 Algorithm 1; `m_i = 0` is not defined there: here the ratio is then
//! infinite if anybody has anything). *Local* cache-aware is the same without fetching.
//!
//! Costs depend on a node only through its match and its queue. Nodes with matches of their own are scored one by one;
//! the crowd that shares a match (or has none) is walked in order of its queues, and the walk ends where no later node
//! can win. The result is that of scoring every node; a test holds it to that.

use super::{Placement, PrefillContext, PrefillPolicy};
use crate::config::Ratio;
use crate::ids::NodeId;
use crate::units::Nanos;

/// Algorithm 1.
#[derive(Clone, Copy, Debug)]
pub struct LeastTtft {
    /// `None`: nothing is fetched.
    threshold: Option<Ratio>,
}

/// A candidate's rank: predicted TTFT, then when it is free, then its number.
type Rank = (Nanos, Nanos, NodeId);

impl LeastTtft {
    /// Each node with what it has itself.
    #[must_use]
    pub const fn local() -> Self {
        Self { threshold: None }
    }

    /// With fetching of prefixes that are more than `threshold` times as long as a node's own.
    #[must_use]
    pub const fn global(threshold: Ratio) -> Self {
        Self {
            threshold: Some(threshold),
        }
    }

    /// How many blocks a node with `local` own ones reuses.
    fn reuse(&self, local: u32, best: u32) -> u32 {
        match self.threshold {
            Some(threshold) if threshold.exceeded_by(best, local) => best,
            _ => local,
        }
    }

    /// Transfer and prefill of a node with `local` own blocks: what does not depend on its queue.
    fn work(&self, cx: &PrefillContext<'_>, node: NodeId, local: u32, best: u32) -> (Nanos, Nanos) {
        let reuse = self.reuse(local, best);
        (cx.transfer(node, local, reuse), cx.prefill(node, reuse))
    }

    fn rank(&self, cx: &PrefillContext<'_>, node: NodeId, local: u32, best: u32) -> Rank {
        let (transfer, prefill) = self.work(cx, node, local, best);
        (
            transfer + prefill + cx.books.queue(node, cx.now),
            cx.books.free_at(node),
            node,
        )
    }
}

/// The longest match of any node that is up.
fn longest_match(cx: &PrefillContext<'_>) -> u32 {
    let few = cx
        .matches
        .few()
        .iter()
        .filter(|(node, _)| cx.books.is_up(*node))
        .map(|&(_, depth)| depth);
    let levels = cx.matches.levels().iter().rev();
    let crowd = levels.filter(|level| cx.matches.members(level).any(|node| cx.books.is_up(node)));
    few.max()
        .unwrap_or(0)
        .max(crowd.map(|level| level.depth).next().unwrap_or(0))
}

/// Who sends: of the nodes with the longest match the one that sends the fewest copies, then the lowest number.
fn source(cx: &PrefillContext<'_>, best: u32) -> Option<NodeId> {
    let few = cx
        .matches
        .few()
        .iter()
        .filter(|&&(_, depth)| depth == best)
        .map(|&(node, _)| node);
    let crowds = cx
        .matches
        .levels()
        .iter()
        .filter(|level| level.depth == best);
    let crowd = crowds.flat_map(|level| cx.matches.members(level));
    few.chain(crowd)
        .filter(|&node| cx.books.is_up(node))
        .min_by_key(|&node| (cx.books.sending(node), node))
}

impl PrefillPolicy for LeastTtft {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let best = longest_match(cx);
        let few = cx
            .matches
            .few()
            .iter()
            .filter(|(node, _)| cx.books.is_up(*node));
        let mut winner = few
            .map(|&(node, local)| (self.rank(cx, node, local, best), local))
            .min();
        // The least that transfer and prefill can take for any node that is not among the few: the smallest over the
        // crowds' depths and over the profiles. `by_free` is not empty if a node is up.
        let policy = *self;
        let least_work = cx.representatives().flat_map(|node| {
            let depths = cx
                .matches
                .levels()
                .iter()
                .map(|level| level.depth)
                .chain([0]);
            depths.map(move |depth| {
                let (transfer, prefill) = policy.work(cx, node, depth, best);
                transfer + prefill
            })
        });
        let least_work = least_work.min()?;
        for &node in cx.books.by_free() {
            let free_at = cx.books.free_at(node);
            let bound = (free_at.saturating_sub(cx.now) + least_work, free_at, node);
            if winner.is_some_and(|(rank, _)| bound > rank) {
                break;
            }
            let local = cx.matches.depth_of(node);
            let rank = self.rank(cx, node, local, best);
            if winner.is_none_or(|(least, _)| rank < least) {
                winner = Some((rank, local));
            }
        }
        let ((_, _, node), local) = winner?;
        let reuse = self.reuse(local, best);
        let (transfer, prefill) = self.work(cx, node, local, best);
        let source = if reuse > local {
            source(cx, best)
        } else {
            None
        };
        Some(Placement {
            node,
            local,
            reuse,
            source,
            transfer,
            queue: cx.books.queue(node, cx.now),
            prefill,
        })
    }
}

impl PrefillContext<'_> {
    /// One node for each profile that prefill nodes have, so that a bound over all nodes needs only these.
    fn representatives(&self) -> impl Iterator<Item = NodeId> + '_ {
        let nodes = &self.cluster.nodes;
        (0..self.costs.profiles()).filter_map(move |profile| {
            let node = nodes
                .iter()
                .position(|node| usize::from(node.profile) == profile)?;
            Some(NodeId(node as u16))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::PrefillBooks;
    use crate::config::ClusterConfig;
    use crate::ids::BlockHash;
    use crate::index::{BlockIndex, Matches};
    use crate::units::Tokens;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// The walk with its bound gives what scoring each node gives.
        #[test]
        fn the_winner_is_the_smallest_of_all(
            held in proptest::collection::vec(0_u32..9, 8),
            work in proptest::collection::vec((0_u64..4, any::<bool>()), 8),
            blocks in 1_u32..9, now in 0_u64..6, threshold in prop_oneof![Just(None), (1000_u32..4000).prop_map(Some)],
        ) {
            let cluster = ClusterConfig::built_in("8p1d").expect("built in");
            let costs = cluster.estimate();
            let chain: Vec<BlockHash> = (0..u64::from(blocks)).map(BlockHash).collect();
            let mut index = BlockIndex::new(9, 100, 100);
            let mut books = PrefillBooks::new(9);
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
                books: &books,
                costs: &costs,
                cluster: &cluster,
            };
            let mut policy = LeastTtft { threshold: threshold.map(Ratio) };
            let placed = policy.place(&cx).expect("nodes are up");
            let best = held.iter().map(|&held| held.min(blocks)).max().unwrap_or(0);
            let all = (0..8).map(NodeId).map(|node| policy.rank(&cx, node, held[node.index()].min(blocks), best));
            let least = all.min().expect("eight nodes");
            prop_assert_eq!(placed.node, least.2);
            prop_assert_eq!(placed.ttft(Nanos::ZERO), least.0);
            prop_assert_eq!(placed.source.is_some(), placed.reuse > placed.local);
        }
    }
}
