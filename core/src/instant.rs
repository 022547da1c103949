//! The order of one instant: who goes first among things that happen at the same time.
//!
//! It is part of the specification, because decisions depend on it: completions (nodes by number, then the network,
//! then deliveries), then faults and what follows from them (what is done at that instant is done), then arrivals, then
//! samples. Arrivals of one instant are first those of the workload, in its order, then clients that come again, by the
//! number of their request: who is new does not wait behind who was turned away, and the workload's own order is the
//! same whether clients try again or not. Nothing depends on the order in which entries were made.
//!
//! A simulator's queue and a runtime on a virtual clock both sort by it. A runtime in real time never needs to: it
//! takes facts as they come, and no two come at once.

use crate::ids::NodeId;

/// Who has something to happen. In the order of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A node's step or prefill ends.
    Node(NodeId),
    /// The first flow of the network ends.
    Network,
    /// The first dispatched request reaches its node.
    Delivery,
    /// A fault begins or is over, or something that follows from one is due.
    Fault,
    /// The next request arrives.
    Arrival,
    /// The next client that was turned away comes again.
    Retry,
    /// The next sample is due.
    Sample,
}

impl Source {
    /// Sources of a cluster of `nodes`.
    #[must_use]
    pub const fn count(nodes: u32) -> u32 {
        nodes + 6
    }

    /// The source's place in the order of one instant, dense from 0, in a cluster of `nodes`.
    #[must_use]
    pub const fn place(self, nodes: u32) -> u32 {
        match self {
            Self::Node(node) => node.0 as u32,
            Self::Network => nodes,
            Self::Delivery => nodes + 1,
            Self::Fault => nodes + 2,
            Self::Arrival => nodes + 3,
            Self::Retry => nodes + 4,
            Self::Sample => nodes + 5,
        }
    }

    /// The source at a place.
    #[must_use]
    pub const fn at(place: u32, nodes: u32) -> Self {
        match place.checked_sub(nodes) {
            None => Self::Node(NodeId(place as u16)),
            Some(0) => Self::Network,
            Some(1) => Self::Delivery,
            Some(2) => Self::Fault,
            Some(3) => Self::Arrival,
            Some(4) => Self::Retry,
            Some(_) => Self::Sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dense_and_in_order() {
        let nodes = 3;
        let sources: alloc::vec::Vec<_> = (0..Source::count(nodes))
            .map(|place| Source::at(place, nodes))
            .collect();
        assert!(sources.is_sorted_by(|a, b| a < b));
        for (place, source) in sources.into_iter().enumerate() {
            assert_eq!(source.place(nodes), place as u32);
        }
    }
}
