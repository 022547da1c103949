//! The built-in `kimi-toolagent` against what is published of the trace that it stands in for.
//!
//! Two kinds of figures: those that it was made to meet (totals, lengths; a bound fails the test), and those that
//! nobody fitted (the LRU hit curve, tokens, access counts), which are printed with their error and held to wide
//! bounds only. All of it is printed by `cargo test -p conductor-traces --test toolagent -- --nocapture`.
//!
//! The published access counts (Fig. 6 of the report) are not compared: together with the totals they are
//! impossible, which [`the_published_access_counts_contradict_the_totals`] works out.

use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use conductor_traces::cache::{CacheStudy, Capacity, Policy, Unit};
use conductor_traces::generate::{GenerateOptions, Workload};
use conductor_traces::stats::Stats;
use std::collections::BTreeMap;
use std::path::Path;

const BLOCK: Tokens = Tokens(512);
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;

const REQUESTS: f64 = 23_608.0;
const BLOCKS: f64 = 409_616.0;
const UNIQUE: f64 = 183_300.0;
const REUSED: f64 = 226_316.0;

/// LRU, hit ratio in blocks, of the report's trace (Mooncake issue 4020).
const LRU: [(Capacity, f64); 6] = [
    (Capacity::Infinite, 0.553),
    (Capacity::Finite(100_000), 0.552),
    (Capacity::Finite(50_000), 0.551),
    (Capacity::Finite(30_000), 0.537),
    (Capacity::Finite(10_000), 0.460),
    (Capacity::Finite(1_000), 0.341),
];

fn builtin() -> Workload {
    Workload::builtin("kimi-toolagent").expect("built-ins are valid")
}

fn generated(seed: u64) -> Vec<WorkloadRequest> {
    builtin()
        .generate(seed, &GenerateOptions::default())
        .collect()
}

/// What is measured of one seed or, as a mean, of all.
fn figures(rows: &[WorkloadRequest]) -> BTreeMap<&'static str, f64> {
    let stats = Stats::of(rows, BLOCK);
    let blocks: usize = rows.iter().map(|row| row.blocks.len()).sum();
    let reused = blocks as f64 * stats.hit_ratio_blocks_ideal;
    let mut classes = BTreeMap::new();
    for row in rows {
        *classes.entry(row.blocks[0]).or_insert(0_u32) += 1;
    }
    let mut classes: Vec<u32> = classes.into_values().collect();
    classes.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(classes.len(), 3, "three prompts, and every request has one");
    BTreeMap::from([
        ("requests", rows.len() as f64),
        ("seconds", stats.duration_s),
        ("input mean", stats.input_mean),
        ("output mean", stats.output_mean),
        ("blocks", blocks as f64),
        ("distinct blocks", blocks as f64 - reused),
        ("reused blocks", reused),
        ("ideal hit ratio, blocks", stats.hit_ratio_blocks_ideal),
        ("ideal hit ratio, tokens", stats.hit_ratio_tokens_ideal),
        ("chats", f64::from(classes[0])),
        ("agents", f64::from(classes[1])),
        ("tools", f64::from(classes[2])),
    ])
}

