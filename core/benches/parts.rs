//! What single parts of a decision and of a node cost: choosing a prefill and a decode node, the forecast of decode
//! load, eviction, and runs of decode steps in closed form. Larger pieces: `core.rs`; whole decisions: `decision.rs`.
//!
//! Numbers that were measured are in `benches/README.md`.

use conductor_core::books::{DecodeBooks, Forecast, PrefillBooks, Question, Staying, Stretch};
use conductor_core::cache::BlockCache;
use conductor_core::config::{ClusterConfig, DecodeSelect, EvictionConfig, PrefillSelect, Ratio};
use conductor_core::ids::{BlockHash, NodeId};
use conductor_core::index::{BlockIndex, Matches};
use conductor_core::policy::{decode, prefill};
use conductor_core::rng::Stream;
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

const CHAIN: u64 = 24;

/// Algorithm 1 on a given match. Half of the nodes are idle; those that have the front that all prompts begin with are
/// all busy, so that the walk over the idle ones goes on to its end.
fn choose_prefill(c: &mut Criterion) {
    let mut group = c.benchmark_group("choose a prefill node");
    for nodes in [16_u16, 500] {
        let cluster = ClusterConfig::built_in(&format!("{nodes}p{nodes}d")).expect("built in");
        let costs = cluster.estimate();
        let all = usize::from(2 * nodes);
        let chain: Vec<BlockHash> = (0..CHAIN).map(BlockHash).collect();
        let mut index = BlockIndex::new(all, 1 << 16, 1 << 16);
        let mut books = PrefillBooks::new(all, false);
        for node in 0..nodes {
            let (node, busy) = (NodeId(node), node % 2 == 0);
            books.node_up(node, Nanos::ZERO);
            if busy {
                index.store(node, &chain[..1]);
                books.assign(node, Nanos::ZERO, Nanos::SECOND * 5, None);
            }
        }
        index.store(NodeId(0), &chain);
        let mut matches = Matches::new(all);
        index.match_chain(&chain, &mut matches);
        let context = prefill::PrefillContext {
            now: Nanos::SECOND,
            input: Tokens(CHAIN * 512),
            matches: &matches,
            longest: prefill::longest_match(&matches, &books),
            fetch: Some(Ratio(1_500)),
            books: &books,
            costs: &costs,
            cluster: &cluster,
        };
        let mut policy = prefill::build(PrefillSelect::KvcacheCentric, 1);
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| policy.place(black_box(&context)));
        });
    }
    group.finish();
}

/// The first decode node with room, of which a quarter of the nodes before it have none.
fn choose_decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("choose a decode node");
    for nodes in [16_u16, 500] {
        let costs = ClusterConfig::built_in(&format!("{nodes}p{nodes}d"))
            .expect("built in")
            .estimate();
        let capacity = |node: u16| match node % 4 {
            0 => Tokens(10_000),
            _ => Tokens(1_000_000),
        };
        let mut books = DecodeBooks::new(
            (0..nodes).map(capacity).collect(),
            vec![false; usize::from(nodes)],
            DecodeSelect::LeastLoaded,
        );
        for node in (0..nodes).map(NodeId) {
            books.node_up(node, &costs);
        }
        let policy = decode::build();
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| policy.place(black_box(&books), Tokens(12_000)));
        });
    }
    group.finish();
}

/// A request's prediction is moved, and the load of a later moment asked for, as each decision does it.
fn forecast(c: &mut Criterion) {
    let mut group = c.benchmark_group("forecast, a move and a question");
    for requests in [128_u64, 8_000] {
        let mut forecast = Forecast::new(true);
        let draws = Stream::new(1, "bench");
        let stretch = |draw: u64, now: u64| Stretch {
            node: NodeId(0),
            start: Nanos(now + draws.below(2 * draw, 20_000_000_000)),
            time: Nanos::SECOND * 15,
            context: Tokens(1_000 + draws.below(2 * draw + 1, 20_000)),
            step: Nanos(40_000_000),
        };
        for slot in 0..requests {
            forecast.enter(slot as usize, stretch(slot, 0));
        }
        let (mut draw, mut now) = (requests, 0);
        group.bench_function(BenchmarkId::new("requests", requests), |b| {
            b.iter(|| {
                (draw, now) = (draw + 1, now + 10_000);
                forecast.enter((draw % requests) as usize, stretch(draw, now));
                let question = Question {
                    now: Nanos(now),
                    time: Nanos(now) + Nanos::SECOND * 5,
                    promised: true,
                };
                forecast.expected(question, None, Staying::Alike(Nanos::SECOND * 15))
            });
        });
    }
    group.finish();
}

/// A full cache of a node takes a block and gives one up.
fn evict(c: &mut Criterion) {
    let mut group = c.benchmark_group("a cache of 5,859 blocks takes one and evicts one");
    for (name, eviction) in [
        ("lru", EvictionConfig::Lru),
        ("lfu", EvictionConfig::Lfu),
        ("length-aware", EvictionConfig::LengthAware),
    ] {
        let mut cache = BlockCache::new(5_859, eviction);
        let (mut stored, mut evicted) = (Vec::new(), Vec::new());
        let mut block = 0;
        let mut turn = || {
            stored.clear();
            evicted.clear();
            let depth = (block % CHAIN) as u32;
            let slot = cache.insert(BlockHash(block), depth, &mut stored, &mut evicted);
            cache.unpin(&[slot.expect("nothing stays pinned")]);
            block += 1;
        };
        (0..6_000).for_each(|_| turn());
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(&mut turn));
    }
    group.finish();
}

/// What a run of 343 steps takes, and after how many of them a given time has passed.
fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("a run of 343 steps");
    let run = StepRun {
        first: 40_000_123 << 20,
        slope: 1_234_567,
        steps: 343,
    };
    group.bench_function("its time", |b| b.iter(|| black_box(run).total(343)));
    group.bench_function("steps to reach a time", |b| {
        b.iter(|| black_box(run).steps_to_reach(Nanos::SECOND * 7));
    });
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = choose_prefill, choose_decode, forecast, evict, steps
}
criterion_main!(parts);
