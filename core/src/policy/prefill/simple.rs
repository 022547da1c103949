//! Policies that do not look at caches: random, round-robin, least-loaded, least-queued.

use super::{Placement, PrefillContext, PrefillPolicy};
use crate::ids::NodeId;
use crate::rng::Stream;
use crate::units::Nanos;

/// Any node that is up, evenly.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    stream: Stream,
    draws: u64,
}

impl Random {
    /// Draws from `stream`.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self { stream, draws: 0 }
    }
}

impl PrefillPolicy for Random {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let up = cx.books.up();
        if up.is_empty() {
            return None;
        }
        let place = self.stream.below(self.draws, up.len() as u64);
        self.draws += 1;
        Some(cx.placement(up[place as usize]))
    }
}

/// Each node that is up in turn, by number.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    next: u16,
}

impl PrefillPolicy for RoundRobin {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let up = cx.books.up();
        let place = up.partition_point(|&node| node < NodeId(self.next));
        let node = *up.get(place).or_else(|| up.first())?;
        self.next = node.0 + 1;
        Some(cx.placement(node))
    }
}

/// The fewest requests assigned. Ties: predicted to be free first, then the lowest number.
#[derive(Clone, Copy, Debug)]
pub struct LeastLoaded;

impl PrefillPolicy for LeastLoaded {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        cx.books.by_count().next().map(|node| cx.placement(node))
    }
}

/// The shortest predicted queue. Ties: predicted to be free first, then the lowest number.
#[derive(Clone, Copy, Debug)]
pub struct LeastQueued;

impl PrefillPolicy for LeastQueued {
    fn place(&mut self, cx: &PrefillContext<'_>) -> Option<Placement> {
        let mut best: Option<(Nanos, NodeId)> = None;
        for node in cx.books.by_free() {
            // No queue is shorter than this, and the nodes that follow have no less.
            let least = cx.books.free_at(node).saturating_sub(cx.now);
            if best.is_some_and(|(queue, _)| least >= queue) {
                break;
            }
            let queue = cx.books.queue(node, cx.now);
            if best.is_none_or(|(shortest, _)| queue < shortest) {
                best = Some((queue, node));
            }
        }
        best.map(|(_, node)| cx.placement(node))
    }
}
