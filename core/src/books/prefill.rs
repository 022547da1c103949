//! Work promised to prefill nodes: the paper's `T_queue` is the sum of predicted prefill times of what is queued.

use crate::ids::NodeId;
use crate::order::NodeOrder;
use crate::units::Nanos;
use alloc::vec;
use alloc::vec::Vec;

/// What a node is computing: one request, on a coupled node perhaps several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    started: Nanos,
    work: Nanos,
    requests: u32,
}

/// Books of all prefill nodes; columns are indexed by node, those of other roles stay zero.
#[derive(Clone, Debug)]
pub struct PrefillBooks {
    /// Requests placed on the node whose prefill has not finished.
    assigned: Vec<u32>,
    /// Predicted work of those that have not started.
    waiting: Vec<Nanos>,
    running: Vec<Option<Running>>,
    /// When the books of the node last changed.
    changed: Vec<Nanos>,
    /// Copies that the node is sending.
    sending: Vec<u32>,
    /// Requests whose prefill has finished and whose KV is still leaving.
    streaming: Vec<u32>,
    /// The node that takes no new work but has its cache, if any.
    draining: Option<NodeId>,
    /// Nodes that are up, by number.
    up: Vec<NodeId>,
    /// Nodes that are up, by predicted time of being free.
    by_free: NodeOrder,
    /// Nodes that are up, by requests assigned, then by predicted time of being free; kept only if somebody asks.
    by_count: Option<NodeOrder>,
}

impl PrefillBooks {
    /// Empty books for a cluster of `nodes`; none is up. `with_counts` if [`Self::by_count`] will be asked for.
    #[must_use]
    pub fn new(nodes: usize, with_counts: bool) -> Self {
        Self {
            assigned: vec![0; nodes],
            waiting: vec![Nanos::ZERO; nodes],
            running: vec![None; nodes],
            changed: vec![Nanos::ZERO; nodes],
            sending: vec![0; nodes],
            streaming: vec![0; nodes],
            draining: None,
            up: Vec::with_capacity(nodes),
            by_free: NodeOrder::new(nodes),
            by_count: with_counts.then(|| NodeOrder::new(nodes)),
        }
    }

    /// Nodes that are up, ascending by number.
    #[must_use]
    pub fn up(&self) -> &[NodeId] {
        &self.up
    }

