//! `conductor tune`, and windows that are measured.

use crate::common::stdout;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(args: &[&str], folder: &Path) -> Value {
    let text = stdout(&[args, &["--json"]].concat(), folder);
    serde_json::from_str(&text).expect("one JSON document")
}

const LOAD: [&str; 6] = ["--requests", "900", "--cluster", "2p2d", "--speed", "1.5"];

fn tune(more: &[&str], folder: &Path) -> Value {
    let args = [
        "tune",
        "--policy",
        "kvcache-centric+early-predicted",
        "--tries",
        "6",
    ];
    json(&[&args[..], &LOAD, more].concat(), folder)
}

#[test]
fn the_winner_is_a_policy_file_that_gives_the_numbers_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let found = tune(&["-o", "best.toml", "--out", "results"], folder.path());
    let window = |name: &str| {
        let (from, until) = (&found[name]["from_s"], &found[name]["until_s"]);
        format!(
            "{from}..{}",
            if until.is_null() {
                String::new()
            } else {
                until.to_string()
            }
        )
    };
    assert_eq!(found["train"]["until_s"], found["held_out"]["from_s"]);
    for name in ["train", "held_out"] {
        for (policy, key) in [
            ("best.toml", "tuned"),
            ("kvcache-centric+early-predicted", "baseline"),
        ] {
            let measure = window(name);
            let args = [
                &["replay", "--policy", policy, "--measure", &measure],
                &LOAD[..],
            ]
            .concat();
            let run = json(&args, folder.path());
            assert_eq!(
                run["effective_ratio"], found[name]["gain"][key],
                "{name} {policy}"
            );
        }
    }
    // Chosen by the training window alone.
    let tries = found["tries"].as_array().expect("a list");
    let best = tries
        .iter()
        .map(|tried| tried["train"].as_f64().expect("it ran"))
        .fold(0.0, f64::max);
    assert_eq!(found["train"]["gain"]["tuned"].as_f64(), Some(best));
    assert_eq!(tries.len(), 7);
    let csv = fs::read_to_string(folder.path().join("results/tries.csv")).expect("written");
    let header = "try,policy.prefill.balancing_threshold,policy.admission.predictor.decode_s,policy.admission.threshold,\
                  policy.admission.decode_threshold,policy.decode.output_reserve_tokens,train effective_ratio,best,refused";
    assert_eq!(csv.lines().next(), Some(header));
    assert_eq!((csv.lines().count(), csv.matches(",true,").count()), (8, 1));
    let best = fs::read_to_string(folder.path().join("best.toml")).expect("written");
    assert!(best.starts_with("# By `conductor tune`: 6 tries"), "{best}");
    let kept = fs::read_to_string(folder.path().join("results/policy.toml")).expect("written");
    assert_eq!(best, kept);
}

#[test]
fn equal_arguments_give_equal_results_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let found = tune(&["--jobs", "1"], folder.path());
    assert_eq!(tune(&["--jobs", "3"], folder.path()), found);
    assert_ne!(
        tune(&["--seed", "2"], folder.path())["tries"],
        found["tries"]
    );
}

#[test]
fn a_cluster_is_tuned_into_a_file_beside() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "--param",
        "split=1..3",
        "--param",
        "cluster.nodes.prefill.chunk_tokens=2048,8192",
        "--objective",
        "ttft_s.p90",
        "-o",
        "best.toml",
    ];
    let found = tune(&args, folder.path());
    // Six sets are all there are.
    assert_eq!(found["tries"].as_array().map(Vec::len), Some(7));
    assert_eq!(found["minimised"], true);
    let (from, gain) = (&found["held_out"]["from_s"], &found["held_out"]["gain"]);
    let measure = format!("{from}..");
    let args = [
        "replay",
        "--policy",
        "best.toml",
        "--cluster",
        "best-cluster.toml",
        "--measure",
        &measure,
        "--requests",
        "900",
        "--speed",
        "1.5",
    ];
    assert_eq!(json(&args, folder.path())["ttft_s"]["p90"], gain["tuned"]);
    assert!(
        gain["tuned"].as_f64() <= gain["baseline"].as_f64(),
        "prefill nodes make TTFT: {gain}"
    );
}

/// Equal policies differ by nothing: an interval that has 0 in it is not called a gain.
#[test]
fn what_makes_no_difference_is_no_gain() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // At this load nobody waits for decoding: what is reserved does not matter.
    let args = [
        "tune",
        "--requests",
        "600",
        "--param",
        "policy.decode.output_reserve_tokens=300..400",
        "--tries",
        "3",
        "--speed",
        "0.5",
    ];
    let found = json(&args, folder.path());
    assert_eq!(
        (&found["best_try"], &found["verdict"]),
        (&0.into(), &"within-noise".into())
    );
    assert_eq!(found["overfitted"], false);
    let text = stdout(&args, folder.path());
    assert!(text.contains("Nothing that was tried is better"), "{text}");
}

/// Two windows share nothing and miss nothing; what comes before fills the caches of what is measured.
#[test]
fn windows_part_a_workload() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |measure: &str, speed: &str| {
        let args = [
            "replay",
            "--requests",
            "600",
            "--speed",
            speed,
            "--measure",
            measure,
        ];
        json(&args, folder.path())
    };
    let count = |run: &Value| run["requests"].as_u64().expect("a count");
    for speed in ["1", "3"] {
        let (first, second) = (run("..60", speed), run("60..", speed));
        assert_eq!(count(&first) + count(&second), 600);
        assert_eq!(
            count(&run("..60", "1")),
            count(&first),
            "speed does not move a window"
        );
    }
    let (cold, warm) = (run("..60", "1"), run("60..", "1"));
    let hits = |run: &Value| run["hit_ratio_tokens"].as_f64().expect("a share");
    assert!(hits(&warm) > hits(&cold), "{} {}", hits(&warm), hits(&cold));
    assert_eq!(warm["measured"]["from_s"], 60.0);
    let whole = json(&["replay", "--requests", "600"], folder.path());
    assert!(whole["measured"].is_null());
}
