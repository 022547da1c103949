//! Nodes kept in order of a key.
//!
//! Why: with a thousand nodes a decision must not score each. Kept in order, the best node is the first, and a scan
//! can stop as soon as no later node can win. An update moves one entry; the rest shifts in one small copy.

use crate::ids::NodeId;
use alloc::vec;
use alloc::vec::Vec;

/// A node's key: compared as a pair, then by node number.
pub type Key = (u64, u64);

/// A set of nodes, ascending by (key, node).
#[derive(Clone, Debug)]
pub struct NodeOrder {
    order: Vec<NodeId>,
    keys: Vec<Key>,
    present: Vec<bool>,
}

impl NodeOrder {
    /// An empty set for nodes below `nodes`.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            order: Vec::with_capacity(nodes),
            keys: vec![(0, 0); nodes],
            present: vec![false; nodes],
        }
    }

    /// The nodes, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[NodeId] {
        &self.order
    }

    /// True if the node is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.present.get(node.index()).copied().unwrap_or(false)
    }

    /// The key of a node that is in the set.
    #[must_use]
    pub fn key(&self, node: NodeId) -> Key {
        self.keys[node.index()]
    }

    /// Puts a node in.
    pub fn insert(&mut self, node: NodeId, key: Key) {
        assert!(!self.contains(node), "{node} is in the order already");
        let place = self.place(node, key);
        self.order.insert(place, node);
        self.keys[node.index()] = key;
        self.present[node.index()] = true;
    }

    /// Takes a node out, if it is in.
    pub fn remove(&mut self, node: NodeId) {
        if self.contains(node) {
            let place = self.place(node, self.key(node));
            self.order.remove(place);
            self.present[node.index()] = false;
        }
    }

    /// Gives a node a new key, if it is in.
    pub fn update(&mut self, node: NodeId, key: Key) {
        if !self.contains(node) || self.key(node) == key {
            return;
        }
        let old = self.place(node, self.key(node));
        // As if the node had been taken out: places behind it are one less.
        let new = self.place(node, key);
        self.keys[node.index()] = key;
        if new > old {
            self.order[old..new].rotate_left(1);
        } else {
            self.order[new..=old].rotate_right(1);
        }
    }

    /// Where (key, node) is, or would be.
    fn place(&self, node: NodeId, key: Key) -> usize {
        self.order
            .partition_point(|&other| (self.keys[other.index()], other) < (key, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_stays_sorted(ops in proptest::collection::vec((0_u16..12, 0_u64..6, 0_u64..3, 0..4), 1..120)) {
            let mut order = NodeOrder::new(12);
            let mut slow: Vec<(Key, NodeId)> = Vec::new();
            for (node, a, b, op) in ops {
                let node = NodeId(node);
                let known = slow.iter().position(|entry| entry.1 == node);
                match (op, known) {
                    (0, Some(i)) => {
                        slow.remove(i);
                        order.remove(node);
                    }
                    (_, Some(i)) => {
                        slow[i].0 = (a, b);
                        order.update(node, (a, b));
                    }
                    (_, None) => {
                        slow.push(((a, b), node));
                        order.insert(node, (a, b));
                    }
                }
                slow.sort();
                let nodes: Vec<NodeId> = slow.iter().map(|entry| entry.1).collect();
                prop_assert_eq!(order.as_slice(), &nodes[..]);
            }
        }
    }
}
