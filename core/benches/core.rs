//! What the scheduler's parts cost: prefix match, a whole decision, and noting what caches gain and lose.
//!
//! Numbers that were measured are in `README.md` beside this file.

use conductor_core::action::{Action, Actions};
use conductor_core::conductor::Conductor;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket};
use conductor_core::index::{BlockIndex, Matches};
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

/// Blocks of a prompt.
const CHAIN: usize = 24;
/// Resident (node, block) pairs.
const PAIRS: u64 = 1_000_000;
/// Blocks at the front of each prompt that all prompts of a family share, and families.
const SHARED: usize = 4;
const FAMILIES: u64 = 16;

/// The chain of prompt `number`: its family's blocks, then its own.
fn chain(number: u64) -> [BlockHash; CHAIN] {
    std::array::from_fn(|place| {
        let own = number << 8 | place as u64;
        let family = 1 << 40 | (number % FAMILIES) << 8 | place as u64;
        BlockHash(if place < SHARED { family } else { own })
    })
}

/// What the caches of `nodes` nodes hold: prompts, each on one to three nodes; the families' blocks on all nodes.
/// Calls `store` with each, and returns how many prompts there are.
fn fill(nodes: u64, mut store: impl FnMut(NodeId, &[BlockHash])) -> u64 {
    let draws = Stream::new(1, "bench");
    for node in 0..nodes {
        for family in 0..FAMILIES {
            store(NodeId(node as u16), &chain(family)[..SHARED]);
        }
    }
    let (mut pairs, mut number) = (0, 0);
    while pairs < PAIRS {
        let copies = 1 + draws.below(2 * number, 3);
        for copy in 0..copies {
            let node = (draws.below(2 * number + 1, nodes) + copy * 7) % nodes;
            store(NodeId(node as u16), &chain(number));
            pairs += CHAIN as u64;
        }
        number += 1;
    }
    number
}

/// One walk of a prompt's chain, for the matches of all nodes.
fn prefix_match(c: &mut Criterion) {
    let mut group = c.benchmark_group("prefix match, 24 blocks");
    for nodes in [16, 64, 1_000] {
        let mut index = BlockIndex::new(nodes as usize, 1 << 21, 1 << 16);
        let prompts = fill(nodes, |node, blocks| {
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

/// A Conductor with half of `nodes` for prefill, all nodes up, caches full.
fn conductor(nodes: u64) -> (Conductor, u64) {
    let text = format!(
        "name = \"bench\"\n[[nodes]]\ncount = {0}\nrole = \"prefill\"\ncache_tokens = 100_000_000\n\
         [[nodes]]\ncount = {0}\nrole = \"decode\"\ncache_tokens = 0\n",
        nodes / 2
    );
    let cluster = ClusterConfig::parse(&text, &[]).expect("the cluster is valid");
    let policy = PolicyConfig::built_in("kvcache-centric").expect("built in");
    let estimate = cluster.estimate();
    let mut conductor = Conductor::new(cluster, policy, estimate, 1);
    let mut actions = Actions::with_capacity(8);
    for node in (0..nodes).map(|node| NodeId(node as u16)) {
        conductor.handle(Nanos::ZERO, &Event::NodeUp { node }, &mut actions);
    }
    let prompts = fill(nodes / 2, |node, blocks| {
        let blocks = blocks.into();
        conductor.handle(
            Nanos::ZERO,
            &Event::BlocksStored { node, blocks },
            &mut actions,
        );
    });
    (conductor, prompts)
}

/// A request from its arrival to its end: five events, the first of which is the decision. Eight others a node
/// are in the
/// system.
fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("a request's five events, 24 blocks");
    for nodes in [16, 1_000] {
        let (mut conductor, prompts) = conductor(nodes);
        let mut actions = Actions::with_capacity(8);
        let draws = Stream::new(3, "bench");
        let live = 8 * nodes;
        let (mut now, mut next) = (Nanos::ZERO, 0);
        let mut request = |conductor: &mut Conductor| {
            now += Nanos(20_000_000 * 16 / nodes);
            let ticket = |request| Ticket {
                request: RequestId(request),
                attempt: 0,
            };
            let blocks = chain(draws.below(next, prompts));
            actions.clear();
            let arrived = Event::Arrived {
                ticket: ticket(next),
                input: Tokens(CHAIN as u64 * 512),
                blocks: (&blocks[..]).into(),
                answer: None,
                class: ClassId::default(),
                workflow: None,
            };
            conductor.handle(now, &arrived, &mut actions);
            let placed = matches!(actions.as_slice().last(), Some(Action::Dispatch { .. }));
            // Facts of requests that came before, so that nodes have queues and batches.
            let cached = Tokens(2_048);
            let (output, tbt) = (Tokens(300), Some(Nanos(40_000_000)));
            let facts: [&dyn Fn(Ticket) -> Event<'static>; 4] = [
                &|ticket| Event::PrefillStarted { ticket, cached },
                &|ticket| Event::PrefillFinished { ticket },
                &|ticket| Event::TransferFinished { ticket },
                &|ticket| Event::Finished {
                    ticket,
                    output,
                    tbt,
                },
            ];
            for (i, fact) in facts.iter().enumerate() {
                if let Some(earlier) = next.checked_sub(live * (i as u64 + 1) / 4) {
                    conductor.handle(now, &fact(ticket(earlier)), &mut actions);
                }
            }
            next += 1;
            placed
        };
        for _ in 0..2 * live {
            assert!(request(&mut conductor), "there is room for all");
        }
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter(|| request(&mut conductor));
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
    let first = fill(nodes as u64, |node, blocks| {
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
    targets = prefix_match, decision, store_and_evict
}
criterion_main!(core);
