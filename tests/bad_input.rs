//! Bad input gets one line that says what, where and what was expected, and exit code 2.

use crate::common::{conductor, file};
use std::fs;

/// Runs the command; expects exit 2, one line on stderr that has all the words, and nothing on stdout.
fn refused(args: &[&str], folder: &std::path::Path, words: &[&str]) {
    let output = conductor(args, folder);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
    assert!(
        output.stdout.is_empty(),
        "{args:?} printed {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for word in words {
        assert!(
            error.contains(word),
            "{args:?}: expected \"{word}\" in: {error}"
        );
    }
    assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
}

const GOOD: &str =
    r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}"#;

#[test]
fn traces() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = |from: &str, to: &str| format!("{GOOD}\n{}\n", GOOD.replacen(from, to, 1));
    let cases = [
        (
            "malformed",
            row("\"input", "input"),
            vec!["malformed.jsonl:2"],
        ),
        (
            "negative",
            row("600", "-600"),
            vec![":2", "input_length", "-600"],
        ),
        ("nan", row("600", "NaN"), vec![":2", "input_length"]),
        (
            "huge",
            row("600", "99999999999999999999"),
            vec![":2", "input_length"],
        ),
        ("fraction", row("600", "600.5"), vec![":2", "input_length"]),
        (
            "missing",
            row("\"output_length\": 5, ", ""),
            vec![":2", "output_length"],
        ),
        (
            "zero-input",
            row("600", "0"),
            vec![":2", "input_length", "0"],
        ),
        (
            "zero-output",
            row("5,", "0,"),
            vec![":2", "output_length", "0"],
        ),
        (
            "hashes",
            row("[0, 1]", "[0, 1, 2]"),
            vec![":2", "hash_ids", "2"],
        ),
        (
            "back",
            format!(
                "{}\n{GOOD}\n",
                GOOD.replacen("\"timestamp\": 0", "\"timestamp\": 9", 1)
            ),
            vec![":2", "--sort"],
        ),
        ("empty", String::new(), vec!["empty.jsonl"]),
    ];
    for (name, content, mut words) in cases {
        let name = format!("{name}.jsonl");
        file(folder.path(), &name, content);
        words.push(&name);
        for args in [
            &["replay", "--trace", &name][..],
            &["compare", "--trace", &name],
            &["trace", "stats", &name],
        ] {
            refused(args, folder.path(), &words);
        }
    }
    // With --sort, times that go back are no fault.
    assert!(
        conductor(&["trace", "stats", "back.jsonl", "--sort"], folder.path())
            .status
            .success()
    );
    fs::create_dir(folder.path().join("folder.jsonl")).expect("writable");
    refused(
        &["replay", "--trace", "folder.jsonl"],
        folder.path(),
        &["folder.jsonl", "directory"],
    );
    refused(
        &["replay", "--trace", "absent.jsonl"],
        folder.path(),
        &["absent.jsonl"],
    );
}

#[test]
fn truncated_compression() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for suffix in ["gz", "zst"] {
        let whole = format!("whole.jsonl.{suffix}");
        let output = conductor(
            &["trace", "generate", "--requests", "300", "-o", &whole],
            folder.path(),
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let bytes = fs::read(folder.path().join(&whole)).expect("written");
        let cut = format!("cut.jsonl.{suffix}");
        file(folder.path(), &cut, &bytes[..bytes.len() / 2]);
        assert!(
            conductor(&["trace", "stats", &whole], folder.path())
                .status
                .success()
        );
        refused(&["replay", "--trace", &cut], folder.path(), &[&cut]);
    }
}

#[test]
fn policies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    refused(
        &["replay", "--policy", "fifo"],
        path,
        &["unknown prefill policy \"fifo\"", "kvcache-centric"],
    );
    refused(
        &["replay", "--policy", "random+sometimes"],
        path,
        &["unknown admission policy"],
    );
    refused(
        &["compare", "--policy", "random", "--policy", "random"],
        path,
        &["two policies are named \"random\""],
    );
    file(
        path,
        "typo.toml",
        "[prefill]\nselect = \"random\"\ntreshold = 2\n",
    );
    refused(
        &["replay", "--policy", "typo.toml"],
        path,
        &["typo.toml: line 3", "treshold"],
    );
    file(
        path,
        "range.toml",
        "[prefill]\nselect = \"kvcache-centric\"\nbalancing_threshold = 0.5\n",
    );
    refused(
        &["replay", "--policy", "range.toml"],
        path,
        &[
            "range.toml: line 3",
            "balancing_threshold",
            "from 1 to 1000",
        ],
    );
    refused(
        &["replay", "--policy", "absent.toml"],
        path,
        &["absent.toml"],
    );
}

