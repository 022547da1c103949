//! Which decode node a request goes to.
//!
//! A node with room for the request's KV goes before any without. If none has room, the first in order takes it all
//! the same: the request then waits there, in DRAM, until HBM is free. Turning it away instead is for admission.

use crate::books::DecodeBooks;
use crate::ids::NodeId;
use crate::units::Tokens;
use alloc::boxed::Box;

/// Chooses a decode node.
pub trait DecodePolicy: Send {
    /// The choice for a request that holds `tokens`, or `None` if no decode node can ever hold it.
    fn place(&self, books: &DecodeBooks, tokens: Tokens) -> Option<NodeId>;
}

/// The first node, in the order in which the books are kept, that has room.
#[derive(Clone, Copy, Debug)]
pub struct FirstWithRoom;

impl DecodePolicy for FirstWithRoom {
    fn place(&self, books: &DecodeBooks, tokens: Tokens) -> Option<NodeId> {
        let nodes = || books.in_order().filter(|&node| books.takes_kv(node));
        let room = nodes().find(|&node| books.has_room(node, tokens));
        room.or_else(|| nodes().find(|&node| tokens <= books.capacity(node)))
    }
}

/// The built-in policy. Both selections are one: what differs is the order in which books are kept.
#[must_use]
pub fn build() -> Box<dyn DecodePolicy> {
    Box::new(FirstWithRoom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClusterConfig, DecodeSelect};
    use alloc::vec::Vec;

    #[test]
    fn room_goes_before_load_and_load_before_number() {
        let costs = ClusterConfig::built_in("1p3d")
            .expect("built in")
            .estimate();
        let nodes: Vec<NodeId> = (1..4).map(NodeId).collect();
        let policy = build();
        for better in [DecodeSelect::LeastLoaded, DecodeSelect::LeastTbt] {
            let capacity = Vec::from([Tokens(0), Tokens(100), Tokens(100), Tokens(1_000)]);
            let mut books = DecodeBooks::new(capacity, Vec::from([false; 4]), better);
            for &node in &nodes {
                books.node_up(node, &costs);
            }
            assert_eq!(
                policy.place(&books, Tokens(50)),
                Some(nodes[0]),
                "all are equal"
            );
            books.reserve(nodes[0], Tokens(10), &costs);
            assert_eq!(
                policy.place(&books, Tokens(50)),
                Some(nodes[1]),
                "the first has a request"
            );
            assert_eq!(
                policy.place(&books, Tokens(500)),
                Some(nodes[2]),
                "only the last has room"
            );
            assert_eq!(
                policy.place(&books, Tokens(1_001)),
                None,
                "nobody can ever hold it"
            );
            books.reserve(nodes[2], Tokens(1_000), &costs);
            assert_eq!(
                policy.place(&books, Tokens(500)),
                Some(nodes[2]),
                "it waits where it can fit"
            );
            books.release(nodes[2], Tokens(1_000), false, &costs);
            books.release(nodes[0], Tokens(10), false, &costs);
            books.assert_empty();
        }
    }
}
