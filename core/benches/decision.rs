//! How long one whole decision takes: match, estimate, choice and booking of a request with 24 blocks, on 1,000 nodes
//! (and fewer) with three million different blocks indexed. Prints quantiles of single decisions, which criterion has
//! not. Numbers that were measured are in `benches/README.md`.

mod common;

use common::Busy;
use std::time::{Duration, Instant};

const BLOCKS: u64 = 3_000_000;
const DECISIONS: usize = 100_000;

/// What reading the clock twice takes at least; it is taken off.
fn clock() -> Duration {
    let read = |_| Instant::now().elapsed();
    (0..10_000).map(read).min().unwrap_or_default()
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    let decisions = match std::env::args().any(|argument| argument == "--bench") {
        true => DECISIONS,
        false => 100,
    };
    let clock = clock();
    println!(
        "| policy | nodes | blocks | dispatched | with a copy | p50 µs | p90 | p99 | p99.9 | max |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for policy in ["kvcache-centric", "kvcache-centric+early-predicted"] {
        for nodes in [16, 128, 1_000] {
            let mut busy = Busy::new(policy, nodes, BLOCKS);
            let mut took: Vec<Duration> = (0..decisions)
                .map(|_| {
                    let took = busy.decide().saturating_sub(clock);
                    busy.go_on();
                    took
                })
                .collect();
            took.sort_unstable();
            let quantile = |thousandths: usize| {
                let rank = (took.len() * thousandths).div_ceil(1_000).max(1);
                took[rank - 1].as_nanos() as f64 / 1e3
            };
            println!(
                "| {policy} | {nodes} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
                busy.blocks(),
                busy.dispatched,
                busy.replicated,
                quantile(500),
                quantile(900),
                quantile(990),
                quantile(999),
                quantile(1_000),
            );
        }
    }
}