#[test]
fn clusters_workloads_and_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    refused(
        &["replay", "--cluster", "0p8d"],
        path,
        &["`nodes.count`", "found 0"],
    );
    refused(
        &["replay", "--cluster", "8p0d"],
        path,
        &["`nodes.count`", "found 0"],
    );
    refused(
        &["replay", "--cluster", "a800-16-x"],
        path,
        &["unknown cluster \"a800-16-x\"", "\"a800-16-cp\""],
    );
    refused(
        &["replay", "--cluster", "many"],
        path,
        &["unknown cluster \"many\""],
    );
    file(
        path,
        "c.toml",
        "name = \"c\"\n[[nodes]]\ncount = 1\nrole = \"router\"\n",
    );
    refused(
        &["replay", "--cluster", "c.toml"],
        path,
        &["c.toml: line 4", "router"],
    );
    refused(
        &["replay", "--workload", "nothing"],
        path,
        &["unknown workload \"nothing\"", "kimi-conversation"],
    );
    refused(&["replay", "--speed", "0"], path, &["speed", "found 0"]);
    refused(&["replay", "--speed", "nan"], path, &["speed", "NaN"]);
    refused(&["replay", "--rate", "-1"], path, &["rate"]);
    refused(&["cost", "b200"], path, &["unknown profile \"b200\""]);
    refused(&["cost", "--cached", "1.5"], path, &["--cached", "1.5"]);
    refused(&["cost", "--prompt", "0"], path, &["--prompt", "found 0"]);
    file(path, "row.jsonl", GOOD);
    refused(
        &["trace", "cache", "row.jsonl", "--policy", "fifo"],
        path,
        &["fifo"],
    );
    refused(
        &["trace", "cache", "row.jsonl", "--capacity", "-3"],
        path,
        &["-3"],
    );
}

#[test]
fn what_does_not_go_together() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let small = ["replay", "--block-tokens", "100", "--requests", "10"];
    refused(
        &small,
        path,
        &[
            "kimi-conversation",
            "blocks of 512 tokens",
            "multiple of the cluster's 100",
        ],
    );
    refused(
        &["capacity", "--low", "0"],
        path,
        &["--low: expected a speed from 0.001 to 1000, found 0"],
    );
    refused(
        &["capacity", "--out", "results"],
        path,
        &["--out: expected none with capacity"],
    );
    refused(
        &["capacity", "--effective", "1.5"],
        path,
        &["--effective: expected a share above 0, at most 1, found 1.5"],
    );
    for (args, expected) in [
        (
            &["--fewest-nodes", "--cluster", "16"][..],
            "expected one group of prefill nodes and one of decode nodes",
        ),
        (
            &["--best-split", "--speed", "2"],
            "--speed: expected none with capacity",
        ),
        (
            &["--search", "cluster.nodes.cash=1..2"],
            "`cluster.nodes.cash`: unknown field `cash`",
        ),
        (
            &["--search", "split=0..2"],
            "`split`: expected a whole number, found 0",
        ),
        (
            &["--search", "policy.eviction.select=lru,lfu"],
            "expected a range, LOW..HIGH",
        ),
        (
            &["--seeds", "2", "--trace", "conversation"],
            "--seeds: expected 1 with a trace",
        ),
        (
            &["--reliability", "1"],
            "--reliability: expected a share from 0.01 to 0.99, found 1",
        ),
    ] {
        refused(&[&["capacity"][..], args].concat(), path, &[expected]);
    }
    for (args, expected) in [
        (
            &["--param", "policy.slo.ttft_s=1..9"][..],
            "limits are what it is judged by",
        ),
        (
            &["--param", "nodes=2..9"],
            "the number of nodes is what all have the same",
        ),
        (
            &["--param", "workload.speed=1..2"],
            "expected split or a key of policy or cluster",
        ),
        (
            &["--param", "policy.prefill.balancing_threshold=0.5..9"],
            "expected a ratio from 1 to 1000, found 0.5",
        ),
        (
            &["--train", "5.."],
            "--train: expected a window with an end",
        ),
        (
            &["--train", "5..50", "--held-out", "40..90"],
            "--held-out: expected a window behind the training window, 5..50",
        ),
        (
            &["--measure", "5..50"],
            "--measure: expected none with tune",
        ),
        (
            &["--train", "..9", "--held-out", "999990.."],
            "window: expected one in which requests arrive, found 999990..",
        ),
    ] {
        refused(
            &[&["tune", "--requests", "50", "--tries", "1"], args].concat(),
            path,
            &[expected],
        );
    }
    for args in [
        ["tune", "--objective", "events"],
        ["tune", "--param", "split"],
        ["replay", "--measure", "9..3"],
        ["capacity", "--search", "x=1..2"],
    ] {
        assert_eq!(conductor(&args, path).status.code(), Some(2), "{args:?}");
    }
    file(path, "file", "");
    refused(
        &["replay", "--requests", "10", "--out", "file"],
        path,
        &["file", "expected a folder"],
    );
    refused(
        &["replay", "--requests", "10", "--journal", "no/run.jsonl"],
        path,
        &["no/run.jsonl"],
    );
    for args in [
        ["replay", "--limit", "0"],
        ["replay", "--concurrency", "0"],
        ["replay", "--requests", "0"],
        ["compare", "--jobs", "0"],
    ] {
        assert_eq!(conductor(&args, path).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn usage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for args in [
        &["replya"][..],
        &["replay", "--speeed", "2"],
        &[],
        &["replay", "--trace", "a", "--workload", "b"],
    ] {
        let output = conductor(args, folder.path());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["replay", "--help"], &["--version"]] {
        assert_eq!(
            conductor(args, folder.path()).status.code(),
            Some(0),
            "{args:?}"
        );
    }
}
