//! Work and memory promised to decode nodes.

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
    /// Nodes that are up, by requests assigned, then by tokens reserved.
    by_count: NodeOrder,
    /// Nodes that are up, by predicted step time with one request more, then by tokens reserved.
    by_tbt: NodeOrder,
}

impl DecodeBooks {
    /// Empty books; `capacity` is each node's, whatever its role, for it may change. None is up.
    #[must_use]
    pub fn new(capacity: Vec<Tokens>, coupled: Vec<bool>) -> Self {
        let nodes = capacity.len();
        Self {
            assigned: vec![0; nodes],
            reserved: vec![Tokens::ZERO; nodes],
            decoding: vec![0; nodes],
            decoding_tokens: vec![Tokens::ZERO; nodes],
            capacity,
            coupled,
            by_count: NodeOrder::new(nodes),
            by_tbt: NodeOrder::new(nodes),
        }
    }

    /// Nodes that are up, ascending by requests assigned, then tokens reserved, then number.
    #[must_use]
    pub fn by_count(&self) -> &[NodeId] {
        self.by_count.as_slice()
    }

    /// Nodes that are up, ascending by predicted step time with one request more (its own tokens, which add the same
    /// everywhere, aside), then tokens reserved, then number.
    #[must_use]
    pub fn by_tbt(&self) -> &[NodeId] {
        self.by_tbt.as_slice()
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
        self.by_count.contains(node)
    }

    /// The node is there, without work.
    pub fn node_up(&mut self, node: NodeId, costs: &Costs) {
        if !self.is_up(node) {
            self.by_count.insert(node, self.count_key(node));
            self.by_tbt.insert(node, self.tbt_key(node, costs));
        }
    }

    /// The node takes no more work. What is booked stays until it is struck out.
    pub fn node_down(&mut self, node: NodeId) {
        self.by_count.remove(node);
        self.by_tbt.remove(node);
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
        self.by_count.update(node, self.count_key(node));
        self.by_tbt.update(node, self.tbt_key(node, costs));
    }

    fn count_key(&self, node: NodeId) -> (u64, u64) {
        (u64::from(self.assigned(node)), self.reserved(node).0)
    }

    fn tbt_key(&self, node: NodeId, costs: &Costs) -> (u64, u64) {
        let step = costs
            .of(node)
            .decode_step(self.assigned(node) + 1, self.reserved(node));
        (step.0, self.reserved(node).0)
    }
}
