//! Plots of an experiment: a run draws them, `experiment plot` draws the same bytes from the files alone.

use crate::common::{conductor, stdout};
use std::fs;
use std::path::Path;

/// A plot of each kind; published values in the bars and the lines, a published curve beside the loads.
const SPEC: &str = r#"name = "drawn"
title = "Drawn"
source = "nowhere"
cluster = "1p1d"
policies = ["kvcache-centric+early", "kvcache-centric+per-stage"]
seeds = 2
[workload]
name = "kimi-conversation"
requests = 150
[[axes]]
key = "workload.rate"
values = [0.5, 2.0]
[[published]]
series = "early"
x = 2
at = { rate = 2, policy = "kvcache-centric+early" }
metric = "rejected"
scale = 10
value = 500
unit = "tenths"
source = "made up"
[[plots]]
file = "rejected-lines"
kind = "lines"
title = "Rejected over load"
metric = "rejected"
y_label = "rejected (requests)"
over = "rate"
x_label = "offered load (requests/s)"
log_x = true
by = "policy"
[[plots]]
file = "rejected"
kind = "bars"
title = "Rejected"
metric = "rejected"
y_label = "rejected (requests)"
over = "rate"
by = "policy"
[[plots]]
file = "seesaw"
kind = "loads"
title = "Loads"
at = { rate = 2 }
panels = "policy"
published = { file = "curve.csv", source = "Fig 0" }
"#;

const CURVE: &str =
    "# made up\ntime_s,prefill_load,decode_load\n0,0.2,0.8\n15,0.8,0.2\n30,0.5,0.5\n";
const PLOTS: [&str; 3] = ["rejected-lines.svg", "rejected.svg", "seesaw.svg"];

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn plots_are_drawn_by_a_run_and_again_from_its_files_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    fs::write(at.join("drawn.toml"), SPEC).expect("written");
    fs::write(at.join("curve.csv"), CURVE).expect("written");
    stdout(&["experiment", "run", "drawn.toml", "--out", "out"], at);
    let results = at.join("out/drawn");
    let first = PLOTS.map(|name| read(&results, name));
    assert!(first[0].contains("Means over 2 seeds") && first[0].contains(">published<"));
    assert!(first[1].contains(">published<"), "bars");
    for part in [
        "Loads (seed 1)",
        ">early<",
        "published, Fig 0",
        "correlation at lag 0: -1.00",
    ] {
        assert!(first[2].contains(part), "{part}");
    }

    // Elsewhere, without what the run had: the results folder is enough.
    fs::remove_file(at.join("curve.csv")).expect("removed");
    fs::rename(at.join("out"), at.join("moved")).expect("moved");
    let moved = at.join("moved/drawn");
    for name in PLOTS {
        fs::remove_file(moved.join(name)).expect("removed");
    }
    let said = stdout(&["experiment", "plot", "moved"], at);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(first, PLOTS.map(|name| read(&moved, name)));

    // What is drawn is what the table says.
    let raw = read(&moved, "raw.csv");
    fs::write(
        moved.join("raw.csv"),
        raw.replace("kvcache-centric+early,", "kvcache-centric+other,"),
    )
    .expect("written");
    let output = conductor(&["experiment", "plot", "moved/drawn"], at);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("raw.csv: no row of the run \"rate 0.5, policy kvcache-centric+early\""),
        "{error}"
    );
    fs::write(moved.join("raw.csv"), raw).expect("written");

    // Without the published curve its panel is left out, and that is said.
    fs::remove_file(moved.join("seesaw-published.csv")).expect("removed");
    let output = conductor(&["experiment", "plot", "moved/drawn"], at);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("without the published curve"),
        "{said}"
    );
    assert!(!read(&moved, "seesaw.svg").contains("Fig 0"));
}

