//! Experiments end to end, on generated workloads.

use conductor_experiments::{
    ExperimentError, ExperimentReport, RunOptions, Spec, run, write_results,
};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Four runs and a fit on 400 generated requests.
const TINY: &str = r#"
name = "tiny"
title = "Tiny"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric"]
[workload]
name = "kimi-conversation"
requests = 400
output_tokens = 1
[set]
"cluster.nodes.cache_tokens" = 100_000
"profile.prefill.hit_base_s" = 0.01
"policy.slo.ttft_s" = 20
seed = 7
[[axes]]
key = "workload.speed"
values = ["fitted", 0.1]
[fit]
key = "workload.speed"
at = { policy = "kvcache-centric" }
metric = "ttft_s.mean"
target = 10
tolerance = 0.3
low = 0.1
high = 2
[[published]]
series = "kvcache-centric"
x = "mean"
at = { speed = "fitted", policy = "kvcache-centric" }
metric = "ttft_s.mean"
scale = 1000
value = 10000
unit = "ms"
source = "made up"
[[checks]]
id = "order"
what = "random is slower"
kind = "order"
metric = "ttft_s.mean"
over = "policy"
values = ["random", "kvcache-centric"]
at = { speed = "fitted" }
[[checks]]
id = "impossible"
what = "nothing is ten times itself"
kind = "ratio"
metric = "ttft_s.mean"
at = { speed = 0.1, policy = "random" }
of = {}
to = {}
low = 10
high = 11
"#;

fn run_tiny(text: &str, jobs: usize) -> Result<ExperimentReport, ExperimentError> {
    let options = RunOptions {
        jobs,
        ..RunOptions::default()
    };
    run(&Spec::parse(text).expect("parses"), &options)
}

/// The JSON without what a run costs the machine.
fn json(report: &ExperimentReport) -> Value {
    let mut json = serde_json::to_value(report).expect("plain data");
    for run in json["runs"].as_array_mut().expect("a list") {
        let run = run.as_object_mut().expect("a table");
        for measured in ["wall_s", "cpu_s", "peak_rss_mb"] {
            assert!(run.remove(measured).is_some());
        }
    }
    json
}

#[test]
fn an_experiment_runs_and_is_the_same_on_any_number_of_threads() {
    let report = run_tiny(TINY, 1).expect("runs");
    let alone = json(&report);
    assert_eq!(alone, json(&run_tiny(TINY, 2).expect("runs")));

    let keys: Vec<_> = alone.as_object().expect("a table").keys().collect();
    assert_eq!(keys, ["checks", "name", "points", "runs", "source"]);
    assert_eq!(report.runs.len(), 4);
    assert_eq!(report.runs[0].seed, 7);
    assert!((report.runs[0].slo.ttft_s - 20.0).abs() < 1e-9);
    assert_eq!(report.runs[0].trace, "kimi-conversation");

    let fitted = report.fitted.expect("fitted");
    assert!((report.runs[1].speed - fitted.value).abs() < 1e-12);
    assert!((report.runs[1].ttft_s.mean - 10.0).abs() <= 0.3);
    assert_eq!(report.points[0].series, "fitted");
    assert!((report.points[1].simulated - 1000.0 * report.runs[1].ttft_s.mean).abs() < 1e-9);

    let checks = &alone["checks"];
    assert_eq!(checks[0]["id"], "fit");
    assert_eq!(checks[1]["holds"], true);
    assert_eq!(checks[2]["simulated"], 1.0);
    assert_eq!(checks[2]["holds"], false);
}

