//! `report.html` of experiments, and the further formats of output: what the files of a run say, whoever reads them.

use crate::common::{conductor, root, stdout};
use std::fs;
use std::path::Path;

const PLOTS: [&str; 7] = ["lines", "bars", "heat", "box", "cdf", "loads", "replicas"];

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs the specification that has a plot of each kind, into `out`.
fn run_drawn(at: &Path) {
    let spec = root().join("tests/browser/drawn.toml");
    let spec = spec.to_str().expect("a path").to_string();
    stdout(&["experiment", "run", &spec, "--out", "out"], at);
}

#[test]
fn a_page_is_made_by_a_run_and_again_from_its_files_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    run_drawn(at);
    let first = read(at.join("out/report.html"));
    // What was run.
    for part in [
        "made up, to be drawn",
        "6, 2 seeds each",
        "1 to 2",
        "Digest of all runs",
        ", commit ",
    ] {
        assert!(first.contains(part), "{part}");
    }
    assert!(first.contains("A second paragraph &amp; &lt;one&gt; with marks."));
    assert!(
        first.contains("policy-1.toml, as resolved")
            && first.contains("cluster-1.toml, as resolved")
    );
    // What was published and required, also what does not hold.
    assert!(first.contains("1 of 3 hold; 1 published values are compared"));
    assert!(first.contains(
        "data-verdict=\"fails\"><th scope=\"row\">drawn</th><td>more are turned away than came</td>"
    ));
    // Every plot, with its caption.
    for plot in PLOTS {
        assert!(
            first.contains(&read(at.join(format!("out/drawn/{plot}.svg")))),
            "{plot}"
        );
    }
    assert!(first.contains("Of 150 requests, those that were completed.</figcaption>"));
    // One row a run.
    assert!(first.contains("drawn: one row a run, means over 2 seeds"));

    fs::rename(at.join("out"), at.join("moved")).expect("moved");
    fs::remove_file(at.join("moved/report.html")).expect("removed");
    for plot in PLOTS {
        fs::remove_file(at.join(format!("moved/drawn/{plot}.svg"))).expect("removed");
    }
    let said = stdout(&["experiment", "report", "moved"], at);
    assert_eq!(said.trim(), "Report: moved/report.html");
    assert_eq!(first, read(at.join("moved/report.html")));
    // The page of one experiment alone.
    stdout(&["experiment", "report", "moved/drawn"], at);
    assert!(read(at.join("moved/drawn/report.html")).contains("<h1>A plot of each kind</h1>"));
    // And the plots.
    stdout(&["experiment", "plot", "moved"], at);
    for plot in PLOTS {
        assert!(
            first.contains(&read(at.join(format!("moved/drawn/{plot}.svg")))),
            "{plot}"
        );
    }
    // A resolved file is one that the command line takes.
    let policy = "moved/drawn/resolved/policy-1.toml";
    stdout(&["replay", "--requests", "20", "--policy", policy], at);

    fs::write(at.join("moved/drawn/experiment.json"), "{").expect("written");
    let output = conductor(&["experiment", "report", "moved"], at);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("experiment.json: EOF while parsing"),
        "{error}"
    );
}

#[test]
fn every_column_of_every_table_is_documented() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    run_drawn(at);
    stdout(&["replay", "--requests", "20", "--out", "run"], at);
    let documented = read(root().join("experiments/COLUMNS.md"));
    let known = |column: &str| documented.contains(&format!("`{column}`"));
    for table in [
        "run/requests.csv",
        "run/timeline.csv",
        "out/drawn/raw.csv",
        "out/drawn/loads.csv",
        "out/drawn/cdf.csv",
        "out/drawn/replicas.csv",
    ] {
        let text = read(at.join(table));
        let header = text.lines().next().expect("a header");
        assert!(header.contains(','), "{table}");
        for column in header.split(',') {
            // Nodes' columns are documented once for all nodes, a summary's once for all summaries.
            let of_node = column.split_once('_').and_then(|(role, rest)| {
                let (number, what) = rest.split_once('_')?;
                let is_node =
                    ["prefill", "decode"].contains(&role) && number.parse::<u32>().is_ok();
                is_node.then(|| known(&format!("<role>_<n>_{what}")))
            });
            let first = column.split('.').next().unwrap_or(column);
            let is_axis = column.starts_with("axis ");
            assert!(
                of_node.unwrap_or_else(|| is_axis || known(first)),
                "{table}: {column}"
            );
        }
    }
}

#[test]
fn further_formats_are_written_or_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let formats = [
        ("png", cfg!(feature = "png"), "ttft_cdf.png"),
        ("parquet", cfg!(feature = "parquet"), "requests.parquet"),
    ];
    for (name, is_built, file) in formats {
        let flag = format!("--{name}");
        let output = conductor(&["replay", "--requests", "20", &flag], at);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("expected --out DIR"), "{error}");

        let out = format!("out-{name}");
        let output = conductor(&["replay", "--requests", "20", "--out", &out, &flag], at);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if is_built {
            assert!(
                output.status.success() && at.join(&out).join(file).is_file(),
                "{error}"
            );
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(&format!(
                "build with `cargo build --release --features {name}`"
            )),
            "{error}"
        );
        assert!(!at.join(&out).exists(), "refused before anything is done");
    }
}