#[test]
fn ten_seeds_meet_the_published_totals() {
    // Figure, published, largest error of one seed, largest error of the mean of ten; shares of the published.
    // One hour differs from the next: it has some 6,200 chat sessions, of which few are long, but those are very long.
    let bounds = [
        ("requests", REQUESTS, 0.0, 0.0),
        ("seconds", 3599.5, 0.04, 0.01),
        ("input mean", 8596.0, 0.03, 0.015),
        ("output mean", 182.0, 0.03, 0.02),
        ("blocks", BLOCKS, 0.03, 0.015),
        ("distinct blocks", UNIQUE, 0.03, 0.015),
        ("reused blocks", REUSED, 0.03, 0.015),
        ("ideal hit ratio, blocks", 0.5525, 0.02, 0.01),
        // Derived, not printed: about .571.
        ("ideal hit ratio, tokens", 0.571, 0.03, 0.015),
        ("chats", 10_925.0, 0.02, 0.01),
        ("agents", 9_193.0, 0.02, 0.01),
        ("tools", 3_490.0, 0.02, 0.01),
    ];
    let seeds: Vec<_> = SEEDS.map(|seed| figures(&generated(seed))).collect();
    let mut faults = Vec::new();
    for (figure, published, each, all) in bounds {
        let mean = seeds.iter().map(|seed| seed[figure]).sum::<f64>() / seeds.len() as f64;
        let error = |value: f64| value / published - 1.0;
        let worst = seeds
            .iter()
            .map(|seed| error(seed[figure]))
            .max_by(|a, b| a.abs().total_cmp(&b.abs()))
            .expect("ten seeds");
        println!(
            "{figure}: published {published}, made {mean:.4}: {:+.2} %, of one seed {:+.2} %",
            100.0 * error(mean),
            100.0 * worst
        );
        if error(mean).abs() > all || worst.abs() > each {
            faults.push(figure);
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

/// The lower edges of a decoded histogram's bins, and its counts.
fn histogram(quantity: &str) -> (Vec<u64>, Vec<f64>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(
        "../../shared/reference/figures/toolagent_{quantity}_length_hist_v3fig5.csv"
    ));
    let text = std::fs::read_to_string(path).expect("the build script saw the file");
    let bins = text.lines().skip(1).map(|line| {
        let field = |place| line.split(',').nth(place).expect("three fields");
        let number = |place| field(place).parse::<u64>().expect("a number");
        (number(0), number(2) as f64)
    });
    bins.unzip()
}

/// Kolmogorov-Smirnov distance at the bins' edges, and half the sum of the bins' differences.
fn distances(quantity: &str, lengths: impl Iterator<Item = u64>) -> (f64, f64) {
    let (edges, published) = histogram(quantity);
    let mut made = vec![0.0; edges.len()];
    for length in lengths {
        made[edges
            .partition_point(|edge| *edge <= length)
            .saturating_sub(1)] += 1.0;
    }
    let (all, all_made) = (published.iter().sum::<f64>(), made.iter().sum::<f64>());
    let (mut below, mut ks, mut half) = (0.0_f64, 0.0_f64, 0.0);
    for (published, made) in published.iter().zip(made) {
        let difference = published / all - made / all_made;
        below += difference;
        ks = ks.max(below.abs());
        half += difference.abs() / 2.0;
    }
    (ks, half)
}

#[test]
#[cfg_attr(
    not(has_toolagent_histograms),
    ignore = "shared/reference/figures/toolagent_*_length_hist_v3fig5.csv are absent"
)]
fn ten_seeds_have_the_published_lengths() {
    for seed in SEEDS {
        let rows = generated(seed);
        for (quantity, (ks, half)) in [
            ("input", distances("input", rows.iter().map(|r| r.input.0))),
            (
                "output",
                distances("output", rows.iter().map(|r| r.output.0)),
            ),
        ] {
            println!("seed {seed}: {quantity}: KS {ks:.4}, half L1 {half:.4}");
            assert!(ks < 0.01, "seed {seed}: {quantity}: KS {ks}");
            assert!(half < 0.02, "seed {seed}: {quantity}: half L1 {half}");
        }
    }
}

/// LRU, hit ratio in tokens over capacity in tokens (FAST'25, Fig. 9, read from the plot).
///
/// Its blocks are finer than ids show: 880 tokens of the chats' prompt are shared, not 512, which alone is .020 here
/// once that prompt stays; so what is made must lie below, and does, by about .02 to .05.
const FIG_9: [(u64, f64); 7] = [
    (100_000, 0.3627),
    (1_000_000, 0.3865),
    (2_000_000, 0.4136),
    (4_000_000, 0.4839),
    (8_000_000, 0.5444),
    (10_000_000, 0.5608),
    (100_000_000, 0.5950),
];

