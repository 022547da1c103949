//! Extreme but legal input: time stamps far apart, and outputs that are inputs.

use crate::common::{conductor, file, stdout};
use std::fs;

const ROW: &str =
    r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}"#;

#[test]
fn idle_years_cost_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let decade = ROW.replacen("\"timestamp\": 0", "\"timestamp\": 315360000000", 1);
    file(folder.path(), "gap.jsonl", format!("{ROW}\n{decade}\n"));
    stdout(
        &[
            "replay",
            "--trace",
            "gap.jsonl",
            "--cluster",
            "1p1d",
            "--out",
            "out",
        ],
        folder.path(),
    );
    let rows = fs::read_to_string(folder.path().join("out/timeline.csv"))
        .expect("written")
        .lines()
        .count();
    assert!(rows < 50, "{rows} samples for two requests");
    stdout(
        &[
            "replay",
            "--requests",
            "50",
            "--speed",
            "0.000001",
            "--cluster",
            "1p1d",
        ],
        folder.path(),
    );
}

#[test]
fn an_input_is_never_written_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(folder.path(), "t.jsonl", format!("{ROW}\n"));
    for args in [
        &["replay", "--trace", "t.jsonl", "--journal", "t.jsonl"][..],
        &["trace", "convert", "t.jsonl", "./t.jsonl"],
    ] {
        let output = conductor(args, folder.path());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(
            fs::read_to_string(folder.path().join("t.jsonl")).expect("still there"),
            format!("{ROW}\n")
        );
    }
}

#[test]
fn names_stay_in_their_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(folder.path(), "escape.toml", "name = \"../../escape\"\n");
    let output = conductor(
        &["compare", "--policy", "escape.toml", "--out", "out"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(2));
}
