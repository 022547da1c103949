//! What programs and people get: JSON keys, files, tables.

use crate::common::{conductor, root, stdout};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON document and nothing else")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_run_has_the_fixed_keys_and_adds_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = json(&stdout(
        &["replay", "--requests", "300", "--cluster", "2p2d", "--json"],
        folder.path(),
    ));
    let fixed = "schema trace cluster policy oracle seed speed retry requests attempts completed first_try_completed eventually_completed \
                 first_try_ratio eventual_ratio rejected rejected_after_prefill unfinished \
                 ttft_s tbt_s tpot_s e2e_s effective_ratio ttft_ratio tbt_ratio tbt_within slo goodput_rps goodput_tokens_per_s hit_ratio_tokens \
                 hit_ratio_blocks prefill_gpu_s_mean prefill_load decode_load steady_prefill_load steady_decode_load load_correlation wasted_prefill_s \
                 accepted_by_prompt_quartile parts_s transfer tiers recomputed replications role_switches simulated_s wall_s \
                 cpu_s peak_rss_mb events decisions nodes_prefill nodes_decode nodes_coupled input_tokens output_tokens \
                 digest";
    assert_eq!(keys(&run), fixed.split_whitespace().collect());
    for summary in ["ttft_s", "tbt_s", "tpot_s", "e2e_s"] {
        assert_eq!(
            keys(&run[summary]),
            BTreeSet::from(["mean", "p50", "p90", "p95", "p99", "max"])
        );
    }
    assert_eq!(keys(&run["slo"]), BTreeSet::from(["ttft_s", "tbt_s"]));
    assert_eq!(
        keys(&run["prefill_load"]),
        BTreeSet::from(["mean", "sd", "max"])
    );
    assert_eq!(
        keys(&run["transfer"]),
        BTreeSet::from(["gb", "mean_s", "copies", "streams"])
    );
    assert_eq!(run["requests"], 300);
    assert_eq!(
        run["completed"].as_u64().unwrap() + run["rejected"].as_u64().unwrap(),
        300
    );
    assert_eq!(run["unfinished"], 0);
    assert_eq!(run["cluster"], "a800-2p2d");
}

#[test]
fn a_comparison_replays_the_same_requests_and_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let digests = |jobs| {
        let args = [
            "compare",
            "--requests",
            "200",
            "--cluster",
            "2p2d",
            "--json",
            "--jobs",
            jobs,
        ];
        let document = json(&stdout(&args, folder.path()));
        let runs = document["runs"].as_array().expect("a list").clone();
        runs.iter()
            .map(|run| (run["policy"].to_string(), run["digest"].to_string()))
            .collect::<Vec<_>>()
    };
    let one = digests("1");
    assert_eq!(one, digests("3"));
    let names: Vec<&str> = one.iter().map(|(name, _)| name.trim_matches('"')).collect();
    assert_eq!(
        names,
        [
            "random",
            "least-loaded",
            "local-cache-aware",
            "kvcache-centric"
        ]
    );
}

#[test]
fn the_folder_of_a_run_is_complete_and_replays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = stdout(
        &[
            "replay",
            "--requests",
            "150",
            "--cluster",
            "2p2d",
            "--out",
            "out",
        ],
        folder.path(),
    );
    assert!(
        said.contains("kvcache-centric") && said.contains("report.html"),
        "{said}"
    );
    let out = folder.path().join("out");
    let read = |name: &str| {
        fs::read_to_string(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let requests = read("requests.csv");
    let header = "id,arrival_s,input,output,prefill_node,decode_node,hit_tokens,ttft_s,tbt_s,e2e_s,outcome,tries";
    assert_eq!(requests.lines().next(), Some(header));
    assert_eq!(requests.lines().count(), 151);
    assert!(
        read("timeline.csv")
            .starts_with("time_s,prefill_load,decode_load,live_requests,hit_ratio,prefill_0_load,")
    );
    for name in [
        "ttft_cdf.svg",
        "tbt_cdf.svg",
        "ttft_box.svg",
        "load.svg",
        "hit_ratio.svg",
    ] {
        assert!(read(name).trim_end().ends_with("</svg>"), "{name}");
    }
    assert!(read("report.html").contains("kvcache-centric"));
    // The resolved files say all that was decided by: a run with them is the same run.
    let args = [
        "replay",
        "--requests",
        "150",
        "--cluster",
        "out/cluster.toml",
        "--policy",
        "out/policy.toml",
        "--json",
    ];
    let again = json(&stdout(&args, folder.path()));
    assert_eq!(again["digest"], json(&read("run.json"))["digest"]);
}

#[test]
fn a_comparison_has_a_folder_for_each_policy_and_one_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "compare",
        "--requests",
        "100",
        "--cluster",
        "2p2d",
        "--out",
        "out",
        "--policy",
        "random",
        "--policy",
    ];
    stdout(&[&args[..], &["least-queued"]].concat(), folder.path());
    for name in [
        "run.json",
        "report.html",
        "random/requests.csv",
        "least-queued/timeline.csv",
        "random/policy.toml",
    ] {
        assert!(folder.path().join("out").join(name).is_file(), "{name}");
    }
}

