//! What holds for every generated workload: determinism, order, rates, streams, specifications.

use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_traces::compare::demands;
use conductor_traces::generate::{GenerateOptions, Workload, builtin_names, fit};
use conductor_traces::stats::Stats;
use std::collections::BTreeSet;

fn builtin(name: &str) -> Workload {
    Workload::builtin(name).expect("built-ins are valid")
}

fn some(workload: &Workload, seed: u64, requests: u64) -> Vec<WorkloadRequest> {
    workload
        .generate(
            seed,
            &GenerateOptions {
                requests: Some(requests),
                ..GenerateOptions::default()
            },
        )
        .collect()
}

/// FNV-1a over every number of every row.
fn digest(rows: &[WorkloadRequest]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |value: u64| {
        for byte in value.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for row in rows {
        [row.arrival.0, row.input.0, row.output.0]
            .into_iter()
            .for_each(&mut mix);
        row.blocks.iter().for_each(|block| mix(block.0));
    }
    hash
}

#[test]
fn every_builtin_makes_well_formed_rows() {
    for name in builtin_names() {
        let workload = builtin(name);
        assert_eq!(workload.name, name);
        let block = Tokens(workload.block_tokens);
        let mut latest = Nanos::ZERO;
        let mut next = 0;
        for row in some(&workload, 1, 3000) {
            assert!(row.arrival >= latest, "{name}");
            latest = row.arrival;
            assert!(row.input.0 > 0 && row.output.0 > 0, "{name}");
            assert_eq!(row.blocks.len() as u32, row.input.blocks(block), "{name}");
            let distinct: BTreeSet<_> = row.blocks.iter().collect();
            assert_eq!(distinct.len(), row.blocks.len(), "{name}");
            // Blocks are numbered densely by first appearance.
            for block in &row.blocks {
                assert!(block.0 <= next, "{name}");
                next = next.max(block.0 + 1);
            }
        }
    }
}

#[test]
fn equal_seeds_give_equal_bytes_on_every_machine() {
    // Pinned: the same in debug and release and on other processors.
    for (name, pinned) in [
        ("kimi-conversation", KIMI_DIGEST),
        ("kimi-toolagent", TOOLAGENT_DIGEST),
    ] {
        let workload = builtin(name);
        let rows = some(&workload, 1, 2000);
        assert_eq!(rows, some(&workload, 1, 2000));
        assert_eq!(
            rows[..500],
            some(&workload, 1, 500),
            "a shorter run is the beginning of a longer one"
        );
        assert_ne!(rows, some(&workload, 2, 2000));
        assert_eq!(digest(&rows), pinned, "{name}");
    }
}

const KIMI_DIGEST: u64 = 5_142_260_731_767_660_685;
const TOOLAGENT_DIGEST: u64 = 18_093_656_156_743_178_732;

#[test]
fn one_part_of_a_specification_does_not_shift_another() {
    let plain = builtin("kimi-conversation");
    let short = Workload {
        output_tokens: Some(1),
        turns: None,
        ..plain.clone()
    };
    let (mut first, mut second) = (plain.clone(), short);
    // Without further turns what is left are the first prompts: equal, whatever the answers are.
    first.turns = None;
    for workload in [&mut first, &mut second] {
        let start = workload.start.as_mut().expect("not a mixture");
        start.classes.clear();
    }
    let (first, second) = (some(&first, 3, 1000), some(&second, 3, 1000));
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(
            (a.arrival, a.input, &a.blocks, b.output),
            (b.arrival, b.input, &b.blocks, Tokens(1))
        );
    }
    // Another grid moves stamps, not lengths.
    let mut off = plain.clone();
    off.arrivals.grid_s = 0.0;
    for (a, b) in some(&plain, 3, 1000).iter().zip(some(&off, 3, 1000)) {
        assert_eq!(
            (a.input, a.output, &a.blocks),
            (b.input, b.output, &b.blocks)
        );
        assert_eq!(a.arrival.0, b.arrival.0 / 3_000_000_000 * 3_000_000_000);
    }
}

#[test]
fn any_rate_and_any_length_keep_the_shape() {
    let workload = builtin("kimi-conversation");
    for rate in [0.5, 3.4, 50.0] {
        let options = GenerateOptions {
            requests: Some(30_000),
            rate: Some(rate),
            duration: None,
        };
        let rows: Vec<_> = workload.generate(9, &options).collect();
        let stats = Stats::of(&rows, Tokens(512));
        let reached = 30_000.0 / stats.duration_s;
        assert!((reached / rate - 1.0).abs() < 0.08, "{rate}: {reached}");
        assert!(
            (stats.input_mean / 11_950.0 - 1.0).abs() < 0.05,
            "{rate}: {}",
            stats.input_mean
        );
    }
    let options = GenerateOptions {
        duration: Some(Nanos::from_secs(600)),
        ..GenerateOptions::default()
    };
    let rows: Vec<_> = workload.generate(9, &options).collect();
    assert!(rows.iter().all(|row| row.arrival < Nanos::from_secs(600)));
    assert!((1900..2200).contains(&rows.len()), "{}", rows.len());
}

