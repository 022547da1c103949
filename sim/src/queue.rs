//! What happens next: one entry for each thing that can happen, in the order that the core specifies
//! ([`conductor_core::instant`]).

use crate::heap::IndexedHeap;
pub use conductor_core::instant::Source;
use conductor_core::units::Nanos;

/// The next event of each source.
#[derive(Clone, Debug)]
pub struct EventQueue {
    heap: IndexedHeap<Nanos>,
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
        let (at, place) = self.heap.peek()?;
        Some((at, Source::at(place, self.nodes)))
    }

    /// The source's next event is at `at`; `None`: it has none.
    pub fn set(&mut self, source: Source, at: Option<Nanos>) {
        let place = source.place(self.nodes);
        match at {
            Some(at) => self.heap.set(place, at),
            None => self.heap.remove(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::ids::NodeId;

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
