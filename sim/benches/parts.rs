//! What the simulator's own parts cost: the network's fair shares and the event queue. Whole replays: `sim.rs`.
//!
//! Numbers that were measured are in `benches/README.md`.

use conductor_core::ids::NodeId;
use conductor_core::rng::Stream;
use conductor_core::units::{Bytes, Nanos};
use conductor_sim::network::{FlowId, LinkId, Network};
use conductor_sim::queue::{EventQueue, Source};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::time::Duration;

/// What a NIC carries, bytes a second.
const LINK: u64 = 100_000_000_000;

/// A flow from a sender to a receiver comes and the oldest goes, on `links` links with `sharing` flows each in the
/// mean. `limit` is what a flow wants: with a tenth of a link few links are full; without a limit all are, and what is
/// shared anew is most of the network.
fn network(c: &mut Criterion) {
    let mut group = c.benchmark_group("a flow comes and one goes");
    for (name, links, sharing, limit) in [
        ("1,000 links, ample", 1_000, 2, Some(LINK / 10)),
        ("1,000 links, one flow on two", 1_000, 1, None),
        ("16 links, full", 16, 4, None),
        ("1,000 links, full", 1_000, 4, None),
    ] {
        let mut network = Network::new(vec![LINK; links as usize]);
        let draws = Stream::new(1, "bench");
        let (mut next, mut now) = (0, Nanos::ZERO);
        let mut flows: VecDeque<FlowId> = VecDeque::new();
        let mut start = |network: &mut Network, now| {
            let link = |side: u64| {
                let drawn = draws.below(2 * next + side, links / 2);
                LinkId((side * links / 2 + drawn) as u32)
            };
            let path = [link(0), link(1)];
            next += 1;
            network.start(now, path, Bytes(1 << 50), limit)
        };
        for _ in 0..links * sharing / 2 {
            flows.push_back(start(&mut network, now));
        }
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                now += Nanos(1_000);
                network.end(now, flows.pop_front().expect("there are flows"));
                flows.push_back(start(&mut network, now));
            });
        });
    }
    group.finish();
}

/// The first thing happens, and its source has a next one: a hold, as queues are measured.
fn queue(c: &mut Criterion) {
    let mut group = c.benchmark_group("event queue, a hold");
    for nodes in [16, 1_000] {
        let mut queue = EventQueue::new(nodes);
        let draws = Stream::new(2, "bench");
        for node in 0..nodes {
            let at = draws.below(node as u64, 1_000_000);
            queue.set(Source::Node(NodeId(node as u16)), Some(Nanos(at)));
        }
        let mut draw = nodes as u64;
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| {
                let (at, source) = queue.peek().expect("something is due");
                draw += 1;
                let next = at + Nanos(draws.below(draw, 1_000_000));
                queue.set(source, Some(next));
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = network, queue
}
criterion_main!(parts);