#[test]
fn generated_traces_read_back_and_convert() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stats = |name| stdout(&["trace", "stats", "--json", name], folder.path());
    stdout(
        &[
            "trace",
            "generate",
            "--requests",
            "500",
            "--seed",
            "3",
            "-o",
            "a.jsonl",
        ],
        folder.path(),
    );
    stdout(
        &["trace", "convert", "a.jsonl", "b.jsonl.gz"],
        folder.path(),
    );
    stdout(
        &["trace", "convert", "b.jsonl.gz", "c.jsonl.zst"],
        folder.path(),
    );
    assert_eq!(stats("a.jsonl"), stats("c.jsonl.zst"));
    let fixed = "requests duration_s input_mean output_mean blocks_total blocks_unique blocks_hit_ideal \
                 hit_ratio_blocks_ideal hit_ratio_tokens_ideal block_tokens";
    let document = json(&stats("b.jsonl.gz"));
    for key in fixed.split_whitespace() {
        assert!(document.get(key).is_some(), "{key}");
    }
    stdout(
        &["trace", "fit", "a.jsonl", "-o", "fitted.toml"],
        folder.path(),
    );
    stdout(
        &[
            "replay",
            "--workload",
            "fitted.toml",
            "--requests",
            "50",
            "--cluster",
            "1p1d",
        ],
        folder.path(),
    );
    // The generator writes what the replay generates.
    let digest = |args: &[&str]| json(&stdout(args, folder.path()))["digest"].clone();
    let from_file = digest(&[
        "replay",
        "--trace",
        "a.jsonl",
        "--seed",
        "3",
        "--json",
        "--cluster",
        "2p2d",
    ]);
    let generated = digest(&[
        "replay",
        "--requests",
        "500",
        "--seed",
        "3",
        "--json",
        "--cluster",
        "2p2d",
    ]);
    assert_eq!(from_file, generated);
}

#[test]
fn the_grid_of_arrivals_is_an_option() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let off_grid = |args: &[&str]| {
        let base = ["trace", "generate", "--requests", "60", "-o", "g.jsonl"];
        stdout(&[&base[..], args].concat(), folder.path());
        let rows = fs::read_to_string(folder.path().join("g.jsonl")).expect("written");
        let stamps = rows
            .lines()
            .map(|row| json(row)["timestamp"].as_f64().expect("a number"));
        stamps.filter(|stamp| stamp % 3_000.0 > 0.0).count()
    };
    assert_eq!(off_grid(&[]), 0);
    assert!(off_grid(&["--grid", "0"]) > 30);
    let output = conductor(&["replay", "--grid", "-1"], folder.path());
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn clients_try_again_only_if_they_are_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = [
        "replay",
        "--requests",
        "200",
        "--cluster",
        "1p1d",
        "--policy",
        "kvcache-centric+early",
    ];
    let run = |more: &[&str]| stdout(&[&base[..], more].concat(), folder.path());
    let without = json(&run(&["--json"]));
    let never = json(&run(&["--json", "--retry", "0"]));
    assert_eq!(without["digest"], never["digest"]);
    assert_eq!(without["retry"]["tries"], 0);
    assert_eq!(without["attempts"], 200);
    let twice = json(&run(&["--json", "--retry", "2"]));
    let number = |key: &str| twice[key].as_u64().expect("a count");
    assert!(number("attempts") > 200 && number("attempts") <= 600);
    assert_eq!(number("completed") + number("rejected"), 200);
    assert!(number("first_try_completed") < number("eventually_completed"));
    let first_s = twice["retry"]["first_s"].as_f64().expect("a number");
    assert!((first_s - 0.5).abs() < 1e-9, "the default");
    let table = run(&["--retry", "2"]);
    assert!(
        table.contains("first try") && table.contains("up to 2 further times"),
        "{table}"
    );
    assert!(!run(&[]).contains("first try"));
    let output = conductor(&[&base[..], &["--retry", "-1"]].concat(), folder.path());
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_workload_of_other_blocks_is_generated_with_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixed =
        fs::read_to_string(root().join("traces/workloads/poisson-fixed.toml")).expect("built in");
    assert!(
        fixed.contains("block_tokens = 512"),
        "the line that is changed below"
    );
    let small = fixed.replacen("block_tokens = 512", "block_tokens = 256", 1);
    fs::write(folder.path().join("small.toml"), small).expect("writable");
    let args = [
        "trace",
        "generate",
        "--workload",
        "small.toml",
        "--requests",
        "5",
        "-o",
        "g.jsonl",
    ];
    stdout(&args, folder.path());
    let args = ["trace", "stats", "g.jsonl", "--block-tokens", "256"];
    stdout(&args, folder.path());
}

#[test]
fn cache_and_cost_print_their_rows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    stdout(
        &["trace", "generate", "--requests", "200", "-o", "a.jsonl"],
        folder.path(),
    );
    let args = [
        "trace",
        "cache",
        "a.jsonl",
        "--policy",
        "lru,belady",
        "--capacity",
        "100,inf",
        "--json",
    ];
    let rows = json(&stdout(&args, folder.path()))["rows"].clone();
    assert_eq!(rows.as_array().map(Vec::len), Some(4));
    assert_eq!(
        keys(&rows[0]),
        BTreeSet::from([
            "policy",
            "capacity",
            "unit",
            "hit_ratio_blocks",
            "hit_ratio_tokens"
        ])
    );
    assert!(rows[1]["capacity"].is_null() && rows[1]["policy"] == "lru");
    let args = [
        "cost",
        "a800-llama3-70b",
        "--prompt",
        "8192",
        "--cached",
        "0,0.95",
        "--batch",
        "1",
        "--json",
    ];
    let cost = json(&stdout(&args, folder.path()));
    assert_eq!(cost["prefill"][1]["cached"], 0.95);
    assert_eq!(
        keys(&cost["decode"][0]),
        BTreeSet::from(["batch", "context", "seconds"])
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_conductor"))
        .args(["cost"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary of this package starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn completions_name_the_commands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = stdout(&["completions", "bash"], folder.path());
    assert!(script.contains("compare") && script.contains("experiment"));
    assert!(
        !conductor(&["completions", "tcsh"], folder.path())
            .status
            .success()
    );
}
