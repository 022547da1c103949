//! `conductor experiment run` over several experiments: what is said, what fails and what goes on, killed and resumed,
//! in shards.

use crate::common::{conductor, file, root, stdout};
use expect_test::expect;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Six runs that take a moment each.
fn spec(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\ntitle = \"T\"\nsource = \"nowhere\"\ncluster = \"2p2d\"\nseeds = 3\n\
         policies = [\"random\", \"kvcache-centric\"]\n[workload]\nname = \"kimi-conversation\"\nrequests = 300\n{more}\n\
         [[published]]\nseries = \"random\"\nx = \"mean\"\nat = {{ policy = \"random\" }}\nmetric = \"ttft_s.mean\"\n\
         value = 100\nunit = \"s\"\nsource = \"made up\"\n"
    )
}

/// What was said, with each number that has a point as `#`: times differ.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let words = text.lines().map(|line| {
        let words = line
            .split_whitespace()
            .map(|word| match word.parse::<f64>() {
                Ok(_) if word.contains('.') => "#",
                _ => word,
            });
        words.collect::<Vec<_>>().join(" ")
    });
    words
        .filter(|line| !line.contains('─'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Files of results, without those that say what runs cost.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().expect("a folder") {
            let path = entry.expect("readable").path();
            let name = path
                .strip_prefix(folder)
                .expect("below")
                .display()
                .to_string();
            match path.is_dir() {
                true if name == ".runs" => {}
                true => folders.push(path),
                false if name.ends_with("timing.csv") || name == "summary.md" => {}
                false => drop(found.insert(name, fs::read(&path).expect("readable"))),
            }
        }
    }
    found
}

#[test]
fn what_was_done_and_what_failed_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = dir.path();
    file(at, "one.toml", spec("one", ""));
    file(at, "two.toml", spec("two", ""));
    file(at, "bad.toml", spec("bad", "reqests = 3"));
    let args = [
        "experiment",
        "run",
        "one.toml",
        "bad.toml",
        "two.toml",
        "--out",
        "out",
        "--jobs",
        "1",
    ];
    let output = conductor(&args, at);
    assert_eq!(output.status.code(), Some(2));
    expect![[r##"
        conductor: one is in out/one
        conductor: two is in out/two
        conductor: the report is out/report.html
        experiment done cached processor
        one 6 0 # s
        bad 0 0 # s FAILED
        two 0 6 # s
        conductor: 3 experiments: 6 runs done, 6 cached, 1 experiments failed; # s, # s of them on a processor
        conductor: failed: bad: line 10: `workload.reqests`: unknown key (did you mean "requests"?), expected one of: name, cached, classes, concurrency, duration_s, limit, measure, output_tokens, prompt_tokens, rate, requests, retry, seed, speed
        conductor: 1 of 3 experiments failed"##]]
    .assert_eq(&said(&output));
    let shown = String::from_utf8_lossy(&output.stdout).to_string();
    assert!(
        shown.contains("one (nowhere)") && shown.contains("two (nowhere)"),
        "{shown}"
    );
    let verdicts = fs::read_to_string(at.join("out/verdicts.csv")).expect("there");
    assert!(
        verdicts.lines().count() == 3 && verdicts.contains("\none,value,random,mean,s,100,"),
        "{verdicts}"
    );
    assert!(
        fs::read_to_string(at.join("out/summary.md"))
            .expect("there")
            .contains("| two | 0 | 6 |")
    );
    // One that is alone fails as itself; the document of the others says who failed.
    let output = conductor(&["experiment", "run", "bad.toml"], at);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).starts_with("conductor: line 10: `workload.reqests`"),
        "{}",
        said(&output)
    );
    let output = conductor(&["experiment", "run", "bad.toml", "one.toml", "--json"], at);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["failed"][0]["name"], "bad");
    assert_eq!(json["experiments"][0]["name"], "one");
    assert!(json["experiments"][0]["runs"][0]["wall_s"].is_number());
}

#[test]
fn who_is_killed_goes_on_and_shards_are_the_whole() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = dir.path();
    file(at, "one.toml", spec("one", ""));
    file(
        at,
        "long.toml",
        spec("long", "rate = 2.5").replace("300", "6_000"),
    );
    let run = |more: &[&str]| {
        let args = [&["experiment", "run", "one.toml", "long.toml"], more].concat();
        conductor(&args, at)
    };
    assert!(run(&["--out", "whole"]).status.success());
    let mut child = Command::new(env!("CARGO_BIN_EXE_conductor"))
        .args([
            "experiment",
            "run",
            "one.toml",
            "long.toml",
            "--out",
            "killed",
            "--jobs",
            "1",
        ])
        .current_dir(at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let kept = || {
        at.join("killed/.runs")
            .read_dir()
            .map_or(0, Iterator::count)
    };
    let begun = Instant::now();
    while kept() < 7 && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("still ours");
    child.wait().expect("ended");
    assert!(kept() >= 7);
    assert!(run(&["--out", "killed"]).status.success());
    assert_eq!(results(&at.join("whole")), results(&at.join("killed")));
    // Shards into one folder, as machines with a common file system do.
    for shard in ["1/2", "2/2"] {
        let output = run(&["--out", "parts", "--shard", shard]);
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{}",
            said(&output)
        );
        assert!(results(&at.join("parts")).is_empty());
    }
    let output = run(&["--out", "parts"]);
    assert!(
        said(&output).contains(": 0 runs done, 12 cached, 0 experiments failed;"),
        "{}",
        said(&output)
    );
    assert_eq!(results(&at.join("whole")), results(&at.join("parts")));
    for (args, expected) in [
        (["--shard", "3/2"], "expected K/N"),
        (["--shard", "1/2"], "--out"),
        (["--heavy", "--json"], "cannot be used with"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn the_list_says_what_takes_long() {
    let list = stdout(&["experiment", "list"], Path::new("."));
    let row = |name: &str| {
        let row = list.lines().find(|line| line.contains(name));
        row.unwrap_or_else(|| panic!("{name}: {list}")).to_string()
    };
    assert!(row("sensitivity-noise").contains("heavy"));
    assert!(!row(" seesaw ").contains("heavy"));
}

/// An index that nobody does, or two do, would not be seen before a cluster ran it.
#[test]
fn the_job_of_kubernetes_has_as_many_parts_as_indices() {
    let read = |name: &str| {
        let path = root().join("experiments/k8s").join(name);
        fs::read_to_string(path).expect("it is there")
    };
    let (sweep, merge) = (read("sweep.yaml"), read("merge.yaml"));
    let number = |key: &str| {
        let (_, rest) = sweep.split_once(key).unwrap_or_else(|| panic!("{key}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or_else(|_| panic!("{key}"))
    };
    let parts = number("completions: ");
    assert_eq!(parts, number("$((JOB_COMPLETION_INDEX + 1))/"));
    assert_eq!(parts, number("parallelism: "));
    // Both ask for the same experiments in the same folder.
    assert!(sweep.contains("experiment run --all --out /results "));
    assert!(merge.contains("experiment, run, --all, --out, /results,"));
}