#[test]
fn progress_counts_every_run() {
    let calls = AtomicUsize::new(0);
    let progress = |progress: conductor_experiments::Progress| {
        assert!(progress.done <= progress.total);
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let options = RunOptions {
        jobs: 2,
        progress: Some(&progress),
        ..RunOptions::default()
    };
    let report = run(&Spec::parse(TINY).expect("parses"), &options).expect("runs");
    let fit = report.fitted.expect("fitted").evaluations as usize;
    assert_eq!(calls.into_inner(), 4 + fit);
}

#[test]
fn results_have_every_run_and_the_specification() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = run_tiny(TINY, 2).expect("runs");
    let folder = write_results(dir.path(), &report).expect("written");
    assert_eq!(folder, dir.path().join("tiny"));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    assert_eq!(read("spec.toml"), TINY);
    let rows: Vec<_> = read("raw.csv").lines().map(str::to_string).collect();
    assert_eq!(rows.len(), 5);
    assert!(
        rows[0].starts_with("axis speed,axis policy,"),
        "{}",
        rows[0]
    );
    assert!(
        rows[2].starts_with("fitted,kvcache-centric,"),
        "{}",
        rows[2]
    );
    let table = read("table.md");
    assert!(
        table.contains("| **no** |") && table.contains("10000 ms"),
        "{table}"
    );
    let json: Value = serde_json::from_str(&read("experiment.json")).expect("JSON");
    assert_eq!(json["name"], "tiny");
}

#[test]
fn wrong_inputs_are_told_from_failed_runs_and_named() {
    for (good, bad, expected) in [
        (
            "cache_tokens\" = 100_000",
            "cash_tokens\" = 1",
            "line 12: `cluster.nodes.cash_tokens`: unknown field `cash_tokens` (did you mean \"cache_tokens\"?)",
        ),
        (
            "cache_tokens\" = 100_000",
            "cache_tokens\" = -1",
            "line 12: `cluster.nodes.cache_tokens`: ",
        ),
        (
            "prefill.hit_base_s\" = 0.01",
            "prefill.hit_base_s\" = -1",
            "line 13: `profile.prefill.hit_base_s`: ",
        ),
        (
            "slo.ttft_s\" = 20",
            "slo.ttft_s\" = \"soon\"",
            "line 14: `policy.slo.ttft_s`: expected a number, found \"soon\"",
        ),
        (
            "slo.ttft_s\" = 20",
            "slo.ttft_s\" = 0",
            "line 14: `policy.slo.ttft_s`: expected seconds above 0",
        ),
        (
            "requests = 400",
            "requests = 0.5",
            "line 9: `workload.requests`: expected a whole number",
        ),
        (
            "requests = 400",
            "request = 400",
            "line 9: `workload.request`: unknown key (did you mean \"requests\"?), expected one of: name, ",
        ),
        (
            "requests = 400",
            "requests = 400\nconcurrency = 0",
            "line 10: `workload.concurrency`: expected a whole number of clients from 1 to 4294967295",
        ),
        (
            "requests = 400",
            "requests = 400\nretry = 3",
            "line 10: `workload.retry`: expected a table, as in retry = { tries = 3 }",
        ),
        (
            "requests = 400",
            "requests = 400\nretry = { tries = 3, factor = 0.5 }",
            "line 10: `workload.retry.factor`: expected a number from 1 to 1000, found 0.5",
        ),
        (
            "requests = 400",
            "requests = 400\nretry = { trys = 3 }",
            "line 10: `workload.retry.trys`: unknown field `trys` (did you mean \"tries\"?), expected one of `tries`",
        ),
        (
            "requests = 400",
            "requests = 400\nrate = { low = 3 }",
            "line 10: `workload.rate.low`: unknown key",
        ),
        (
            "\"kimi-conversation\"",
            "\"no-such-trace\"",
            "no-such-trace",
        ),
        ("\"2p1d\"", "\"0p1d\"", "expected a whole number from 1"),
        (
            "target = 10",
            "target = 1000",
            "`fit`: workload.speed: the target 1000 is not bracketed",
        ),
    ] {
        let text = TINY.replacen(good, bad, 1);
        assert_ne!(text, TINY, "{good}");
        let error = run_tiny(&text, 2).expect_err(bad);
        assert!(error.is_input(), "{error}");
        assert!(error.to_string().contains(expected), "{bad}: {error}");
    }
}