#[test]
fn the_mix_is_steady_from_the_start() {
    // Request rate and prompt lengths of the first ten minutes are those of later ones, over some seeds.
    let workload = builtin("kimi-conversation");
    let options = GenerateOptions {
        duration: Some(Nanos::from_secs(7200)),
        ..GenerateOptions::default()
    };
    let (mut early, mut late) = ((0, 0), (0, 0));
    for seed in 1..=6 {
        for row in workload.generate(seed, &options) {
            let window = match row.arrival.as_secs_f64() {
                at if at < 600.0 => &mut early,
                at if at >= 6600.0 => &mut late,
                _ => continue,
            };
            window.0 += 1;
            window.1 += row.input.0;
        }
    }
    let (early_mean, late_mean) = (
        early.1 as f64 / f64::from(early.0),
        late.1 as f64 / f64::from(late.0),
    );
    assert!(
        (f64::from(early.0) / f64::from(late.0) - 1.0).abs() < 0.05,
        "{early:?} {late:?}"
    );
    assert!(
        (early_mean / late_mean - 1.0).abs() < 0.06,
        "{early_mean} {late_mean}"
    );
}

#[test]
fn poisson_fixed_is_what_it_says() {
    let rows = some(&builtin("poisson-fixed"), 1, 10_000);
    assert!(
        rows.iter()
            .all(|row| (row.input.0, row.output.0) == (8192, 256))
    );
    let asked = demands(&rows, Tokens(512));
    assert!(
        asked[1..]
            .iter()
            .all(|demand| demand.cached == Tokens(4096))
    );
    // Distances of a Poisson process: mean and standard deviation are both one second.
    let gaps: Vec<f64> = rows
        .windows(2)
        .map(|pair| (pair[1].arrival - pair[0].arrival).as_secs_f64())
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps
        .iter()
        .map(|gap| (gap - mean) * (gap - mean))
        .sum::<f64>()
        / gaps.len() as f64;
    assert!(
        (mean - 1.0).abs() < 0.04 && (variance - 1.0).abs() < 0.1,
        "{mean} {variance}"
    );
}

#[test]
fn a_fit_of_a_generated_trace_makes_traces_like_it() {
    let workload = builtin("kimi-conversation");
    let rows = some(&workload, 77, 6000);
    let fitted = fit("again", rows.clone(), Tokens(512)).expect("long enough");
    assert_eq!(
        Workload::from_toml(&fitted.to_toml()).expect("what is written is valid"),
        fitted
    );
    let (old, new) = (
        Stats::of(&rows, Tokens(512)),
        Stats::of(&some(&fitted, 5, 6000), Tokens(512)),
    );
    assert!((old.hit_ratio_blocks_ideal - new.hit_ratio_blocks_ideal).abs() < 0.03);
    assert!((old.input_mean / new.input_mean - 1.0).abs() < 0.08);
    assert!((old.duration_s / new.duration_s - 1.0).abs() < 0.08);
    assert!(fit("short", rows[..50].to_vec(), Tokens(512)).is_err());
    let at_once = rows.iter().map(|row| WorkloadRequest {
        arrival: Nanos::ZERO,
        ..row.clone()
    });
    assert!(fit("at once", at_once, Tokens(512)).is_err());
    // A trace that knows nothing of prefixes becomes independent requests.
    let bare = rows.iter().map(|row| WorkloadRequest {
        blocks: Vec::new(),
        ..row.clone()
    });
    let bare = fit("bare", bare, Tokens(512)).expect("long enough");
    assert!(bare.turns.is_none() && bare.templates.is_empty());
    assert_eq!(some(&bare, 1, 100).len(), 100);
}

