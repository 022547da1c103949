//! Nodes kept in order of a key.
//!
//! Why: with a thousand nodes a decision must not score each. Kept in order, the best node is the first, and a scan
//! can stop as soon as no later node can win.

use crate::ids::NodeId;
use crate::sorted::{Entry, Sorted};
use alloc::vec;
use alloc::vec::Vec;

/// A node's key: compared as a pair, then by node number.
pub type Key = (u64, u64);

impl Entry for (Key, NodeId) {
    type Key = Self;
    type Sum = ();

    fn key(&self) -> Self {
        *self
    }

    fn sum(&self) {}
}

/// A set of nodes, ascending by (key, node).
#[derive(Clone, Debug)]
pub struct NodeOrder {
    order: Sorted<(Key, NodeId)>,
    keys: Vec<Option<Key>>,
}

impl NodeOrder {
    /// An empty set for nodes below `nodes`.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let mut order = Sorted::default();
        order.keep_room_for(nodes);
        Self {
            order,
            keys: vec![None; nodes],
        }
    }

    /// The nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.entries().map(|(_, node)| node)
    }

    /// The nodes, ascending, each with its key.
    pub fn entries(&self) -> impl Iterator<Item = (Key, NodeId)> + '_ {
        self.order.iter().copied()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if the node is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.key(node).is_some()
    }

    /// The key of a node, if it is in the set.
    #[must_use]
    pub fn key(&self, node: NodeId) -> Option<Key> {
        self.keys.get(node.index()).copied().flatten()
    }

    /// Puts a node in.
    pub fn insert(&mut self, node: NodeId, key: Key) {
        let before = self.keys[node.index()].replace(key);
        assert!(before.is_none(), "{node} is in the order already");
        self.order.insert((key, node));
    }

    /// Takes a node out, if it is in.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(key) = self.key(node) {
            self.order.remove((key, node));
            self.keys[node.index()] = None;
        }
    }

    /// Gives a node a new key, if it is in.
    pub fn update(&mut self, node: NodeId, key: Key) {
        if let Some(old) = self.key(node).filter(|&old| old != key) {
            self.order.replace((old, node), (key, node));
            self.keys[node.index()] = Some(key);
        }
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
                prop_assert!(order.iter().eq(slow.iter().map(|entry| entry.1)));
                prop_assert_eq!(order.len(), slow.len());
            }
        }
    }
}