/// Two policies, two seeds, every kind of check that knows of seeds.
const SEEDED: &str = r#"
name = "seeded"
title = "Seeded"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric"]
seeds = 3
[workload]
name = "kimi-conversation"
requests = 300
[[axes]]
key = "workload.rate"
values = [1.0, 2.0]
[[curves]]
what = "shortest prompts"
by = "policy"
over = "rate"
metric = "accepted_by_prompt_quartile.0"
unit = ""
[[checks]]
id = "slower"
what = "random is slower, seed by seed"
kind = "difference"
metric = "ttft_s.mean"
at = { rate = 2.0 }
of = { policy = "random" }
to = { policy = "kvcache-centric" }
side = "above"
[[checks]]
id = "tail"
what = "a mean is not above its own tail"
kind = "difference"
metric = "ttft_s.mean"
minus = "ttft_s.p99"
at = { rate = 2.0, policy = "random" }
of = {}
to = {}
side = "below"
at_least = 1.5
[[checks]]
id = "flat"
what = "all are served"
kind = "flat"
metric = "accepted_by_prompt_quartile.3"
over = "rate"
at = { policy = "random" }
low = 1
"#;

#[test]
fn runs_are_repeated_with_the_same_seeds_for_all() {
    let spec = Spec::parse(SEEDED).expect("parses");
    let report = run(&spec, &RunOptions::default()).expect("runs");
    let seeds: Vec<_> = report.runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [1, 2, 3].repeat(4));
    // Common random numbers: the same requests for every policy.
    assert_eq!(report.runs[0].input_tokens, report.runs[3].input_tokens);
    assert_ne!(report.runs[0].input_tokens, report.runs[1].input_tokens);
    let points = report.points.iter();
    let points: Vec<_> = points
        .map(|point| (point.seeds, point.simulated, point.ci95))
        .collect();
    assert_eq!(points, [(Some(3), 1.0, Some(0.0)); 4]);
    let holds: Vec<_> = report.checks.iter().map(|check| check.holds).collect();
    // The tail is not 1.5 times the tail away.
    assert_eq!(holds, [true, false, true], "{:?}", report.checks);
    assert!(report.checks[0].ci95.is_some() && report.checks[0].low == Some(0.0));
    assert_eq!(report.checks[1].high, Some(0.0));
}

/// More is asked than one node of each kind can serve; clients come again, or do not.
const RETRIED: &str = r#"
name = "retried"
title = "Retried"
source = "nowhere"
cluster = "1p1d"
policies = ["kvcache-centric+early"]
[workload]
name = "kimi-conversation"
requests = 300
retry = { first_s = 0.25, jitter = 0.5, honour_retry_after = false }
[[axes]]
key = "workload.retry.tries"
values = [0, 1, 4]
"#;

#[test]
fn clients_that_come_again_are_a_setting_of_the_workload() {
    let spec = Spec::parse(RETRIED).expect("parses");
    let report = run(&spec, &RunOptions::default()).expect("runs");
    let [none, one, four] = &report.runs[..] else {
        panic!("three runs")
    };
    assert_eq!(none.attempts, none.requests);
    assert_eq!(none.first_try_completed, none.completed);
    assert!(none.rejected > 30, "{} rejected", none.rejected);
    for run in [one, four] {
        assert_eq!(run.retry.first_s.to_string(), "0.25");
        assert_eq!(run.input_tokens, none.input_tokens);
        assert!(run.first_try_completed < run.eventually_completed);
        assert_eq!(run.completed + run.rejected, run.requests);
        assert_eq!(run.decisions, run.attempts);
    }
    assert!(none.attempts < one.attempts && one.attempts < four.attempts);
    assert!(one.eventual_ratio < four.eventual_ratio);
}