#[test]
fn the_hit_curves_that_nobody_fitted() {
    let mut means = [0.0; LRU.len()];
    let mut fig_9 = [0.0; FIG_9.len()];
    for seed in SEEDS {
        let rows = generated(seed);
        let study = CacheStudy::new(&rows, BLOCK);
        for ((capacity, published), mean) in LRU.iter().zip(&mut means) {
            let run = study.run(Policy::Lru, *capacity, Unit::Blocks);
            let error = run.hit_ratio_blocks - published;
            assert!(error.abs() < 0.03, "seed {seed}: {capacity}: {error}");
            *mean += run.hit_ratio_blocks / 10.0;
        }
        for ((tokens, published), mean) in FIG_9.iter().zip(&mut fig_9) {
            let capacity = Capacity::Finite(tokens / BLOCK.0);
            let run = study.run(Policy::Lru, capacity, Unit::Blocks);
            let error = run.hit_ratio_tokens - published;
            assert!(
                (-0.06..0.0).contains(&error),
                "seed {seed}: {tokens}: {error}"
            );
            *mean += run.hit_ratio_tokens / 10.0;
        }
    }
    for ((capacity, published), mean) in LRU.iter().zip(means) {
        let error = mean - published;
        println!("LRU at {capacity}: published {published}, made {mean:.4}: {error:+.4}");
    }
    for ((tokens, published), mean) in FIG_9.iter().zip(fig_9) {
        let error = mean - published;
        println!("Fig 9 at {tokens} tokens: published {published}, made {mean:.4}: {error:+.4}");
    }
}

/// Fig. 6 of the report: shares of blocks that are used at most so often, but for those of the two prompts.
///
/// Were its shares of the 183,300 distinct blocks, these alone would be used more often than all blocks are. So the
/// figure belongs to another version of the trace (the report's Table 1 does too), and the stand-in cannot have it.
#[test]
fn the_published_access_counts_contradict_the_totals() {
    const AT_MOST: [(f64, f64); 11] = [
        (1.0, 0.554),
        (2.0, 0.768),
        (3.0, 0.865),
        (4.0, 0.912),
        (5.0, 0.944),
        (6.0, 0.955),
        (8.0, 0.966),
        (10.0, 0.978),
        (16.0, 0.995),
        (20.0, 0.9975),
        (42.0, 0.9995),
    ];
    // At least: between two points, every block as often as just above the lower one.
    let (mut uses, mut below) = (0.0, (0.0, 0.0));
    for (count, share) in AT_MOST {
        uses += (share - below.1) * (below.0 + 1.0);
        below = (count, share);
    }
    let prompts = 10_925.0 + 12.0 * 9_193.0;
    let least = uses * UNIQUE + prompts;
    println!("at least {least:.0} uses of blocks, where there are {BLOCKS}");
    assert!(least > 1.2 * BLOCKS);
    let stats = Stats::of(&generated(1), BLOCK);
    for point in stats.access_cdf {
        println!("made: used at most {}x: {:.4}", point.accesses, point.share);
    }
}

#[test]
fn chats_are_those_of_kimi_conversation_but_for_what_was_fitted() {
    let conversation = Workload::builtin("kimi-conversation").expect("built-ins are valid");
    let chats = builtin().populations.pop().expect("three populations");
    let (mut start, mut turns) = (chats.start, chats.turns.expect("chats go on"));
    let known = conversation.start.expect("not a mixture");
    let known_turns = conversation.turns.expect("chats go on");
    let factor = turns.reply.continues[0] / known_turns.reply.continues[0];
    println!("probabilities of a further turn times {factor:.3}");
    assert!((0.95..1.1).contains(&factor));
    let near = |fitted: &mut f64, known: f64| {
        assert!((*fitted - known * factor).abs() < 2e-4, "{fitted} {known}");
        *fitted = known;
    };
    start.input = known.input.clone();
    for (fitted, known) in start.classes.iter_mut().zip(&known.classes) {
        near(&mut fitted.continues, known.continues);
    }
    for (fitted, known) in [
        (&mut turns.reply, &known_turns.reply),
        (&mut turns.attach, &known_turns.attach),
        (&mut turns.rewrite, &known_turns.rewrite),
        (&mut turns.retry, &known_turns.retry),
    ] {
        for (fitted, known) in fitted.continues.iter_mut().zip(&known.continues) {
            near(fitted, *known);
        }
    }
    assert_eq!((start, turns), (known, known_turns));
}
