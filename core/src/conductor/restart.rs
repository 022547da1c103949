//! What is lost besides nodes: one attempt, the Conductor itself, and reports of caches.
//!
//! A Conductor that starts anew knows nothing: nodes say that they are up and what they have cached, and whoever holds
//! the clients' connections gives every request that was taken in again, as its next attempt. Nothing is carried over,
//! so nothing can be carried over wrongly; what attempts had done is lost, except for the blocks that it left in
//! caches. In a journal the restart is a fact like any: who replays it restarts as well.
//!
//! Counters go on: they are the run's, not the process's.

use super::Conductor;
use crate::action::Actions;
use crate::cost::Costs;
use crate::ids::{BlockHash, NodeId, Ticket};
use alloc::vec::Vec;

impl Conductor {
    /// Everything is forgotten but the configuration, the time, and what was counted.
    pub(super) fn restarted(&mut self) {
        let mut counters = self.counters;
        counters.lost += self.slot_of.len() as u64;
        let costs =
            core::mem::replace(&mut self.costs, Costs::new(Vec::new(), core::iter::empty()));
        let (now, seed) = (self.now, self.seed);
        *self = Self::new(self.cluster.clone(), self.policy.clone(), costs, seed);
        (self.now, self.counters) = (now, counters);
    }

    /// An attempt cannot go on where it is: it is given up and asked for again.
    pub(super) fn failed(&mut self, ticket: Ticket, actions: &mut Actions) {
        if let Some(slot) = self.find(ticket) {
            self.lose(slot, actions);
        }
    }

    /// A node has said all that it has; what was known of it before is void.
    pub(super) fn cache_reported(&mut self, node: NodeId, blocks: &[BlockHash]) {
        if self.knows(node) && self.prefill_books.has_cache(node) {
            self.index.clear_node(node);
            self.counters.unindexed_blocks += self.index.store(node, blocks);
        }
    }
}
