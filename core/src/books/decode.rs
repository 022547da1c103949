//! Work and memory promised to decode nodes.

use crate::config::DecodeSelect;
use crate::cost::Costs;
use crate::ids::NodeId;
use crate::order::NodeOrder;
use crate::units::{Nanos, Tokens};
use alloc::vec;
use alloc::vec::Vec;

/// Books of all decode nodes; columns are indexed by node, those of other roles stay zero, but for the capacity.
#[derive(Clone, Debug)]
pub struct DecodeBooks {
    /// Requests placed on the node that have not ended, wherever they are now.
    assigned: Vec<u32>,
    /// KV tokens held for them.
    reserved: Vec<Tokens>,
    /// Those whose KV has arrived.
    decoding: Vec<u32>,
    /// KV tokens held for these.
    decoding_tokens: Vec<Tokens>,
    /// KV tokens that fit.
    capacity: Vec<Tokens>,
    /// Coupled nodes, which decode what they have computed themselves and take no other's KV.
    coupled: Vec<bool>,
    /// Nodes that are up, by number.
    up: Vec<NodeId>,
    /// Nodes that are up, the better ones first.
    order: NodeOrder,
    /// Which are better.
    better: DecodeSelect,
}

impl DecodeBooks {
    /// Empty books; `capacity` is each node's, whatever its role, for it may change. None is up. `better` says in which
    /// order they are kept.
    #[must_use]
    pub fn new(capacity: Vec<Tokens>, coupled: Vec<bool>, better: DecodeSelect) -> Self {
        let nodes = capacity.len();
        Self {
            assigned: vec![0; nodes],
            reserved: vec![Tokens::ZERO; nodes],
            decoding: vec![0; nodes],
            decoding_tokens: vec![Tokens::ZERO; nodes],
            capacity,
            coupled,
            up: Vec::with_capacity(nodes),
            order: NodeOrder::new(nodes),
            better,
        }
    }

    /// Nodes that are up, ascending by number.
    #[must_use]
    pub fn up(&self) -> &[NodeId] {
        &self.up
    }

    /// Nodes that are up, the better ones first. *Least loaded*: ascending by requests assigned. *Least TBT*: by
    /// predicted step time with one request more (its own tokens, which add the same everywhere, aside). Then by tokens
    /// reserved, then by number.
    pub fn in_order(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.order.iter()
    }

    /// Requests placed on the node that have not ended.
    #[must_use]
    pub fn assigned(&self, node: NodeId) -> u32 {
        self.assigned[node.index()]
    }

    /// KV tokens held on the node.
    #[must_use]
    pub fn reserved(&self, node: NodeId) -> Tokens {
        self.reserved[node.index()]
    }

    /// Requests that are decoding, and the KV tokens held for them.
    #[must_use]
    pub fn decoding(&self, node: NodeId) -> (u32, Tokens) {
        (
            self.decoding[node.index()],
            self.decoding_tokens[node.index()],
        )
    }

    /// KV tokens that fit on the node.
    #[must_use]
    pub fn capacity(&self, node: NodeId) -> Tokens {
        self.capacity[node.index()]
    }

    /// True if `tokens` more would fit beside what is reserved.
    #[must_use]
    pub fn has_room(&self, node: NodeId, tokens: Tokens) -> bool {
        self.reserved(node) + tokens <= self.capacity(node)
    }

    /// True if the node takes KV that another has computed.
    #[must_use]
    pub fn takes_kv(&self, node: NodeId) -> bool {
        !self.coupled[node.index()]
    }

    /// True if the node takes work.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.order.contains(node)
    }

    /// The node is there, without work.
    pub fn node_up(&mut self, node: NodeId, costs: &Costs) {
        if let Err(place) = self.up.binary_search(&node) {
            self.up.insert(place, node);
            self.order.insert(node, self.key(node, costs));
        }
    }

    /// The node takes no more work. What is booked stays until it is struck out.
    pub fn node_down(&mut self, node: NodeId) {
        if let Ok(place) = self.up.binary_search(&node) {
            self.up.remove(place);
            self.order.remove(node);
        }
    }

    /// Enters a request that holds `tokens`.
    pub fn reserve(&mut self, node: NodeId, tokens: Tokens, costs: &Costs) {
        self.assigned[node.index()] += 1;
        self.reserved[node.index()] += tokens;
        self.touch(node, costs);
    }

    /// A request that was entered with `tokens` has begun to decode.
    pub fn begin(&mut self, node: NodeId, tokens: Tokens) {
        self.decoding[node.index()] += 1;
        self.decoding_tokens[node.index()] += tokens;
    }

    /// A request that was entered with `tokens` has ended; `began` if it had begun to decode.
    pub fn release(&mut self, node: NodeId, tokens: Tokens, began: bool, costs: &Costs) {
        self.assigned[node.index()] -= 1;
        self.reserved[node.index()] -= tokens;
        if began {
            self.decoding[node.index()] -= 1;
            self.decoding_tokens[node.index()] -= tokens;
        }
        self.touch(node, costs);
    }

    /// Predicted time of a step of those that are decoding; zero if there are none.
    #[must_use]
    pub fn predicted_tbt(&self, node: NodeId, costs: &Costs) -> Nanos {
        match self.decoding(node) {
            (0, _) => Nanos::ZERO,
            (batch, tokens) => costs.of(node).decode_step(batch, tokens),
        }
    }

    /// Asserts that nothing is booked.
    pub fn assert_empty(&self) {
        assert!(
            self.assigned.iter().all(|&count| count == 0),
            "no request is assigned: {:?}",
            self.assigned
        );
        assert!(
            self.reserved.iter().all(|tokens| tokens.is_zero()),
            "nothing is reserved: {:?}",
            self.reserved
        );
        assert!(
            self.decoding.iter().all(|&count| count == 0),
            "nothing decodes: {:?}",
            self.decoding
        );
        assert!(
            self.decoding_tokens.iter().all(|tokens| tokens.is_zero()),
            "nothing decodes"
        );
    }

    fn touch(&mut self, node: NodeId, costs: &Costs) {
        if self.is_up(node) {
            self.order.update(node, self.key(node, costs));
        }
    }

    fn key(&self, node: NodeId, costs: &Costs) -> (u64, u64) {
        let first = match self.better {
            DecodeSelect::LeastLoaded => u64::from(self.assigned(node)),
            DecodeSelect::LeastTbt => {
                let batch = self.assigned(node) + 1;
                costs.of(node).decode_step(batch, self.reserved(node)).0
            }
        };
        (first, self.reserved(node).0)
    }
}
