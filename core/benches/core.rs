//! What the scheduler's parts cost: prefix match, a request's events, and noting what caches gain and lose. Whole
//! decisions with their quantiles: `decision.rs`.
//!
//! Numbers that were measured are in `benches/README.md`.

mod common;

use common::{Busy, CHAIN, SHARED, chain, fill};
use conductor_core::ids::NodeId;
use conductor_core::index::{BlockIndex, Matches};
use conductor_core::rng::Stream;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

/// Different blocks that are cached, on two nodes each in the mean.
const BLOCKS: u64 = 500_000;

/// One walk of a prompt's chain, for the matches of all nodes.
fn prefix_match(c: &mut Criterion) {
    let mut group = c.benchmark_group("prefix match, 24 blocks");
    for nodes in [16, 64, 1_000] {
        let mut index = BlockIndex::new(nodes as usize, 1 << 21, 1 << 16);
        let prompts = fill(nodes, BLOCKS, |node, blocks| {
            assert_eq!(index.store(node, blocks), 0);
        });
        let mut matches = Matches::new(nodes as usize);
        let (draws, mut draw) = (Stream::new(2, "bench"), 0);
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| {
                draw += 1;
                let chain = chain(draws.below(draw, prompts));
                index.match_chain(black_box(&chain), &mut matches);
                matches.few().len()
            });
        });
    }
    group.finish();
}

/// A request from its arrival to its end: five events, the first of which is the decision. Eight others a node are in
/// the system.
fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("a request's five events, 24 blocks");
    for nodes in [16, 1_000] {
        let mut busy = Busy::new("kvcache-centric", nodes, BLOCKS);
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| {
                busy.decide();
                busy.go_on();
            });
        });
    }
    group.finish();
}

/// Noting that a node has given up a prompt's blocks and has another's, all new to the index.
fn store_and_evict(c: &mut Criterion) {
    let mut group = c.benchmark_group("store and evict, a block");
    group.throughput(Throughput::Elements(2 * (CHAIN - SHARED) as u64));
    let nodes = 64;
    let mut index = BlockIndex::new(nodes, 1 << 21, 1 << 16);
    let first = fill(nodes as u64, BLOCKS, |node, blocks| {
        index.store(node, blocks);
    });
    // From here on a prompt lives on one node, by its number, and goes after a thousand others.
    let node = |number: u64| NodeId((number % 64) as u16);
    let mut next = first;
    let mut turn = |index: &mut BlockIndex| {
        let old = next.saturating_sub(1_000);
        index.store(node(next), &chain(next)[SHARED..]);
        if old >= first {
            index.evict(node(old), &chain(old)[SHARED..]);
        }
        next += 1;
    };
    (0..1_000).for_each(|_| turn(&mut index));
    group.bench_function("64 nodes", |b| b.iter(|| turn(&mut index)));
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = core;
    config = quick();
    targets = prefix_match, events, store_and_evict
}
criterion_main!(core);
