//! What happens next: one entry for each thing that can happen, in the specified order.
//!
//! The order of one instant is part of the specification: completions (nodes by number, then the network, then
//! deliveries), then faults and what follows from them (what is done at that instant is done), then arrivals, then
//! samples. Arrivals of one instant are first those of the workload, in its order,
//! then clients that come again, by the number of their request: who is new does not wait behind who was turned away,
//! and the workload's own order is the same whether clients try again or not. Nothing depends on the order in which
//! entries were made.

use crate::heap::IndexedHeap;
use conductor_core::ids::NodeId;
use conductor_core::units::Nanos;

/// Who has something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The rank of a source at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Completion,
    Fault,
    Arrival,
    Telemetry,
}

/// The next event of each source.
#[derive(Clone, Debug)]
pub struct EventQueue {
    heap: IndexedHeap<(Nanos, Phase)>,
    nodes: u32,
}

impl EventQueue {
    /// Nothing is due in a cluster of `nodes`.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            heap: IndexedHeap::default(),
            nodes: nodes as u32,
        }
    }

    /// What is next, and when.
    #[must_use]
    pub fn peek(&self) -> Option<(Nanos, Source)> {
        let ((at, _), member) = self.heap.peek()?;
        let source = match member.checked_sub(self.nodes) {
            None => Source::Node(NodeId(member as u16)),
            Some(0) => Source::Network,
            Some(1) => Source::Delivery,
            Some(2) => Source::Fault,
            Some(3) => Source::Arrival,
            Some(4) => Source::Retry,
            Some(_) => Source::Sample,
        };
        Some((at, source))
    }

    /// The source's next event is at `at`; `None`: it has none.
    pub fn set(&mut self, source: Source, at: Option<Nanos>) {
        let (member, phase) = match source {
            Source::Node(node) => (u32::from(node.0), Phase::Completion),
            Source::Network => (self.nodes, Phase::Completion),
            Source::Delivery => (self.nodes + 1, Phase::Completion),
            Source::Fault => (self.nodes + 2, Phase::Fault),
            Source::Arrival => (self.nodes + 3, Phase::Arrival),
            Source::Retry => (self.nodes + 4, Phase::Arrival),
            Source::Sample => (self.nodes + 5, Phase::Telemetry),
        };
        match at {
            Some(at) => self.heap.set(member, (at, phase)),
            None => self.heap.remove(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_has_one_order() {
        let mut queue = EventQueue::new(2);
        let order = [
            Source::Node(NodeId(0)),
            Source::Node(NodeId(1)),
            Source::Network,
            Source::Delivery,
            Source::Fault,
            Source::Arrival,
            Source::Retry,
            Source::Sample,
        ];
        for &source in order.iter().rev() {
            queue.set(source, Some(Nanos(5)));
        }
        for source in order {
            assert_eq!(queue.peek(), Some((Nanos(5), source)));
            queue.set(source, None);
        }
        assert_eq!(queue.peek(), None);
    }
}
