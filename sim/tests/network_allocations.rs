//! The network's steady state allocates nothing: flows come, change their limits and go, and their places, their links'
//! lists and the scratch space of fair shares are used again. Counted by an allocator of this binary's own.
//!
//! Not here: links that are cut or slowed. A fault may allocate.

#[path = "../../core/tests/counting/mod.rs"]
mod counting;

use conductor_core::rng::Stream;
use conductor_core::units::{Bytes, Nanos};
use conductor_sim::network::{FlowId, LinkId, Network};
use counting::allocations;

const LINKS: u64 = 16;
/// Flows at once: several a link, so that most share, and components of many links form and fall apart.
const FLOWS: usize = 48;

/// A network whose flows are replaced, the oldest first or whichever has ended.
struct Busy {
    network: Network,
    /// A ring; `None` where a flow has ended by itself.
    flows: Vec<Option<FlowId>>,
    draws: Stream,
    next: u64,
    now: Nanos,
    ended: u64,
}

impl Busy {
    fn new() -> Self {
        Self {
            network: Network::new(vec![100_000_000_000; LINKS as usize]),
            flows: vec![None; FLOWS],
            draws: Stream::new(1, "network"),
            next: 0,
            now: Nanos::ZERO,
            ended: 0,
        }
    }

    fn turn(&mut self) {
        let draw = |place: u64, bound: u64| self.draws.below(8 * self.next + place, bound);
        let path = [LinkId(draw(0, LINKS) as u32), LinkId(draw(1, LINKS) as u32)];
        let size = Bytes(1_000_000 + draw(2, 4_000_000_000));
        let limit = (draw(3, 2) == 0).then(|| 1_000_000_000 + draw(4, 40_000_000_000));
        let lift = draw(5, 4) == 0;
        self.now += Nanos::from_millis(1 + draw(6, 4));
        while let Some((at, flow)) = self.network.next_end().filter(|end| end.0 <= self.now) {
            self.network.end(at, flow);
            let place = self.flows.iter().position(|other| *other == Some(flow));
            self.flows[place.expect("it is one of these")] = None;
            self.ended += 1;
        }
        let place = self.next as usize % FLOWS;
        if let Some(flow) = self.flows[place].take() {
            self.network.end(self.now, flow);
        }
        let flow = self.network.start(self.now, path, size, limit);
        self.flows[place] = Some(flow);
        if lift {
            self.network.lift_limit(self.now, flow);
        }
        self.next += 1;
    }
}

#[test]
fn flows_come_and_go_without_allocating() {
    let mut busy = Busy::new();
    // Chance crowds all flows onto one link too rarely to wait for: each link's list is made that long once, and all
    // links one component.
    for first in 0..LINKS as u32 {
        let second = (first + 1) % LINKS as u32;
        let start = |_| {
            busy.network
                .start(Nanos::ZERO, [LinkId(first), LinkId(second)], Bytes(1), None)
        };
        let flows: Vec<FlowId> = (0..FLOWS).map(start).collect();
        for flow in flows {
            busy.network.end(Nanos::ZERO, flow);
        }
    }
    (0..20_000).for_each(|_| busy.turn());
    busy.network.check();
    let before = busy.ended;
    assert_eq!(allocations(|| (0..200_000).for_each(|_| busy.turn())), 0);
    busy.network.check();
    assert!(
        busy.ended - before > 20_000,
        "{} flows ended",
        busy.ended - before
    );
}
