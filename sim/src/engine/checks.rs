//! What must hold in every run: after every event if an observer asks for it, and at the end always.

use super::{Away, Copy, Engine};
use crate::world::Node;
use conductor_core::ids::{BlockHash, NodeId};

impl Engine<'_> {
    /// True if nodes compute for nobody or reports are under way: a run with faults goes on until that is over.
    pub(super) fn is_unsettled(&self) -> bool {
        self.nodes.iter().any(Node::is_running) || self.faults.reports_are_due()
    }

    /// Asserts what must hold between events.
    pub(super) fn check(&self) {
        for node in &self.nodes {
            match node {
                Node::Prefill(node) => node.queue.check(),
                Node::Decode(node) => node.batch.check(),
                Node::Coupled(node) => node.batch.check(),
            }
        }
        self.network.check();
        let (mut flows, mut known, mut inside) = (self.writes.len(), 0, 0);
        for (request, live) in self.all_live() {
            let copy = matches!(live.copy, Copy::Sending { .. });
            let own = [&live.stream, &live.load, &live.read].map(Option::is_some);
            flows += usize::from(copy) + own.iter().filter(|&&there| there).count();
            known += usize::from(live.away.is_none());
            inside += u64::from(live.away != Some(Away::Client));
            assert!(
                live.away.is_none() || live.job.is_none() && live.sequence.is_none(),
                "request {request} is not on any node while the Conductor does not know of it"
            );
        }
        assert_eq!(
            self.network.active(),
            flows,
            "every flow belongs to a request in the system"
        );
        assert_eq!(
            self.conductor.live(),
            known,
            "the Conductor knows of every request in the system"
        );
        assert_eq!(self.number.inside(), inside, "who is inside is counted");
    }

    /// Asserts what must hold when all is over: nothing flows, nothing runs, nothing is in use, and the Conductor's
    /// picture of the caches is the truth.
    pub(super) fn assert_over(&self) {
        let writes = self.writes.len();
        assert_eq!(
            self.network.active(),
            writes,
            "nothing flows when a run ends, but to SSDs"
        );
        let index = self.conductor.index();
        let held = index.held_by_each();
        for (i, node) in self.nodes.iter().enumerate() {
            let id = NodeId(i as u16);
            assert!(!node.is_running(), "{id} runs when the run ends");
            let (pinned, blocks): (usize, Vec<BlockHash>) = match node {
                Node::Prefill(node) => {
                    assert_eq!(node.queue.queued(), 0, "nobody waits at {id}");
                    let cache = node.queue.cache();
                    (cache.dram().pinned(), cache.blocks().collect())
                }
                Node::Coupled(node) => {
                    assert!(node.batch.is_idle(), "nobody waits at {id}");
                    let cache = node.batch.cache();
                    (cache.pinned(), cache.blocks().collect())
                }
                Node::Decode(_) => continue,
            };
            assert_eq!(pinned, 0, "no block of {id} is in use");
            let leaves = self.conductor.leaving().is_some_and(|(node, _)| node == id);
            // An index that is full does not have all.
            let whole = self.conductor.counters().unindexed_blocks == 0;
            if self.faults.is_alive(id) && whole && !leaves {
                assert_eq!(held[i], blocks.len(), "blocks of {id} in the index");
                let mut blocks = blocks.into_iter();
                assert!(blocks.all(|block| index.holds(id, block)), "blocks of {id}");
            }
        }
    }
}
