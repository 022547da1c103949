//! The built-in `kimi-conversation` against the trace it was fitted to, over ten seeds.
//!
//! Bounds are those that the project set itself: lengths within a Kolmogorov-Smirnov distance of 0.05, the LRU hit
//! curve and the popularity of blocks within 0.02.

use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_traces::cache::{CacheStudy, Capacity, Policy, Unit};
use conductor_traces::compare::{
    Demand, arrivals_per_slot, demands, joint_distance, ks_distance, reuse_gaps,
};
use conductor_traces::formats::{ReadOptions, locate, read_all};
use conductor_traces::generate::{GenerateOptions, Workload, fit};
use conductor_traces::stats::Stats;
use std::path::Path;

const BLOCK: Tokens = Tokens(512);
const CAPACITIES: [Capacity; 6] = [
    Capacity::Infinite,
    Capacity::Finite(100_000),
    Capacity::Finite(50_000),
    Capacity::Finite(30_000),
    Capacity::Finite(10_000),
    Capacity::Finite(1_000),
];

fn real() -> Vec<WorkloadRequest> {
    let path = locate("conversation", Path::new("..")).expect("the build script saw the file");
    read_all(path, &ReadOptions::default()).expect("the real trace is well formed")
}

fn generated(seed: u64) -> Vec<WorkloadRequest> {
    let workload = Workload::builtin("kimi-conversation").expect("built-ins are valid");
    workload
        .generate(seed, &GenerateOptions::default())
        .collect()
}

fn hit_curve(rows: &[WorkloadRequest]) -> [f64; 6] {
    let study = CacheStudy::new(rows, BLOCK);
    CAPACITIES.map(|capacity| {
        study
            .run(Policy::Lru, capacity, Unit::Blocks)
            .hit_ratio_blocks
    })
}

fn input(row: &WorkloadRequest) -> u64 {
    row.input.0
}

fn output(row: &WorkloadRequest) -> u64 {
    row.output.0
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = values.len() as f64;
    values.sum::<f64>() / number
}

/// Prefill seconds of LLaMA3-70B on 8 A800 (FAST'25, Fig. 14, fitted).
fn prefill_s(demand: &Demand) -> f64 {
    let (n, p) = (demand.input.0 as f64 / 1e3, demand.cached.0 as f64 / 1e3);
    let load = if p > 0.0 { 0.0479 } else { 0.0 };
    0.0183 + 0.11362 * (n - p) + 0.000_716_2 * (n * n - p * p) + load + 0.00256 * p
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn ten_seeds_are_like_the_real_trace() {
    let real = real();
    let (curve, stats, asked) = (
        hit_curve(&real),
        Stats::of(&real, BLOCK),
        demands(&real, BLOCK),
    );
    let uncached = |sample: &[Demand]| {
        sample
            .iter()
            .map(|demand| demand.uncached().0)
            .collect::<Vec<_>>()
    };
    let mut faults = Vec::new();
    for seed in 1..=10 {
        let made = generated(seed);
        assert_eq!(made.len(), real.len());
        let mut check = |what: &str, distance: f64, bound: f64| {
            println!("seed {seed}: {what}: {distance:.4} (at most {bound})");
            if distance > bound {
                faults.push(format!(
                    "seed {seed}: {what}: {distance:.4} is more than {bound}"
                ));
            }
        };
        check(
            "input",
            ks_distance(real.iter().map(input), made.iter().map(input)),
            0.05,
        );
        check(
            "output",
            ks_distance(real.iter().map(output), made.iter().map(output)),
            0.05,
        );
        for ((capacity, real), made) in CAPACITIES.iter().zip(curve).zip(hit_curve(&made)) {
            check(
                &format!("hits at {capacity}, {real:.4} {made:.4}"),
                (real - made).abs(),
                0.02,
            );
        }
        let made_stats = Stats::of(&made, BLOCK);
        for (real, made) in stats.access_cdf.iter().zip(&made_stats.access_cdf) {
            check(
                &format!("blocks used at most {}x", real.accesses),
                (real.share - made.share).abs(),
                0.02,
            );
        }
        let made_asked = demands(&made, BLOCK);
        check(
            "uncached",
            ks_distance(uncached(&asked), uncached(&made_asked)),
            0.05,
        );
        check(
            "input and cached",
            joint_distance(&asked, &made_asked),
            0.05,
        );
        let gaps =
            |rows: &[WorkloadRequest]| reuse_gaps(rows).iter().map(|gap| gap.0).collect::<Vec<_>>();
        check("reuse gaps", ks_distance(gaps(&real), gaps(&made)), 0.05);
        let seconds = |sample: &[Demand]| mean(sample.iter().map(prefill_s));
        check(
            "prefill s",
            (seconds(&made_asked) / seconds(&asked) - 1.0).abs(),
            0.05,
        );
        let rate = stats.duration_s / made_stats.duration_s;
        check("rate", (rate - 1.0).abs(), 0.04);
        check(
            "input mean",
            (made_stats.input_mean / stats.input_mean - 1.0).abs(),
            0.05,
        );
        let slots = |rows: &[WorkloadRequest]| arrivals_per_slot(rows, Nanos::from_secs(3));
        check(
            "rows per 3 s",
            ks_distance(slots(&real), slots(&made)),
            0.08,
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn the_builtin_is_what_fitting_gives() {
    let fitted = fit("kimi-conversation", real(), BLOCK).expect("the trace is long enough");
    let builtin = include_str!("../workloads/kimi-conversation.toml");
    assert_eq!(
        fitted.to_toml(),
        builtin,
        "run `cargo run -p conductor-traces --example fit_builtin`"
    );
}