#[test]
fn a_wrong_specification_says_line_or_key() {
    let good = "name = \"x\"\nrate = 1\nrequests = 10\nblock_tokens = 512\n[arrivals]\nprocess = \"poisson\"\n[start]\n\
                input = [100, 200]\noutput = [5]\n";
    assert_eq!(
        some(&Workload::from_toml(good).expect("good"), 1, 10).len(),
        10
    );
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Workload::from_toml(&good.replace(from, to))
            .expect_err(to)
            .to_string()
    };
    for (from, to, expected) in [
        (
            "requests = 10",
            "request = 10",
            "line 3: unknown field `request`",
        ),
        (
            "[start]",
            "[start]\ncolour = 1",
            "line 8: unknown field `colour`",
        ),
        ("rate = 1\n", "", "missing field `rate`"),
        ("rate = 1\n", "rate = \"fast\"\n", "line 2: invalid type"),
        ("rate = 1\n", "rate = \n", "line 2: "),
        (
            "rate = 1\n",
            "rate = -1\n",
            "`rate`: expected requests per second from 1e-9 to 1e9, found -1",
        ),
        (
            "rate = 1\n",
            "rate = nan\n",
            "`rate`: expected requests per second from 1e-9 to 1e9, found NaN",
        ),
        ("poisson", "bursty", "line 6: unknown variant `bursty`"),
        (
            "[100, 200]",
            "[200, 100]",
            "`start.input`: expected 1 to 100 finite numbers in ascending order",
        ),
        (
            "[100, 200]",
            "[]",
            "`start.input`: expected 1 to 100 finite numbers in ascending order",
        ),
        (
            "[100, 200]",
            "[0, 200]",
            "`start.input`: expected quantiles within the range of the quantity, found 0 to 200",
        ),
        (
            "[5]",
            "[5]\n[[templates]]\nblocks = 0\nweight = 1\n",
            "`templates[0].blocks`: expected 1 to 65536 blocks, found 0",
        ),
        (
            "[5]",
            "[5]\n[[start.classes]]\nbelow = 5\ncontinues = 0\nnext = {reply = 1, attach = 0, rewrite = 0, retry = 0}\n",
            "`start.classes`: expected at least one class where there is `turns`, else none, found 1 classes",
        ),
    ] {
        let message = replaced(from, to);
        assert!(message.contains(expected), "{to}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let message = Workload::builtin("nope")
        .expect_err("no such built-in")
        .to_string();
    assert_eq!(
        message,
        "no built-in workload `nope`: expected one of kimi-conversation, kimi-toolagent, poisson-fixed, simulated-16k, simulated-32k, simulated-64k, \
         simulated-128k, arxiv-summarization, l-eval, kimi-day"
    );
}

/// Requests in each hour of the first day, of several seeds together.
fn by_hour(workload: &Workload, rate: f64, seeds: u64) -> [u64; 24] {
    let mut hours = [0; 24];
    for seed in 0..seeds {
        let options = GenerateOptions {
            duration: Some(Nanos::from_secs(86_400)),
            rate: Some(rate),
            ..GenerateOptions::default()
        };
        for row in workload.generate(seed, &options) {
            hours[(row.arrival.0 / Nanos::from_secs(3600).0) as usize] += 1;
        }
    }
    hours
}

#[test]
fn counts_follow_the_curve_of_the_day() {
    let day = builtin("kimi-day");
    let curve = day.arrivals.diurnal.clone().expect("it has a day");
    // Independent requests: the count of an hour is a Poisson number whose mean is the area under the curve.
    let mut alone = builtin("poisson-fixed");
    alone.arrivals.diurnal = Some(curve.clone());
    let mut conversations = day.clone();
    conversations.arrivals.surge = None;
    let (rate, seeds) = (0.2, 8);
    // Of conversations the counts vary by the turns of their sessions (four on average, of which many have one), and
    // lag.
    for (workload, times, lag_s) in [(alone, 1.0, 0.0), (conversations, 3.0, 300.0)] {
        let counts = by_hour(&workload, rate, seeds);
        for (hour, count) in counts.into_iter().enumerate() {
            let minutes = (0..60).map(|minute| {
                let time_s = 3600.0 * hour as f64 + 60.0 * f64::from(minute) + 30.0;
                curve.at(time_s - lag_s)
            });
            let mean = minutes.sum::<f64>() * 60.0 * rate * seeds as f64;
            let sigmas = (count as f64 - mean) / (times * mean.sqrt());
            assert!(sigmas.abs() < 4.5, "hour {hour}: {count}, expected {mean}");
        }
        let all = counts.iter().sum::<u64>() as f64 / (86_400.0 * rate * seeds as f64);
        assert!(
            (all - 1.0).abs() < 0.02 * times,
            "the mean rate stays: {all}"
        );
    }
}

#[test]
fn a_day_of_kimi_is_what_it_says() {
    let (day, hour) = (builtin("kimi-day"), builtin("kimi-conversation"));
    assert_eq!((day.start, day.turns), (hour.start, hour.turns));
    let curve = day.arrivals.diurnal.expect("it has a day");
    for (hour, point) in curve.points.iter().enumerate() {
        let angle = std::f64::consts::PI * (hour as f64 - 16.0) / 12.0;
        assert!(
            (point - (1.0 + 0.5 * angle.cos())).abs() < 5.1e-4,
            "{hour} h"
        );
    }
    let peak: f64 = (0..240)
        .map(|minute| curve.at(50_400.0 + 60.0 * f64::from(minute)))
        .sum();
    assert!((peak / 240.0 - 1.47).abs() < 0.01, "{}", peak / 240.0);
}