    /// True if the node takes work.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.by_free.contains(node)
    }

    /// Nodes that are up, ascending by [`Self::free_at`], then by number.
    pub fn by_free(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.by_free.iter()
    }

    /// The same, each with its [`Self::free_at`].
    pub fn by_free_at(&self) -> impl Iterator<Item = (Nanos, NodeId)> + '_ {
        let entries = self.by_free.entries();
        entries.map(|((free_at, _), node)| (Nanos(free_at), node))
    }

    /// Nodes that are up, ascending by requests assigned, then by [`Self::free_at`], then by number. None unless these
    /// are books with counts.
    pub fn by_count(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.by_count.iter().flat_map(NodeOrder::iter)
    }

    /// When the node is predicted to have done all its work, as of its last change: `queue(now) >= free_at - now`
    /// always, and for an idle node this is since when it is idle.
    #[must_use]
    pub fn free_at(&self, node: NodeId) -> Nanos {
        let i = node.index();
        let head_ends = self.running[i].map_or(self.changed[i], |head| head.started + head.work);
        head_ends + self.waiting[i]
    }

    /// Predicted time until a request that is placed now would start.
    #[must_use]
    pub fn queue(&self, node: NodeId, now: Nanos) -> Nanos {
        let i = node.index();
        // A head that takes longer than predicted is about to end, as far as anybody knows.
        let head = self.running[i].map_or(Nanos::ZERO, |head| {
            (head.started + head.work).saturating_sub(now)
        });
        head + self.waiting[i]
    }

    /// Requests placed on the node whose prefill has not finished.
    #[must_use]
    pub fn assigned(&self, node: NodeId) -> u32 {
        self.assigned[node.index()]
    }

    /// Copies that the node is sending to others.
    #[must_use]
    pub fn sending(&self, node: NodeId) -> u32 {
        self.sending[node.index()]
    }

    /// Requests whose prefill has finished and whose KV is still leaving.
    #[must_use]
    pub fn streaming(&self, node: NodeId) -> u32 {
        self.streaming[node.index()]
    }

    /// True if the node's cache is there: it takes work, or drains.
    #[must_use]
    pub fn has_cache(&self, node: NodeId) -> bool {
        self.is_up(node) || self.draining == Some(node)
    }

    /// True if other nodes may copy from the node: it takes work, or drains and has work of its own left.
    #[must_use]
    pub fn is_source(&self, node: NodeId) -> bool {
        let works = || self.assigned(node) + self.streaming(node) > 0;
        self.is_up(node) || self.draining == Some(node) && works()
    }

    /// True if nothing is left to do on the node: no request, no KV on its way, no copy.
    #[must_use]
    pub fn is_idle(&self, node: NodeId) -> bool {
        self.assigned(node) + self.streaming(node) + self.sending(node) == 0
    }

    /// The node takes no more work, and keeps its cache until it goes down. What is booked stays. At most one drains.
    pub fn drain(&mut self, node: NodeId) {
        self.node_down(node);
        self.draining = Some(node);
    }

    /// The node is there, without work.
    pub fn node_up(&mut self, node: NodeId, now: Nanos) {
        self.draining = self.draining.filter(|&draining| draining != node);
        if let Err(place) = self.up.binary_search(&node) {
            self.up.insert(place, node);
            self.changed[node.index()] = now;
            self.by_free.insert(node, (self.free_at(node).0, 0));
            let key = self.count_key(node);
            if let Some(by_count) = &mut self.by_count {
                by_count.insert(node, key);
            }
        }
    }

    /// The node takes no more work. What is booked stays until it is struck out.
    pub fn node_down(&mut self, node: NodeId) {
        self.draining = self.draining.filter(|&draining| draining != node);
        if let Ok(place) = self.up.binary_search(&node) {
            self.up.remove(place);
            self.by_free.remove(node);
            if let Some(by_count) = &mut self.by_count {
                by_count.remove(node);
            }
        }
    }

    /// Enters a request that is predicted to take `work`, and perhaps a copy that `source` sends for it.
    pub fn assign(&mut self, node: NodeId, now: Nanos, work: Nanos, source: Option<NodeId>) {
        self.assigned[node.index()] += 1;
        self.waiting[node.index()] += work;
        if let Some(source) = source {
            self.sending[source.index()] += 1;
        }
        self.touch(node, now);
    }

    /// The copy that `source` sent has ended.
    pub fn sent(&mut self, source: NodeId) {
        self.sending[source.index()] -= 1;
    }

    /// The KV of a request whose prefill has finished is leaving.
    pub fn stream(&mut self, node: NodeId) {
        self.streaming[node.index()] += 1;
    }

    /// The KV of a request has left, or is not wanted.
    pub fn streamed(&mut self, node: NodeId) {
        self.streaming[node.index()] -= 1;
    }

    /// A waiting request that was entered with `booked` has started and is now predicted to take `work`.
    pub fn start(&mut self, node: NodeId, now: Nanos, booked: Nanos, work: Nanos) {
        self.waiting[node.index()] -= booked;
        let before = self.running[node.index()];
        let left = before.map_or(Nanos::ZERO, |head| {
            (head.started + head.work).saturating_sub(now)
        });
        self.running[node.index()] = Some(Running {
            started: now,
            work: left + work,
            requests: before.map_or(0, |head| head.requests) + 1,
        });
        self.touch(node, now);
    }

    /// A running request has ended.
    pub fn finish(&mut self, node: NodeId, now: Nanos) {
        self.assigned[node.index()] -= 1;
        let running = self.running[node.index()].filter(|head| head.requests > 1);
        self.running[node.index()] = running.map(|head| Running {
            requests: head.requests - 1,
            ..head
        });
        self.touch(node, now);
    }

    /// A waiting request that was entered with `booked` goes without having started.
    pub fn strike(&mut self, node: NodeId, now: Nanos, booked: Nanos) {
        self.assigned[node.index()] -= 1;
        self.waiting[node.index()] -= booked;
        self.touch(node, now);
    }

    /// Asserts that nothing is booked.
    pub fn assert_empty(&self) {
        assert!(
            self.assigned.iter().all(|&count| count == 0),
            "no request is assigned: {:?}",
            self.assigned
        );
        assert!(
            self.waiting.iter().all(|work| work.is_zero()),
            "no work waits: {:?}",
            self.waiting
        );
        assert!(self.running.iter().all(Option::is_none), "nothing runs");
        assert!(
            self.sending.iter().all(|&count| count == 0),
            "no copy is sent: {:?}",
            self.sending
        );
        assert!(
            self.streaming.iter().all(|&count| count == 0),
            "no KV is leaving: {:?}",
            self.streaming
        );
    }

    fn touch(&mut self, node: NodeId, now: Nanos) {
        self.changed[node.index()] = now;
        self.by_free.update(node, (self.free_at(node).0, 0));
        let key = self.count_key(node);
        if let Some(by_count) = &mut self.by_count {
            by_count.update(node, key);
        }
    }

    fn count_key(&self, node: NodeId) -> (u64, u64) {
        (u64::from(self.assigned(node)), self.free_at(node).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_shrinks_while_the_head_runs_and_never_below_what_waits() {
        let node = NodeId(0);
        let mut books = PrefillBooks::new(1, false);
        books.node_up(node, Nanos(0));
        books.assign(node, Nanos(0), Nanos(100), None);
        books.assign(node, Nanos(0), Nanos(50), None);
        assert_eq!(
            books.queue(node, Nanos(10)),
            Nanos(150),
            "nothing has started"
        );
        books.start(node, Nanos(20), Nanos(100), Nanos(90));
        assert_eq!(books.queue(node, Nanos(60)), Nanos(50 + 50));
        assert_eq!(books.queue(node, Nanos(900)), Nanos(50), "the head is late");
        assert!(books.queue(node, Nanos(900)) >= books.free_at(node).saturating_sub(Nanos(900)));
        books.finish(node, Nanos(910));
        books.strike(node, Nanos(911), Nanos(50));
        books.assert_empty();
    }
}
