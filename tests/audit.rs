//! Journals are decided again: the true one is accepted, an altered one is refused with its step.

use crate::common::{conductor, file, stdout};
use std::fs;
use std::path::Path;

/// Writes a journal of a small run; returns its lines.
fn journal(folder: &Path) -> Vec<String> {
    stdout(
        &[
            "replay",
            "--requests",
            "400",
            "--cluster",
            "3p2d",
            "--journal",
            "run.jsonl",
        ],
        folder,
    );
    fs::read_to_string(folder.join("run.jsonl"))
        .expect("written")
        .lines()
        .map(String::from)
        .collect()
}

#[test]
fn a_journal_of_a_run_is_accepted_plain_and_compressed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = journal(folder.path());
    let said = stdout(&["audit", "run.jsonl"], folder.path());
    assert!(
        said.contains(&format!("all {} steps agree", lines.len() - 2)),
        "{said}"
    );
    stdout(
        &[
            "replay",
            "--requests",
            "400",
            "--cluster",
            "3p2d",
            "--journal",
            "run.jsonl.gz",
        ],
        folder.path(),
    );
    assert_eq!(
        stdout(&["audit", "run.jsonl.gz"], folder.path())
            .split("digest")
            .nth(1),
        said.split("digest").nth(1)
    );
}

#[test]
fn one_altered_node_is_a_divergence_at_its_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lines = journal(folder.path());
    let place = lines
        .iter()
        .rposition(|line| line.contains("\"decode\":4"))
        .expect("node 4 was used");
    lines[place] = lines[place].replacen("\"decode\":4", "\"decode\":3", 1);
    let step = place - 1;
    file(folder.path(), "altered.jsonl", lines.join("\n"));
    let output = conductor(&["audit", "altered.jsonl"], folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains(&format!("divergence at step {step}\n")),
        "{error}"
    );
    assert!(
        error.contains("recorded: [Dispatch") && error.contains("decode: NodeId(3)"),
        "{error}"
    );
    assert!(
        error.contains("replayed: [Dispatch") && error.contains("decode: NodeId(4)"),
        "{error}"
    );
}

#[test]
fn another_policy_is_a_divergence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    journal(folder.path());
    let output = conductor(&["audit", "run.jsonl", "--policy", "random"], folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains("divergence at step")
            && error.contains("recorded")
            && error.contains("replayed"),
        "{error}"
    );
    stdout(
        &["audit", "run.jsonl", "--policy", "kvcache-centric"],
        folder.path(),
    );
}

#[test]
fn an_altered_event_that_changes_no_decision_still_breaks_the_digest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lines = journal(folder.path());
    let place = lines
        .iter()
        .rposition(|line| line.contains("\"finished\""))
        .expect("something finished");
    lines[place] = lines[place].replacen("\"output\":", "\"output\":1", 1);
    file(folder.path(), "altered.jsonl", lines.join("\n"));
    let output = conductor(&["audit", "altered.jsonl"], folder.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("digest"), "{error}");
}

#[test]
fn what_is_no_journal_is_bad_input() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = journal(folder.path());
    let cut = lines[..lines.len() / 2].join("\n");
    file(folder.path(), "cut.jsonl", &cut);
    let output = conductor(&["audit", "cut.jsonl"], folder.path());
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("the run that wrote it was cut off"));
    file(
        folder.path(),
        "torn.jsonl",
        format!("{}\n", &cut[..cut.len() - 3]),
    );
    file(folder.path(), "empty.jsonl", "");
    file(folder.path(), "other.jsonl", "{\"timestamp\": 0}\n");
    let swapped: Vec<_> = [&lines[0], &lines[2], &lines[1]]
        .into_iter()
        .cloned()
        .collect();
    file(folder.path(), "swapped.jsonl", swapped.join("\n"));
    for (name, expected) in [
        ("torn.jsonl", "expected a step or the end"),
        ("empty.jsonl", "the file is empty, expected a journal"),
        ("other.jsonl", "line 1: expected a journal header"),
        ("swapped.jsonl", "line 2: expected step 0, found 1"),
        ("absent.jsonl", "No such file"),
        (".", "directory"),
    ] {
        let output = conductor(&["audit", name], folder.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
    }
}

#[test]
fn a_journal_in_parts_whose_last_line_is_cut_off_is_read_as_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = journal(folder.path());
    let (a, b) = (lines.len() / 3, lines.len() / 2);
    let part = |lines: &[String]| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    file(folder.path(), "p.jsonl", part(&lines[..a]));
    file(folder.path(), "p.1.jsonl", part(&lines[a..b]));
    let cut = &lines[b][..lines[b].len() / 2];
    file(folder.path(), "p.2.jsonl", cut);
    let said = stdout(&["audit", "p.jsonl"], folder.path());
    assert!(
        said.contains(&format!("all {} steps agree", b - 1)),
        "{said}"
    );
    // In the middle of a journal such a line is an error.
    let rest = format!("{cut}\n{}\n", lines[b + 1]);
    file(folder.path(), "p.2.jsonl", rest);
    let output = conductor(&["audit", "p.jsonl"], folder.path());
    assert_eq!(output.status.code(), Some(2));
}