/// A search and a distribution, with published curves beside both.
const FOUND: &str = r#"name = "found"
title = "Found"
source = "nowhere"
cluster = "2"
policies = ["least-loaded", "round-robin"]
seeds = 2
[workload]
name = "poisson-fixed"
requests = 200
[search]
key = "workload.rate"
low = 0.1
high = 3
tolerance = 0.3
conditions = [{ metric = "ttft_s.p90", at_most = 3, of_first = true }]
[[curves]]
what = "rate"
over = "policy"
metric = "search.value"
unit = "requests/s"
[[plots]]
file = "tries"
kind = "search"
title = "Tries"
x_label = "rate (requests/s)"
by = "policy"
published = { file = "lines.csv", source = "Fig 0" }
[[plots]]
file = "ttft"
kind = "cdf"
title = "TTFT"
metric = "ttft_s"
scale = 1000
x_label = "TTFT (ms)"
marks = [3000]
by = "policy"
published = { file = "cdf.csv", source = "Fig 0" }
"#;

#[test]
fn searches_and_distributions_are_drawn_from_their_files_beside_what_is_published() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    fs::write(at.join("found.toml"), FOUND).expect("written");
    let lines = "metric,series,x,normalised\nttft_s.p90,least-loaded,0.1,0.3\nttft_s.p90,least-loaded,1,1.2\n";
    fs::write(at.join("lines.csv"), lines).expect("written");
    let cdf = "series,x,share_percent\nleast-loaded,1000,20\nleast-loaded,2000,100\n";
    fs::write(at.join("cdf.csv"), cdf).expect("written");
    stdout(&["experiment", "run", "found.toml", "--out", "out"], at);
    let results = at.join("out/found");
    let plots = ["tries.svg", "ttft.svg"];
    let first = plots.map(|name| read(&results, name));
    for (picture, parts) in first.iter().zip([
        ["ttft_s.p90", "metric over its limit", "Means over 2 seeds"],
        ["TTFT (ms)", "share of requests (%)", ">3000<"],
    ]) {
        for part in parts.into_iter().chain([">published<", ">round-robin<"]) {
            assert!(picture.contains(part), "{part}");
        }
    }
    for name in ["lines.csv", "cdf.csv"] {
        fs::remove_file(at.join(name)).expect("removed");
    }
    stdout(&["experiment", "plot", "out"], at);
    assert_eq!(first, plots.map(|name| read(&results, name)));
    for name in ["tries-published.csv", "ttft-published.csv"] {
        fs::remove_file(results.join(name)).expect("removed");
    }
    let output = conductor(&["experiment", "plot", "out"], at);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("without the published").count(), 2, "{said}");
    fs::write(results.join("cdf.csv"), "cell,seed,of,share,value\n").expect("written");
    let output = conductor(&["experiment", "plot", "out"], at);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no ttft_s of the run \"policy least-loaded\""),
        "{said}"
    );
}

#[test]
fn a_folder_without_results_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in [".", "absent"] {
        let output = conductor(&["experiment", "plot", name], folder.path());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("expected a results folder"), "{error}");
    }
}

#[test]
fn copies_of_watched_blocks_are_drawn_with_the_published_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let spec = "name = \"copies\"\ntitle = \"t\"\nsource = \"s\"\ncluster = \"3p1d\"\npolicies = [\"round-robin\"]\n\
                [workload]\nname = \"kimi-toolagent\"\nrequests = 100\n\
                [watch]\nranks = [1, 50]\nperiod_s = 5\n\
                [[plots]]\nfile = \"copies\"\nkind = \"replicas\"\ntitle = \"Copies\"\npanels = \"policy\"\n\
                published = { file = \"points.csv\", source = \"Fig 0\" }\n";
    fs::write(at.join("copies.toml"), spec).expect("written");
    let points = "panel,rank,time_s,replicas\nround-robin,50,5,2\nelsewhere,1,5,2\n";
    fs::write(at.join("points.csv"), points).expect("written");
    stdout(&["experiment", "run", "copies.toml", "--out", "out"], at);
    let results = at.join("out/copies");
    let svg = read(&results, "copies.svg");
    for part in [
        ">rank 1<",
        ">rank 50<",
        ">published<",
        "nodes that hold the block",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    // Without the published points it is drawn all the same, without samples it is not.
    fs::remove_file(results.join("copies-published.csv")).expect("removed");
    stdout(&["experiment", "plot", "out"], at);
    assert!(!read(&results, "copies.svg").contains(">published<"));
    fs::write(
        results.join("replicas.csv"),
        "cell,seed,rank,time_s,replicas\n",
    )
    .expect("written");
    let output = conductor(&["experiment", "plot", "out"], at);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("no sample of the run \"policy round-robin\""),
        "{error}"
    );
}
