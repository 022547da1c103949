//! The real traces give the published numbers: sizes, ideal hits, and hit curves by capacity.

use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use conductor_traces::cache::{CacheStudy, Capacity, Policy, Unit, study};
use conductor_traces::formats::{ReadOptions, locate, read_all};
use conductor_traces::stats::Stats;
use std::path::Path;

const CAPACITIES: [Capacity; 6] = [
    Capacity::Infinite,
    Capacity::Finite(100_000),
    Capacity::Finite(50_000),
    Capacity::Finite(30_000),
    Capacity::Finite(10_000),
    Capacity::Finite(1_000),
];

fn rows(name: &str) -> Vec<WorkloadRequest> {
    let path = locate(name, Path::new("..")).expect("the build script saw the file");
    read_all(path, &ReadOptions::default()).expect("the real traces are well formed")
}

fn check_curve(rows: &[WorkloadRequest], policy: Policy, published: [f64; 6]) {
    let study = CacheStudy::new(rows, Tokens(512));
    for (capacity, published) in CAPACITIES.into_iter().zip(published) {
        let got = study.run(policy, capacity, Unit::Blocks).hit_ratio_blocks;
        assert!(
            (got - published).abs() <= 0.003,
            "{policy} at {capacity}: {got:.4}, published {published}"
        );
    }
}

fn check_optimum(rows: &[WorkloadRequest]) {
    let study = CacheStudy::new(rows, Tokens(512));
    for capacity in CAPACITIES {
        let ratio = |policy| study.run(policy, capacity, Unit::Blocks).hit_ratio_blocks;
        let best = ratio(Policy::Belady);
        for policy in [Policy::Lru, Policy::Lfu, Policy::LengthAware] {
            assert!(ratio(policy) <= best, "{policy} at {capacity}");
        }
    }
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn conversation() {
    let rows = rows("conversation");
    let stats = Stats::of(&rows, Tokens(512));
    assert_eq!((stats.requests, stats.blocks_total), (12_031, 288_500));
    assert_eq!(
        (stats.blocks_hit_ideal, stats.blocks_unique),
        (105_710, 182_790)
    );
    assert!(
        (stats.hit_ratio_tokens_ideal - 0.3736).abs() < 5e-5,
        "{}",
        stats.hit_ratio_tokens_ideal
    );
    assert!(
        (stats.input_mean - 12_035.06).abs() < 0.01 && (stats.output_mean - 342.62).abs() < 0.01
    );
    let input = stats.input;
    assert_eq!(
        (input.p50, input.p90, input.p99, input.max),
        // Nearest rank; the published 85,400 is interpolated.
        (6_909, 27_367, 85_401, 126_195)
    );
    let output = stats.output;
    assert_eq!(
        (output.p50, output.p90, output.p99, output.max),
        // Nearest rank; the published 1,118 is interpolated.
        (350, 597, 1_120, 2_000)
    );
    assert_eq!(stats.access_max, 12_031);
    for (point, published) in stats
        .access_cdf
        .iter()
        .zip([0.7585, 0.898, 0.949, 0.981, 0.995, 0.9995])
    {
        assert!((point.share - published).abs() <= 0.001, "{point:?}");
    }
    check_curve(
        &rows,
        Policy::Lru,
        [0.366, 0.364, 0.355, 0.326, 0.211, 0.044],
    );
    check_curve(
        &rows,
        Policy::Lfu,
        [0.366, 0.363, 0.344, 0.276, 0.132, 0.048],
    );
    check_curve(
        &rows,
        Policy::LengthAware,
        [0.366, 0.334, 0.260, 0.203, 0.112, 0.050],
    );
    check_optimum(&rows);
}

#[test]
#[cfg_attr(
    not(has_synthetic_trace),
    ignore = "traces/data/synthetic_trace.jsonl is absent: run traces/fetch.sh"
)]
fn synthetic() {
    let rows = rows("synthetic");
    let stats = Stats::of(&rows, Tokens(512));
    assert_eq!((stats.requests, stats.blocks_total), (3_993, 121_877));
    assert_eq!(
        (stats.blocks_hit_ideal, stats.blocks_unique),
        (77_953, 43_924)
    );
    assert!(
        (stats.hit_ratio_tokens_ideal - 0.6512).abs() < 5e-5,
        "{}",
        stats.hit_ratio_tokens_ideal
    );
    assert_eq!(stats.access_max, 24);
    check_curve(
        &rows,
        Policy::Lru,
        [0.640, 0.640, 0.640, 0.624, 0.423, 0.082],
    );
    check_curve(
        &rows,
        Policy::Lfu,
        [0.640, 0.640, 0.640, 0.626, 0.358, 0.040],
    );
    check_curve(
        &rows,
        Policy::LengthAware,
        [0.640, 0.640, 0.640, 0.507, 0.187, 0.019],
    );
    check_optimum(&rows);
}

#[test]
#[cfg_attr(
    not(has_azure_trace),
    ignore = "traces/data/AzureLLMInferenceTrace_conv.csv is absent: run traces/fetch.sh"
)]
fn azure() {
    let stats = Stats::of(&rows("azure-conv"), Tokens(512));
    assert_eq!((stats.requests, stats.blocks_total), (19_366, 0));
}

#[test]
fn json_has_the_published_keys() {
    let stats = serde_json::to_value(Stats::of(&[], Tokens(512))).expect("plain data");
    for key in [
        "requests",
        "duration_s",
        "input_mean",
        "output_mean",
        "blocks_total",
        "blocks_unique",
        "blocks_hit_ideal",
        "hit_ratio_blocks_ideal",
        "hit_ratio_tokens_ideal",
        "block_tokens",
    ] {
        assert!(
            stats.get(key).is_some_and(serde_json::Value::is_number),
            "{key}: {stats}"
        );
    }
    let rows = study(
        &[],
        &[Policy::LengthAware],
        &[Capacity::Infinite, Capacity::Finite(7)],
        Unit::Blocks,
        Tokens(512),
    );
    let expected = r#"[{"policy":"length-aware","capacity":null,"unit":"blocks","hit_ratio_blocks":0.0,"hit_ratio_tokens":0.0},{"policy":"length-aware","capacity":7,"unit":"blocks","hit_ratio_blocks":0.0,"hit_ratio_tokens":0.0}]"#;
    assert_eq!(serde_json::to_string(&rows).expect("plain data"), expected);
}
